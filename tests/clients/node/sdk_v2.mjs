// The official TypeScript SDK, second major: `@modelcontextprotocol/client`.

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

import { modern, repl, theCase } from './repl.mjs';
import { commandsOf, connectWith, Provider } from './sdk_provider.mjs';

const provider = new Provider('TypeScript SDK 2');
const options = { versionNegotiation: { mode: modern ? 'auto' : 'legacy' } };

await repl(
    commandsOf(() =>
        connectWith(provider, {
            newClient: () => new Client({ name: 'typescript-2', version: '0' }, options),
            newTransport: authProvider => new StreamableHTTPClientTransport(new URL(theCase.url), { authProvider }),
            Unauthorized: UnauthorizedError,
            // Code and `iss` together: the SDK checks the issuer before it redeems (RFC 9207).
            finish: (transport, answer) => transport.finishAuth(answer),
        }),
    ),
);
