"""Our server with a configuration of its own for each proof, and the honest load beside it."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass

from fire.client import Client, Ledger
from fire.http import send
from fire.stub import Upstream
from harness.deployment import free_port
from harness.install import found
from harness.processes import Child, Failed, answers
from places import HERE, Place


@dataclass
class Server:
    """Our server, as the clients of the fire proofs want it."""

    name: str
    port: int
    place: Place = None
    child: Child = None
    token: str = ""

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.place.pids[0]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def said(self, words):
        return self.child.log.read_text(errors="replace").count(words)

    def head(self, method, target, *fields):
        """The head of a request that may pass."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.address}"]
        lines += [f"Authorization: Bearer {self.token}", "Content-Type: application/json"]
        lines += ["Accept: application/json, text/event-stream", *fields]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


class Stage:
    """Starts what a proof needs; `processes` ends it."""

    def __init__(self, processes, directory, binary):
        self.processes, self.directory, self.binary = processes, directory, binary
        self._number = 0

    async def open(self):
        self.upstream = Upstream()
        await self.upstream.open()

    async def close(self):
        await self.upstream.close()

    def _name(self, name):
        self._number += 1
        return f"{self._number}-{name}"

    async def server(self, name, backend, resource="", wrap=()):
        """A server before `backend`, and a token for it. `wrap` is a command that runs a command."""
        server = Server(name, free_port())
        home = self.directory / self._name(name)
        home.mkdir()
        file = home / "server.toml"
        file.write_text(self._configuration(home, server, backend, resource))
        words = [*wrap, self.binary, "serve", "--config", file]
        server.child = await self._start(home.name, words, server.port, home)
        server.place = Place(name, server.address, [server.child.process.pid])
        server.home = home
        await self.sign_in(server)
        return server

    async def sign_in(self, server):
        """A token for what is sent from now on."""
        client = await Client(server, Ledger()).register()
        _, tokens = await client.login()
        server.token = tokens["access_token"]
        (server.home / "token").write_text(server.token)

    async def _start(self, name, words, port, cwd):
        async def ready():
            return await answers("127.0.0.1", port)

        return await self.processes.start_until(name, words, ready, cwd=cwd)

    async def fast_backend(self):
        """The backend of the other measurements."""
        port = free_port()
        await self._start(self._name("backend"), [self.directory / "backend", port], port, None)
        return f"127.0.0.1:{port}"

    async def faulty_backend(self, port=None):
        port = port or free_port()
        words = [sys.executable, HERE / "faulty.py", port]
        return port, await self._start(self._name("faulty"), words, port, None)

    async def nginx(self, backend, connections):
        """Another server on this machine, with the same patience."""
        if (program := found("nginx")) is None:
            raise Failed("nginx is not installed: `apt-get install nginx-light`")
        home, port = self.directory / self._name("nginx"), free_port()
        home.mkdir()
        kinds = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
        folders = "\n".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
        (home / "nginx.conf").write_text(f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes {os.cpu_count()};
pid {home}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  {folders}
  client_header_timeout 10s;
  client_body_timeout 30s;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://{backend}; }}
  }}
}}
""")
        words = [program, "-e", "stderr", "-p", home, "-c", home / "nginx.conf"]
        await self._start(home.name, words, port, home)
        return port

    async def program(self, name, words):
        """Runs a program of ours to its end and returns the line of JSON that it prints."""
        child = await self.processes.start(self._name(name), words, pipes=True)
        text = await child.process.stdout.read()
        if await child.process.wait():
            raise Failed(f"{name}: {child.last_words()}")
        return json.loads(text)

    async def honest(self, server, seconds, rate=500, connections=4):
        """Calls at a fixed rate, timed from when each should have started."""
        words = [self.directory / "load", server.address, server.address, "call", connections]
        return await self.program("honest", [*words, seconds, rate, server.home / "token"])

    async def crowd(self, port, kind, count, seconds, request=None):
        words = [sys.executable, HERE / "crowd.py", port, kind, count, seconds]
        return await self.program(f"crowd-{kind}", words + ([request] if request else []))

    def _configuration(self, home, server, backend, resource):
        secret = home / "client-secret"
        secret.write_text("only on loopback")
        secret.chmod(0o600)
        up = self.upstream.origin
        return f"""
public_url = "{server.origin}"
listen = "{server.address}"
[upstreams.stub]
provider = "oauth2"
client_id = "gateway"
client_secret_file = "{secret}"
authorize_url = "{up}/authorize"
token_url = "{up}/token"
userinfo_url = "{up}/userinfo"
subject = "sub"
[[resources]]
path = "/mcp"
backend = "http://{backend}/mcp"
{resource}
[access]
allow_all = true
# Every client here has the same address.
[limits]
register_per_minute = 0
authorize_per_minute = 0
token_per_minute = 0
[shutdown]
delay = "0s"
drain = "1s"
[log]
format = "json"
level = "warn"
"""


async def state(port):
    """What the faulty backend tells of itself; it may be busy with a crowd."""
    return json.loads((await send(port, "GET", "/state", limit=60)).body)


async def fades(look, seconds, pause=0.1):
    """Waits until `look()` is true; how long that took, or None after `seconds`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < seconds:
        if look():
            return loop.time() - began
        await asyncio.sleep(pause)
    return None
