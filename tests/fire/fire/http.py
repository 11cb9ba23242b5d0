"""As much of an HTTP client as a load takes: one connection for each request, every end known."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"


@dataclass
class Answer:
    """How a request ended; `status` is 0 where no answer came."""

    status: int
    fields: list = field(default_factory=list)
    body: bytes = b""
    seconds: float = 0.0

    def get(self, name):
        return next((value for key, value in self.fields if key == name), None)

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @property
    def error(self):
        return self.json.get("error", "")

    @property
    def is_trouble(self):
        """No answer, or one that says that the fault is not the client's."""
        return self.status == 0 or self.status >= 500


async def send(port, method, path, *, host=None, fields=(), body=b"", limit=20, hang_up=False):
    """Sends one request to loopback. With `hang_up` the client is gone before the answer comes."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit):
            answer = await exchange(port, method, path, host, fields, body, hang_up)
    except (OSError, EOFError, ValueError, IndexError, TimeoutError):
        answer = Answer(0)
    answer.seconds = time.monotonic() - began
    return answer


async def exchange(port, method, path, host, fields, body, hang_up):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        head = [f"{method} {path} HTTP/1.1", f"host: {host or f'127.0.0.1:{port}'}"]
        head += ["connection: close", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in fields]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        if hang_up:
            return Answer(0)
        text = await reader.read(-1)
    finally:
        writer.close()
    raw, _, rest = text.partition(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    answer = Answer(int(first.split(" ")[1]), [(n.lower(), v.strip()) for n, v in pairs])
    if "chunked" in (answer.get("transfer-encoding") or ""):
        answer.body = unchunk(rest)
    else:
        answer.body = rest
        if len(rest) < int(answer.get("content-length") or 0):
            raise EOFError("the answer was cut short")
    return answer


def unchunk(raw):
    content = b""
    while raw:
        line, _, raw = raw.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            return content
        content, raw = content + raw[:size], raw[size + 2 :]
    raise EOFError("the answer was cut short")


async def post(port, path, form, **more):
    body = urlencode(form).encode()
    more["fields"] = [("content-type", FORM), *more.get("fields", ())]
    return await send(port, "POST", path, body=body, **more)
