// A provider of the kind that GitHub is: plain OAuth 2. Tokens have no expiry and no refresh
// token; errors come with status 200; answers are form-encoded unless JSON is asked for; the
// person is at `/user`, the addresses at `/user/emails`; a User-Agent is required there; a token is
// ended by a DELETE that the app itself authorizes.

import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

const codes = new Map();
const tokens = new Set();
const person = { id: 583231, login: 'octocat', name: 'Octo Cat', email: null };
const emails = [
    { email: 'old@example.com', primary: false, verified: false },
    { email: 'octocat@example.com', primary: true, verified: true },
];

async function formOf(request) {
    let body = '';
    for await (const chunk of request) body += chunk;
    return new URLSearchParams(body);
}

function authorize(url, response) {
    const query = url.searchParams;
    const code = randomBytes(10).toString('hex');
    codes.set(code, { challenge: query.get('code_challenge'), redirect: query.get('redirect_uri') });
    const to = new URL(query.get('redirect_uri'));
    to.searchParams.set('code', code);
    if (query.has('state')) to.searchParams.set('state', query.get('state'));
    response.writeHead(302, { location: String(to) }).end();
}

function redeem(form) {
    if (form.get('client_secret') !== process.env.CLIENT_SECRET) {
        return { error: 'incorrect_client_credentials', error_description: 'The client_id and/or client_secret passed are incorrect.' };
    }
    const held = codes.get(form.get('code'));
    codes.delete(form.get('code'));
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    if (!held || held.redirect !== form.get('redirect_uri') || (held.challenge && held.challenge !== challenge)) {
        return { error: 'bad_verification_code', error_description: 'The code passed is incorrect or expired.' };
    }
    const access_token = `gho_${randomBytes(18).toString('hex')}`;
    tokens.add(access_token);
    return { access_token, token_type: 'bearer', scope: 'read:user,user:email' };
}

async function token(request, response) {
    const form = await formOf(request);
    const [, basic] = (request.headers.authorization ?? '').split('Basic ');
    if (basic) form.set('client_secret', decodeURIComponent(Buffer.from(basic, 'base64').toString().split(':')[1]));
    const answer = redeem(form);
    if (request.headers.accept?.includes('application/json')) {
        return json(response, 200, answer);
    }
    response.writeHead(200, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' });
    return response.end(String(new URLSearchParams(answer)));
}

/** `DELETE /applications/{client_id}/token`: ends one token, with the app's own credentials. */
async function end(request, response) {
    let body = '';
    for await (const chunk of request) body += chunk;
    const [, basic] = (request.headers.authorization ?? '').split('Basic ');
    const [, secret] = Buffer.from(basic ?? '', 'base64').toString().split(':');
    if (secret !== process.env.CLIENT_SECRET) return json(response, 404, { message: 'Not Found' });
    const known = tokens.delete(JSON.parse(body).access_token);
    return known ? response.writeHead(204).end() : json(response, 422, { message: 'Validation Failed' });
}

function json(response, status, value) {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
    response.end(JSON.stringify(value));
}

function api(request, response, value) {
    if (!request.headers['user-agent']) {
        return json(response, 403, { message: 'Request forbidden by administrative rules.' });
    }
    const [, bearer] = (request.headers.authorization ?? '').split(/ +/);
    return tokens.has(bearer) ? json(response, 200, value) : json(response, 401, { message: 'Bad credentials' });
}

createServer((request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    if (url.pathname === '/login/oauth/authorize') return authorize(url, response);
    if (url.pathname === '/login/oauth/access_token') return token(request, response);
    if (url.pathname === '/applications/gateway/token' && request.method === 'DELETE') return end(request, response);
    if (url.pathname === '/user') return api(request, response, person);
    if (url.pathname === '/user/emails') return api(request, response, emails);
    return json(response, 404, { message: 'Not Found' });
}).listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
