// What the proofs in a browser share: a chromium, the client's own sites, and the eyes on a page.

import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

import { hear } from './pages_reader.mjs';
import { pkce, theCase } from './repl.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const SCHEMES = ['light', 'dark'];
// The narrowest that WCAG 2.2 asks for (1.4.10), and a desktop.
const SIZES = [
    { width: 320, height: 640 },
    { width: 1280, height: 800 },
];

/** Tells the harness, one JSON line each. */
export const say = line => process.stdout.write(`${JSON.stringify(line)}\n`);

/** The https client, and the attacker's site. Every request is noted; pages may have a script. */
export class Sites {
    #requests = [];
    /** Paths on loopback that are JSON documents. */
    documents = {};

    async open() {
        const tls = { key: readFileSync(theCase.key), cert: readFileSync(theCase.certificate) };
        const answer = (request, response) => {
            const url = new URL(request.url, `https://${request.headers.host}`);
            this.#requests.push(url);
            response.setHeader('content-type', 'text/html; charset=utf-8');
            response.end(this.page(url));
        };
        this.https = createHttps(tls, answer);
        this.loopback = createHttp((request, response) => {
            this.#requests.push(new URL(request.url, `http://127.0.0.1:${this.loopback.address().port}`));
            const document = this.documents[request.url];
            response.setHeader('content-type', document ? 'application/json' : 'text/html; charset=utf-8');
            response.end(
                document
                    ? JSON.stringify(document)
                    : '<!doctype html><title>Done</title><p>You can close this window.',
            );
        });
        for (const server of [this.https, this.loopback]) {
            await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
        }
        this.redirect = `http://127.0.0.1:${this.loopback.address().port}/callback`;
    }

    /** What stands at the client's site and at the attacker's. */
    page(url) {
        const script = {
            '/app': `addEventListener('message', event => {
                        document.body.textContent = JSON.stringify({ origin: event.origin, data: event.data });
                     });
                     document.querySelector('button').onclick = () =>
                        open(new URLSearchParams(location.search).get('to'), 'sign-in', 'width=480,height=640');`,
            '/callback': `if (opener) { opener.postMessage(location.search, '*'); close(); }`,
            '/post': `const wish = new URLSearchParams(location.search);
                      const form = document.forms[0];
                      form.action = wish.get('to');
                      form.consent.value = wish.get('consent');
                      form.submit();`,
            '/frame': `document.querySelector('iframe').src = new URLSearchParams(location.search).get('to');`,
        }[url.pathname];
        return `<!doctype html><title>${url.hostname}</title><body><button>Sign in</button><iframe hidden></iframe>
            <form method="post"><input name="consent"><input name="decision" value="allow"></form>
            <script>${script ?? ''}</script>`;
    }

    /** The first redirect whose `state` is this one, waited for. */
    async answered(state, seconds = 20) {
        for (let tries = 0; tries < seconds * 20; tries++) {
            const found = this.#requests.find(url => url.searchParams.get('state') === state);
            if (found) return found;
            await new Promise(resolve => setTimeout(resolve, 50));
        }
        throw new Error(`nothing arrived at the client for ${state}`);
    }

    /** Whether anything arrived for that `state`. */
    heard(state) {
        return this.#requests.some(url => url.searchParams.get('state') === state);
    }

    close() {
        for (const server of [this.https, this.loopback]) {
            server.closeAllConnections();
            server.close();
        }
    }
}

/** One chromium; each person in it has a context, and so cookies, of their own. */
export async function launch(sites) {
    const home = new URL(theCase.origin);
    const https = sites.https.address().port;
    const names = [
        `MAP client.example 127.0.0.1:${https}`,
        `MAP evil.example 127.0.0.1:${https}`,
        `MAP other.example 127.0.0.1:${home.port}`,
        `MAP mcp.example 127.0.0.1:${theCase.publicPort}`,
    ];
    return chromium.launch({
        executablePath: theCase.chromium,
        args: [
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--disable-dev-shm-usage',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            `--host-resolver-rules=${names.join(', ')}`,
        ],
        timeout: 30_000,
    });
}

