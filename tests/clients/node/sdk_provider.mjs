// The part that the TypeScript SDK leaves to the application: where things are kept, and who
// opens the browser. The same for both majors.

import { randomBytes } from 'node:crypto';

import { openInBrowser, State, theCase } from './repl.mjs';

export class Provider {
    #state = new State();
    #nonce = '';
    /** The redirect that reached the client, once the person has allowed it. */
    location;

    constructor(name) {
        this.clientMetadata = {
            client_name: name,
            redirect_uris: [theCase.redirect],
            grant_types: ['authorization_code', 'refresh_token'],
            response_types: ['code'],
            token_endpoint_auth_method: 'none',
        };
    }

    get redirectUrl() {
        return theCase.redirect;
    }

    state() {
        this.#nonce = randomBytes(16).toString('hex');
        return this.#nonce;
    }

    clientInformation() {
        return this.#state.get('client');
    }

    saveClientInformation(client) {
        this.#state.set('client', client);
    }

    tokens() {
        return this.#state.get('tokens');
    }

    saveTokens(tokens) {
        this.#state.set('tokens', tokens);
    }

    saveCodeVerifier(verifier) {
        this.#state.set('verifier', verifier);
    }

    codeVerifier() {
        return this.#state.get('verifier');
    }

    saveDiscoveryState(discovery) {
        this.#state.set('discovery', discovery);
    }

    discoveryState() {
        return this.#state.get('discovery');
    }

    invalidateCredentials(scope) {
        if (scope === 'all' || scope === 'client') this.#state.set('client', undefined);
        if (scope === 'all' || scope === 'tokens') this.#state.set('tokens', undefined);
        if (scope === 'all' || scope === 'discovery') this.#state.set('discovery', undefined);
    }

    async redirectToAuthorization(url) {
        this.location = await openInBrowser(url);
        const state = this.location.searchParams.get('state');
        if (state !== this.#nonce) throw new Error('the redirect carries another state');
    }
}

/** Connects; where the SDK asks for a sign-in, finishes it and connects again, once. */
export async function connectWith(provider, { newClient, newTransport, Unauthorized, finish }) {
    /** The action; where it needs a sign-in, finishes that, and `again`. */
    const signingIn = async (transport, action, again) => {
        try {
            return await action();
        } catch (error) {
            if (!(error instanceof Unauthorized)) throw error;
        }
        await finish(transport, provider.location.searchParams);
        return again();
    };
    let [client, transport] = [newClient(), newTransport(provider)];
    await signingIn(
        transport,
        () => client.connect(transport),
        () => {
            [client, transport] = [newClient(), newTransport(provider)];
            return client.connect(transport);
        },
    );
    return { client, signingIn: action => signingIn(transport, action, action) };
}

/** The commands of a connected SDK client. */
export function commandsOf(connect) {
    let held;
    return {
        async connect() {
            held = await connect();
        },
        async call() {
            const { client, signingIn } = held;
            const { tools } = await client.listTools();
            const result = await signingIn(() => client.callTool({ name: 'headers', arguments: {} }));
            return { tools: tools.map(tool => tool.name), result };
        },
        async revoke() {
            return { 'n/a': 'the SDK has no revocation call' };
        },
    };
}
