"""The systemd unit: accepted by systemd, confined, and not so much that the server could not work."""

import asyncio
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from harness.processes import Failed, answers

from .documents import run, stopping
from .running import say

# As `systemd-analyze security` counts: 0 is nothing at all, 10 is everything.
EXPOSURE = 1.5


async def check(folder, binary, home, processes):
    unit = folder / "mcp-oauth.service"
    home.mkdir(parents=True)
    install(binary)
    run(["systemd-analyze", "verify", "--man=no", unit], "systemd-analyze verify")
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    said = run([*words, f"--threshold={EXPOSURE * 10:.0f}", unit], "systemd-analyze security")
    level = float(re.search(r"Overall exposure level for .*: ([\d.]+)", said)[1])
    say(f"systemd: the unit is accepted; its exposure is {level} of 10, at most {EXPOSURE}")
    settings = tomllib.loads((folder / "mcp-oauth.toml").read_text())
    if int(option(unit, "TimeoutStopSec")) <= stopping(settings) + 2:
        raise Failed("systemd: TimeoutStopSec is not above delay and drain")
    config(folder, unit, settings, home)
    await calls(unit, home, processes)


def option(unit, name):
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)[-1]


def install(binary):
    """Where the unit looks for it; in this run's own view of the machine."""
    place = Path("/usr/local/bin")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    shutil.copy(binary, place / "mcp-oauth")


def config(folder, unit, settings, home):
    """The configuration with the credentials where the unit hands them over."""
    run(["mount", "-t", "tmpfs", "tmpfs", "/run"], "mount")
    name, _, _ = option(unit, "LoadCredential").partition(":")
    credential = Path("/run/credentials") / unit.name / name
    if credential != Path(settings["upstreams"]["github"]["client_secret_file"]):
        raise Failed(f"systemd: the configuration does not read the credential {name}")
    credential.parent.mkdir(parents=True)
    credential.write_text("a-secret")
    credential.chmod(0o400)
    said = run(["/usr/local/bin/mcp-oauth", "config", "check", folder / "mcp-oauth.toml"], "config check")
    if "no problems" not in said:
        raise Failed(f"systemd: {said}")
    state = Path("/var/lib") / option(unit, "StateDirectory")
    if state not in Path(settings["keys"]["directory"]).parents:
        raise Failed("systemd: the keys are not in the unit's StateDirectory")
    say("systemd: the configuration has no problems with the unit's credentials")


async def calls(unit, home, processes):
    """What the server asks of the kernel, from its start to its end, is in the unit's filter."""
    log = home / "calls"
    words = ["strace", "-f", "-qq", "-o", log, "/usr/local/bin/mcp-oauth", "serve"]
    words += ["--public-url", "http://127.0.0.1:8080", "--backend", "http://127.0.0.1:3000/mcp"]
    words += ["--provider", "github", "--client-id", "Iv1.0123"]
    words += ["--client-secret-file", f"/run/credentials/{unit.name}/github"]
    variables = {"MCP_OAUTH_SHUTDOWN_DELAY": "0s"}
    child = await processes.start("traced", words, cwd=home, env=variables)
    for _ in range(200):
        if await answers("127.0.0.1", 8080):
            break
        await asyncio.sleep(0.1)
    await processes.stop(child)
    used = set(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    if "accept4" not in used:
        raise Failed(f"systemd: the server was not seen at work; it called {sorted(used)}")
    outside = used - allowed(unit)
    if outside:
        raise Failed(f"systemd: SystemCallFilter refuses {sorted(outside)}")
    say(f"systemd: all {len(used)} kinds of system calls that were seen pass its filter")


def allowed(unit):
    calls = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        for name in value.lstrip("~").split():
            group = members(name)
            calls = calls - group if value.startswith("~") else calls | group
    return calls


def members(name):
    """The calls of a group, and of the groups in it."""
    if not name.startswith("@"):
        return {name}
    said = run(["systemd-analyze", "syscall-filter", "--no-pager", name], "systemd-analyze")
    words = [line.strip() for line in said.splitlines()[1:]]
    return set().union(*(members(word) for word in words if word and word[0] != "#"))