/** A person's own browser. Notes what the browser refuses for the pages' sake. */
export async function person(browser) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en' });
    context.setDefaultTimeout(20_000);
    context.complaints = [];
    context.on('console', message => {
        const text = message.text();
        if (/content security policy|refused to|cross-origin-opener/i.test(text)) context.complaints.push(text);
    });
    return context;
}

/** An authorization request of a registered client. */
export function request(client, redirect, more = {}, origin = theCase.origin) {
    const { verifier, challenge } = pkce();
    const state = `state ${Math.random().toString(36).slice(2)} & more`;
    const url = new URL(`${origin}/authorize`);
    url.search = new URLSearchParams({
        client_id: client,
        redirect_uri: redirect,
        response_type: 'code',
        state,
        resource: `${origin}/mcp`,
        code_challenge: challenge,
        code_challenge_method: 'S256',
        ...more,
    });
    return { url: String(url), state, verifier, redirect, client };
}

export async function register(metadata, origin = theCase.origin) {
    const answer = await fetch(`${origin}/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token_endpoint_auth_method: 'none', ...metadata }),
    });
    if (answer.status !== 201) throw new Error(`registration: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).client_id;
}

/** Presses a button of the consent page. */
export const press = (page, decision) => page.click(`button[name=decision][value=${decision}]`);

/** Signs in at the provider, where it asks. */
export async function signIn(page) {
    await page.waitForSelector('input[name=login]');
    await page.click('button[type=submit]');
}

/** Redeems what arrived at the client: the proof that it is worth something. */
export async function redeem(asked, arrived) {
    const answer = await fetch(`${theCase.origin}/token`, {
        method: 'POST',
        body: new URLSearchParams({
            grant_type: 'authorization_code',
            code: arrived.searchParams.get('code'),
            redirect_uri: asked.redirect,
            client_id: asked.client,
            code_verifier: asked.verifier,
        }),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}

/**
 * Looks at a page as it stands, and hears it: pictures of it, no finding of axe, nothing cut off, no
 * script run; and what a screen reader and a keyboard get. Tells the harness which words were seen.
 */
export async function look(page, name, { schemes = SCHEMES, sizes = SIZES } = {}) {
    const wrong = await hear(page);
    for (const colorScheme of schemes) {
        for (const size of sizes) {
            await page.emulateMedia({ colorScheme });
            await page.setViewportSize(size);
            const picture = `${name}-${colorScheme}-${size.width}.png`;
            await page.screenshot({ path: join(theCase.pictures, picture), fullPage: true });
            const wide = await page.evaluate(() => document.documentElement.scrollWidth);
            if (wide > size.width) wrong.push(`${picture} is ${wide} wide`);
            await page.evaluate(axe);
            const { violations, passes } = await page.evaluate(() =>
                // eslint-disable-next-line no-undef
                axe.run(document, { preload: false, rules: { 'target-size': { enabled: true } } }),
            );
            if (passes.length < 10) wrong.push(`${picture}: axe looked at ${passes.length} rules only`);
            for (const { id, help, nodes } of violations) {
                wrong.push(`${picture}: ${id}: ${help}: ${nodes.map(node => node.html).join(' ')}`);
            }
        }
    }
    say({ looked: name, title: await page.title(), text: await page.innerText('body') });
    if (wrong.length) throw new Error(`${name}: ${wrong.join('; ')}`);
}

/** For a page that differs from another one by its words alone: the narrowest view of it. */
export const NARROW = { schemes: SCHEMES.slice(0, 1), sizes: SIZES.slice(0, 1) };

/** The page is ours, with these words. */
export async function shows(page, ...words) {
    const text = await page.textContent('main');
    for (const word of words) check(text.includes(word), `the page does not say “${word}”: ${text}`);
}

export function check(truth, what) {
    if (!truth) throw new Error(what);
}
