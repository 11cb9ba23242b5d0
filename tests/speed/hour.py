"""An hour of everything in 128 MB: F34. Sign-ins, refreshes, calls, streams, tokens that nobody made,
and clients that read slowly; with `--hour-short` three minutes of it."""

import asyncio
import random
import time
from contextlib import contextmanager
from pathlib import Path

from fire.client import Client, Ledger
from breaks import Listener
from measure import surroundings
from rows import HEAD, Row, share, write
from stage import Stage

DOCUMENT, MARK = "faults.md", "hour"
CAP = 128 << 20
STREAMS, READERS, PEOPLE = 50, 50, 3
# A memory store remembers grants: 363 bytes each, see docs/faults.md.
GRANT = 400


class Group:
    """A control group of our own that bounds memory: version 2 or 1, below the one that we are in."""

    def __init__(self, home):
        self.home = home
        self.is_second = (home / "memory.max").exists()

    @classmethod
    def make(cls):
        """None where this process may not make one: the caller then bounds by looking."""
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds not in ("", "memory"):
                continue
            roots = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if not kinds else ("/sys/fs/cgroup/memory",)
            for root in roots:
                home = Path(root) / path.lstrip("/") / f"mcp-oauth-{time.time_ns()}"
                try:
                    home.mkdir()
                except OSError:
                    continue
                group = cls(home)
                if group.bound():
                    return group
                home.rmdir()
        return None

    def bound(self):
        # Elsewhere than in the kernel's own file system this would be a folder like any other.
        if not (self.home / "cgroup.procs").exists():
            return False
        try:
            (self.home / ("memory.max" if self.is_second else "memory.limit_in_bytes")).write_text(str(CAP))
            if (self.home / "memory.swap.max").exists():
                (self.home / "memory.swap.max").write_text("0")
        except OSError:
            return False
        return True

    @property
    def wrap(self):
        """A command that enters the group and then becomes another."""
        return ["sh", "-c", f'echo $$ >{self.home}/cgroup.procs && exec "$@"', "sh"]

    @property
    def used(self):
        file = "memory.current" if self.is_second else "memory.usage_in_bytes"
        return int((self.home / file).read_text()) / (1 << 20)

    @property
    def kills(self):
        text = (self.home / ("memory.events" if self.is_second else "memory.oom_control")).read_text()
        return int(dict(line.split() for line in text.splitlines()).get("oom_kill", 0))

    @property
    def name(self):
        return "a control group" + ("" if self.is_second else " (version 1)")


@contextmanager
def bounded_memory():
    group = Group.make()
    try:
        yield group
    finally:
        if group:
            # Empty once the server has ended; the run ends it in any case.
            for _ in range(50):
                try:
                    group.home.rmdir()
                    break
                except OSError:
                    time.sleep(0.1)


class Mix:
    """What goes on beside the calls, and what of it failed."""

    def __init__(self, server):
        self.server, self.end = server, 0.0
        self.grants = self.refreshes = self.streams = 0
        self.failed = []

    @property
    def goes_on(self):
        return time.monotonic() < self.end

    async def person(self):
        """Signs in, refreshes some times, calls, and begins anew."""
        client = await Client(self.server, Ledger()).register()
        while self.goes_on:
            code, answer = await client.code()
            if code is not None:
                answer = await client.redeem(code)
            if answer.status != 200:
                self.failed.append(f"sign-in {answer.status}")
                await asyncio.sleep(1)
                continue
            self.grants += 1
            for _ in range(3):
                await asyncio.sleep(0.5)
                answer = await client.refresh(answer.json["refresh_token"])
                if answer.status != 200:
                    self.failed.append(f"refresh {answer.status}")
                    break
                self.refreshes += 1
                called = await client.call(answer.json["access_token"])
                if called.status != 200:
                    self.failed.append(f"call {called.status}")

    async def listener(self):
        """Streams of some length, one after the other."""
        while self.goes_on:
            stream = Listener()
            try:
                async with asyncio.timeout(20):
                    await stream.open(self.server)
            except (OSError, EOFError, TimeoutError) as error:
                self.failed.append(f"stream {type(error).__name__}")
                await asyncio.sleep(1)
                continue
            await asyncio.sleep(min(random.uniform(5, 60), max(0.0, self.end - time.monotonic())))
            if stream.ended or not stream.numbers:
                self.failed.append("a stream that ended or held nothing")
            stream.close()
            self.streams += 1


async def run(options, processes, directory, binary):
    seconds = 3_600 if options.hour else 180
    with bounded_memory() as group:
        try:
            row = await measured(Stage(processes, directory, binary), group, seconds)
        finally:
            # The group can be removed only when nothing is in it.
            await processes.stop_all()
    print(row.text)
    if options.write:
        asked = "--hour" if options.hour else "--hour-short"
        note = f"`tests/speed/run {asked} --write` wrote this table, with {surroundings()}."
        write(DOCUMENT, MARK, f"{HEAD}{row.line}\n{note}")
    return 0 if row.holds else 1


