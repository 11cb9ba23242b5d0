// `oauth4webapi`: knows OAuth, not MCP. Every answer of ours passes its strict checks.

import * as oauth from 'oauth4webapi';

import { callByHand, openInBrowser, repl, State, theCase } from './repl.mjs';

const loopback = { [oauth.allowInsecureRequests]: true };
const state = new State();
const resource = new URL(theCase.url);

/** From the 401 to the authorization server's metadata. */
async function discover() {
    const refusal = await fetch(resource, { method: 'POST' });
    const challenge = refusal.headers.get('www-authenticate') ?? '';
    const told = challenge.match(/resource_metadata="([^"]+)"/)?.[1];
    if (refusal.status !== 401 || !told) throw new Error(`${refusal.status} ${challenge}`);
    const asked = await oauth.resourceDiscoveryRequest(resource, loopback);
    if (asked.url !== told) throw new Error(`the challenge names ${told}, not ${asked.url}`);
    const metadata = await oauth.processResourceDiscoveryResponse(resource, asked);
    const issuer = new URL(metadata.authorization_servers[0]);
    const answer = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...loopback });
    return oauth.processDiscoveryResponse(issuer, answer);
}

async function register(server) {
    const metadata = {
        client_name: 'oauth4webapi',
        redirect_uris: [theCase.redirect],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'client_secret_basic',
    };
    const answer = await oauth.dynamicClientRegistrationRequest(server, metadata, loopback);
    return oauth.processDynamicClientRegistrationResponse(answer);
}

async function authorize(server, client) {
    const verifier = oauth.generateRandomCodeVerifier();
    const expected = oauth.generateRandomState();
    const url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams({
        client_id: client.client_id,
        redirect_uri: theCase.redirect,
        response_type: 'code',
        scope: 'mcp offline_access',
        state: expected,
        resource: theCase.url,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
    });
    const answer = oauth.validateAuthResponse(server, client, await openInBrowser(url), expected);
    const tokens = await oauth.authorizationCodeGrantRequest(
        server,
        client,
        oauth.ClientSecretBasic(client.client_secret),
        answer,
        theCase.redirect,
        verifier,
        { additionalParameters: { resource: theCase.url }, ...loopback },
    );
    return oauth.processAuthorizationCodeResponse(server, client, tokens);
}

function keep(tokens) {
    state.set('tokens', { ...tokens, expires_at: Date.now() + tokens.expires_in * 1000 });
}

async function refresh() {
    const server = state.get('server');
    const client = state.get('client');
    const authentication = oauth.ClientSecretBasic(client.client_secret);
    const { refresh_token } = state.get('tokens');
    const answer = await oauth.refreshTokenGrantRequest(server, client, authentication, refresh_token, loopback);
    keep(await oauth.processRefreshTokenResponse(server, client, answer));
}

await repl({
    async connect() {
        if (state.get('tokens')) return;
        state.set('server', await discover());
        state.set('client', await register(state.get('server')));
        keep(await authorize(state.get('server'), state.get('client')));
    },
    async call() {
        if (state.get('tokens').expires_at <= Date.now()) await refresh();
        return callByHand(theCase.url, state.get('tokens').access_token);
    },
    async revoke() {
        const client = state.get('client');
        const authentication = oauth.ClientSecretBasic(client.client_secret);
        const { refresh_token } = state.get('tokens');
        await oauth.processRevocationResponse(
            await oauth.revocationRequest(state.get('server'), client, authentication, refresh_token, loopback),
        );
    },
});
