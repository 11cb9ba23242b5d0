"""As much of HTTP/1.1 as watching and answering it takes."""

import asyncio
import json


class Head:
    """A request's or response's first lines."""

    def __init__(self, raw):
        self.raw = raw
        first, *rest = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.words = first.split(" ", 2)
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in rest]

    def get(self, name):
        return next((value for key, value in self.fields if key.lower() == name), None)

    @property
    def length(self):
        return int(self.get("content-length") or 0)

    @property
    def chunked(self):
        return "chunked" in (self.get("transfer-encoding") or "").lower()


async def read_head(reader, already=b""):
    """The next head, or `None` at the end of the connection."""
    try:
        rest = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Head(already + rest)


async def pieces(reader, head, *, until_close=False):
    """The raw pieces of the body that follows `head`, framing included."""
    if head.chunked:
        while True:
            line = await reader.readline()
            if not line:
                raise ConnectionError("the body was cut short")
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
            if size == 0:
                return
    elif head.get("content-length") is not None:
        left = head.length
        while left:
            piece = await reader.read(min(left, 1 << 16))
            if not piece:
                raise ConnectionError("the body was cut short")
            left -= len(piece)
            yield piece
    elif until_close:
        while piece := await reader.read(1 << 16):
            yield piece


def unchunk(raw):
    """The content of a chunked body."""
    content = b""
    while raw:
        line, _, raw = raw.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        content, raw = content + raw[:size], raw[size + 2 :]
    return content


async def read_body(reader, head):
    raw = b"".join([piece async for piece in pieces(reader, head)])
    return raw, unchunk(raw) if head.chunked else raw


def json_answer(status, value):
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\nconnection: close\r\n\r\n" + body
