"""Floods of HTTP/2 frames: F33. The frames are written by hand."""

import asyncio
import socket
import struct
import threading
import time

from rows import Row
from stage import state

CONNECTIONS = 8
# More frames than any bound of ours.
MOST = 400_000
BATCH = 200
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
# Connections of a client whose windows stay shut, and streams on each: fewer than the server allows.
SHUT, STREAMS = 16, 125


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


# `:method POST`, `:scheme http` and `:path /` from HPACK's static table, then `:authority a`.
POST = b"\x83\x86\x84\x41\x01a"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def resets(number):
    stream = 2 * number + 1
    reset = frame(RST_STREAM, 0, stream, struct.pack("!I", 8))
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, POST) + reset


FLOODS = {
    # What it is: what comes first, and then each time.
    "streams opened and reset (rapid reset)": (b"", resets),
    "CONTINUATION without end": (
        frame(HEADERS, 0, 1, POST),
        lambda _: frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 100),
    ),
    "empty DATA": (frame(HEADERS, END_HEADERS, 1, POST), lambda _: frame(DATA, 0, 1)),
    "SETTINGS": (b"", lambda _: frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 65_535))),
    "PING": (b"", lambda _: frame(PING, 0, 0, bytes(8))),
}
# These are no attack by themselves (RFC 9113 §10.5): each may be answered instead, one by one. Where
# the answers are not read, the connection is cut as one that makes no progress.
ANSWERED = ("SETTINGS", "PING")
PATIENCE, LATE = 60, 15


class Flood:
    """One connection: how many frames it took, and whether the server closed it."""

    def __init__(self, port, first, each, seconds, reads):
        self.sent, self.is_closed = 0, False
        self.begun, self.lasted, self.each = time.monotonic(), 0.0, each
        self.end = self.begun + seconds
        self.socket, self.reads = socket.socket(), reads
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.socket.settimeout(1)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(PREFACE + first)

    def run(self):
        # What is answered must be read, or the flood only waits for itself.
        reader = threading.Thread(target=self.read, daemon=True) if self.reads else None
        if reader:
            reader.start()
        # Who is not read waits for the cut.
        most = MOST if self.reads else 100 * MOST
        while not self.is_closed and self.sent < most and time.monotonic() < self.end:
            numbers = range(self.sent, self.sent + BATCH)
            if not self.send(b"".join(self.each(number) for number in numbers)):
                break
            self.sent += BATCH
        if reader:
            reader.join()
        self.lasted = time.monotonic() - self.begun
        self.socket.close()
        return self

    def send(self, text):
        """Whether all of it went out before the connection or the time was over."""
        rest = memoryview(text)
        while rest and not self.is_closed and time.monotonic() < self.end:
            try:
                rest = rest[self.socket.send(rest) :]
            except TimeoutError:
                continue
            except OSError:
                self.is_closed = True
        return not rest

    def read(self):
        # Its last words may still be on their way.
        while not self.is_closed and time.monotonic() < self.end + 1:
            try:
                piece = self.socket.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                piece = b""
            self.is_closed = not piece


async def frames(stage, size):
    """F33: each flood on some connections at once, and requests of somebody else after it."""
    backend = await stage.fast_backend()
    server = await stage.server("frames", backend)
    for name, flood in FLOODS.items():
        closes = name not in ANSWERED
        due = "the connection is closed" if closes else "each frame is answered, or the connection closed"
        yield await flooded(stage, server, name, flood, size.frames, due, closes)
    # Each has a server of its own, since they wait side by side.
    due = f"cut after {PATIENCE} s without progress (at most {LATE} s later)"
    unread = []
    for name in ANSWERED:
        server = await stage.server("unread", backend)
        told = f"{name} whose answers nobody reads"
        seconds = PATIENCE + LATE
        unread.append(flooded(stage, server, told, FLOODS[name], seconds, due, True, False))
    for row in await asyncio.gather(*unread, shut_windows(stage)):
        yield row


