// The MCP Inspector's command line. Each command is a process of its own, so what is kept between
// two commands is kept in files: a refresh here is always a refresh after a restart.

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { repl, theCase } from './repl.mjs';

const home = dirname(createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json'));

function inspector(...words) {
    const shared = [
        '--cli',
        theCase.url,
        '--transport',
        'http',
        '--format',
        'json',
        '--protocol-era',
        theCase.era === '2026-07-28' ? 'modern' : 'legacy',
        '--callback-url',
        theCase.redirect,
    ];
    // Without a terminal it opens the browser only where it is told to.
    const env = { ...process.env, MCP_INSPECTOR_SECRET_STORE: 'file', MCP_AUTO_OPEN_ENABLED: 'true' };
    const child = spawn(process.execPath, [join(home, 'clients/launcher/build/index.js'), ...shared, ...words], {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let complaint = '';
    child.stdout.on('data', chunk => (output += chunk));
    child.stderr.on('data', chunk => {
        complaint += chunk;
        process.stderr.write(chunk);
    });
    return new Promise((resolve, reject) => {
        child.on('close', code => {
            if (code !== 0) return reject(new Error(`exit ${code}: ${complaint.slice(-600)}`));
            resolve(JSON.parse(output).result);
        });
    });
}

await repl({
    async connect() {
        await inspector('--method', 'tools/list');
    },
    async call() {
        const { tools } = await inspector('--method', 'tools/list');
        const result = await inspector('--method', 'tools/call', '--tool-name', 'headers');
        return { tools: tools.map(tool => tool.name), result };
    },
    async revoke() {
        // `--relogin` revokes only where the metadata is in a slot that its sign-in does not fill.
        return { 'n/a': '`--relogin` does not find the revocation endpoint that its own sign-in discovered' };
    },
});
