// The pages in a real browser: every way a sign-in may go there, each on its own, with all the
// headers of the pages in force. Prints one JSON line for each proof.

import { createInterface } from 'node:readline';

import { readingOrder } from './pages_reader.mjs';
import {
    check,
    launch,
    look,
    NARROW,
    person,
    press,
    redeem,
    register,
    request,
    say,
    shows,
    signIn,
    Sites,
} from './pages_site.mjs';
import { causes, theCase } from './repl.mjs';

const CURSOR = 'cursor://anysphere.cursor-mcp/oauth/callback';
const WEB = 'https://client.example/callback';

const sites = new Sites();
await sites.open();
const browser = await launch(sites);
const replies = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const metadata = { client_name: 'Example app', redirect_uris: [sites.redirect, WEB, CURSOR] };
const client = await register(metadata);

/** Has the harness put another server behind the address, for as long as `meanwhile` takes. */
async function behind(server, meanwhile) {
    const ask = async wish => {
        say({ ask: wish });
        await replies.next();
    };
    await ask(server);
    try {
        return await meanwhile();
    } finally {
        await ask('on time');
    }
}

async function open(context, asked) {
    const page = await context.newPage();
    const answer = await page.goto(asked.url);
    check(answer.status() === 200, `the consent page is ${answer.status()}`);
    return page;
}

/** What a screen reader reads, in this order and nothing else. */
async function reads(page, expected) {
    const order = await readingOrder(page);
    check(JSON.stringify(order) === JSON.stringify(expected), `it is read as ${JSON.stringify(order)}`);
}

/** The person has allowed it, and the provider asks who they are. */
async function atTheProvider(context, asked) {
    const page = await open(context, asked);
    await press(page, 'allow');
    await page.waitForSelector('input[name=login]');
    return page;
}

/** From the consent page to the client. */
async function allow(page, asked) {
    await press(page, 'allow');
    await signIn(page);
    const arrived = await sites.answered(asked.state);
    check(arrived.searchParams.get('iss') === theCase.origin, 'the issuer is missing');
    return arrived;
}

