// Tools: one for each kind of content, and one for each thing that a tool may do while it runs.

import { inputRequired } from '@modelcontextprotocol/server';
import { setTimeout as sleep } from 'node:timers/promises';

import { image, text, WAV } from './samples.mjs';

const NOTHING = { type: 'object', properties: {} };
const strings = (...names) => ({
    type: 'object',
    properties: Object.fromEntries(names.map(name => [name, { type: 'string' }])),
    required: names,
});
const said = (...content) => ({ content });

const RICH = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: {
        address: {
            $anchor: 'addressDef',
            type: 'object',
            properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
    },
    properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false,
};

export function tools(server, schema, handler) {
    const tool = (name, inputSchema, run) =>
        server.registerTool(name, { description: `Does ${name}`, inputSchema: schema(inputSchema) }, run);
    content(tool);
    while_running(tool);
    asking(tool);
    tool('json_schema_2020_12_tool', RICH, () => said(text('fine')));
    const region = { type: 'string', 'x-mcp-header': 'Region' };
    const mirrored = { type: 'object', properties: { region, query: { type: 'string' } }, required: ['region'] };
    tool('test_custom_headers', mirrored, ({ region }) => said(text(`Region: ${region}`)));
    // The SDK refuses to ask for what the client did not declare.
    tool('test_missing_capability', NOTHING, () => {
        const messages = [{ role: 'user', content: text('Are you there?') }];
        return inputRequired({ inputRequests: { sample: inputRequired.createMessage({ messages, maxTokens: 9 }) } });
    });
    tool('test_trigger_tool_change', NOTHING, () => {
        handler().notify.toolsChanged();
        return said(text('changed'));
    });
    tool('test_trigger_prompt_change', NOTHING, () => {
        handler().notify.promptsChanged();
        return said(text('changed'));
    });
}

function content(tool) {
    tool('test_simple_text', NOTHING, () => said(text('This is a simple text response for testing.')));
    tool('test_image_content', NOTHING, () => said(image));
    tool('test_audio_content', NOTHING, () => said({ type: 'audio', data: WAV, mimeType: 'audio/wav' }));
    const resource = (uri, mimeType, words) => ({ type: 'resource', resource: { uri, mimeType, text: words } });
    const embedded = resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.');
    tool('test_embedded_resource', NOTHING, () => said(embedded));
    const mixed = resource('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}');
    tool('test_multiple_content_types', NOTHING, () => said(text('Multiple content types test:'), image, mixed));
    tool('test_error_handling', NOTHING, () => {
        throw new Error('This tool intentionally returns an error for testing');
    });
}

function while_running(tool) {
    tool('test_tool_with_logging', NOTHING, async (_, context) => {
        for (const words of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
            await context.mcpReq.log('info', words);
            await sleep(50);
        }
        return said(text('logged'));
    });
    tool('test_logging_tool', NOTHING, async (_, context) => {
        await context.mcpReq.log('info', 'working');
        return said(text('logged'));
    });
    tool('test_tool_with_progress', NOTHING, async (_, context) => {
        const progressToken = context.mcpReq._meta?.progressToken;
        for (const progress of [0, 50, 100]) {
            if (progressToken !== undefined) {
                const params = { progressToken, progress, total: 100 };
                await context.mcpReq.notify({ method: 'notifications/progress', params });
            }
            await sleep(50);
        }
        return said(text('progressed'));
    });
    tool('test_reconnection', NOTHING, async (_, context) => {
        context.http?.closeSSE?.();
        await sleep(100);
        return said(text('reconnected'));
    });
    tool('test_streaming_elicitation', NOTHING, () => said(text('nothing to ask')));
}

// Questions go out on the stream of the call that asks them. The SDK's shorthands use the GET stream,
// and what is asked before a client has opened that is lost.
function asking(tool) {
    tool('test_sampling', strings('prompt'), async ({ prompt }, context) => {
        const messages = [{ role: 'user', content: text(prompt) }];
        const params = { messages, maxTokens: 100 };
        const answer = await context.mcpReq.send({ method: 'sampling/createMessage', params });
        return said(text(`LLM response: ${answer.content.text}`));
    });
    const elicit = async (context, message, requestedSchema, begin) => {
        const params = { message, requestedSchema };
        const { action, content } = await context.mcpReq.send({ method: 'elicitation/create', params });
        return said(text(`${begin} action=${action}, content=${JSON.stringify(content)}`));
    };
    const person = {
        type: 'object',
        properties: {
            username: { type: 'string', description: "User's response" },
            email: { type: 'string', description: "User's email address" },
        },
        required: ['username', 'email'],
    };
    tool('test_elicitation', strings('message'), ({ message }, context) =>
        elicit(context, message, person, 'User response:'),
    );
    const defaults = {
        name: { type: 'string', default: 'John Doe' },
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean', default: true },
    };
    const done = 'Elicitation completed:';
    tool('test_elicitation_sep1034_defaults', NOTHING, (_, context) =>
        elicit(context, 'Please check', { type: 'object', properties: defaults }, done),
    );
    const titled = (values, titles) => values.map((value, index) => ({ const: value, title: titles[index] }));
    const ordinals = ['First', 'Second', 'Third'];
    const values = ['value1', 'value2', 'value3'];
    const options = { type: 'string', enum: ['option1', 'option2', 'option3'] };
    const properties = {
        untitledSingle: options,
        titledSingle: { type: 'string', oneOf: titled(values, ordinals.map(it => `${it} Option`)) },
        legacyEnum: {
            type: 'string',
            enum: ['opt1', 'opt2', 'opt3'],
            enumNames: ['Option One', 'Option Two', 'Option Three'],
        },
        untitledMulti: { type: 'array', items: options },
        titledMulti: { type: 'array', items: { anyOf: titled(values, ordinals.map(it => `${it} Choice`)) } },
    };
    tool('test_elicitation_sep1330_enums', NOTHING, (_, context) =>
        elicit(context, 'Please choose', { type: 'object', properties }, done),
    );
}
