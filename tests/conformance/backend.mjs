// The MCP server that the scenarios are run against, made with the official SDK: what they ask for
// by name, in both eras. 2026-07-28 requests stand alone; earlier clients get sessions, with events
// that can be resumed.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } from '@modelcontextprotocol/node';
import {
    createMcpHandler,
    createRequestStateCodec,
    fromJsonSchema,
    hostHeaderValidationResponse,
    isLegacyRequest,
    localhostAllowedHostnames,
    localhostAllowedOrigins,
    McpServer,
    originValidationResponse,
} from '@modelcontextprotocol/server';

import { prompts } from './backend/prompts.mjs';
import { resources } from './backend/resources.mjs';
import { rounds } from './backend/rounds.mjs';
import { tools } from './backend/tools.mjs';

const codec = createRequestStateCodec({ key: randomUUID() + randomUUID(), ttlSeconds: 600 });

function mcpServer() {
    const server = new McpServer(
        { name: 'everything', version: '1.0.0' },
        {
            capabilities: {
                tools: { listChanged: true },
                prompts: { listChanged: true },
                resources: { subscribe: true, listChanged: true },
                logging: {},
                completions: {},
            },
            requestState: { verify: codec.verify },
        },
    );
    tools(server, fromJsonSchema, () => modern);
    rounds(server, codec);
    prompts(server, fromJsonSchema);
    resources(server);
    return server;
}

const modern = createMcpHandler(mcpServer, { legacy: 'reject' });
const modernNode = toNodeHandler(modern);

/** What was sent in each stream, so that a client that was cut off gets the rest. */
class Events {
    #sent = [];

    async storeEvent(stream, message) {
        this.#sent.push({ stream, message });
        return String(this.#sent.length);
    }

    async replayEventsAfter(last, { send }) {
        const from = Number(last);
        const { stream } = this.#sent[from - 1];
        for (const [index, one] of this.#sent.entries()) {
            // A message of nothing only opened the stream.
            if (index >= from && one.stream === stream && Object.keys(one.message).length) {
                await send(String(index + 1), one.message);
            }
        }
        return stream;
    }
}

const sessions = new Map();

async function legacy(request, response, body) {
    const id = request.headers['mcp-session-id'];
    const known = sessions.get(id);
    if (known) return known.handleRequest(request, response, body);
    if (id) {
        response.writeHead(404, { 'content-type': 'application/json' });
        return response.end('{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"}}');
    }
    const transport = new NodeStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: new Events(),
        retryInterval: 500,
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
    const asked = await toWebRequest(request, body);
    const refused =
        hostHeaderValidationResponse(asked, localhostAllowedHostnames()) ??
        originValidationResponse(asked, localhostAllowedOrigins());
    if (refused) {
        response.writeHead(refused.status, Object.fromEntries(refused.headers));
        return response.end(await refused.text());
    }
    const old = await isLegacyRequest(asked, body);
    return old ? legacy(request, response, body) : modernNode(request, response, body);
}).listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
