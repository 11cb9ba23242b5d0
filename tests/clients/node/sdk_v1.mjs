// The official TypeScript SDK, first major: `@modelcontextprotocol/sdk`.

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { repl, theCase } from './repl.mjs';
import { commandsOf, connectWith, Provider } from './sdk_provider.mjs';

const provider = new Provider('TypeScript SDK 1');

await repl(
    commandsOf(() =>
        connectWith(provider, {
            newClient: () => new Client({ name: 'typescript-1', version: '0' }),
            newTransport: authProvider => new StreamableHTTPClientTransport(new URL(theCase.url), { authProvider }),
            Unauthorized: UnauthorizedError,
            finish: (transport, answer) => transport.finishAuth(answer.get('code')),
        }),
    ),
);