async def flooded(stage, server, name, flood, seconds, due, closes, reads=True):
    before, most = server.place.resident(), 0.0
    floods = [Flood(server.port, *flood, seconds, reads) for _ in range(CONNECTIONS)]
    running = [asyncio.create_task(asyncio.to_thread(flood.run)) for flood in floods]
    while not all(task.done() for task in running):
        most = max(most, server.place.resident())
        await asyncio.sleep(0.05)
    await asyncio.gather(*running)
    after = await stage.honest(server, 1, 100, 1)
    closed = sum(flood.is_closed for flood in floods)
    grown, sent = most - before, sum(flood.sent for flood in floods)
    slowest = max(flood.lasted for flood in floods)
    return Row(
        "F33",
        f"HTTP/2 flood of {name}, on {CONNECTIONS} connections at once",
        f"{due}; less than 50 MB more; others are served",
        f"{closed} of {CONNECTIONS} closed, {sent:,} frames and {slowest:.1f} s in all; {grown:+.1f} MB; "
        f"{after['requests']} calls after it, {after['errors']} failed",
        (closed == CONNECTIONS or not closes) and grown < 50 and after["errors"] == 0,
    )


class Shut:
    """A client that asks for streams and never makes room for more than a byte of each."""

    def __init__(self, server):
        self.server, self.lasted = server, None

    async def run(self, seconds):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        # SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
        writer.write(PREFACE + frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 1)))
        fields = self.fields()
        for number in range(STREAMS):
            writer.write(frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, fields))
        try:
            async with asyncio.timeout(seconds):
                await self.answer(reader, writer)
        except (OSError, EOFError):
            self.lasted = time.monotonic() - began
        except TimeoutError:
            pass
        writer.close()

    async def answer(self, reader, writer):
        """What keeps a connection alive is answered, and nothing else."""
        while head := await reader.readexactly(9):
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] in (SETTINGS, PING) and not head[4] & ACK:
                writer.write(frame(head[3], ACK, 0, payload if head[3] == PING else b""))

    def fields(self):
        def literal(name, value):
            """A field by the number of its name in HPACK's static table (RFC 7541 §6.2.2)."""
            first = bytes([name]) if name < 15 else bytes([15, name - 15])
            value, length = value.encode(), len(value)
            if length < 127:
                return first + bytes([length]) + value
            rest = length - 127
            return first + bytes([127, rest & 127 | 128, rest >> 7]) + value

        target, token = literal(4, "/mcp?endless"), literal(23, f"Bearer {self.server.token}")
        return b"\x82\x86" + target + literal(1, self.server.address) + token


async def shut_windows(stage):
    """F19 over HTTP/2, where a client stops a stream without stopping the connection."""
    port, _ = await stage.faulty_backend()
    server = await stage.server("shut-windows", f"127.0.0.1:{port}")
    idle, most, streams = server.place.resident(), 0.0, 0
    clients = [Shut(server) for _ in range(SHUT)]
    running = [asyncio.create_task(it.run(PATIENCE + LATE)) for it in clients]
    began, cut = time.monotonic(), None
    while not all(task.done() for task in running):
        now = (await state(port))["open"]
        most, streams = max(most, server.place.resident()), max(streams, now)
        if cut is None and streams and now == 0:
            cut = time.monotonic() - began
        await asyncio.sleep(1)
    await asyncio.gather(*running)
    wanted, each = SHUT * STREAMS, (most - idle) * 1_024 / max(streams, 1)
    return Row(
        "F19",
        f"{wanted:,} HTTP/2 streams without end on {SHUT} connections, whose windows stay shut while the connections answer",
        f"less than 300 MB; at most 64 KB for each; cut after {PATIENCE} s without progress (at most {LATE} s later)",
        f"{streams:,} at the backend at once; {most:.0f} MB at most, {idle:.0f} before: {each:.0f} KB for each; "
        + (f"the last cut after {cut:.0f} s" if cut else f"{now:,} still open after {PATIENCE + LATE} s"),
        streams >= wanted * 0.98 and most < 300 and each <= 64 and cut is not None and cut >= PATIENCE - 1,
    )
