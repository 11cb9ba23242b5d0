// `openid-client`: knows OAuth and OpenID Connect, not MCP.

import * as oidc from 'openid-client';

import { callByHand, openInBrowser, repl, State, theCase } from './repl.mjs';

const loopback = { algorithm: 'oauth2', execute: [oidc.allowInsecureRequests] };
const state = new State();
let configuration;

/** From the 401 to the issuer: the one part that this library leaves to the application. */
async function issuer() {
    const refusal = await fetch(theCase.url, { method: 'POST' });
    const told = refusal.headers.get('www-authenticate')?.match(/resource_metadata="([^"]+)"/)?.[1];
    if (refusal.status !== 401 || !told) throw new Error(`${refusal.status}, no resource_metadata`);
    const metadata = await (await fetch(told)).json();
    if (metadata.resource !== theCase.url) throw new Error(`the metadata is for ${metadata.resource}`);
    return new URL(metadata.authorization_servers[0]);
}

async function register(server) {
    const metadata = {
        client_name: 'openid-client',
        redirect_uris: [theCase.redirect],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'client_secret_post',
    };
    configuration = await oidc.dynamicClientRegistration(server, metadata, undefined, loopback);
    state.set('server', server.href);
    state.set('client', configuration.clientMetadata());
}

async function remembered() {
    const client = state.get('client');
    configuration = await oidc.discovery(new URL(state.get('server')), client.client_id, client, undefined, loopback);
}

async function authorize() {
    const verifier = oidc.randomPKCECodeVerifier();
    const expectedState = oidc.randomState();
    const url = oidc.buildAuthorizationUrl(configuration, {
        redirect_uri: theCase.redirect,
        scope: 'mcp offline_access',
        state: expectedState,
        resource: theCase.url,
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
    });
    const location = await openInBrowser(url);
    const checks = { pkceCodeVerifier: verifier, expectedState };
    return oidc.authorizationCodeGrant(configuration, location, checks, { resource: theCase.url });
}

function keep(tokens) {
    state.set('tokens', { ...tokens, expires_at: Date.now() + tokens.expires_in * 1000 });
}

await repl({
    async connect() {
        if (state.get('tokens')) return remembered();
        await register(await issuer());
        keep(await authorize());
    },
    async call() {
        const { expires_at, refresh_token } = state.get('tokens');
        if (expires_at <= Date.now()) keep(await oidc.refreshTokenGrant(configuration, refresh_token));
        return callByHand(theCase.url, state.get('tokens').access_token);
    },
    async revoke() {
        await oidc.tokenRevocation(configuration, state.get('tokens').refresh_token);
    },
});
