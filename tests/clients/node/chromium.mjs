// A real browser: Debian's chromium opens the authorization URL, presses Allow, signs in, and must
// arrive at a listener on loopback. Whatever the pages' headers forbid, the browser forbids.

import { createServer } from 'node:http';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

import { callByHand, pkce, repl, State, theCase } from './repl.mjs';

const state = new State();

/** A listener that resolves to the first redirect it gets. */
function listen() {
    let arrived;
    const redirect = new Promise(resolve => (arrived = resolve));
    const server = createServer((request, response) => {
        response.end('<!doctype html><title>Done</title><p>You can close this window.');
        if (request.url.startsWith('/callback')) arrived(new URL(request.url, theCase.redirect));
    });
    const ready = new Promise(resolve => server.listen(new URL(theCase.redirect).port, '127.0.0.1', resolve));
    return { redirect, ready, close: () => server.close() };
}

async function walk(url) {
    const browser = await chromium.launch({
        executablePath: theCase.chromium,
        args: ['--no-sandbox', '--disable-dev-shm-usage'],
        timeout: 30_000,
    });
    try {
        const page = await browser.newPage();
        page.setDefaultTimeout(20_000);
        const complaints = [];
        page.on('console', message => {
            const { url } = message.location();
            if (message.type() === 'error' && !url.endsWith('/favicon.ico')) complaints.push(`${message.text()} (${url})`);
        });
        const opened = await page.goto(url);
        const headers = await opened.allHeaders();
        await page.screenshot({ path: join(theCase.state, 'consent.png'), fullPage: true });
        await page.click('button[name=decision][value=allow]');
        await page.waitForSelector('input[name=login]');
        await page.click('button[type=submit]');
        await page.waitForURL(`${theCase.redirect}?*`);
        return { headers, complaints };
    } finally {
        await browser.close();
    }
}

await repl({
    async connect() {
        const origin = new URL(theCase.url).origin;
        const server = await (await fetch(`${origin}/.well-known/oauth-authorization-server`)).json();
        const metadata = {
            client_name: 'A real browser',
            redirect_uris: [theCase.redirect],
            token_endpoint_auth_method: 'none',
        };
        const registration = await fetch(server.registration_endpoint, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify(metadata),
        });
        const { client_id } = await registration.json();
        const { verifier, challenge } = pkce();
        const url = new URL(server.authorization_endpoint);
        url.search = new URLSearchParams({
            client_id,
            redirect_uri: theCase.redirect,
            response_type: 'code',
            state: 'as sent & back',
            resource: theCase.url,
            code_challenge: challenge,
            code_challenge_method: 'S256',
        });
        const listener = listen();
        await listener.ready;
        const { headers, complaints } = await walk(String(url));
        const answer = (await listener.redirect).searchParams;
        listener.close();
        if (complaints.length) throw new Error(`the browser complained: ${complaints.join('; ')}`);
        if (!headers['content-security-policy']) throw new Error('the consent page has no policy');
        if (answer.get('state') !== 'as sent & back') throw new Error('the state came back changed');
        const tokens = await fetch(server.token_endpoint, {
            method: 'POST',
            body: new URLSearchParams({
                grant_type: 'authorization_code',
                code: answer.get('code'),
                redirect_uri: theCase.redirect,
                client_id,
                code_verifier: verifier,
                resource: theCase.url,
            }),
        });
        if (!tokens.ok) throw new Error(`${tokens.status} ${await tokens.text()}`);
        state.set('tokens', await tokens.json());
    },
    async call() {
        return callByHand(theCase.url, state.get('tokens').access_token);
    },
    async revoke() {
        return { 'n/a': 'the browser row ends with the sign-in' };
    },
});