const proofs = {
    async 'a loopback client'(context) {
        const asked = request(client, sites.redirect);
        const page = await open(context, asked);
        await shows(page, 'Example app', new URL(sites.redirect).host, 'just started this yourself');
        await look(page, 'consent-loopback');
        await reads(page, [
            'paragraph: 127.0.0.1',
            'heading: Allow Example app to use this server’s tools?',
            'paragraph: This app chose its own name; nobody has checked it.',
            'term: You will be sent to',
            `definition: ${new URL(sites.redirect).host} (a program on this computer)`,
            'term: It may use',
            `definition: ${theCase.origin}/mcp`,
            'term: It will be able to',
            'definition: Use the tools of this server',
            'term: You sign in with',
            'definition: 127.0.0.1 (openid, email, profile)',
            'paragraph: The app runs on this computer. Only continue if you just started this yourself.',
            'checkbox: Use another account',
            'button: Allow',
            'button: Deny',
        ]);
        await redeem(asked, await allow(page, asked));
    },

    async 'an https client'(context) {
        const asked = request(client, WEB);
        const page = await open(context, asked);
        await look(page, 'consent-https');
        await redeem(asked, await allow(page, asked));
        check(page.url().startsWith(WEB), `the browser ended at ${page.url()}`);
    },

    async 'a client with a scheme of its own'(context) {
        const asked = request(client, CURSOR);
        const page = await open(context, asked);
        await shows(page, 'cursor://');
        await look(page, 'consent-scheme');
        const led = new Promise(resolve => {
            page.on('response', answer => {
                const to = answer.headers().location ?? '';
                if (to.startsWith(CURSOR)) resolve(new URL(to));
            });
        });
        // The browser hands such a link to the system: here that is a navigation that comes to nothing.
        const tried = new Promise(resolve => {
            page.on('request', one => one.url().startsWith('cursor:') && resolve('request'));
            page.on('requestfailed', one => resolve(one.failure().errorText));
        });
        await press(page, 'allow');
        await signIn(page);
        const arrived = await led;
        check(arrived.searchParams.get('state') === asked.state, 'the state came back changed');
        check((await tried) !== 'net::ERR_BLOCKED_BY_CSP', 'the policy of the page blocked it');
        await redeem(asked, arrived);
    },

    async 'a policy with form-action would block this, and is seen'(context) {
        const asked = request(client, sites.redirect);
        const page = await context.newPage();
        await page.route('**/authorize?*', async route => {
            const answer = await route.fetch();
            const policy = `${answer.headers()['content-security-policy']}; form-action 'self'`;
            await route.fulfill({ response: answer, headers: { ...answer.headers(), 'content-security-policy': policy } });
        });
        await page.goto(asked.url);
        await press(page, 'allow');
        await page.waitForTimeout(1_500);
        check(context.complaints.length > 0, 'the browser says nothing: the other proofs prove nothing');
        check(!sites.heard(asked.state), 'the redirect was followed');
        context.complaints.length = 0;
    },

    async 'a popup that waits for its answer'(context) {
        const { asked, app } = await popup(context);
        await app.waitForFunction(() => document.body.textContent.includes('origin'));
        const { origin, data } = JSON.parse(await app.textContent('body'));
        check(origin === 'https://client.example', `the answer came from ${origin}`);
        const arrived = new URL(`${WEB}${data}`);
        check(arrived.searchParams.get('state') === asked.state, 'the state came back changed');
        await redeem(asked, arrived);
    },

    async 'an opener policy would cut the popup off, and is seen'(context) {
        const cut = 'same-origin';
        const { asked, app } = await popup(context, { 'cross-origin-opener-policy': cut });
        await sites.answered(asked.state);
        await app.waitForTimeout(1_000);
        const text = await app.textContent('body');
        check(!text.includes('"origin"'), 'the answer arrived: the other proof proves nothing');
        context.complaints.length = 0;
    },

    async 'deny, by keyboard alone'(context) {
        const asked = request(client, sites.redirect);
        const page = await open(context, asked);
        const order = [];
        for (let tabs = 0; tabs < 3; tabs++) {
            await page.keyboard.press('Tab');
            order.push(
                await page.evaluate(() => {
                    const { name, value } = document.activeElement;
                    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                    return `${name} ${value} ${outlineStyle} ${outlineWidth}`;
                }),
            );
        }
        const expected = ['account other', 'decision allow', 'decision deny'].map(it => `${it} solid 3px`);
        check(JSON.stringify(order) === JSON.stringify(expected), `the order is ${order.join(', ')}`);
        await page.keyboard.press('Enter');
        const arrived = (await sites.answered(asked.state)).searchParams;
        check(arrived.get('error') === 'access_denied', `the error is ${arrived.get('error')}`);
        check(arrived.get('iss') === theCase.origin && !arrived.has('code'), 'the answer is wrong');
    },

    async 'a form that is too old'(context) {
        const asked = request(client, sites.redirect);
        const page = await open(context, asked);
        await behind('late', async () => {
            await press(page, 'allow');
            await page.waitForLoadState();
            await shows(page, 'That took too long', 'Start again');
            await look(page, 'expired');
        });
        check(!sites.heard(asked.state), 'something was sent to the client');
    },

    async 'a form that another browser got'(victim) {
        const attacker = await person(browser);
        const asked = request(client, sites.redirect);
        const minted = await open(attacker, asked);
        const consent = await minted.inputValue('input[name=consent]');
        // With a page of the victim's own, so with a cookie of the victim's own.
        const page = await open(victim, request(client, sites.redirect));
        await page.evaluate(value => (document.querySelector('input[name=consent]').value = value), consent);
        await press(page, 'allow');
        await page.waitForLoadState();
        await shows(page, 'started elsewhere');
        await look(page, 'other-browser');
        check(!sites.heard(asked.state), 'something was sent to the client');
        await attacker.close();
    },

    async 'a form posted by another site'(victim) {
        const asked = request(client, WEB);
        const minted = await open(victim, asked);
        const consent = await minted.inputValue('input[name=consent]');
        const page = await victim.newPage();
        const query = new URLSearchParams({ to: `${theCase.origin}/consent`, consent });
        await page.goto(`https://evil.example/post?${query}`);
        await page.waitForURL(`${theCase.origin}/consent`);
        await shows(page, 'came from another site');
        await look(page, 'cross-site');
        check(!sites.heard(asked.state), 'something was sent to the client');
    },

    async 'a sign-in that another browser approved'(victim) {
        const attacker = await person(browser);
        const asked = request(client, sites.redirect);
        const page = await open(attacker, asked);
        const leaving = page.waitForRequest(one => one.url().startsWith(`${theCase.provider}/auth?`));
        await press(page, 'allow');
        const link = (await leaving).url();
        const lured = await victim.newPage();
        await lured.goto(link);
        await signIn(lured);
        await lured.waitForURL(`${theCase.origin}/callback/**`);
        await shows(lured, 'started elsewhere');
        await look(lured, 'other-browser-callback');
        check(!sites.heard(asked.state), 'a code was minted');
        await attacker.close();
    },

    async 'two tabs'(context) {
        const asked = [request(client, sites.redirect), request(client, sites.redirect)];
        const tabs = [await open(context, asked[0]), await open(context, asked[1])];
        // Both go to the provider before either comes back.
        for (const tab of tabs) {
            await press(tab, 'allow');
            await tab.waitForSelector('input[name=login]');
        }
        for (const at of [1, 0]) {
            await tabs[at].click('button[type=submit]');
            await redeem(asked[at], await sites.answered(asked[at].state));
        }
    },

    async 'a reload, before and after'(context) {
        const asked = request(client, sites.redirect);
        const [kept, reloaded] = [await open(context, asked), await open(context, request(client, WEB))];
        await reloaded.reload();
        await redeem(asked, await allow(kept, asked));
        // The same request again: the person is asked again.
        await kept.goto(asked.url);
        await shows(kept, 'Example app');
        await press(reloaded, 'deny');
        await reloaded.waitForURL(`${WEB}?**`);
        // The address of the form, opened by hand.
        const bare = await context.newPage();
        const answer = await bare.goto(`${theCase.origin}/consent`);
        check(answer.status() === 405, `the form's address is ${answer.status()}`);
        await shows(bare, 'started elsewhere');
    },

    async 'the page in a frame of another site'(context) {
        const asked = request(client, WEB);
        const page = await context.newPage();
        const refused = page.waitForEvent('console', one => /frame/i.test(one.text()));
        await page.goto(`https://evil.example/frame?${new URLSearchParams({ to: asked.url })}`);
        check(/frame-ancestors|X-Frame-Options/i.test((await refused).text()), 'it was shown in a frame');
        context.complaints.length = 0;
    },

    async 'a client that publishes a document'(context) {
        const id = new URL('/client.json', sites.redirect).href;
        sites.documents['/client.json'] = {
            client_id: id,
            client_name: 'Documented app',
            redirect_uris: [sites.redirect],
            token_endpoint_auth_method: 'none',
        };
        const [host, asked] = [new URL(id).host, request(id, sites.redirect)];
        await behind('described', async () => {
            const page = await open(context, asked);
            await look(page, 'consent-document');
            await reads(page, [
                'paragraph: Example Inc.',
                'heading: Allow Documented app to use Example tools?',
                `paragraph: This app is published by ${new URL(id).hostname}.`,
                'term: You will be sent to',
                `definition: ${host} (a program on this computer)`,
                'term: It may use',
                `definition: ${theCase.origin}/mcp`,
                'term: It will be able to',
                'definition: Read and change your examples',
                'term: You sign in with',
                'definition: 127.0.0.1 (openid, email, profile)',
                'paragraph: The app runs on this computer. Only continue if you just started this yourself.',
                'checkbox: Use another account',
                'button: Allow',
                'button: Deny',
                'paragraph: Questions? help@example.com',
            ]);
            await redeem(asked, await allow(page, asked));
        });
    },

    async 'a client of the operator’s, and one without a name'(context) {
        const nameless = await register({ redirect_uris: [WEB] });
        await behind('described', async () => {
            const asked = request('my-agent', WEB);
            const page = await open(context, asked);
            await shows(page, 'Allow my-agent to use', 'set up by the operator');
            await look(page, 'consent-operator');
            await redeem(asked, await allow(page, asked));
            await look(await open(context, request(nameless, WEB)), 'consent-nameless');
        });
    },

    async 'an account that is not let in'(context) {
        const asked = request(client, WEB);
        const page = await atTheProvider(context, asked);
        await behind('strict', async () => {
            await signIn(page);
            await page.waitForURL(`${theCase.origin}/callback/**`);
            await shows(page, 'This account is not allowed here', 'Ask the operator');
            await look(page, 'not-allowed');
            check(!sites.heard(asked.state), 'something was sent to the client');
            await page.click('a');
            const told = (await sites.answered(asked.state)).searchParams;
            check(told.get('error') === 'access_denied', `the client is told ${told.get('error')}`);
            check(told.get('iss') === theCase.origin && !told.has('code'), 'the answer is wrong');
        });
    },

    async 'trouble on our side: the store is away'(context) {
        const asked = request(client, WEB, { resource: `${theCase.origin}/forwarded` });
        const page = await atTheProvider(context, asked);
        await behind('strict', async () => {
            const answer = page.waitForResponse(one => one.url().startsWith(`${theCase.origin}/callback/`));
            await signIn(page);
            check((await answer).status() === 503, `the page is ${(await answer).status()}`);
            await shows(page, 'Something is wrong here', 'Wait a moment, then start again');
            await look(page, 'store-away');
        });
        check(!sites.heard(asked.state), 'something was sent to the client');
    },

    async 'too many attempts'(context) {
        const page = await context.newPage();
        await behind('strict', async () => {
            const { url } = request(client, WEB);
            check((await page.goto(url)).status() === 200, 'the first attempt is refused');
            const answer = await page.goto(url);
            check(answer.status() === 429, `the second attempt is ${answer.status()}`);
            check(Number(answer.headers()['retry-after']) > 0, 'nobody is told how long to wait');
            await shows(page, 'Too many attempts', 'Wait a minute');
            await look(page, 'too-many');
        });
    },

    async 'a provider that is away'(context) {
        const page = await open(context, request(client, WEB));
        await behind('away', async () => {
            const answer = page.waitForResponse(`${theCase.origin}/consent`);
            await press(page, 'allow');
            check((await answer).status() === 503, `the page is ${(await answer).status()}`);
            await shows(page, 'The identity provider does not answer');
            await look(page, 'provider-away');
        });
    },

    async 'a provider that was replaced while somebody signed in'(context) {
        const asked = request(client, WEB);
        const page = await atTheProvider(context, asked);
        await behind('away', async () => {
            await signIn(page);
            await page.waitForURL(`${theCase.origin}/callback/**`);
            await shows(page, 'This server was reconfigured', 'Start again');
            await look(page, 'reconfigured');
        });
        check(!sites.heard(asked.state), 'something was sent to the client');
    },

    async 'a provider that says nothing'(context) {
        const asked = request(client, WEB);
        const page = await open(context, asked);
        const leaving = page.waitForRequest(one => one.url().startsWith(`${theCase.provider}/auth?`));
        await press(page, 'allow');
        const state = new URL((await leaving).url()).searchParams.get('state');
        const answer = await page.goto(`${theCase.origin}/callback/oidc?${new URLSearchParams({ state })}`);
        check(answer.status() === 502, `the page is ${answer.status()}`);
        await shows(page, 'answer was not usable');
        await look(page, 'provider-unusable');
        check(!sites.heard(asked.state), 'something was sent to the client');
    },

    async 'tools that are away'(context) {
        const page = await context.newPage();
        await behind('away', async () => {
            const answer = await page.goto(`${theCase.origin}/optional`);
            check(answer.status() === 502, `the page is ${answer.status()}`);
            await shows(page, 'do not answer');
            await look(page, 'tools-away');
        });
    },

    async 'a public address, over TLS'(context) {
        const origin = 'https://mcp.example';
        const index = await context.newPage();
        check((await index.goto(`${origin}/`)).status() === 200, 'the page at / is missing');
        await shows(index, 'Claude’s connectors', 'ChatGPT');
        await look(index, 'index-public');
        // As a client's page does it, since only the browser knows the name.
        const app = await context.newPage();
        await app.goto('https://client.example/');
        const post = (path, type, body) =>
            app.evaluate(
                async ([url, type, body]) => {
                    const answer = await fetch(url, { method: 'POST', headers: { 'content-type': type }, body });
                    return { status: answer.status, ...(await answer.json()) };
                },
                [`${origin}${path}`, type, body],
            );
        const described = JSON.stringify({ ...metadata, token_endpoint_auth_method: 'none' });
        const { client_id } = await post('/register', 'application/json', described);
        const asked = request(client_id, WEB, {}, origin);
        const page = await open(context, asked);
        await shows(page, 'Example Inc.', 'You sign in with', 'GitHub');
        await look(page, 'consent-public');
        const cookies = await context.cookies(origin);
        check(
            cookies.length > 0 && cookies.every(one => one.name.startsWith('__Host-') && one.secure && one.httpOnly),
            `the cookies are ${JSON.stringify(cookies)}`,
        );
        await press(page, 'allow');
        const arrived = (await sites.answered(asked.state)).searchParams;
        check(arrived.get('iss') === origin, `the issuer is ${arrived.get('iss')}`);
        const form = new URLSearchParams({
            grant_type: 'authorization_code',
            code: arrived.get('code'),
            redirect_uri: WEB,
            client_id,
            code_verifier: asked.verifier,
        });
        const answer = await post('/token', 'application/x-www-form-urlencoded', String(form));
        check(answer.status === 200 && answer.access_token, `the code is answered ${answer.status} ${answer.error}`);
    },

    async 'the demo'(context) {
        const one = await register(metadata, theCase.demo);
        const asked = request(one, sites.redirect, {}, theCase.demo);
        const page = await open(context, asked);
        await look(page, 'demo-consent');
        await press(page, 'allow');
        await page.waitForSelector('button[name=user]');
        await look(page, 'demo-sign-in');
        await page.click('button[value=alice]');
        check((await sites.answered(asked.state)).searchParams.has('code'), 'nothing arrived at the client');
    },

    async 'every app that must register again'(context) {
        const apps = {
            Claude: 'https://claude.ai/api/mcp/auth_callback',
            'Claude Code': 'http://localhost:51234/callback',
            Cursor: CURSOR,
            'VS Code': 'http://127.0.0.1:33418/',
            ChatGPT: 'https://chatgpt.com/connector/oauth/x',
            'Codex CLI': 'http://127.0.0.1:1455/callback/x',
            'Gemini CLI': 'http://localhost:7777/oauth/callback',
            Goose: 'http://127.0.0.1:40555/oauth_callback',
            opencode: 'http://127.0.0.1:19876/mcp/oauth/callback',
            'mcp-remote': 'http://localhost:3334/oauth/callback',
            'MCP Inspector': 'http://localhost:6274/oauth/callback',
            Smithery: 'https://connect.smithery.ai/x',
            'Copilot Studio or Power Platform': 'https://global.consent.azure-apim.net/redirect/x',
            Grok: 'https://grok.com/connectors-oauth-exchange-code/',
            n8n: 'https://oauth.n8n.cloud/oauth2/callback',
            Postman: 'https://oauth.pstmn.io/v1/callback',
        };
        const page = await context.newPage();
        for (const [app, redirect] of Object.entries(apps)) {
            const answer = await page.goto(request('a.registration.of.another.server', redirect).url);
            check(answer.status() === 400, `${app}: ${answer.status()}`);
            await shows(page, 'needs to register again', `In ${app}: `);
            await look(page, `dead-${app.toLowerCase().replaceAll(' ', '-')}`, NARROW);
        }
    },

    async 'every other page'(context) {
        const page = await context.newPage();
        const unknown = redirect => request('a.registration.of.another.server', redirect).url;
        const documented = { client_id: `${theCase.origin}/nothing/client.json` };
        const hostile = await register({
            client_name: '<b>Claude</b>\u202e\u200b edual<script>alert(1)</script> '.repeat(4),
            redirect_uris: ['https://a-rather-long-name-of-a-host.of-some-deployment.client.example/a/long/path'],
        });
        const pages = {
            index: ['/', 200, 'Add'],
            'mcp-url': ['/mcp', 401, 'This address is for an AI app'],
            nothing: ['/no/such/page', 404, 'nothing at this address'],
            'odd-path': ['/mcp/a%2Fb', 400, 'nothing at this address'],
            'for-programs': ['/token', 405, 'for programs'],
            'consent-address': ['/consent', 405, 'started elsewhere'],
            'wrong-host': ['http://other.example/mcp', 421, 'another name'],
            'dead-client': [unknown('https://unheard.example/callback'), 400, 'add it again'],
            'dead-client-known': [unknown('http://localhost:51234/callback'), 400, 'In Claude Code:'],
            document: [request(documented.client_id, WEB).url, 400, 'description cannot be used'],
            'wrong-redirect': [request(client, `${WEB}/x`).url, 400, 'unknown place'],
            'wrong-request': [request(client, WEB, { response_type: 'token' }).url, 400, 'Go back to'],
            'lost-callback': ['/callback/oidc?code=x&state=y', 400, 'started elsewhere'],
            'consent-hostile': [request(hostile, '').url.replace('redirect_uri=&', ''), 200, '<b>Claude</b> edual'],
        };
        const wrong = [];
        for (const [name, [path, status, words]] of Object.entries(pages)) {
            try {
                const answer = await page.goto(new URL(path, theCase.origin).href);
                check(answer.status() === status, `${answer.status()} instead of ${status}`);
                await shows(page, words);
                await look(page, name);
            } catch (error) {
                wrong.push(`${name}: ${error.message}`);
            }
        }
        check(wrong.length === 0, wrong.join('\n'));
    },
};

/** A client's page that opens us in a popup; resolves when the person has signed in there. */
async function popup(context, headers = {}) {
    const asked = request(client, WEB);
    if (Object.keys(headers).length) {
        await context.route('**/authorize?*', async route => {
            const answer = await route.fetch();
            await route.fulfill({ response: answer, headers: { ...answer.headers(), ...headers } });
        });
    }
    const app = await context.newPage();
    await app.goto(`https://client.example/app?${new URLSearchParams({ to: asked.url })}`);
    const opened = context.waitForEvent('page');
    await app.click('button');
    const window = await opened;
    await window.waitForSelector('button[value=allow]');
    await press(window, 'allow');
    await signIn(window);
    return { asked, app };
}

for (const [name, prove] of Object.entries(proofs)) {
    const context = await person(browser);
    try {
        await prove(context);
        check(context.complaints.length === 0, `the browser complained: ${context.complaints.join('; ')}`);
        say({ proof: name, ok: true });
    } catch (error) {
        say({ proof: name, ok: false, error: causes(error) });
    } finally {
        await context.close();
    }
}
await browser.close();
sites.close();
process.exit(0);
