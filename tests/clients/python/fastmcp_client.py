"""FastMCP's client: it opens the browser itself (`BROWSER`) and listens for the redirect."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.filetree import (
    FileTreeStore,
    FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy,
)

from repl import CASE, repl, tool_answer

stack = AsyncExitStack()
client = None


async def connect():
    global client
    directory = Path(CASE["state"]) / "tokens"
    directory.mkdir(exist_ok=True)
    store = FileTreeStore(
        data_directory=directory,
        key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(directory),
        collection_sanitization_strategy=FileTreeV1CollectionSanitizationStrategy(directory),
    )
    auth = OAuth(
        token_storage=store,
        callback_port=CASE["port"],
        callback_timeout=30,
    )
    client = await stack.enter_async_context(Client(CASE["url"], auth=auth))


async def call():
    return tool_answer(await client.list_tools(), await client.call_tool("headers", {}))


async def revoke():
    return {"n/a": "FastMCP's client has no revocation call"}


asyncio.run(repl({"connect": connect, "call": call, "revoke": revoke}))
