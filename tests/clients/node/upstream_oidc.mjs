// An OpenID provider: npm's oidc-provider. PKCE is required, refresh tokens rotate (and one that
// is used twice ends the grant), access tokens are short. Signing in is one form: who.
// `POST /change/key` gives it another signing key, `POST /change/closed/NAME` closes an account and
// `POST /change/open/NAME` opens it again.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;
const people = {
    alice: { name: 'Alice', email: 'alice@example.com', email_verified: true, preferred_username: 'alice' },
    bob: { name: 'Bob', email: 'bob@example.com', email_verified: true, preferred_username: 'bob' },
};

const closed = new Set();

const makeKey = () => ({
    ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
    kid: randomUUID(),
    alg: 'RS256',
    use: 'sig',
});

// What is kept outlives a change of keys.
const kept = new Map();

class Adapter {
    constructor(model) {
        this.model = model;
    }

    key(id) {
        return `${this.model}:${id}`;
    }

    async upsert(id, payload, expiresIn) {
        kept.set(this.key(id), { payload, ends: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
    }

    async find(id) {
        const entry = kept.get(this.key(id));
        return entry && entry.ends > Date.now() ? entry.payload : undefined;
    }

    async findByUid(uid) {
        return this.first(payload => payload.uid === uid);
    }

    async findByUserCode(code) {
        return this.first(payload => payload.userCode === code);
    }

    first(test) {
        const mine = [...kept].filter(([key]) => key.startsWith(`${this.model}:`));
        return mine.map(([, { payload }]) => payload).find(test);
    }

    async consume(id) {
        kept.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000);
    }

    async destroy(id) {
        kept.delete(this.key(id));
    }

    async revokeByGrantId(grantId) {
        for (const [key, { payload }] of kept) if (payload.grantId === grantId) kept.delete(key);
    }
}

const makeProvider = () => new Provider(issuer, {
    adapter: Adapter,
    jwks: { keys: [makeKey()] },
    clients: [
        {
            client_id: 'gateway',
            client_secret: process.env.CLIENT_SECRET,
            redirect_uris: JSON.parse(process.env.REDIRECT_URIS),
            grant_types: ['authorization_code', 'refresh_token'],
            response_types: ['code'],
        },
    ],
    pkce: { required: () => true },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => closed.has(id) ? undefined : { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    rotateRefreshToken: true,
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    cookies: { keys: ['only on loopback'] },
    ttl: { AccessToken: 45, AuthorizationCode: 60, RefreshToken: 3600, IdToken: 300, Interaction: 600, Session: 3600, Grant: 3600 },
});
let provider = makeProvider();

function change(path) {
    const [what, name] = path.split('/');
    if (what === 'key') provider = makeProvider();
    if (what === 'closed') closed.add(name);
    if (what === 'open') closed.delete(name);
}

const page = uid => `<!doctype html><html lang="en"><title>Sign in</title>
<form method="post" action="/interaction/${uid}"><label>Who are you? <input name="login" value="alice"></label>
<button type="submit">Sign in</button></form></html>`;

async function interaction(request, response) {
    const { uid, params, session, grantId } = await provider.interactionDetails(request, response);
    if (request.method === 'GET') {
        response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
        return response.end(page(uid));
    }
    let body = '';
    for await (const chunk of request) body += chunk;
    const accountId = session?.accountId ?? new URLSearchParams(body).get('login');
    const grant = grantId
        ? await provider.Grant.find(grantId)
        : new provider.Grant({ accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    const result = { login: { accountId }, consent: { grantId: await grant.save() } };
    return provider.interactionFinished(request, response, result);
}

createServer((request, response) => {
    if (request.method === 'POST' && request.url.startsWith('/change/')) {
        change(request.url.slice('/change/'.length));
        return response.writeHead(204).end();
    }
    if (!request.url.startsWith('/interaction/')) return provider.callback()(request, response);
    return interaction(request, response).catch(error => {
        console.error(error);
        response.writeHead(500).end();
    });
}).listen(port, '127.0.0.1', () => console.log('ready'));
