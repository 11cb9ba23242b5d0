"""Child processes: each in a session of its own with its output in a log, all of them ended at the
end, whatever that end is."""

import asyncio
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path


class Failed(Exception):
    """Something that the suite needs did not install, start or answer; the text names it."""


@dataclass
class Child:
    name: str
    log: Path
    process: asyncio.subprocess.Process

    @property
    def alive(self):
        return self.process.returncode is None

    def last_words(self, lines=12):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class Processes:
    def __init__(self, logs):
        self.logs = logs
        self._children = []
        self._mark = f"CLIENT_SUITE={os.getpid()}-{time.time_ns()}"

    async def start(self, name, command, *, env=None, cwd=None, pipes=False):
        """Starts `command`; its errors (and, without `pipes`, its output) go to the log."""
        log = self.logs / f"{name}.log"
        # Ends the child with us even where we are killed outright.
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *guard,
                *map(str, command),
                env=environment(env or {}, self._mark),
                cwd=cwd,
                stdin=asyncio.subprocess.PIPE if pipes else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if pipes else errors,
                stderr=errors,
                start_new_session=True,
                limit=1 << 20,
            )
        child = Child(name, log, process)
        self._children.append(child)
        return child

    async def start_until(self, name, command, ready, *, env=None, cwd=None, seconds=30):
        """Starts `command` and waits until `ready()` says so."""
        child = await self.start(name, command, env=env, cwd=cwd)
        for _ in range(seconds * 10):
            if not child.alive:
                break
            if await ready():
                return child
            await asyncio.sleep(0.1)
        state = "did not become ready" if child.alive else f"exited {child.process.returncode}"
        raise Failed(f"{name} {state}; {child.log} ends:\n{child.last_words()}")

    async def stop(self, child):
        """Ends a child and all of its session: asks, waits, insists."""
        for number, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 3)):
            signal_session(child.process.pid, number)
            try:
                await asyncio.wait_for(child.process.wait(), seconds)
            except asyncio.TimeoutError:
                continue
            break
        signal_session(child.process.pid, signal.SIGKILL)
        if child in self._children:
            self._children.remove(child)

    async def stop_all(self):
        """Ends everything, also what left its parent's session; returns what had to be ended so."""
        await asyncio.gather(*(self.stop(child) for child in reversed(self._children[:])))
        for _ in range(20):
            left = self._left()
            if not left:
                return []
            await asyncio.sleep(0.1)
        for process in left:
            signal_process(process, signal.SIGKILL)
        return left

    def _left(self):
        """The living processes that carry this run's mark."""
        mark = self._mark.encode()
        left = []
        for home in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (home / "environ").read_bytes().split(b"\0"):
                    left.append(int(home.name))
            except OSError:
                continue
        return left


def environment(own, mark):
    """Ours, without what the server would take for its configuration (the gate's
    `CI_CACHE`, a `PORT`), and with loopback exempt from proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PORT" and not name.startswith("MCP_OAUTH_")
    }
    direct = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    name, _, value = mark.partition("=")
    return {**kept, **direct, **own, name: value}


def signal_session(leader, number):
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        pass


def signal_process(process, number):
    try:
        os.kill(process, number)
    except (ProcessLookupError, PermissionError):
        pass


async def answers(host, port):
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2)
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True
