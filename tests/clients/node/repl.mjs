// What every Node driver shares: the case that the harness gave it, a state that outlives the
// process, the person's browser, and the loop of commands on standard input.

import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** `{ url, era, state, browser, port, redirect }` */
export const theCase = JSON.parse(process.env.CLIENT_CASE);

/** Whether the case asks for MCP 2026-07-28. */
export const modern = theCase.era === '2026-07-28';

/** Named values in one JSON file. */
export class State {
    #path = join(theCase.state, 'state.json');

    get(name) {
        return existsSync(this.#path) ? JSON.parse(readFileSync(this.#path, 'utf8'))[name] : undefined;
    }

    set(name, value) {
        const all = existsSync(this.#path) ? JSON.parse(readFileSync(this.#path, 'utf8')) : {};
        writeFileSync(this.#path, JSON.stringify({ ...all, [name]: value }));
    }
}

/** The person signs in and allows; resolves to the redirect that reached the client. */
export async function openInBrowser(url) {
    const answer = await fetch(theCase.browser, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ url: String(url) }),
    });
    const { location, error } = await answer.json();
    if (!location) throw new Error(`the browser got nowhere: ${error}`);
    return new URL(location);
}

/** The error and all its causes. */
export function causes(error) {
    const text = error?.stack?.split('\n').slice(0, 3).join(' | ') ?? String(error);
    return error?.cause ? `${text}: ${causes(error.cause)}` : text;
}

/** Reads one command a line, runs it, answers with one JSON object a line. */
export async function repl(commands) {
    for await (const line of createInterface({ input: process.stdin })) {
        let answer;
        try {
            const command = commands[line.trim()];
            if (!command) throw new Error(`unknown command ${line}`);
            answer = { ok: true, ...(await command()) };
        } catch (error) {
            answer = { ok: false, error: causes(error) };
        }
        process.stdout.write(`${JSON.stringify(answer)}\n`);
    }
    process.exit(0);
}

/** The `headers` tool by plain HTTP, for clients that know OAuth but not MCP. */
export async function callByHand(url, token) {
    let session;
    const post = async message => {
        const answer = await fetch(url, {
            method: 'POST',
            headers: {
                accept: 'application/json, text/event-stream',
                'content-type': 'application/json',
                authorization: `Bearer ${token}`,
                ...(session && { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }),
            },
            body: JSON.stringify({ jsonrpc: '2.0', ...message }),
        });
        session ??= answer.headers.get('mcp-session-id');
        const text = await answer.text();
        if (!answer.ok) throw new Error(`${answer.status} ${text}`);
        const data = text.startsWith('{') ? text : text.match(/^data: (\{.*)$/m)?.[1];
        return data && JSON.parse(data).result;
    };
    const clientInfo = { name: 'by hand', version: '0' };
    await post({
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo },
    });
    await post({ method: 'notifications/initialized' });
    const { tools } = await post({ id: 2, method: 'tools/list', params: {} });
    const result = await post({ id: 3, method: 'tools/call', params: { name: 'headers', arguments: {} } });
    return { tools: tools.map(tool => tool.name), result };
}

/** A verifier and its S256 challenge, for clients that leave PKCE to the application. */
export function pkce() {
    const verifier = randomBytes(32).toString('base64url');
    return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}
