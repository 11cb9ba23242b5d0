// Prompts, and completion of their arguments.

import { completable, inputRequired, acceptedContent } from '@modelcontextprotocol/server';
import { z } from 'zod';

import { image, text } from './samples.mjs';

const user = content => ({ role: 'user', content });

export function prompts(server) {
    server.registerPrompt('test_simple_prompt', { description: 'Without arguments' }, () => ({
        messages: [user(text('This is a simple prompt for testing.'))],
    }));
    const starting = words => value => words.filter(word => word.startsWith(value));
    server.registerPrompt(
        'test_prompt_with_arguments',
        {
            description: 'With two arguments',
            argsSchema: z.object({
                arg1: completable(z.string().describe('First'), starting(['paris', 'park', 'party'])),
                arg2: z.string().describe('Second'),
            }),
        },
        ({ arg1, arg2 }) => ({
            messages: [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))],
        }),
    );
    server.registerPrompt(
        'test_prompt_with_embedded_resource',
        {
            description: 'With a resource inside',
            argsSchema: z.object({ resourceUri: z.string().describe('The resource') }),
        },
        ({ resourceUri }) => {
            const words = 'Embedded resource content for testing.';
            const resource = { uri: resourceUri, mimeType: 'text/plain', text: words };
            const messages = [user({ type: 'resource', resource }), user(text('Please process the embedded resource above.'))];
            return { messages };
        },
    );
    server.registerPrompt('test_prompt_with_image', { description: 'With a picture' }, () => ({
        messages: [user(image), user(text('Please analyze the image above.'))],
    }));
    server.registerPrompt('test_input_required_result_prompt', { description: 'Asks first' }, context => {
        const answer = acceptedContent(context.mcpReq.inputResponses, 'user_context');
        if (answer) return { messages: [user(text(`Use this context: ${answer.context}`))] };
        const requestedSchema = {
            type: 'object',
            properties: { context: { type: 'string' } },
            required: ['context'],
        };
        const message = 'What context should the prompt use?';
        return inputRequired({ inputRequests: { user_context: inputRequired.elicit({ message, requestedSchema }) } });
    });
}
