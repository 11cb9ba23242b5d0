"""Backends that are down, die, or fall silent: F16, F17, F18."""

import asyncio
import os
import re
import signal
import socket
import time

from fire.http import send
from harness.deployment import free_port
from rows import Row, share
from stage import fades, state

CALLS = 200
STREAMS = 500
SILENT = 200
IDLE = 5
WARM, ROUNDS = 3, 3
EVENT = re.compile(rb"id: (\d+)\ndata: \{[^\n]*\}\n\n")


async def without_a_backend(stage):
    """F16: nobody listens, the connection ends before an answer, nobody takes the connection."""
    closed = await stage.server("closed", f"127.0.0.1:{free_port()}")
    port, _ = await stage.faulty_backend()
    hangs_up = await stage.server("hangs-up", f"127.0.0.1:{port}")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # The queue of a listener that accepts nothing: full after two, then packets are dropped.
        address = deaf.getsockname()
        queue = [knock(address) for _ in range(4)]
        silent = await stage.server("deaf", f"127.0.0.1:{address[1]}")
        due = "502 in JSON that is no JSON-RPC, no `WWW-Authenticate`, each in less than 2 s"
        yield await refused("F16", "nobody listens at the backend's address", due, closed, 502)
        fault = "the backend hangs up before it answers"
        yield await refused("F16", fault, due, hangs_up, 502, "?hang-up")
        due = "504 likewise, once `connect_timeout` (2 s) is over"
        yield await refused("F16", "the backend's machine takes no connection", due, silent, 504)
        for one in queue:
            one.close()


def knock(address):
    """A connection attempt that waits for nothing."""
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(address)
    return one


async def refused(number, fault, due, server, status, query=""):
    fields = [("authorization", f"Bearer {server.token}"), ("content-type", "application/json")]
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'

    async def call():
        path = f"/mcp{query}"
        return await send(server.port, "POST", path, fields=fields, body=body)

    answers = []
    for _ in range(CALLS // 20):
        answers += await asyncio.gather(*(call() for _ in range(20)))
    safe = sum(is_safe(answer, status) for answer in answers)
    slowest = max(answer.seconds for answer in answers)
    # What a busy machine adds to a timeout.
    bound = 2.0 if status == 502 else 3.0
    return Row(
        number,
        fault,
        due,
        f"{safe} of {len(answers)} such answers, the slowest after {slowest * 1_000:,.0f} ms",
        safe == len(answers) and slowest < bound,
    )


def is_safe(answer, status):
    return (
        answer.status == status
        and answer.get("www-authenticate") is None
        and answer.get("retry-after") is not None
        and set(answer.json) == {"error", "error_description"}
    )


class Listener:
    """A client of one stream: what came, and when it ended."""

    def __init__(self):
        self.body, self.ended, self.is_whole = b"", None, False

    async def open(self, server, query="", *fields):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", server.port)
        self.writer.write(server.head("GET", f"/mcp{query}", *fields))
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        try:
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                self.body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            self.is_whole = True
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        self.ended = time.monotonic()

    @property
    def numbers(self):
        """The numbers of its events; None where something came that nobody sent."""
        numbers = [int(number) for number in EVENT.findall(self.body)]
        # A part of an event at the end is what a breaking connection leaves.
        rest = EVENT.sub(b"", self.body)
        return numbers if rest == b"" or b"\n\n" not in rest else None

    def close(self):
        self.task.cancel()
        self.writer.close()


async def listeners(server, count, query="", fields=lambda number: ()):
    """Opens `count` streams, some at a time."""
    opened = [Listener() for _ in range(count)]
    for first in range(0, count, 50):
        part = enumerate(opened[first : first + 50], first)
        await asyncio.gather(*(it.open(server, query, *fields(n)) for n, it in part))
    return opened


async def dying_backend(stage):
    """F17: `kill -9` of the backend with streams open, and the reconnect afterwards."""
    port, backend = await stage.faulty_backend()
    server = await stage.server("dies", f"127.0.0.1:{port}")
    streams = await listeners(server, STREAMS)
    await asyncio.sleep(1)
    os.kill(backend.process.pid, signal.SIGKILL)
    killed = time.monotonic()
    await fades(lambda: all(it.ended for it in streams), 10, 0.02)
    after = [it.ended - killed if it.ended else 99.0 for it in streams]
    true = sum(is_row_from(it.numbers, 1) for it in streams)
    yield Row(
        "F17",
        f"the backend is killed with {STREAMS} streams open",
        "every stream ends within 1 s, with nothing that the backend had not sent",
        f"{sum(t < 1 for t in after)} ended within 1 s, the last after {max(after) * 1_000:,.0f} ms; "
        f"{true} held exactly what was sent, {sum(it.is_whole for it in streams)} ended as if complete",
        max(after) < 1 and true == STREAMS,
    )
    await stage.faulty_backend(port)
    last = [it.numbers[-1] for it in streams]
    again = await listeners(server, STREAMS, "", lambda n: (f"Last-Event-ID: {last[n]}",))
    await fades(lambda: all(it.numbers for it in again), 10)
    right = sum(is_row_from(it.numbers, last[n] + 1) for n, it in enumerate(again))
    yield Row(
        "F17",
        f"the {STREAMS} clients reconnect with `Last-Event-ID`",
        "every stream goes on with the next event",
        f"{right} did",
        right == STREAMS,
    )
    for it in streams + again:
        it.close()


def is_row_from(numbers, first):
    return bool(numbers) and numbers == list(range(first, first + len(numbers)))


async def silent_backend(stage):
    """F18: streams on which nothing comes, and streams on which only comments come."""
    port, _ = await stage.faulty_backend()
    idle = f'idle_timeout = "{IDLE}s"'
    server = await stage.server("silent", f"127.0.0.1:{port}", idle)
    # What the first rounds need is kept for the next ones.
    await silent_rounds(server, WARM)
    descriptors, resident = server.descriptors(), server.place.resident()
    lives, alive = await silent_rounds(server, ROUNDS)
    await fades(lambda: server.descriptors() <= descriptors, 10)
    more, grown = server.descriptors() - descriptors, server.place.resident() - resident
    left = (await state(port))["open"]
    yield Row(
        "F18",
        f"{ROUNDS} times {SILENT} streams fall silent, `idle_timeout` {IDLE} s; {SILENT} have a comment every second",
        f"silence is cut after {IDLE} s (at most 3 s later), comments pass and keep a stream; "
        "nothing is left: descriptors as before, less than 5 MB more",
        f"cut after {min(lives):.1f} to {max(lives):.1f} s (median {share(lives, 0.5):.1f}); {alive} of {SILENT} kept; "
        f"{more:+d} descriptors, {grown:+.1f} MB, {left} streams left at the backend",
        IDLE - 0.1 <= min(lives)
        and max(lives) < IDLE + 3
        and alive == SILENT
        and more <= 0
        and grown < 5
        and left == 0,
    )


async def silent_rounds(server, rounds):
    """How long streams without a word lived, and how many with comments outlived them."""
    kept, lives = await listeners(server, SILENT, "?comments"), []
    for _ in range(rounds):
        began = time.monotonic()
        streams = await listeners(server, SILENT, "?silent")
        await fades(lambda: all(it.ended for it in streams), IDLE * 4)
        lives += [it.ended - began if it.ended else 99.0 for it in streams]
        for it in streams:
            it.close()
    alive = sum(it.ended is None and it.body.count(b": keep-alive") >= 3 for it in kept)
    for it in kept:
        it.close()
    await asyncio.sleep(1)
    return lives, alive
