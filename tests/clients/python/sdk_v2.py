"""The official Python SDK, current major."""

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import parse_qs, urlsplit

from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)

from repl import CASE, MODERN, TokenFile, open_in_browser, repl, tool_answer

redirects = []
stack = AsyncExitStack()
client = None


async def open_browser(url):
    redirects.append(await asyncio.to_thread(open_in_browser, url))


async def take_redirect():
    answer = parse_qs(urlsplit(redirects.pop()).query)
    first = {name: values[0] for name, values in answer.items()}
    return AuthorizationCodeResult(
        code=first["code"], state=first.get("state"), iss=first.get("iss")
    )


async def connect():
    global client
    storage = TokenFile(OAuthToken, OAuthClientInformationFull)
    provider = OAuthClientProvider(
        server_url=CASE["url"],
        client_metadata=OAuthClientMetadata(
            client_name="Python SDK 2", redirect_uris=[CASE["redirect"]]
        ),
        storage=storage,
        redirect_handler=open_browser,
        callback_handler=take_redirect,
    )
    provider.context.token_expiry_time = storage.ends()
    http_client = await stack.enter_async_context(create_mcp_http_client(auth=provider))
    transport = streamable_http_client(CASE["url"], http_client=http_client)
    mode = "auto" if MODERN else "legacy"
    client = await stack.enter_async_context(Client(transport, mode=mode))


async def call():
    return tool_answer(
        (await client.list_tools()).tools, await client.call_tool("headers", {})
    )


async def revoke():
    return {"n/a": "the SDK has no revocation call"}


asyncio.run(repl({"connect": connect, "call": call, "revoke": revoke}))
