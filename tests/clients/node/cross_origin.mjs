// A browser client: a page of another origin does everything by `fetch`, as far as chromium lets it.
// Every header that it reads or sends is one that CORS had to allow.

import { createServer } from 'node:http';
import { dirname } from 'node:path';

import { chromium } from 'playwright-core';

import { repl, theCase } from './repl.mjs';

const home = new URL('/', theCase.redirect);
const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end('<!doctype html><html lang="en"><title>A browser client</title><p>Hello.');
});
await new Promise(resolve => server.listen(Number(home.port), '127.0.0.1', resolve));

const browser = await chromium.launch({
    executablePath: theCase.chromium,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
    timeout: 30_000,
    // A socket's path may have 107 characters, and the case's own folder has too many of them.
    env: { ...process.env, TMPDIR: dirname(dirname(theCase.state)) },
});
const page = await browser.newPage();
page.setDefaultTimeout(20_000);

/** Runs in the page: from the first 401 to the URL that the person has to open. */
async function begin({ url, redirect }) {
    const must = (holds, what) => {
        if (!holds) throw new Error(`the page cannot see ${what}`);
    };
    const refused = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'mcp-method': 'tools/list', 'mcp-param-region': 'eu' },
        body: '{}',
    });
    must(refused.status === 401, 'the 401');
    const challenge = refused.headers.get('www-authenticate');
    must(challenge?.startsWith('Bearer '), 'WWW-Authenticate');
    const resource = await (await fetch(challenge.match(/resource_metadata="([^"]+)"/)[1])).json();
    const [issuer] = resource.authorization_servers;
    const known = `${issuer}/.well-known/oauth-authorization-server`;
    const metadata = await (await fetch(known, { headers: { 'mcp-protocol-version': '2025-11-25' } })).json();
    const registered = await fetch(metadata.registration_endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
            client_name: 'A page',
            redirect_uris: [redirect],
            token_endpoint_auth_method: 'none',
        }),
    });
    must(registered.status === 201, 'the registration');
    const { client_id } = await registered.json();
    const base64url = bytes =>
        btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
    const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
    sessionStorage.setItem('begun', JSON.stringify({ metadata, client_id, verifier, redirect, url }));
    return `${metadata.authorization_endpoint}?${new URLSearchParams({
        client_id,
        redirect_uri: redirect,
        response_type: 'code',
        state: 'a page',
        resource: url,
        code_challenge: base64url(new Uint8Array(digest)),
        code_challenge_method: 'S256',
    })}`;
}

/** Runs in the page: gets tokens with what only this grant needs. */
async function token(form) {
    const begun = JSON.parse(sessionStorage.getItem('begun'));
    const code = new URLSearchParams(location.search).get('code');
    const first = { grant_type: 'authorization_code', code, redirect_uri: begun.redirect, code_verifier: begun.verifier };
    const held = JSON.parse(sessionStorage.getItem('tokens') ?? '{}');
    const next = { grant_type: 'refresh_token', refresh_token: held.refresh_token };
    const answer = await fetch(begun.metadata.token_endpoint, {
        method: 'POST',
        body: new URLSearchParams({ ...(form === 'first' ? first : next), client_id: begun.client_id, resource: begun.url }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${answer.status} ${text}`);
    sessionStorage.setItem('tokens', text);
}

/** Runs in the page: a session, and the tool; `null` when the token has run out. */
async function call() {
    const { url } = JSON.parse(sessionStorage.getItem('begun'));
    let session;
    const post = async message => {
        const { access_token } = JSON.parse(sessionStorage.getItem('tokens'));
        const answer = await fetch(url, {
            method: 'POST',
            headers: {
                accept: 'application/json, text/event-stream',
                'content-type': 'application/json',
                authorization: `Bearer ${access_token}`,
                'mcp-param-region': 'eu',
                ...(session && { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }),
            },
            body: JSON.stringify({ jsonrpc: '2.0', ...message }),
        });
        if (answer.headers.get('www-authenticate')?.includes('invalid_token')) return 'run out';
        session ??= answer.headers.get('mcp-session-id');
        if (!session) throw new Error('the page cannot see Mcp-Session-Id');
        const text = await answer.text();
        if (!answer.ok) throw new Error(`${answer.status} ${text}`);
        const data = text.startsWith('{') ? text : text.match(/^data: (\{.*)$/m)?.[1];
        return data && JSON.parse(data).result;
    };
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'page', version: '0' } };
    if ((await post({ id: 1, method: 'initialize', params })) === 'run out') return null;
    await post({ method: 'notifications/initialized' });
    const { tools } = await post({ id: 2, method: 'tools/list', params: {} });
    const result = await post({ id: 3, method: 'tools/call', params: { name: 'headers', arguments: {} } });
    return { tools: tools.map(tool => tool.name), result };
}

/** Runs in the page. */
async function revoke() {
    const { metadata, client_id } = JSON.parse(sessionStorage.getItem('begun'));
    const { refresh_token } = JSON.parse(sessionStorage.getItem('tokens'));
    const body = new URLSearchParams({ token: refresh_token, client_id });
    const answer = await fetch(metadata.revocation_endpoint, { method: 'POST', body });
    if (!answer.ok) throw new Error(`${answer.status}`);
}

await repl({
    async connect() {
        await page.goto(String(home));
        await page.goto(await page.evaluate(begin, { url: theCase.url, redirect: theCase.redirect }));
        await page.click('button[name=decision][value=allow]');
        await page.waitForSelector('input[name=login]');
        await page.click('button[type=submit]');
        await page.waitForURL(`${theCase.redirect}?*`);
        await page.evaluate(token, 'first');
    },
    async call() {
        const answer = await page.evaluate(call);
        if (answer) return answer;
        await page.evaluate(token, 'next');
        return page.evaluate(call);
    },
    async revoke() {
        await page.evaluate(revoke);
        return {};
    },
});
