"""People and their clients: whole sign-ins through nginx, with the demo's provider, each person from
an address of their own; and how each request ended."""

import asyncio
import base64
import hashlib
import html
import itertools
import json
import re
import secrets
import time
from collections import Counter
from urllib.parse import parse_qs, urlencode, urlsplit

from fire.http import FORM, Answer, unchunk
from harness.processes import Failed

GATEWAY = "http://127.0.0.1:8080"
REDIRECT = "http://127.0.0.1:8799/callback"
# Each another address of loopback, so that the limits for one address meet nobody.
NUMBERS = itertools.count(1)
VERSION = "2026-07-28"


class Person:
    """Registers a client, signs in, calls and refreshes."""

    def __init__(self):
        number = next(NUMBERS)
        self.address = f"127.1.{number // 250 % 250}.{number % 250 + 1}"
        self.cookies = {}
        self.requests = Counter()

    async def ask(self, step, method, url, form=None, body=b"", fields=(), statuses=(200,)):
        """One request that must be answered as it should be."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        fields = list(fields)
        if form is not None:
            body = urlencode(form).encode()
            fields.append(("content-type", FORM))
        self.requests[step] += 1
        answer = await send(self.address, parts.port, method, target, fields, body)
        if answer.status not in statuses:
            raise Failed(f"{step}: answered {answer.status} {answer.body[:200]!r}")
        return answer

    async def browse(self, step, method, url, form=None, statuses=(200,)):
        fields = [("sec-fetch-site", "same-origin" if form else "none")]
        if form:
            fields.append(("origin", "{0.scheme}://{0.netloc}".format(urlsplit(url))))
        if self.cookies:
            held = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            fields.append(("cookie", held))
        answer = await self.ask(step, method, url, form, fields=fields, statuses=statuses)
        for name, value in answer.fields:
            if name == "set-cookie":
                key, _, held = value.partition(";")[0].partition("=")
                self.cookies[key] = held
        return answer

    async def sign_in(self):
        body = {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
        kind = [("content-type", "application/json")]
        text = json.dumps(body).encode()
        answer = await self.ask(
            "register", "POST", f"{GATEWAY}/register", body=text, fields=kind, statuses=(201,)
        )
        self.id, verifier = answer.json["client_id"], secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "client_id": self.id,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "state": "s",
            "resource": f"{GATEWAY}/mcp",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        page = await self.browse("authorize", "GET", f"{GATEWAY}/authorize?{urlencode(query)}")
        field = re.search(r'name="consent" value="([^"]*)"', page.body.decode())
        form = {"consent": html.unescape(field[1]), "decision": "allow"}
        sent = await self.browse("consent", "POST", f"{GATEWAY}/consent", form, (303,))
        back = await self.browse(
            "provider", "POST", sent.get("location"), {"user": "alice"}, (303,)
        )
        answer = await self.browse("callback", "GET", back.get("location"), statuses=(303,))
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(answer.get("location")).query)["code"][0],
            "redirect_uri": REDIRECT,
            "client_id": self.id,
            "code_verifier": verifier,
        }
        self.tokens = (await self.ask("token", "POST", f"{GATEWAY}/token", form)).json
        return self

    async def refresh(self):
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.tokens["refresh_token"],
            "client_id": self.id,
        }
        self.tokens = (await self.ask("refresh", "POST", f"{GATEWAY}/token", form)).json

    async def call(self, tool, **arguments):
        """Calls a tool; the text of the answer, whole."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "check", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        fields = [
            ("authorization", f"Bearer {self.tokens['access_token']}"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", VERSION),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ]
        text = json.dumps(message).encode()
        answer = await self.ask(tool, "POST", f"{GATEWAY}/mcp", body=text, fields=fields)
        return answer.body.decode()


async def send(address, port, method, target, fields, body):
    """Sends one request from `address`; reads the answer to its end, or status 0."""
    try:
        async with asyncio.timeout(40):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(address, 0), limit=1 << 20
            )
            try:
                head = [f"{method} {target} HTTP/1.1", f"host: 127.0.0.1:{port}"]
                head += ["connection: close", f"content-length: {len(body)}"]
                head += [f"{name}: {value}" for name, value in fields]
                writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
                await writer.drain()
                text = await reader.read(-1)
            finally:
                writer.close()
            return parse(text)
    except (OSError, EOFError, ValueError, IndexError, TimeoutError) as error:
        return Answer(0, body=repr(error).encode())


def parse(text):
    raw, _, rest = text.partition(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    answer = Answer(int(first.split(" ")[1]), [(n.lower(), v.strip()) for n, v in pairs])
    if "chunked" in (answer.get("transfer-encoding") or ""):
        answer.body = unchunk(rest)
    elif len(rest) < int(answer.get("content-length") or 0):
        raise EOFError("the answer was cut short")
    else:
        answer.body = rest
    return answer


class Crowd:
    """People who sign in, call, refresh and call again, one after the other in each of `lanes`; and
    one in each of `streams` whose calls take a while."""

    def __init__(self, lanes, streams):
        self.lanes, self.streams = lanes, streams
        self.requests, self.failures = Counter(), []
        self._stop = False

    async def __aenter__(self):
        work = [self._sign_ins] * self.lanes + [self._streams] * self.streams
        self._tasks = [asyncio.create_task(self._repeat(one)) for one in work]
        return self

    async def __aexit__(self, *_):
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def _repeat(self, work):
        while not self._stop:
            person = Person()
            try:
                await work(person)
            except Failed as failure:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {failure}")
                await asyncio.sleep(0.2)
            self.requests += person.requests

    async def _sign_ins(self, person):
        await person.sign_in()
        await person.call("whoami")
        await person.refresh()
        await person.call("whoami")

    async def _streams(self, person):
        await person.sign_in()
        while not self._stop:
            said = await person.call("count", to=6, pause_ms=400)
            if '"resultType":"complete"' not in said:
                raise Failed(f"count: the stream has no end: {said[-200:]!r}")
