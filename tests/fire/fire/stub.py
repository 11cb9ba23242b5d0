"""What stands around the server: the provider, which counts everything, the MCP server, and a line
to the store that can be slow or cut."""

import asyncio
import json
import secrets
from collections import Counter
from urllib.parse import parse_qs

from harness.wire import read_body, read_head


class Upstream:
    """A provider without pages whose codes and refresh tokens work once, and an MCP server behind
    `/mcp`. A code is whatever the browser brings, `person.number`."""

    def __init__(self):
        self.exchanges, self.refreshes = Counter(), Counter()
        self.refused_codes = self.refused_refreshes = self.calls = 0
        self._used, self._live, self._access = set(), {}, {}

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"

    async def close(self):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while head := await read_head(reader):
                _, body = await read_body(reader, head)
                status, answer = await self._answer(head, body)
                text = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(text)}\r\n\r\n".encode() + text
                )
                await writer.drain()
        except (ConnectionError, EOFError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, head, body):
        path = head.words[1].partition("?")[0]
        if path == "/token":
            # A provider is never as quick as loopback.
            await asyncio.sleep(0.01)
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            return self._token(form)
        if path == "/userinfo":
            token = (head.get("authorization") or "").removeprefix("Bearer ")
            person = self._access.get(token)
            return (200, {"sub": person}) if person else (401, {"error": "invalid_token"})
        if path == "/mcp":
            self.calls += 1
            return 200, {"jsonrpc": "2.0", "id": 1, "result": {}}
        return 404, {}

    def _token(self, form):
        if form["grant_type"] == "authorization_code":
            code = form["code"]
            self.exchanges[code] += 1
            if code in self._used:
                self.refused_codes += 1
                return 400, {"error": "invalid_grant"}
            self._used.add(code)
            return self._give(code.rpartition(".")[0])
        person = self._live.pop(form["refresh_token"], None)
        if person is None:
            self.refused_refreshes += 1
            return 400, {"error": "invalid_grant"}
        self.refreshes[person] += 1
        return self._give(person)

    def _give(self, person):
        access, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self._access[access], self._live[refresh] = person, person
        return 200, {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": refresh,
        }


class Line:
    """A line to the store: passes bytes on, late or not at all."""

    def __init__(self, target):
        self.target, self.delay, self.is_cut = target, 0.0, False
        self._open = set()

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self):
        self._server.close()
        self.hang_up()

    def cut(self):
        self.is_cut = True
        self.hang_up()

    def hang_up(self):
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except (ConnectionError, OSError):
            pass
        finally:
            for end in (writer, back):
                self._open.discard(end)
                end.transport.abort()

    async def _pass(self, source, target):
        while piece := await source.read(1 << 16):
            if self.delay:
                await asyncio.sleep(self.delay)
            target.write(piece)
            await target.drain()
        raise ConnectionError("over")
