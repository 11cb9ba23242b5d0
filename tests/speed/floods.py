"""Floods of HTTP/2 frames: F33. The frames are written by hand."""

import asyncio
import socket
import struct
import threading
import time

from rows import Row

CONNECTIONS = 8
# More frames than any bound of ours.
MOST = 400_000
BATCH = 200
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4


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
# These are no attack by themselves (RFC 9113 §10.5): each may be answered instead, one by one.
ANSWERED = ("SETTINGS", "PING")


class Flood:
    """One connection: how many frames it took, and whether the server closed it."""

    def __init__(self, port, first, each, seconds, reads):
        self.sent, self.is_closed = 0, False
        self.end, self.each = time.monotonic() + seconds, each
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
        while not self.is_closed and self.sent < MOST and time.monotonic() < self.end:
            numbers = range(self.sent, self.sent + BATCH)
            if not self.send(b"".join(self.each(number) for number in numbers)):
                break
            self.sent += BATCH
        if reader:
            reader.join()
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
    """F33: each flood on some connections at once, and a request of somebody else after it."""
    server = await stage.server("frames", await stage.fast_backend())
    for name, (first, each) in FLOODS.items():
        yield await flooded(stage, server, name, first, each, size.frames, True)
    for name in ANSWERED:
        first, each = FLOODS[name]
        yield await flooded(stage, server, f"{name} whose answers nobody reads", first, each, size.frames, False)


async def flooded(stage, server, name, first, each, seconds, reads):
    before, most = server.place.resident(), 0.0
    floods = [Flood(server.port, first, each, seconds, reads) for _ in range(CONNECTIONS)]
    running = [asyncio.create_task(asyncio.to_thread(flood.run)) for flood in floods]
    while not all(task.done() for task in running):
        most = max(most, server.place.resident())
        await asyncio.sleep(0.05)
    await asyncio.gather(*running)
    after = await stage.honest(server, 1, 100, 1)
    closed = sum(flood.is_closed for flood in floods)
    grown, sent = most - before, sum(flood.sent for flood in floods)
    must_close = name not in ANSWERED and reads
    due = "the connection is closed" if must_close else "closed, answered one by one, or left to wait"
    return Row(
        "F33",
        f"HTTP/2 flood of {name}, on {CONNECTIONS} connections at once",
        f"{due}; less than 50 MB more; others are served",
        f"{closed} of {CONNECTIONS} closed after {sent:,} frames in all, {grown:+.1f} MB; "
        f"{after['requests']} calls after it, {after['errors']} failed",
        (closed == CONNECTIONS or not must_close) and grown < 50 and after["errors"] == 0,
    )
