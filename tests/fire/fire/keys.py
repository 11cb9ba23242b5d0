"""Key rotation under load, step by step, and the loss of a key."""

import asyncio
import re
import time

from harness.processes import Failed

from .client import Client, Ledger
from .load import Load
from .scenarios import Row

# Replicas read the folder every five seconds.
READ = 6


class Keys:
    """The command on the keys of a deployment."""

    def __init__(self, deployment):
        self.deployment = deployment

    async def run(self, *words):
        home = self.deployment.home
        process = await asyncio.create_subprocess_exec(
            str(self.deployment.binary), "keys", "--directory", str(home / "keys"), *words,
            cwd=home, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(20):
            said, _ = await process.communicate()
        if process.returncode != 0:
            raise Failed(f"keys {' '.join(words)}: {said.decode()}")
        return said.decode()

    async def sealing(self):
        """The id of the key that seals."""
        for line in (await self.run("list")).splitlines():
            if re.search(r"\bseals\b", line):
                return line.split()[0]
        raise Failed("no key seals")


async def rotation(deployment, workers):
    keys, ledger = Keys(deployment), Ledger()
    async with Load(deployment, ledger, workers) as load:
        await asyncio.sleep(1)
        old = await keys.sealing()
        await keys.run("rotate")
        await asyncio.sleep(READ)
        await keys.run("rotate", "--promote", "--now")
        await asyncio.sleep(READ)
        await keys.run("retire", old)
        await asyncio.sleep(READ)
    rotated = Row(
        "F22",
        "a root key is added, promoted, and the old one retired, under load",
        "no visible effect",
        f"{load.flows} sign-ins, {load.requests} requests: {len(load.failed)} failed, "
        f"{load.honest_ended} grants ended, {ledger.doubles} codes twice",
        not load.failed and load.honest_ended == 0 and ledger.doubles == 0 and load.flows > 0,
    )
    return [rotated, await loss(deployment, keys)]


async def loss(deployment, keys, logins=5, seconds=30):
    """The sealing key has leaked: all that it sealed ends."""
    client = await Client(deployment, Ledger()).register()
    held = [(await client.login())[1] for _ in range(logins)]
    await keys.run("revoke", await keys.sealing(), "--yes")
    began, over = time.monotonic(), None
    while over is None and time.monotonic() - began < seconds:
        # Each at three replicas, as the balancer turns.
        calls = [await client.call(tokens["access_token"]) for tokens in held for _ in range(3)]
        if all(answer.status == 401 for answer in calls):
            over = time.monotonic() - began
        await asyncio.sleep(0.2)
    refreshes = [await client.refresh(tokens["refresh_token"]) for tokens in held]
    dead = sum(answer.status in (400, 401) for answer in refreshes)
    anew = await Client(deployment, Ledger()).register()
    await anew.login()
    return Row(
        "F23",
        "the sealing root key is revoked",
        "all that it sealed is refused within 10 s; people can sign in again",
        f"every access token refused after {over:.1f} s" if over else "access tokens went on working",
        over is not None and dead == logins,
        over is not None and over < 10,
    )
