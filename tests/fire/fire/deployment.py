"""The servers: replicas with the keys and perhaps a store in common, behind nginx."""

import asyncio
import os
import signal
from dataclasses import dataclass, field

from harness.deployment import free_port
from harness.install import found
from harness.processes import Failed, answers

from .http import send


@dataclass
class Replica:
    number: int
    port: int
    admin: int
    environment: dict
    child: object = None

    async def is_ready(self):
        return (await send(self.admin, "GET", "/readyz", limit=2)).status == 200


@dataclass
class Deployment:
    """`mode` is a column of the table of guarantees: `memory`, `upstream` or `redis`."""

    name: str
    mode: str
    processes: object
    binary: object
    upstream: object
    home: object
    store: int = 0
    size: int = 3
    environments: dict = field(default_factory=dict)
    replicas: list = field(default_factory=list)

    async def start(self):
        (self.home / "keys").mkdir(parents=True)
        (self.home / "secret").write_text("the upstream's secret")
        (self.home / "secret").chmod(0o600)
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        for number in range(self.size):
            port = self.port if self.size == 1 else free_port()
            environment = self.environments.get(number, {})
            replica = Replica(number, port, free_port(), environment)
            self.replicas.append(replica)
            # One after the other: the first one makes the key that all share.
            await self.begin(replica)
        if self.size > 1:
            await self._start_nginx()
        await self.until_ready()

    async def begin(self, replica):
        file = self.home / f"server-{replica.number}.toml"
        file.write_text(self._configuration(replica))

        async def ready():
            return await answers("127.0.0.1", replica.port)

        replica.child = await self.processes.start_until(
            f"{self.name}-{replica.number}",
            [self.binary, "serve", "--config", file],
            ready,
            env=replica.environment,
            cwd=self.home,
        )

    async def until_ready(self, seconds=30):
        for _ in range(seconds * 10):
            if all([await replica.is_ready() for replica in self.replicas]):
                return
            await asyncio.sleep(0.1)
        raise Failed(f"{self.name}: not every replica became ready")

    async def kill(self, replica):
        """As the kernel does when memory runs out."""
        os.kill(replica.child.process.pid, signal.SIGKILL)
        await replica.child.process.wait()

    async def stop(self):
        """All of it, for good; what it logged stays."""
        children = [replica.child for replica in self.replicas]
        if self.size > 1:
            children.append(self._nginx)
        await asyncio.gather(*(self.processes.stop(child) for child in children))

    async def restart_in_order(self, replica):
        """As a rolling update does: out of the balancer, asked to stop, started, in again."""
        self._write_nginx(without=replica)
        await asyncio.sleep(0.4)
        os.kill(replica.child.process.pid, signal.SIGTERM)
        async with asyncio.timeout(20):
            await replica.child.process.wait()
        await self.begin(replica)
        for _ in range(100):
            if await replica.is_ready():
                break
            await asyncio.sleep(0.1)
        self._write_nginx()
        await asyncio.sleep(0.2)

    def panics(self, logs):
        texts = [(logs / f"{self.name}-{it.number}.log").read_text() for it in self.replicas]
        return sum(text.count("panicked at") for text in texts)

    def _configuration(self, replica):
        up = self.upstream.origin
        url = f'url = "redis://127.0.0.1:{self.store}"' if self.mode == "redis" else ""
        return f"""
public_url = "{self.origin}"
listen = "127.0.0.1:{replica.port}"
[keys]
directory = "{self.home / "keys"}"
[upstreams.stub]
provider = "oauth2"
client_id = "us"
client_secret_file = "{self.home / "secret"}"
authorize_url = "{up}/authorize"
token_url = "{up}/token"
userinfo_url = "{up}/userinfo"
subject = "sub"
revocation_url = "{up}/revoke"
[[resources]]
path = "/mcp"
backend = "{up}/mcp"
[access]
allow_all = true
[replay]
store = "{self.mode}"
{url}
# Every client here has the same address.
[limits]
register_per_minute = 0
authorize_per_minute = 0
token_per_minute = 0
[admin]
listen = "127.0.0.1:{replica.admin}"
[shutdown]
delay = "1s"
drain = "3s"
[log]
format = "json"
level = "warn"
"""

    async def _start_nginx(self):
        self._nginx = None
        self._write_nginx()

        async def ready():
            return await answers("127.0.0.1", self.port)

        file = self.home / "nginx.conf"
        words = [found("nginx"), "-e", "stderr", "-p", self.home, "-c", file]
        self._nginx = await self.processes.start_until(f"{self.name}-nginx", words, ready)

    def _write_nginx(self, without=None):
        home = self.home
        # Round robin, request by request; what cannot connect goes to the next.
        servers = "\n".join(
            f"server 127.0.0.1:{it.port} max_fails=1 fail_timeout=1s{' down' if it is without else ''};"
            for it in self.replicas
        )
        kinds = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
        folders = "\n".join(f"{kind}_temp_path {home}/nginx-{kind};" for kind in kinds)
        (home / "nginx.conf").write_text(f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
pid {home}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  {folders}
  upstream replicas {{ {servers} }}
  server {{
    listen 127.0.0.1:{self.port} backlog=1024;
    large_client_header_buffers 8 16k;
    location / {{
      proxy_pass http://replicas;
      proxy_set_header Host $http_host;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffer_size 32k;
      proxy_buffers 8 32k;
      add_header x-served-by $upstream_addr always;
    }}
  }}
}}
""")
        if self._nginx is not None:
            os.kill(self._nginx.process.pid, signal.SIGHUP)


class Store:
    """A redis-server of our own."""

    def __init__(self, processes, name, home):
        self.processes, self.name, self.home = processes, name, home

    async def start(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        words = [found("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        words += ["--save", "", "--appendonly", "no", "--dir", self.home]
        words += ["--repl-diskless-sync-delay", "0"]

        async def ready():
            return await answers("127.0.0.1", self.port)

        self.child = await self.processes.start_until(self.name, words, ready)

    async def tell(self, *words):
        """One command; its answer as text."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        command = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        writer.write(command.encode())
        try:
            async with asyncio.timeout(5):
                first = await reader.readline()
                if first.startswith(b"$"):
                    return (await reader.readexactly(int(first[1:]) + 2)).decode()
                return first.decode().strip()
        finally:
            writer.close()

    async def size_of(self, suffix):
        """Bytes of a key that ends so, on average."""
        script = (
            "local n, sum = 0, 0 for _, key in ipairs(redis.call('KEYS', '*' .. ARGV[1])) do "
            "n = n + 1 sum = sum + redis.call('MEMORY', 'USAGE', key) end return math.floor(sum / math.max(n, 1))"
        )
        return int((await self.tell("EVAL", script, "0", suffix)).lstrip(":"))

    async def kill(self):
        os.kill(self.child.process.pid, signal.SIGKILL)
        await self.child.process.wait()
