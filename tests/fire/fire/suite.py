"""The whole run: arguments, starting, tracks of faults side by side, long proofs, the verdict."""

import argparse
import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import bounded
from harness.install import command, found, server
from harness.processes import Failed

from . import keys, proofs, report, scenarios
from .deployment import Deployment, Store
from .stub import Line, Upstream

HERE = Path(__file__).resolve().parent.parent
# What runs and which Debian package brings it.
DEBIAN = {"nginx": "nginx-light", "redis-server": "redis-server"}


# What the tools and the server may take before the first fault, in seconds.
INSTALLING = 3300


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
    failovers: int = 1
    pause: int = 0
    limit: int = 240


LONG = Size(
    rounds=100, families=500, rotations=20, workers=24, load=20.0, away=60.0, slow=(0.3, 2.0),
    codes=20, failovers=20, pause=75, limit=3000,
)


class Rig:
    """What the tracks share."""

    def __init__(self, processes, directory, binary, tests, size):
        self.processes, self.directory, self.size = processes, directory, size
        self.binary, self.tests = binary, tests
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
    """The other two columns, and clocks that differ."""
    size = rig.size
    one = await rig.deployment("memory", "memory", size=1)
    yield await scenarios.one_code(one, size.rounds)
    for row in await scenarios.parallel_refresh(one, size.families, size.rotations, None):
        yield row
    yield await scenarios.revocation(one, 2)
    yield await scenarios.restarted_process(one, 10)
    three = await rig.deployment("upstream", "upstream")
    yield await scenarios.one_code(three, size.rounds)
    ahead = {"LD_PRELOAD": str(libfaketime()), "FAKETIME": "+45s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    store = await rig.store("store-of-clocks")
    three = await rig.deployment("clocks", "redis", store=store.port, environments={1: ahead})
    yield await scenarios.clocks_apart(three, size.codes, size.pause)


async def with_other_keys(rig):
    """Keys that change, and stores that fail over."""
    store = await rig.store("store-of-keys")
    three = await rig.deployment("keys", "redis", store=store.port)
    for row in await keys.rotation(three, max(2, rig.size.workers // 4)):
        yield row
    yield await scenarios.lagging_failovers(rig, rig.size.failovers, 5)


async def with_many(rig):
    """What holds for many thousands, in a process of its own each."""
    for proof in proofs.PROOFS:
        yield await proofs.run(rig.processes, rig.tests, proof, rig.size is LONG)


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
    parser.add_argument("--long", action="store_true", help="larger numbers, under twenty minutes")
    parser.add_argument("--binary", metavar="PATH", help="the server; otherwise it is built")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/faults.md")
    return parser.parse_args()


def main():
    options = arguments()
    size = LONG if options.long else Size()

    async def body(processes, directory, logs):
        await packages(processes)
        if options.binary and not os.access(options.binary, os.X_OK):
            raise Failed(f"server: {options.binary} is no program")
        binary = Path(options.binary).resolve() if options.binary else await server(processes)
        tests = await proofs.build(processes, options.long)
        try:
            async with asyncio.timeout(size.limit):
                rig = Rig(processes, directory, binary, tests, size)
                return await whole(options, rig, logs)
        except TimeoutError as error:
            raise Failed(f"the faults took longer than {size.limit} s; logs are in {logs}") from error

    # Installing and building have their own limits.
    return bounded.run(HERE, size.limit + INSTALLING, body)


async def whole(options, rig, logs):
    began, rows = time.monotonic(), []

    async def run(track):
        async for row in track(rig):
            rows.append(row)
            print(f"{report.mark(row)} {time.monotonic() - began:4.0f} s  {row.fault}", flush=True)

    tracks = [with_a_store, with_other_stores, with_other_keys]
    if not options.long:
        # Nothing is measured by so few: they may run beside the others.
        tracks.append(with_many)
    await asyncio.gather(*map(run, tracks))
    await rig.close()
    if options.long:
        for deployment in rig.deployments:
            await deployment.stop()
        await run(with_many)
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
