"""The official Python SDK, previous major."""

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import parse_qs, urlsplit

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from repl import CASE, TokenFile, open_in_browser, repl, tool_answer

redirects = []
stack = AsyncExitStack()
session = None


async def open_browser(url):
    redirects.append(await asyncio.to_thread(open_in_browser, url))


async def take_redirect():
    answer = parse_qs(urlsplit(redirects.pop()).query)
    return answer["code"][0], answer["state"][0]


async def connect():
    global session
    storage = TokenFile(OAuthToken, OAuthClientInformationFull)
    provider = OAuthClientProvider(
        server_url=CASE["url"],
        client_metadata=OAuthClientMetadata(
            client_name="Python SDK 1",
            redirect_uris=[CASE["redirect"]],
            token_endpoint_auth_method="client_secret_post",
        ),
        storage=storage,
        redirect_handler=open_browser,
        callback_handler=take_redirect,
    )
    provider.context.token_expiry_time = storage.ends()
    read, write, _ = await stack.enter_async_context(
        streamablehttp_client(CASE["url"], auth=provider)
    )
    session = await stack.enter_async_context(ClientSession(read, write))
    await session.initialize()


async def call():
    return tool_answer(
        (await session.list_tools()).tools, await session.call_tool("headers", {})
    )


async def revoke():
    return {"n/a": "the SDK has no revocation call"}


asyncio.run(repl({"connect": connect, "call": call, "revoke": revoke}))