async def measured(stage, group, seconds):
    await stage.open()
    port, _ = await stage.faulty_backend()
    server = await stage.server("hour", f"127.0.0.1:{port}", wrap=group.wrap if group else ())
    mix = Mix(server)
    begun = time.monotonic()
    mix.end = begun + seconds
    going = [asyncio.create_task(mix.person()) for _ in range(PEOPLE)]
    going += [asyncio.create_task(mix.listener()) for _ in range(STREAMS)]
    loads = asyncio.create_task(rounds_of_load(stage, server, mix, seconds))
    samples = []
    while not all(task.done() for task in (*going, loads)) and server.child.alive:
        at = time.monotonic() - begun
        samples.append((at, server.place.resident(), server.descriptors(), group.used if group else 0.0))
        print(f"{at:5.0f} s  {samples[-1][1]:.1f} MB, {samples[-1][2]} descriptors, {len(mix.failed)} failed", flush=True)
        await asyncio.sleep(10)
    if not server.child.alive:
        for task in (*going, loads):
            task.cancel()
        await asyncio.gather(*going, loads, return_exceptions=True)
        calls = 0
    else:
        await asyncio.gather(*going)
        calls = await loads
    row = judged(server, group, mix, calls, samples, seconds)
    await stage.close()
    return row


async def rounds_of_load(stage, server, mix, seconds):
    """Calls, garbage and slow readers, in rounds: readers are cut after a minute, and come again. Each
    round signs in anew, since a token lives for an hour at most."""
    request = server.home / "stream"
    done = 0
    while (left := mix.end - time.monotonic()) > 5:
        part = min(left, 85.0)
        await stage.sign_in(server)
        request.write_bytes(server.head("GET", "/mcp?endless"))
        garbage = [stage.directory / "load", server.address, server.address, "garbage", 2]
        calls, refused, _ = await asyncio.gather(
            stage.honest(server, part, 100),
            stage.program("garbage", [*garbage, part, 50, server.home / "token"]),
            stage.crowd(server.port, "readers", READERS, part, request),
        )
        for what, told in (("call", calls), ("refusal", refused)):
            done += told["requests"]
            for cause, count in told["causes"].items():
                mix.failed += [f"{what}: {cause}"] * count
    return done


def judged(server, group, mix, calls, samples, seconds):
    alive, kills = server.child.alive, group.kills if group else 0
    most, descriptors = max(it[1] for it in samples), max(it[2] for it in samples)
    half = [(at, resident) for at, resident, *_ in samples if at > seconds / 2]
    slope = rise(half) * 3_600 if len(half) > 2 else 0.0
    grants = mix.grants / seconds * 3_600
    bound = 1.0 + grants * GRANT / (1 << 20)
    failed = len(mix.failed)
    whole = seconds >= 3_600
    cap = f"in {group.name}" if group else "by looking: this process may make no control group"
    charged = f", {max(it[3] for it in samples):.0f} MB charged to the group" if group else ""
    due = f"lives, is not killed for memory, nothing fails; resident memory grows by less than {bound:.1f} MB in an hour"
    due += f" (1 MB, and {GRANT} bytes for each new grant)" if whole else " (asserted after a whole hour only)"
    return Row(
        "F34",
        f"128 MB ({cap}) and {seconds / 60:.0f} minutes of sign-ins, refreshes, 100 calls and 50 refusals a second, "
        f"{STREAMS} streams, and {READERS} clients that read a byte a second",
        due,
        f"{'lives' if alive else 'ended'}, {kills} kills; {mix.grants:,} sign-ins, {mix.refreshes:,} refreshes, {mix.streams:,} streams, "
        f"{calls:,} calls and refusals: {failed} failed{told(mix.failed)}; {most:.0f} MB at most (median {share([it[1] for it in samples], 0.5):.0f}){charged}, "
        f"{slope:+.1f} MB an hour in the second half, at most {descriptors} descriptors",
        alive and kills == 0 and failed == 0 and most < 128 and (not whole or slope < bound),
    )


def told(failed):
    kinds = sorted({(failed.count(it), it) for it in failed}, reverse=True)[:3]
    return f" ({', '.join(f'{count} × {it}' for count, it in kinds)})" if kinds else ""


def rise(points):
    """The slope of the line of least squares."""
    count = len(points)
    across, up = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - across) ** 2 for x, _ in points)
    return sum((x - across) * (y - up) for x, y in points) / spread if spread else 0.0
