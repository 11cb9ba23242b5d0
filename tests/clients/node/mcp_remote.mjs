// `mcp-remote`: a desktop host's view of it. The host speaks MCP over its standard input; what it
// registers, whom it sends to the browser and what it keeps are its own doing.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

import { modern, repl, theCase } from './repl.mjs';

const home = dirname(createRequire(import.meta.url).resolve('mcp-remote/package.json'));
let client;

await repl({
    async connect() {
        const transport = new StdioClientTransport({
            command: process.execPath,
            args: [
                join(home, 'dist', 'proxy.js'),
                theCase.url,
                String(theCase.port),
                '--transport',
                'http-only',
                '--protocol',
                modern ? 'auto' : 'legacy',
            ],
            env: { ...process.env, MCP_REMOTE_CONFIG_DIR: theCase.state },
            stderr: 'inherit',
        });
        client = new Client({ name: 'desktop-host', version: '0' });
        await client.connect(transport);
    },
    async call() {
        const { tools } = await client.listTools();
        const result = await client.callTool({ name: 'headers', arguments: {} });
        return { tools: tools.map(tool => tool.name), result };
    },
    async revoke() {
        return { 'n/a': 'mcp-remote has no revocation call' };
    },
});
