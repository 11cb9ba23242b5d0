"""Crowds at the gateway: F19, F20, F21; and the run of everything about backends and crowds."""

import asyncio
import time
from dataclasses import dataclass

import breaks
import floods
from fire.http import send
from measure import surroundings
from rows import Row, share, table, write
from stage import Stage, fades, state

DOCUMENT, MARK = "faults.md", "crowds"
PATIENCE = 60
# Two pieces of 16 KB from the backend and 32 KB that wait to be written, in two connections of about 30 KB.
EACH = 100


@dataclass
class Size:
    """How many there are, and for how long."""

    readers: int = 2_000
    sockets: int = 10_000
    crowd: float = 45.0
    rounds: int = 2
    flood: float = 25.0
    frames: float = 10.0


SHORT = Size(readers=400, sockets=2_000, crowd=36.0, rounds=1, flood=12.0, frames=3.0)


async def run(options, processes, directory, binary):
    size = SHORT if options.short else Size()
    stage = Stage(processes, directory, binary)
    await stage.open()
    rows, began = [], time.monotonic()
    tracks = [
        breaks.without_a_backend(stage),
        breaks.dying_backend(stage),
        breaks.silent_backend(stage),
        slow_readers(stage, size),
        slow_senders(stage, size),
        few_descriptors(stage, size),
        floods.frames(stage, size),
    ]
    for track in tracks:
        async for row in track:
            rows.append(row)
            print(row.text, flush=True)
    await stage.close()
    failed = sum(not row.holds for row in rows)
    print(f"\n{len(rows) - failed} hold, {failed} do not; {time.monotonic() - began:.0f} s")
    if options.write:
        note = f"`tests/speed/run --crowds --write` wrote this table, with {surroundings()}."
        write(DOCUMENT, MARK, table(rows, note))
    return 1 if failed else 0


async def slow_readers(stage, size):
    """F19: answers and streams that are read a byte a second. The configuration is the default: a
    short `idle_timeout` would end the streams for another reason."""
    port, _ = await stage.faulty_backend()
    server = await stage.server("slow-readers", f"127.0.0.1:{port}")
    idle, before = server.place.resident(), server.descriptors()
    stream, answer = server.home / "stream", server.home / "answer"
    stream.write_bytes(server.head("GET", "/mcp?endless"))
    answer.write_bytes(server.head("POST", "/mcp?large", "Content-Length: 0"))
    half, seconds = size.readers // 2, PATIENCE + 25
    crowds = [
        asyncio.create_task(stage.crowd(server.port, "readers", half, seconds, file))
        for file in (stream, answer)
    ]
    began, seen = time.monotonic(), []
    while not all(crowd.done() for crowd in crowds):
        now = await state(port)
        held = server.descriptors() - before
        seen.append((time.monotonic() - began, server.place.resident(), held, now["open"], now["taken"]))
        await asyncio.sleep(1)
    came = sum(crowd.result()["opened"] for crowd in crowds)
    yield reading(seen, came, size.readers, idle)


def reading(seen, came, wanted, idle):
    peak = max(resident for _, resident, *_ in seen)
    each = (peak - idle) * 1_024 / wanted
    # From when all are there until the first is cut.
    middle = [it for it in seen if PATIENCE / 3 <= it[0] <= PATIENCE - 5]
    streams = max(it[3] for it in seen)
    growth = (middle[-1][4] - middle[0][4]) / 1_024 / max(streams, 1)
    taken = middle[-1][4] / 1_024 / max(streams, 1)
    full = next((at for at, _, held, *_ in seen if held >= 2 * wanted * 0.9), 0.0)
    cut = next((at for at, _, held, left, _ in seen if at > full and held <= wanted * 0.02 and left == 0), None)
    ended = f"all cut after {cut:.0f} s" if cut else f"{seen[-1][2]} descriptors and {seen[-1][3]} streams left"
    return Row(
        "F19",
        f"{wanted:,} clients read a byte a second, half of them an answer of 8 MB, half a stream without end",
        f"less than 300 MB; at most {EACH} KB for each: 64 KB of buffers, and two connections; the backend is held back; cut after {PATIENCE} s "
        "without progress, here and at the backend (at most 15 s later)",
        f"{came:,} came, {streams:,} at the backend at once; {peak:.0f} MB at most, {idle:.0f} before: {each:.0f} KB for each; "
        f"the backend was rid of {taken:,.0f} KB for each, sockets included, and of {growth:.1f} KB more in the next "
        f"{middle[-1][0] - middle[0][0]:.0f} s; {ended}",
        came == wanted
        and streams >= wanted * 0.98
        and peak < 300
        and each <= EACH
        and growth < 16
        and cut is not None
        and PATIENCE <= cut <= PATIENCE + 15 + wanted / 1_000,
    )


