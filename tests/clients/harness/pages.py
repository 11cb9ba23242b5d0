"""The pages in a real browser: a server of its own, others with the same keys that make rare pages
happen, and the proofs of `node/pages.mjs` before them. Pictures of every page are kept beside the
logs, and every word that a page can say must have been on one of them."""

import asyncio
import json
import os

from . import words
from .deployment import OPTIONAL, Deployment, free_port
from .install import HERE, found
from .processes import Failed, answers
from .tap import Tap

# Consent forms live for ten minutes.
LATER = "+11m"
WHOLE = 420


class Pages:
    """The deployment that the browser sees, and what was proved before it."""

    def __init__(self):
        self.deployment = Deployment("pages", 1, Tap("pages"))
        self.proofs = []
        self._seen = []

    async def run(self, processes, tools, shared, directory, logs):
        """Returns what did not hold."""
        home = directory / "pages"
        await self.deployment.start(processes, tools.binary, shared, directory)
        key, certificate = await self._certificate(processes, home)
        servers = Servers(self.deployment, processes, tools.binary, shared, home)
        targets = await servers.start()
        pictures = logs / "pages"
        pictures.mkdir(exist_ok=True)
        case = {
            "origin": self.deployment.tap.origin,
            "publicPort": await servers.start_public(key, certificate),
            "demo": await servers.start_demo(),
            "provider": shared.oidc,
            "chromium": found("chromium"),
            "pictures": str(pictures),
            "key": str(key),
            "certificate": str(certificate),
            "state": str(home),
        }
        env = {"CLIENT_CASE": json.dumps(case), "HOME": str(home), "TMPDIR": str(home)}
        command = [tools.node, HERE / "node" / "pages.mjs"]
        child = await processes.start("pages-browser", command, env=env, pipes=True)
        try:
            async with asyncio.timeout(WHOLE):
                wrong = await self._listen(child, targets)
        except TimeoutError:
            return [f"pages: not done after {WHOLE} s; see {child.log}"]
        finally:
            await processes.stop(child)
        unseen = words.unseen(self._seen)
        return wrong + [f"pages: no picture shows “{text}” of {file}" for file, text in unseen]

    async def _listen(self, child, targets):
        wrong = []
        while line := await child.process.stdout.readline():
            told = json.loads(line)
            if "ask" in told:
                self.deployment.tap.retarget(targets[told["ask"]])
                child.process.stdin.write(b"\n")
            elif "looked" in told:
                self._seen += [told["title"], told["text"]]
            elif told["ok"]:
                self.proofs.append(told["proof"])
            else:
                wrong.append(f"pages, {told['proof']}: {told['error']}")
        if await child.process.wait() != 0 or not self.proofs + wrong:
            wrong.append(f"pages: the browser ended early; {child.log} ends:\n{child.last_words()}")
        return wrong

    async def _certificate(self, processes, home):
        """For the sites that are https; the browser is told to take any."""
        key, certificate = home / "site.key", home / "site.pem"
        command = [found("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=client.example", "-keyout", key, "-out", certificate]
        await carried_out(processes, "pages-certificate", command)
        if not os.path.exists(certificate):
            raise Failed("pages: no certificate was made")
        return key, certificate

    def text(self, wrong):
        lines = [f"✓ {proof}" for proof in self.proofs]
        return "\n".join(["\nPages in a browser", *lines, *(f"✗ {line}" for line in wrong)])


class Servers:
    """The servers that differ from the deployment's own in what a page is about. With its keys and
    its name, they carry on with what it began."""

    def __init__(self, deployment, processes, binary, shared, home):
        self._deployment, self._processes = deployment, processes
        self._binary, self._shared, self._home = binary, shared, home

    async def start(self):
        """Where each is, by name."""
        late = {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        redis, url = await self._start_redis()
        ports = {
            "late": await self._serve("late", [], [found("faketime"), "-f", LATER], late),
            "described": await self._serve("described", self._described()),
            "strict": await self._serve("strict", self._strict(url)),
            "away": await self._serve("away", self._away()),
        }
        await self._processes.stop(redis)
        targets = {name: ("127.0.0.1", port) for name, port in ports.items()}
        return {"on time": self._deployment.tap.target, **targets}

    def _described(self):
        """An operator who says who they are and what things mean, and knows an app of their own."""
        return [
            ('path = "/mcp"\n', 'path = "/mcp"\nname = "Example tools"\n'),
            (
                "[access]\n",
                """[consent]
name = "Example Inc."
contact = "help@example.com"
[scopes.mcp]
title = "Read and change your examples"
[clients]
cimd_allow_loopback = true
[[clients.static]]
client_id = "my-agent"
redirect_uris = ["https://client.example/callback"]
[access]
""",
            ),
        ]

    def _strict(self, redis):
        """Nobody is let in at one resource; one attempt a minute; and a store that went away."""
        nobody = '[resources.access]\nallow_emails = ["nobody@example.com"]\n'
        return [
            ("[upstreams.oidc]\n", '[upstreams.oidc]\nexchange = "callback"\n'),
            ('forward = ["identity"]\n', f'forward = ["identity"]\n{nobody}'),
            ('store = "memory"\n', f'store = "redis"\nurl = "{redis}"\n'),
            ("authorize_per_minute = 0", "authorize_per_minute = 1"),
        ]

    def _away(self):
        """Another provider under the same name, where nobody listens, and a backend like that."""
        return [
            (f'issuer = "{self._shared.oidc}"', f'issuer = "http://127.0.0.1:{free_port()}"'),
            (f"{self._shared.backend}{OPTIONAL}", f"http://127.0.0.1:{free_port()}{OPTIONAL}"),
        ]

    async def _serve(self, name, changes, before=(), env=None):
        port = free_port()
        text = self._deployment._configuration(self._shared, port, self._home)
        for old, new in changes:
            if old not in text:
                raise Failed(f"pages-{name}: the configuration has no {old!r} to change")
            text = text.replace(old, new, 1)
        return await self._start(name, text, port, before, env)

    async def _start(self, name, configuration, port, before=(), env=None):
        file = self._home / f"{name}.toml"
        file.write_text(configuration)
        command = [*before, self._binary, "serve", "--config", file]
        await self._start_until(f"pages-{name}", command, port, env)
        self._deployment.logs.append(f"pages-{name}")
        return port

    async def _start_until(self, name, command, port, env=None):
        async def ready():
            return await answers("127.0.0.1", port)

        return await self._processes.start_until(name, command, ready, env=env, cwd=self._home)

    async def _start_redis(self):
        port = free_port()
        command = [found("redis-server"), "--port", port, "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self._home]
        redis = await self._start_until("pages-redis", command, port)
        return redis, f"redis://127.0.0.1:{port}"

    async def start_public(self, key, certificate):
        """A server with a public name, that ends TLS itself; with keys of its own, since it is
        another issuer. Returns its port."""
        port, keys = free_port(), self._home / "public-keys"
        command = [self._binary, "keys", "generate", "--directory", keys]
        await carried_out(self._processes, "pages-public-keys", command)
        plain = self._shared.plain
        configuration = f"""
public_url = "https://mcp.example"
listen = "127.0.0.1:{port}"
[keys]
directory = "{keys}"
[tls]
certificate = "{certificate}"
key = "{key}"
[upstreams.github]
provider = "github"
client_id = "gateway"
client_secret_file = "{self._shared.secret_file}"
authorize_url = "{plain}/login/oauth/authorize"
token_url = "{plain}/login/oauth/access_token"
userinfo_url = "{plain}/user"
email_url = "{plain}/user/emails"
revocation_url = "{plain}/applications/gateway/token"
[[resources]]
path = "/mcp"
backend = "{self._shared.backend}/mcp"
[access]
allow_all = true
[consent]
name = "Example Inc."
contact = "help@example.com"
[shutdown]
delay = "0s"
drain = "1s"
[log]
format = "json"
"""
        return await self._start("public", configuration, port)

    async def start_demo(self):
        """The demo, whose provider has a page too. Returns its origin."""
        port = free_port()
        command = [self._binary, "demo", "--listen", f"127.0.0.1:{port}"]
        await self._start_until("pages-demo", command, port)
        return f"http://127.0.0.1:{port}"


async def carried_out(processes, name, command):
    """Runs a command to its end, which must be a good one."""
    child = await processes.start(name, command)
    if await child.process.wait() != 0:
        raise Failed(f"{name} failed; {child.log} ends:\n{child.last_words()}")
