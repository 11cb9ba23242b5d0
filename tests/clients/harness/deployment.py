"""The system under test: providers, backend, and one server or several behind nginx."""

import json
import os
import secrets
import socket
from collections import Counter
from dataclasses import dataclass, field

from .browser import TYPED
from .install import HERE, found
from .processes import Failed, answers
from .tap import Tap

ACCESS_TTL = 30
# Lists tools for everybody; whoever calls one must sign in, and it is the backend that says so.
OPTIONAL = "/optional"
RESOURCES = {
    # path: upstream, what is forwarded
    "/mcp": ("oidc", ["identity"]),
    "/forwarded": ("oidc", ["identity", "access_token"]),
    "/plain": ("plain", ["identity", "authorization"]),
    "/canaille": ("canaille", ["identity"]),
    OPTIONAL: ("oidc", ["identity"]),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Shared:
    """What all deployments have in common."""

    oidc: str
    plain: str
    canaille: str
    backend: str
    secret_file: str


async def start_shared(processes, tools, directory, taps):
    """The three providers and the MCP server."""
    secret = secrets.token_hex(24)
    secret_file = directory / "client-secret"
    secret_file.write_text(secret)
    secret_file.chmod(0o600)

    def redirects(upstream):
        return json.dumps([f"{tap.origin}/callback/{upstream}" for tap in taps])

    async def start(name, words, env):
        port = free_port()

        async def ready():
            return await answers("127.0.0.1", port)

        env = {"PORT": str(port), "CLIENT_SECRET": secret, **env}
        await processes.start_until(name, words, ready, env=env)
        return f"http://127.0.0.1:{port}"

    def node(script):
        return [tools.node, HERE / "node" / script]

    python = [tools.python["canaille"], HERE / "python" / "upstream_canaille.py"]
    canaille = {"REDIRECT_URIS": redirects("canaille"), "PASSWORD": TYPED["password"]}
    oidc = {"REDIRECT_URIS": redirects("oidc")}
    return Shared(
        oidc=await start("oidc-provider", node("upstream_oidc.mjs"), oidc),
        plain=await start("plain-provider", node("upstream_plain.mjs"), {}),
        canaille=await start("canaille", python, canaille),
        backend=await start("backend", node("backend.mjs"), {}),
        secret_file=str(secret_file),
    )


@dataclass
class Deployment:
    """`replicas` servers that share nothing but keys, behind one origin."""

    name: str
    replicas: int
    tap: Tap
    ports: list = field(default_factory=list)
    metadata: dict = field(default_factory=dict)
    servers: list = field(default_factory=list)
    # The names of the servers' logs.
    logs: list = field(default_factory=list)

    @property
    def store(self):
        return "memory" if self.replicas == 1 else "upstream"

    async def start(self, processes, binary, shared, directory):
        home = directory / self.name
        (home / "keys").mkdir(parents=True)
        for number in range(self.replicas):
            await self._start_server(processes, binary, shared, home, number)
        if self.replicas == 1:
            self.tap.target = ("127.0.0.1", self.ports[0])
        else:
            self.tap.target = ("127.0.0.1", await self._start_nginx(processes, home))

    async def _start_server(self, processes, binary, shared, home, number):
        port = free_port()
        self.ports.append(port)
        file = home / f"server-{number}.toml"
        file.write_text(self._configuration(shared, port, home))

        async def ready():
            return await answers("127.0.0.1", port)

        name = f"{self.name}-server-{number}"
        self.logs.append(name)
        # One after the other: the first one makes the key that all share.
        words = [binary, "serve", "--config", file]
        self.servers.append(await processes.start_until(name, words, ready, cwd=home))

    def _configuration(self, shared, port, home):
        resources = "\n".join(
            f'[[resources]]\npath = "{path}"\n'
            f'backend = "{shared.backend}{OPTIONAL if path == OPTIONAL else "/mcp"}"\n'
            f'auth = "{"optional" if path == OPTIONAL else "required"}"\n'
            f'upstream = "{upstream}"\nforward = {forward}\n'
            for path, (upstream, forward) in RESOURCES.items()
        ).replace("'", '"')
        return f"""
public_url = "{self.tap.origin}"
listen = "127.0.0.1:{port}"
[keys]
directory = "{home / 'keys'}"
[upstreams.oidc]
provider = "oidc"
issuer = "{shared.oidc}"
client_id = "gateway"
client_secret_file = "{shared.secret_file}"
scopes = ["openid", "email", "profile"]
# It ends one grant, as a sign-in is one grant there; so revocation works without a store too.
revocation_scope = "token"
[upstreams.canaille]
provider = "oidc"
issuer = "{shared.canaille}"
client_id = "gateway"
client_secret_file = "{shared.secret_file}"
scopes = ["openid", "email", "profile"]
revocation_scope = "token"
[upstreams.plain]
provider = "github"
client_id = "gateway"
client_secret_file = "{shared.secret_file}"
authorize_url = "{shared.plain}/login/oauth/authorize"
token_url = "{shared.plain}/login/oauth/access_token"
userinfo_url = "{shared.plain}/user"
email_url = "{shared.plain}/user/emails"
revocation_url = "{shared.plain}/applications/gateway/token"
{resources}
[access]
allow_all = true
[tokens]
access_ttl = "{ACCESS_TTL}s"
[replay]
store = "{self.store}"
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
"""

    async def _start_nginx(self, processes, home):
        port = free_port()
        replicas = "\n".join(f"server 127.0.0.1:{one};" for one in self.ports)
        file = home / "nginx.conf"
        file.write_text(f"""
daemon off;
# As root, nginx's workers would become somebody who may not write here.
{"user root;" if os.geteuid() == 0 else ""}
pid {home}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {home}/nginx-body;
  proxy_temp_path {home}/nginx-proxy;
  fastcgi_temp_path {home}/nginx-fastcgi;
  scgi_temp_path {home}/nginx-scgi;
  uwsgi_temp_path {home}/nginx-uwsgi;
  upstream replicas {{ {replicas} keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    large_client_header_buffers 8 16k;
    client_max_body_size 16m;
    location / {{
      # Round robin, request by request.
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_buffer_size 32k;
      proxy_buffers 8 32k;
      proxy_read_timeout 300s;
      proxy_next_upstream off;
      # For the tap: which replica it was.
      add_header x-served-by $upstream_addr always;
    }}
  }}
}}
""")

        async def ready():
            return await answers("127.0.0.1", port)

        words = [found("nginx"), "-e", "stderr", "-p", home, "-c", file]
        await processes.start_until(f"{self.name}-nginx", words, ready)
        return port

    def judge_balance(self):
        """How many requests each replica answered. Each must have had its share, or the rows
        prove nothing about replicas."""
        if self.replicas == 1:
            return [len(self.tap.exchanges)]
        served = Counter(one.served_by for one in self.tap.exchanges)
        shares = [served[f"127.0.0.1:{port}"] for port in self.ports]
        if min(shares) < sum(shares) / (2 * self.replicas):
            raise Failed(f"{self.name}: the replicas answered {shares} requests")
        return shares

    def judge_logs(self, logs):
        """No secret that passed over the wire stands in a server's log."""
        secrets_seen = self.tap.secrets()
        for name in self.logs:
            log = logs / f"{name}.log"
            text = log.read_text(errors="replace")
            if "serving" not in text:
                raise Failed(f"{log} has no line about serving: is it the server's log?")
            for kind, secret in secrets_seen:
                if secret in text:
                    raise Failed(f"{log} holds a {kind}")
        return len(secrets_seen)

    def url(self, path):
        return f"{self.tap.origin}{path}"
