// Tools that need more than one request: each round answers what the last one asked.

import { acceptedContent, inputRequired, inputResponse } from '@modelcontextprotocol/server';

import { text } from './samples.mjs';

const said = words => ({ content: [text(words)] });
const form = (name, type = 'string') => ({
    type: 'object',
    properties: { [name]: { type } },
    required: [name],
});
const ask = (message, name, type) => inputRequired.elicit({ message, requestedSchema: form(name, type) });
const sample = (words, maxTokens) =>
    inputRequired.createMessage({ messages: [{ role: 'user', content: text(words) }], maxTokens });

export function rounds(server, codec) {
    const tool = (name, run) => {
        const full = `test_input_required_result_${name}`;
        server.registerTool(full, { description: `Does ${full}` }, context =>
            run(context.mcpReq.inputResponses, context),
        );
    };
    const answered = (answers, key, kind) => {
        const view = inputResponse(answers, key);
        return view.kind === kind ? view : undefined;
    };

    tool('elicitation', answers => {
        const answer = acceptedContent(answers, 'user_name');
        if (typeof answer?.name === 'string') return said(`Hello, ${answer.name}!`);
        return inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name') } });
    });
    tool('sampling', answers => {
        const answer = answered(answers, 'capital_question', 'sampling');
        if (answer) return said(answer.result.content.text);
        return inputRequired({ inputRequests: { capital_question: sample('What is the capital of France?', 100) } });
    });
    tool('list_roots', answers => {
        const answer = answered(answers, 'client_roots', 'roots');
        if (answer) return said(answer.roots.map(root => root.uri).join(', '));
        return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
    });
    const confirm = async (answers, context) => {
        if (acceptedContent(answers, 'confirm') && context.mcpReq.requestState()) return said('state-ok');
        return inputRequired({
            inputRequests: { confirm: ask('Please confirm', 'ok', 'boolean') },
            requestState: await codec.mint({ round: 1 }),
        });
    };
    tool('request_state', confirm);
    tool('tampered_state', confirm);
    tool('multiple_inputs', async answers => {
        const keys = ['user_name', 'greeting', 'client_roots'];
        if (keys.every(key => inputResponse(answers, key).kind !== 'missing')) return said('Everything is here.');
        return inputRequired({
            inputRequests: {
                user_name: ask('What is your name?', 'name'),
                greeting: sample('Generate a greeting', 50),
                client_roots: inputRequired.listRoots(),
            },
            requestState: await codec.mint({ round: 1 }),
        });
    });
    tool('multi_round', async (answers, context) => {
        const state = context.mcpReq.requestState();
        const [first, second] = [acceptedContent(answers, 'step1'), acceptedContent(answers, 'step2')];
        if (second && state?.name) return said(`${state.name} likes ${second.color}`);
        if (first) {
            return inputRequired({
                inputRequests: { step2: ask('Step 2: What is your favorite color?', 'color') },
                requestState: await codec.mint({ name: first.name }),
            });
        }
        return inputRequired({
            inputRequests: { step1: ask('Step 1: What is your name?', 'name') },
            requestState: await codec.mint({ round: 1 }),
        });
    });
    tool('capabilities', (answers, context) => {
        const able = context.mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {};
        const inputRequests = {
            ...(able.elicitation && { user_name: ask('What is your name?', 'name') }),
            ...(able.sampling && { greeting: sample('Generate a greeting', 50) }),
        };
        if (answers || !Object.keys(inputRequests).length) return said('fine');
        return inputRequired({ inputRequests });
    });
}
