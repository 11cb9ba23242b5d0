"""Outside: installs what is pinned, builds the server, and starts the checks where nothing that they
mount, bind or leave behind can reach this machine."""

import argparse
import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path

from harness.install import cache, command, found, server, target_directory
from harness.processes import Failed, Processes

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"
# What runs, and which Debian package brings it.
DEBIAN = {
    "nginx": "nginx-light",
    "redis-server": "redis-server",
    "systemd-analyze": "systemd",
    "strace": "strace",
    "ip": "iproute2",
}
TRIPLE = "x86_64-unknown-linux-gnu"


def main():
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--binary", metavar="PATH", help="the server; otherwise it is built")
    parser.add_argument(
        "--release", action="store_true", help="a static release build, started from an empty root"
    )
    parser.add_argument(
        "--drain", metavar="SECONDS", type=int, help="only rolling restarts under load, for so long"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: this needs root, for namespaces and for the users of the images")
    try:
        binary, python = asyncio.run(prepare(options))
    except Failed as error:
        sys.exit(f"error: {error}")
    words = [str(python), "-m", "checks.inside", str(binary)]
    if options.drain:
        words += ["--drain", str(options.drain)]
    # With a network, mounts and processes of its own: what it starts ends with it, and the ports of
    # compose.yaml are free there.
    own = ["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    path = os.pathsep.join([str(HERE), str(HERE.parent / "clients"), str(HERE.parent / "fire")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    sys.stdout.flush()
    os.execvpe("unshare", ["unshare", *own, "--mount-proc", *words], environment)


async def prepare(options):
    """The server, and a Python that has what the checks need."""
    logs = HERE / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    processes = Processes(logs)
    missing = [package for program, package in DEBIAN.items() if not found(program)]
    if missing:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        await command("debian-packages", ["apt-get", "update"], processes, env=quiet)
        words = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        await command("debian-packages", words, processes, env=quiet)
    python = await python_packages(processes)
    if options.binary:
        return Path(options.binary).resolve(), python
    return await (static if options.release else server)(processes), python


async def python_packages(processes):
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    directory = cache() / "deploy" / f"python-{digest}"
    python = directory / "bin" / "python"
    if not (directory / ".complete").exists():
        shutil.rmtree(directory, ignore_errors=True)
        await command("venv", [sys.executable, "-m", "venv", directory], processes)
        words = [python, "-m", "pip", "install", "--no-deps", "--quiet", "-r", REQUIREMENTS]
        await command("python-packages", words, processes)
        (directory / ".complete").touch()
    return python


async def static(processes):
    """A release build that needs no library at run time. The image has one for musl; this one, for
    glibc, shows that nothing in the sources stands against it."""
    words = ["cargo", "build", "--locked", "--quiet", "--release", "--bin", "mcp-oauth"]
    environment = {
        "CARGO_TARGET_DIR": str(target_directory()),
        "RUSTFLAGS": "-C target-feature=+crt-static",
    }
    words += ["--target", TRIPLE]
    await command("mcp-oauth", words, processes, cwd=PROJECT, env=environment, seconds=3600)
    return target_directory() / TRIPLE / "release" / "mcp-oauth"
