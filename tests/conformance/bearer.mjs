// Stands where the scenarios believe the server to be, and adds the access token that they do not
// know how to get; everything else passes as it is, both ways, as it comes.

import { existsSync, readFileSync } from 'node:fs';
import { createServer, request as open } from 'node:http';

const { PORT, TARGET, TOKEN_FILE } = process.env;

function headersOf(request) {
    if (!request.url.startsWith('/mcp') || !existsSync(TOKEN_FILE)) return request.rawHeaders;
    return [...request.rawHeaders, 'Authorization', `Bearer ${readFileSync(TOKEN_FILE, 'utf8').trim()}`];
}

createServer((request, response) => {
    const onward = open({
        host: '127.0.0.1',
        port: Number(TARGET),
        method: request.method,
        path: request.url,
        headers: headersOf(request),
        setHost: false,
    });
    onward.on('response', answer => {
        response.writeHead(answer.statusCode, answer.rawHeaders);
        response.flushHeaders();
        answer.on('error', () => response.destroy());
        answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
}).listen(Number(PORT), '127.0.0.1', () => console.log('ready'));
