"""Stands where clients believe the server to be, passes every byte on, and notes what happened:
which client asked what, and what it was answered. That a client did a step is judged by this,
not by the client's word. Notes stay in memory; nothing of them is logged."""

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from .wire import pieces, read_body, read_head, unchunk


SECRETS = ("access_token", "refresh_token", "client_secret", "code", "code_verifier")


@dataclass
class Exchange:
    """One request and its answer."""

    owner: str
    method: str
    path: str
    query: dict
    form: dict
    bearer: str | None
    basic: str | None
    # The JSON-RPC method.
    called: str = ""
    status: int = 0
    challenge: str = ""
    served_by: str = ""
    location: str = ""
    answer: dict = field(default_factory=dict)
    time: float = field(default_factory=time.time)


class Tap:
    def __init__(self, name):
        self.name = name
        self.exchanges = []
        self.target = None
        self._claims = {}
        self._server = None
        self._streams = set()

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"

    async def close(self):
        self._server.close()
        for stream in list(self._streams):
            stream.cancel()

    def claim(self, port, owner):
        """Says whose connection from `port` is, for connections of the harness itself."""
        self._claims[port] = owner

    def retarget(self, target):
        """Puts another server behind the address, also for connections that are kept open."""
        self.target = target
        for stream in self._streams:
            stream.cancel()

    def of(self, owner, since=0.0):
        return [one for one in self.exchanges if one.owner == owner and one.time >= since]

    def secrets(self):
        """Every secret that passed, with its kind."""
        seen = set()
        for one in self.exchanges:
            query = dict(parse_qsl(urlsplit(one.location).query))
            held = {**one.form, **one.answer, "access_token": one.bearer, "authorization": one.basic}
            held |= {f"{name} of an answer": one.answer.get(name) for name in SECRETS}
            held |= {f"{name} of a redirect": query.get(name) for name in ("code", "state")}
            held |= {f"{name} of a request": one.query.get(name) for name in ("code", "state")}
            seen |= {
                (name, value)
                for name, value in held.items()
                if isinstance(value, str)
                and len(value) >= 16
                and any(name.startswith(word) for word in (*SECRETS, "state", "authorization"))
            }
        return seen

    async def _serve(self, reader, writer):
        self._streams.add(asyncio.current_task())
        connection = None
        try:
            port = writer.get_extra_info("peername")[1]
            owner, already = None, b""
            while head := await read_head(reader, already):
                raw, body = await read_body(reader, head)
                owner = owner or self._claims.pop(port, None) or owner_of(port, self.port)
                if connection is None or connection[0].at_eof():
                    connection = await asyncio.open_connection(*self.target, limit=1 << 20)
                exchange = note(owner, head, body)
                connection[1].write(head.raw + raw)
                already, over = await self._answer(exchange, connection[0], reader, writer)
                if over:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, asyncio.CancelledError):
            # The connection is over; cancelled, the run is, and this task ends with it.
            pass
        finally:
            self._streams.discard(asyncio.current_task())
            for end in filter(None, (writer, connection and connection[1])):
                end.close()

    async def _answer(self, exchange, source, reader, writer):
        """Passes the answer on; returns what the client already sent of its next request, and
        whether the connection is over."""
        while True:
            head = await read_head(source)
            if head is None:
                return b"", True
            writer.write(head.raw)
            if not head.words[1].startswith("1"):
                break
        exchange.status = int(head.words[1])
        exchange.challenge = head.get("www-authenticate") or ""
        exchange.served_by = head.get("x-served-by") or ""
        exchange.location = head.get("location") or ""
        self.exchanges.append(exchange)
        keep = exchange.path in ("/token", "/register")
        silent = exchange.method == "HEAD" or exchange.status in (204, 304)
        framed = head.chunked or head.get("content-length") is not None
        early = asyncio.ensure_future(reader.read(1))
        try:
            kept = b""
            body = pieces(source, head, until_close=True) if not silent else nothing()
            async for piece in interruptible(body, early):
                writer.write(piece)
                await writer.drain()
                if keep:
                    kept += piece
            await writer.drain()
        except ConnectionError:
            early.cancel()
            raise
        if keep:
            exchange.answer = json_of(unchunk(kept) if head.chunked else kept)
        closing = (head.get("connection") or "").lower() == "close" or not (framed or silent)
        if closing:
            early.cancel()
            return b"", True
        first = await early
        return first, not first


async def nothing():
    return
    yield


async def interruptible(body, gone):
    """The pieces of `body`, until `gone` says that the client hung up."""
    steps = body.__aiter__()
    while True:
        step = asyncio.ensure_future(anext(steps, None))
        try:
            await asyncio.wait({step, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done() and gone.result() == b"":
                raise ConnectionError("the client hung up")
            piece = await step
        finally:
            step.cancel()
        if piece is None:
            return
        yield piece


def note(owner, head, body):
    target = urlsplit(head.words[1])
    form_type = "application/x-www-form-urlencoded"
    form = body.decode("latin-1") if form_type in (head.get("content-type") or "") else ""
    message = json_of(body) if b'"jsonrpc"' in body else {}
    scheme, _, credential = (head.get("authorization") or "").partition(" ")
    return Exchange(
        owner=owner,
        method=head.words[0],
        path=target.path,
        query=dict(parse_qsl(target.query)),
        form=dict(parse_qsl(form)),
        bearer=credential if scheme.lower() == "bearer" else None,
        basic=f"{scheme} {credential}" if scheme.lower() == "basic" else None,
        called=message.get("method", "") if isinstance(message, dict) else "",
    )


def json_of(body):
    try:
        return json.loads(body)
    except ValueError:
        return {}


def owner_of(port, tap):
    """Whose the other end of a loopback connection is: the `CLIENT_OWNER` in the environment of
    the process that holds the socket, as the kernel tells it."""
    inode = None
    local, remote = f":{port:04X}", f":{tap:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[1].endswith(local) and columns[2].endswith(remote):
                inode = columns[9]
    if inode is None:
        return "unknown"
    marks = {}
    for process in Path("/proc").glob("[0-9]*"):
        mark = mark_of(process.name, marks)
        if mark and holds(process, inode):
            return mark
    return "unknown"


def mark_of(process, marks):
    """The mark of a process, or of the nearest parent that has one: a program that renames itself
    (Chromium does) overwrites its environment."""
    if process in marks or process == "0":
        return marks.get(process)
    marks[process] = None
    home = Path("/proc") / process
    try:
        environment = (home / "environ").read_bytes().split(b"\0")
        parent = (home / "stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return None
    own = next((one for one in environment if one.startswith(b"CLIENT_OWNER=")), None)
    marks[process] = own.partition(b"=")[2].decode() if own else mark_of(parent, marks)
    return marks[process]


def holds(process, inode):
    try:
        return any(names(handle, inode) for handle in (process / "fd").iterdir())
    except OSError:
        return False


def names(handle, inode):
    try:
        return os.readlink(handle) == f"socket:[{inode}]"
    except OSError:
        return False
