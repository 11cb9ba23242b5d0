"""What is measured: the backend, nginx and our server, each with the processes that do its work."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import sign_in
from harness.browser import Browser
from harness.deployment import free_port
from harness.install import found, target_directory
from harness.processes import Failed, answers

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent


@dataclass
class Place:
    """Somewhere to send requests; `pids` are the processes that work for them."""

    name: str
    address: str
    pids: list

    def spent(self):
        """Processor time of its threads so far, in microseconds."""
        return sum(int(text.split()[0]) for text in self._files("task/*/schedstat")) / 1_000

    def resident(self):
        """Resident memory, in MB."""
        lines = [line for text in self._files("status") for line in text.splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1_024

    def _files(self, pattern):
        for pid in self.pids:
            for file in Path(f"/proc/{pid}").glob(pattern):
                yield file.read_text()


async def build(processes, directory, binary):
    """The two programs of this folder and, unless given, the server as it is released."""

    async def run(name, words):
        child = await processes.start(f"build-{name}", words, cwd=PROJECT)
        if await child.process.wait():
            raise Failed(f"{name} was not built; {child.log} ends:\n{child.last_words()}")

    for name in ("backend", "load"):
        words = ["rustc", "-O", "--edition", "2024", HERE / f"{name}.rs", "-o", directory / name]
        await run(name, words)
    if binary:
        return Path(binary).resolve()
    # Into the folder that the client suite builds into as well.
    words = ["cargo", "build", "--release", "--locked", "--bin", "mcp-oauth"]
    await run("server", [*words, "--target-dir", target_directory()])
    return target_directory() / "release" / "mcp-oauth"


async def started(processes, directory, server):
    """The backend alone, nginx before it, and our server before it with a token for it."""

    async def start(name, words, port):
        async def ready():
            return await answers("127.0.0.1", port)

        child = await processes.start_until(name, words, ready, cwd=directory)
        return Place(name, f"127.0.0.1:{port}", [child.process.pid])

    port = free_port()
    bare = await start("backend", [directory / "backend", port], port)
    port = free_port()
    file = directory / "nginx.conf"
    file.write_text(nginx(directory, port, bare.address))
    program = found("nginx")
    if program is None:
        raise Failed("nginx is not installed: `apt-get install nginx-light`")
    front = await start("nginx", [program, "-e", "stderr", "-p", directory, "-c", file], port)
    front.pids += workers(front.pids[0])
    port = free_port()
    provider = await start("provider", [sys.executable, HERE / "provider.py", port], port)
    port = free_port()
    file = directory / "server.toml"
    file.write_text(configuration(directory, port, provider.address, bare.address))
    ours = await start("mcp-oauth", [server, "serve", "--config", file], port)
    origin = f"http://{ours.address}"
    browser = Browser({origin, f"http://{provider.address}"}, lambda target, local: None)
    idle = ours.resident()
    token = await asyncio.to_thread(sign_in.token, origin, browser)
    (directory / "token").write_text(token)
    return [bare, front, ours], len(token), idle


def workers(master):
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def nginx(directory, port, backend):
    return f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes {os.cpu_count()};
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/nginx-body;
  proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-fastcgi;
  scgi_temp_path {directory}/nginx-scgi;
  uwsgi_temp_path {directory}/nginx-uwsgi;
  keepalive_requests 1000000;
  upstream backend {{ server {backend}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # Events must not wait.
      proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""


def configuration(directory, port, provider, backend):
    secret = directory / "client-secret"
    secret.write_text("only on loopback")
    secret.chmod(0o600)
    return f"""
public_url = "http://127.0.0.1:{port}"
listen = "127.0.0.1:{port}"
[upstreams.plain]
provider = "github"
client_id = "gateway"
client_secret_file = "{secret}"
authorize_url = "http://{provider}/authorize"
token_url = "http://{provider}/token"
userinfo_url = "http://{provider}/user"
email_url = "http://{provider}/user"
[[resources]]
path = "/mcp"
backend = "http://{backend}/mcp"
[access]
allow_all = true
[shutdown]
delay = "0s"
drain = "1s"
"""
