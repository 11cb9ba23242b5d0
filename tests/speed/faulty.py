"""An MCP server that can be asked to fail: `faulty.py PORT`. The query says how.

A POST is answered with 1 KB; with `hang-up` the connection ends before an answer; with `large`
comes an answer of 8 MB. A GET is a stream of numbered events, ten a second, that goes on after
`Last-Event-ID`; with `silent` it stops after the first, with `comments` it goes on with comments,
with `endless` it never pauses. `/state` tells how many streams are open and what was taken of them."""

import asyncio
import json
import resource
import sys
from urllib.parse import urlsplit

EVENT = 'id: {0}\ndata: {{"jsonrpc":"2.0","method":"notifications/message","params":"{1}"}}\n\n'
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
LARGE = 8 << 20
PIECE = b"x" * 8_192


class Faulty:
    def __init__(self):
        self.open = self.taken = 0

    async def serve(self, reader, writer):
        # What `drain` waits for is then what the kernel has taken.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not await self.answer(head.decode("latin-1"), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, head, reader, writer):
        first, *lines = head.strip().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        method, target, _ = first.split(" ")
        url = urlsplit(target)
        await reader.readexactly(int(fields.get("content-length", 0)))
        if url.path == "/state":
            await plain(writer, {"open": self.open, "taken": self.taken})
            return False
        if url.query == "hang-up":
            return False
        if method == "POST" and url.query != "large":
            await plain(writer, {"jsonrpc": "2.0", "id": 1, "result": {"text": "x" * 1_000}})
            return True
        gone = asyncio.create_task(reader.read(1))
        sending = asyncio.create_task(self.stream(writer, url.query, fields))
        self.open += 1
        try:
            # A reader that leaves ends its stream at once, also a silent one.
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)
        finally:
            self.open -= 1
        return False

    async def stream(self, writer, fault, fields):
        if fault == "large":
            head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
            await self.give(writer, f"{head}{LARGE}\r\n\r\n".encode())
            for _ in range(LARGE // len(PIECE)):
                await self.give(writer, PIECE)
            return
        await self.give(writer, STREAM)
        number = int(fields.get("last-event-id", 0))
        while True:
            number += 1
            more = PIECE.decode() if fault == "endless" else ""
            await self.event(writer, EVENT.format(number, more))
            while fault == "silent":
                await asyncio.sleep(3_600)
            while fault == "comments":
                await asyncio.sleep(1)
                await self.event(writer, ": keep-alive\n\n")
            if fault != "endless":
                await asyncio.sleep(0.1)

    async def event(self, writer, text):
        await self.give(writer, f"{len(text):x}\r\n{text}\r\n".encode())

    async def give(self, writer, piece):
        writer.write(piece)
        await writer.drain()
        self.taken += len(piece)
        # While there is room `drain` does not wait, and nobody else would have a turn.
        await asyncio.sleep(0)


async def plain(writer, value):
    text = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
    writer.write(head.encode() + text)
    await writer.drain()


async def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = await asyncio.start_server(Faulty().serve, "127.0.0.1", int(sys.argv[1]), backlog=4_096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
