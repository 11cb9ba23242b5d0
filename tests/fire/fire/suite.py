"""The whole run: arguments, starting, three tracks of faults side by side, the verdict."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.install import command, found, server
from harness.processes import Failed, Processes

from . import keys, report, scenarios
from .deployment import Deployment, Store
from .stub import Line, Upstream

HERE = Path(__file__).resolve().parent.parent
# What runs and which Debian package brings it.
DEBIAN = {"nginx": "nginx-light", "redis-server": "redis-server"}


@dataclass
class Size:
    """How much of everything; every number bounds a loop."""

    rounds: int = 5
    families: int = 16
    rotations: int = 3
    workers: int = 8
    load: float = 3.0
    away: float = 4.0
    slow: tuple = (0.3,)
    codes: int = 5
    pause: int = 0
    limit: int = 240


LONG = Size(
    rounds=100, families=500, rotations=20, workers=24, load=20.0, away=60.0, slow=(0.3, 2.0),
    codes=20, pause=75, limit=3000,
)


class Rig:
    """What the tracks share."""

    def __init__(self, processes, directory, binary, size):
        self.processes, self.directory, self.binary, self.size = processes, directory, binary, size
        self.deployments, self._ends = [], []

    async def store(self, name):
        store = Store(self.processes, name, self.directory / name)
        await store.start()
        return store

    async def line(self, target):
        line = Line(target)
        await line.open()
        self._ends.append(line)
        return line

    async def deployment(self, name, mode, **more):
        upstream = Upstream()
        await upstream.open()
        self._ends.append(upstream)
        home = self.directory / name
        deployment = Deployment(name, mode, self.processes, self.binary, upstream, home, **more)
        self.deployments.append(deployment)
        await deployment.start()
        return deployment

    async def close(self):
        for end in self._ends:
            await end.close()


async def with_a_store(rig):
    """Three replicas and Redis, behind a line that can be slow or cut."""
    size, store = rig.size, await rig.store("store")
    line = await rig.line(store.port)
    three = await rig.deployment("redis", "redis", store=line.port)
    yield await scenarios.one_code(three, size.rounds)
    for row in await scenarios.parallel_refresh(three, size.families, size.rotations, store):
        yield row
    yield await scenarios.revocation(three, 2)
    yield await scenarios.killed_replica(three, size.workers, size.load)
    yield await scenarios.rolling_restart(three, size.workers)
    yield await scenarios.troubled_store(three, line, size.away, 0)
    for delay in size.slow:
        yield await scenarios.troubled_store(three, line, size.away, delay)
    yield await scenarios.emptied_store(three, store, size.codes)


async def with_other_stores(rig):
    """The other two columns, a store that fails over, and clocks that differ."""
    size = rig.size
    one = await rig.deployment("memory", "memory", size=1)
    yield await scenarios.one_code(one, size.rounds)
    for row in await scenarios.parallel_refresh(one, size.families, size.rotations, None):
        yield row
    yield await scenarios.revocation(one, 2)
    yield await scenarios.restarted_process(one, 10)
    three = await rig.deployment("upstream", "upstream")
    yield await scenarios.one_code(three, size.rounds)
    primary, copy = await rig.store("primary"), await rig.store("copy")
    line = await rig.line(primary.port)
    three = await rig.deployment("failover", "redis", store=line.port)
    yield await scenarios.lagging_failover(three, line, primary, copy, size.codes)
    ahead = {"LD_PRELOAD": str(libfaketime()), "FAKETIME": "+45s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    store = await rig.store("store-of-clocks")
    three = await rig.deployment("clocks", "redis", store=store.port, environments={1: ahead})
    yield await scenarios.clocks_apart(three, size.codes, size.pause)


async def with_other_keys(rig):
    store = await rig.store("store-of-keys")
    three = await rig.deployment("keys", "redis", store=store.port)
    for row in await keys.rotation(three, max(2, rig.size.workers // 4)):
        yield row


def libfaketime():
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        raise Failed("libfaketime is not installed (Debian's package `libfaketime`)")
    return library


async def packages(processes):
    missing = [package for program, package in DEBIAN.items() if not found(program)]
    if next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None) is None:
        missing.append("libfaketime")
    if missing:
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        await command("debian-packages", ["apt-get", "update"], processes, env=env)
        words = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        await command("debian-packages", words, processes, env=env)


def arguments():
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--long", action="store_true", help="larger numbers, about ten minutes")
    parser.add_argument("--binary", metavar="PATH", help="the server; otherwise it is built")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/faults.md")
    return parser.parse_args()


def main():
    options = arguments()
    logs = HERE / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    try:
        return asyncio.run(bounded(options, logs))
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("error: stopped", file=sys.stderr)
        return 130


async def bounded(options, logs):
    """One run, stopped by a signal or by the time limit, cleaned up in every case."""
    me = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    size = LONG if options.long else Size()
    processes = Processes(logs)
    directory = Path(tempfile.mkdtemp(prefix="mcp-oauth-fire-"))
    try:
        await packages(processes)
        if options.binary and not os.access(options.binary, os.X_OK):
            raise Failed(f"server: {options.binary} is no program")
        binary = Path(options.binary).resolve() if options.binary else await server(processes)
        async with asyncio.timeout(size.limit):
            return await whole(options, Rig(processes, directory, binary, size), logs)
    except TimeoutError as error:
        raise Failed(f"the run took longer than {size.limit} s; logs are in {logs}") from error
    finally:
        left = await processes.stop_all()
        shutil.rmtree(directory, ignore_errors=True)
        if left:
            print(f"error: {len(left)} processes outlived their parents", file=sys.stderr)


async def whole(options, rig, logs):
    began, rows = time.monotonic(), []

    async def run(track):
        async for row in track(rig):
            rows.append(row)
            print(f"{report.mark(row)} {time.monotonic() - began:4.0f} s  {row.fault}", flush=True)

    await asyncio.gather(*map(run, (with_a_store, with_other_stores, with_other_keys)))
    await rig.close()
    seconds = time.monotonic() - began
    rows.sort(key=report.order)
    print(f"\n{report.text(rows)}")
    panics = sum(deployment.panics(logs) for deployment in rig.deployments)
    failed = sum(not row.passed for row in rows)
    print(f"\n{len(rows) - failed} hold, {failed} do not, {panics} panics; {seconds:.0f} s", flush=True)
    if failed or panics:
        return 1
    if options.write_docs:
        report.write(rows, seconds, "tests/fire/run" + (" --long" if options.long else "") + " --write-docs")
    return 0