async def slow_senders(stage, size):
    """F20: heads and bodies that come a byte at a time, beside honest calls. What the crowd itself
    costs the machine is measured with the same crowd at another server."""
    backend = await stage.fast_backend()
    server = await stage.server("slow-senders", backend)
    other = await stage.nginx(backend, 2 * size.sockets + 1_024)
    alone = await stage.honest(server, 10)
    # In turn, and the better of the rounds: what else runs only adds to a latency.
    pairs = [
        [await with_a_crowd(stage, server, port, size) for port in (other, server.port)]
        for _ in range(size.rounds)
    ]
    beside, _, _ = min((pair[0] for pair in pairs), key=lambda it: it[0]["p99"])
    under, crowd, waits = min((pair[1] for pair in pairs), key=lambda it: it[0]["p99"])
    # Where other work alone delays calls by more than a crowd at nginx does, that is the measure.
    ratio = under["p99"] / max(beside["p99"], alone["p99"])
    heads, bodies = crowd["lives"].get("heads", [0] * 3), crowd["lives"].get("bodies", [0] * 3)
    lost = under["errors"] + beside["errors"]
    yield Row(
        "F20",
        f"{size.sockets:,} sockets send heads and forms slowly and come again when they are cut; 500 honest calls a second on connections of their own",
        "p99 of the honest less than twice that beside the same crowd at nginx, or alone where that is more; a head is cut after 10 s, a body after 30 s (99 of 100 at most 5 s later; who comes when all 10,000 places are taken waits for one first)",
        f"{crowd['most']:,} open at once, {crowd['opened']:,} in all; p99 {under['p99'] / 1_000:.2f} ms, {beside['p99'] / 1_000:.2f} ms "
        f"beside the crowd at nginx, {alone['p99'] / 1_000:.2f} ms alone: {ratio:.2f}; {lost} failed; "
        f"heads cut after {heads[0]:.1f} to {heads[1]:.1f} s, the last {heads[2]:.1f} s; bodies after {bodies[0]:.1f} to {bodies[1]:.1f} s, the last {bodies[2]:.1f} s",
        crowd["most"] >= size.sockets * 0.98
        and ratio < 2
        and lost == 0
        and 9.5 <= heads[0]
        and heads[1] < 15
        and 29.5 <= bodies[0]
        and bodies[1] < 35,
    )
    answered = [wait for wait in waits if wait is not None]
    yield Row(
        "F20",
        "newcomers: a new connection each second during that",
        "all are answered, half of them within 1 s",
        f"{len(answered)} of {len(waits)} were answered; median {share(answered, 0.5) * 1_000:,.0f} ms, "
        f"the slowest {max(answered, default=0) * 1_000:,.0f} ms",
        len(answered) == len(waits) and share(answered, 0.5) < 1,
    )


async def with_a_crowd(stage, server, port, size):
    """Honest calls that begin before the crowd and end before it leaves, which it does in one moment;
    and new connections all along."""
    honest = asyncio.create_task(stage.honest(server, size.crowd))
    await asyncio.sleep(2)
    crowd = asyncio.create_task(stage.crowd(port, "both", size.sockets, size.crowd))
    asking = []
    while not crowd.done():
        asking.append(asyncio.create_task(newcomer(server)))
        await asyncio.sleep(1)
    waits = await asyncio.gather(*asking)
    return await honest, await crowd, waits


async def newcomer(server):
    answer = await send(server.port, "GET", "/healthz", limit=15)
    return answer.seconds if answer.status == 200 else None


async def few_descriptors(stage, size):
    """F21: a process with 256 descriptors, and a crowd that takes them all."""
    backend = await stage.fast_backend()
    limit = ["prlimit", "--nofile=256:256", "--"]
    server = await stage.server("few-descriptors", backend, wrap=limit)
    words = "no connection was accepted"
    flood = asyncio.create_task(stage.crowd(server.port, "knocks", 1_500, size.flood))
    await fades(lambda: server.said(words) > 0, 10)
    began, spent = time.monotonic(), server.place.spent()
    await asyncio.sleep(size.flood / 2)
    held = server.descriptors()
    await flood
    elapsed = time.monotonic() - began
    busy = (server.place.spent() - spent) / elapsed / 10_000
    lines = server.said(words)
    fine, since = None, time.monotonic()
    while fine is None and time.monotonic() - since < 15:
        if await newcomer(server) is not None:
            fine = time.monotonic() - since
    yield Row(
        "F21",
        f"256 descriptors and 1,500 connections for {elapsed:.0f} s",
        "less than 20 % of a core; a line in the log each 10 s; answers again within 5 s after",
        f"{held} descriptors in use; {busy:.1f} % of a core; {lines} lines; answered "
        + (f"{fine * 1_000:,.0f} ms after" if fine is not None else "no more"),
        held >= 250
        and busy < 20
        and 1 <= lines <= elapsed / 10 + 1
        and fine is not None
        and fine < 5,
    )
