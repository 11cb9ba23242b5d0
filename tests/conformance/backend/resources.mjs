// Resources, a template, and subscriptions.

import { ResourceTemplate } from '@modelcontextprotocol/server';

import { PNG } from './samples.mjs';

export function resources(server) {
    const plain = { description: 'A text', mimeType: 'text/plain' };
    server.registerResource('static-text', 'test://static-text', plain, uri => ({
        contents: [
            { uri: uri.href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
        ],
    }));
    const picture = { description: 'A picture', mimeType: 'image/png' };
    server.registerResource('static-binary', 'test://static-binary', picture, uri => ({
        contents: [{ uri: uri.href, mimeType: 'image/png', blob: PNG }],
    }));
    server.registerResource('watched', 'test://watched-resource', plain, uri => ({
        contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'Watch me.' }],
    }));
    const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
    const json = { description: 'One for each id', mimeType: 'application/json' };
    server.registerResource('template', template, json, (uri, { id }) => ({
        contents: [
            {
                uri: uri.href,
                mimeType: 'application/json',
                text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
            },
        ],
    }));
    server.server.setRequestHandler('resources/subscribe', () => ({}));
    server.server.setRequestHandler('resources/unsubscribe', () => ({}));
}
