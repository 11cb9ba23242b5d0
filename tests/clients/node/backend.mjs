// The MCP server behind the gateway, made with the official SDK. One endpoint, both eras:
// 2026-07-28 requests stand alone, 2025-11-25 clients get sessions. Its tool returns the HTTP
// headers that the request arrived with, so that a test sees what the gateway let through.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } from '@modelcontextprotocol/node';
import { createMcpHandler, isLegacyRequest, McpServer } from '@modelcontextprotocol/server';

function mcpServer() {
    const server = new McpServer({ name: 'echo', version: '1.0.0' });
    const description = 'Returns the HTTP headers of this request';
    server.registerTool('headers', { description }, context => {
        const headers = Object.fromEntries(context.http?.req?.headers ?? []);
        return { content: [{ type: 'text', text: JSON.stringify(headers) }] };
    });
    return server;
}

const modern = toNodeHandler(createMcpHandler(mcpServer, { legacy: 'reject' }));
const sessions = new Map();

async function legacy(request, response, body) {
    const known = sessions.get(request.headers['mcp-session-id']);
    if (known) return known.handleRequest(request, response, body);
    if (request.headers['mcp-session-id']) {
        response.writeHead(404, { 'content-type': 'application/json' });
        return response.end('{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"}}');
    }
    const transport = new NodeStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: id => sessions.set(id, transport),
        onsessionclosed: id => sessions.delete(id),
    });
    await mcpServer().connect(transport);
    return transport.handleRequest(request, response, body);
}

async function bodyOf(request) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    try {
        return text ? JSON.parse(text) : undefined;
    } catch {
        return undefined;
    }
}

createServer(async (request, response) => {
    const body = await bodyOf(request);
    // Here anybody may look, and people may call.
    if (request.url === '/optional' && body?.method === 'tools/call' && !request.headers['x-forwarded-user']) {
        return response.writeHead(401).end();
    }
    const old = await isLegacyRequest(await toWebRequest(request, body), body);
    return old ? legacy(request, response, body) : modern(request, response, body);
}).listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
