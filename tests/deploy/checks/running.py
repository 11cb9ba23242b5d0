"""What compose.yaml describes, running: a sign-in, replicas that go while people work, and how
long a replica without work takes to stop."""

import asyncio
import re
import signal
import time
import tomllib
from collections import Counter

from harness.processes import Failed

from .people import Crowd, Person, send

REPLICAS = ("gateway-1", "gateway-2")
# What stopping may take beyond `shutdown.delay`, for a replica without work.
MARGIN = 2.0


def say(what):
    print(f"✓ {what}", flush=True)


def times(project):
    """`shutdown` of the configuration that compose mounts, in seconds."""
    file = project.folder / "compose" / "mcp-oauth.toml"
    table = tomllib.loads(file.read_text())["shutdown"]
    return {name: float(table[name].removesuffix("s")) for name in ("delay", "drain")}


async def is_ready(project, replica):
    address = project.services[replica]["environment"]["MCP_OAUTH_ADMIN_LISTEN"]
    answer = await send("127.0.0.1", int(address.split(":")[1]), "GET", "/readyz", (), b"")
    return answer.status == 200


async def until_ready(project, replica, seconds=20):
    ends = time.monotonic() + seconds
    while not await is_ready(project, replica):
        if not project.containers[replica].child.alive:
            project.containers[replica].complain("ended")
        if time.monotonic() > ends:
            project.containers[replica].complain("did not become ready")
        await asyncio.sleep(0.1)


async def started(project):
    await project.up()
    await project.until_published()
    for replica in REPLICAS:
        await until_ready(project, replica)
    say(f"compose: {len(project.containers)} services run, each as its own user in its own root")


async def sign_in(project, binary):
    """The demo's own check, with every step that a client and a thief would take."""
    process = await asyncio.create_subprocess_exec(
        binary, "demo", "--selfcheck", "--url", "http://127.0.0.1:8080/mcp",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 40)
    if process.returncode != 0:
        raise Failed(f"the sign-in through nginx failed:\n{said.decode()}")
    say(f"compose: the whole flow through nginx, {said.decode().count('✓')} steps")


async def backend_is_closed():
    """The MCP server answers nobody but the gateway."""
    answer = await send("127.0.0.1", 3000, "POST", "/mcp", (), b"{}")
    if answer.status != 401:
        raise Failed(f"the MCP server answers {answer.status} past the gateway")
    say("compose: the MCP server refuses who comes past the gateway")


async def restart(project, replica):
    """Stops a replica as an engine does, and starts it again; how long it took to stop."""
    container, began = project.containers[replica], time.monotonic()
    container.signal(signal.SIGTERM)
    await asyncio.sleep(0.2)
    if await is_ready(project, replica):
        raise Failed(f"{replica} is still ready after SIGTERM")
    code = await asyncio.wait_for(container.child.process.wait(), 60)
    took = time.monotonic() - began
    if code != 0:
        container.complain(f"exited {code}")
    await project.begin(replica)
    await until_ready(project, replica)
    return took


async def drained(project, seconds):
    """Rolling restarts under load: no request fails, and no stream is cut."""
    longest, rounds, ends = 0.0, 0, time.monotonic() + seconds
    async with Crowd(lanes=4, streams=2) as crowd:
        await asyncio.sleep(1.5)
        while True:
            replica = REPLICAS[rounds % len(REPLICAS)]
            longest = max(longest, await restart(project, replica))
            rounds += 1
            await asyncio.sleep(1)
            if time.monotonic() > ends:
                break
    total = crowd.requests.total()
    if crowd.failures:
        shown = "\n".join(crowd.failures[:10])
        raise Failed(f"{len(crowd.failures)} of {total} requests failed:\n{shown}")
    limit = sum(times(project).values()) + MARGIN
    if longest > limit:
        raise Failed(f"a replica took {longest:.1f} s to stop, more than {limit:.1f} s")
    judge_balance(project)
    busy = ", ".join(f"{count} {step}" for step, count in crowd.requests.most_common())
    say(f"drain: {rounds} restarts under load, {total} requests, none failed ({busy})")


def judge_balance(project):
    """Both replicas had their share, or the restarts prove nothing; and no query is in nginx's log."""
    log = project.containers["nginx"].child.log.read_text()
    served = Counter(re.findall(r"127\.0\.0\.1:(818[12])$", log, re.MULTILINE))
    if len(served) != 2 or min(served.values()) < served.total() / 5:
        raise Failed(f"the replicas answered {dict(served)}")
    if re.search(r"[?&](code|state)=", log):
        raise Failed("nginx logs a query")


async def idle_stop(project):
    """Without work, a replica is gone soon after the delay."""
    delay = times(project)["delay"]

    async def stop(replica):
        began = time.monotonic()
        code = await asyncio.wait_for(project.containers[replica].stop(), 60)
        return code, time.monotonic() - began

    ends = await asyncio.gather(*map(stop, REPLICAS))
    for replica, (code, took) in zip(REPLICAS, ends):
        if code != 0 or took > delay + MARGIN:
            raise Failed(f"{replica} exited {code} after {took:.1f} s; the delay is {delay:.0f} s")
    slowest = max(took for _, took in ends)
    say(f"drain: replicas without work stop {slowest:.1f} s after SIGTERM (delay {delay:.0f} s)")


async def one_person():
    person = await Person().sign_in()
    if "demo:alice" not in await person.call("whoami"):
        raise Failed("whoami does not know who signed in")
