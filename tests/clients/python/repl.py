"""What every Python driver shares: the case from the harness, a state that outlives the process,
the person's browser, and the loop of commands on standard input."""

import asyncio
import json
import os
import sys
import time
import traceback
import urllib.request
from pathlib import Path

CASE = json.loads(os.environ["CLIENT_CASE"])
MODERN = CASE["era"] == "2026-07-28"


class State:
    """Named values in one JSON file."""

    def __init__(self):
        self._path = Path(CASE["state"]) / "state.json"

    def get(self, name):
        return json.loads(self._path.read_text()).get(name) if self._path.exists() else None

    def set(self, name, value):
        everything = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._path.write_text(json.dumps({**everything, name: value}))


def open_in_browser(url):
    """The person signs in and allows; returns the redirect that reached the client."""
    request = urllib.request.Request(
        CASE["browser"],
        data=json.dumps({"url": str(url)}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        reply = json.load(answer)
    if "location" not in reply:
        raise RuntimeError(f"the browser got nowhere: {reply}")
    return reply["location"]


def tool_answer(tools, result):
    """The answer to `call`, from an SDK's models."""
    text = next(part.text for part in result.content if part.type == "text")
    content = [{"type": "text", "text": text}]
    return {"tools": [tool.name for tool in tools], "result": {"content": content}}


async def repl(commands):
    """Reads one command a line, runs it, answers with one JSON object a line."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            answer = {"ok": True, **(await commands[line.strip()]() or {})}
        except BaseException as error:
            traceback.print_exc()
            answer = {"ok": False, "error": innermost(error)}
        print(json.dumps(answer), flush=True)
    os._exit(0)


def innermost(error):
    """The cause inside an exception group, which is what matters."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


class TokenFile:
    """The SDK's `TokenStorage` on a file. It keeps when the token ends as well: the SDK tells
    how long it lives, which after a restart says nothing."""

    def __init__(self, token_type, client_type):
        self._state, self._token, self._client = State(), token_type, client_type

    async def get_tokens(self):
        held = self._state.get("tokens")
        return self._token.model_validate(held) if held else None

    async def set_tokens(self, tokens):
        self._state.set("tokens", tokens.model_dump(mode="json", exclude_none=True))
        self._state.set("ends", time.time() + (tokens.expires_in or 3600))

    async def get_client_info(self):
        held = self._state.get("client")
        return self._client.model_validate(held) if held else None

    async def set_client_info(self, client_info):
        self._state.set("client", client_info.model_dump(mode="json", exclude_none=True))

    def ends(self):
        return self._state.get("ends")
