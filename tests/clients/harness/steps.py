"""One client against one deployment, step by step. The client's word counts for nothing where the
wire can tell; each step says what it saw, or what was missing."""

import asyncio
import http.client
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from . import clients
from .deployment import OPTIONAL, RESOURCES, free_port

STEPS = (
    "discovery",
    "registration",
    "PKCE",
    "consent",
    "token",
    "tool call",
    "refresh",
    "restart",
    "revoke",
)
# Who the providers say it is.
SUBJECTS = {"oidc": "oidc:alice", "plain": "plain:583231", "canaille": "canaille:carol"}
# Canaille does not say that an address is verified, so it is not passed on.
EMAILS = {"oidc": "alice@example.com", "plain": "octocat@example.com", "canaille": None}


class Missed(Exception):
    """A step did not happen as it must."""


class NotApplicable(Exception):
    """A step that this client or deployment does not have."""


@dataclass
class Row:
    client: clients.Client
    era: str
    path: str
    deployment: str
    results: dict = field(default_factory=dict)

    @property
    def passed(self):
        return set(self.results) == set(STEPS) and not any(
            result.startswith("✗") for result in self.results.values()
        )


class Driver:
    """A client's process: one command in, one answer out."""

    def __init__(self, processes, child):
        self._processes, self._child = processes, child

    @classmethod
    async def start(cls, processes, words, owner, case):
        env = {
            "CLIENT_OWNER": owner,
            "CLIENT_CASE": json.dumps(case),
            "BROWSER": str(Path(__file__).parent / "open_url.py"),
            "NO_COLOR": "1",
            "HOME": case["state"],
            "TMPDIR": case["state"],
        }
        return cls(processes, await processes.start(owner, words, env=env, pipes=True))

    async def ask(self, command, seconds=60):
        streams = self._child.process
        try:
            streams.stdin.write(f"{command}\n".encode())
            await streams.stdin.drain()
            line = await asyncio.wait_for(streams.stdout.readline(), seconds)
        except (asyncio.TimeoutError, ConnectionError) as error:
            raise Missed(f"`{command}`: {type(error).__name__}; see {self._child.log}") from error
        if not line:
            raise Missed(f"`{command}`: the client ended; see {self._child.log}")
        answer = json.loads(line)
        if not answer["ok"]:
            raise Missed(f"`{command}`: {answer['error']}")
        return answer

    async def stop(self):
        await self._processes.stop(self._child)


class Walk:
    """Walks one client through all steps."""

    def __init__(self, suite, deployment, client, path, era):
        self._suite, self._deployment, self._client = suite, deployment, client
        self._path, self._era = path, era
        self._upstream = RESOURCES[path][0]
        slug = client.name.lower().replace(" ", "-")
        self._owner = f"{deployment.name}-{slug}{path.replace('/', '-')}-{era}"
        self._row = Row(client, era, path, deployment.name)
        self._driver = None

    async def run(self):
        groups = (
            (("discovery", "registration", "PKCE", "consent", "token", "tool call"), self._sign_in),
            (("refresh",), self._refresh),
            (("restart",), self._restart),
            (("revoke",), self._revoke),
        )
        try:
            for names, action in groups:
                try:
                    outcome = await action()
                except NotApplicable as reason:
                    outcome = f"n/a: {reason}"
                except Exception as error:
                    known = isinstance(error, Missed)
                    outcome = f"✗ {error if known else f'{type(error).__name__}: {error}'}"
                for name in names:
                    single = outcome[name] if isinstance(outcome, dict) else outcome
                    self._row.results[name] = self._named(name, single)
                if any(self._row.results[name].startswith("✗") for name in names):
                    break
        finally:
            if self._driver:
                await self._driver.stop()
        for name in STEPS:
            self._row.results.setdefault(name, "✗ not reached")
        return self._row

    def _named(self, step, outcome):
        reason = self._client.cannot.get(step)
        return f"n/a: {reason}" if reason else outcome

    async def _start(self):
        port = free_port()
        state = self._suite.directory / self._owner
        state.mkdir(exist_ok=True)
        # A client keeps its port: the registration names it.
        kept = state / "port"
        port = int(kept.read_text()) if kept.exists() else port
        kept.write_text(str(port))
        case = {
            "url": self._deployment.url(self._path),
            "era": self._era,
            "state": str(state),
            "browser": f"{self._suite.browsers.origin}/{self._owner}",
            "port": port,
            "redirect": self._client.redirect.format(port=port),
            "chromium": "/usr/bin/chromium",
        }
        words = clients.command(self._client, self._suite.tools)
        self._driver = await Driver.start(self._suite.processes, words, self._owner, case)

    def _seen(self, since=0.0):
        return self._deployment.tap.of(self._owner, since)

    def _one(self, what, test, since=0.0):
        """The last exchange that is as described; without one, what was seen instead."""
        for exchange in reversed(self._seen(since)):
            if test(exchange):
                return exchange
        seen = [f"{e.method} {e.path} {e.status}" for e in self._seen(since)][-12:]
        raise Missed(f"{what} was not seen; seen: {', '.join(seen) or 'nothing'}")

    async def _sign_in(self):
        """Everything up to the first tool call, in one go: the token lives half a minute."""
        failure = None
        async with self._suite.busy:
            try:
                await self._start()
                await self._driver.ask("connect", 90)
                await self._judge(await self._driver.ask("call"))
            except Missed as error:
                failure = error
        checks = {
            "discovery": self._discovered,
            "registration": self._registered,
            "PKCE": self._proved,
            "consent": self._consented,
            "token": self._got_token,
        }
        outcome = {}
        for name, check in checks.items():
            try:
                check()
                outcome[name] = "✓"
            except Missed as error:
                outcome[name] = f"✗ {error}"
        outcome["tool call"] = f"✗ {failure}" if failure else "✓"
        return outcome

    def _discovered(self):
        if self._path == OPTIONAL:
            self._looked_first()
        metadata = f"{self._deployment.tap.origin}/.well-known/oauth-protected-resource"
        self._one(
            "a 401 whose challenge names the metadata",
            lambda e: e.status == 401 and metadata in e.challenge and not e.bearer,
        )
        self._one(
            "the resource's metadata",
            lambda e: e.path.startswith("/.well-known/oauth-protected-resource")
            and e.status == 200,
        )
        self._one(
            "the server's metadata",
            lambda e: e.path.startswith("/.well-known/oauth-authorization-server")
            and e.status == 200,
        )

    def _looked_first(self):
        """Where signing in is optional: the tools are listed without a token, and it is the call
        that the backend answers 401; only then does the client sign in."""

        def anonymous(method, status):
            return lambda e: (e.path, e.called, e.status, e.bearer) == (OPTIONAL, method, status, None)

        listed = self._one("a list of tools without a token", anonymous("tools/list", 200))
        called = self._one("a 401 for a call without a token", anonymous("tools/call", 401))
        signed_in = self._one("a sign-in", lambda e: e.path == "/authorize")
        if not listed.time <= called.time <= signed_in.time:
            raise Missed("the sign-in came first")

    def _registered(self):
        self._one("a registration", lambda e: e.path == "/register" and e.status == 201)

    def _proved(self):
        asked = self._one("an S256 challenge", lambda e: e.query.get("code_challenge_method") == "S256")
        if asked.query.get("resource") != self._deployment.url(self._path):
            raise Missed(f"the resource asked for is {asked.query.get('resource')}")
        self._one("a verifier", lambda e: e.path == "/token" and "code_verifier" in e.form)

    def _consented(self):
        self._one(
            "an approval",
            lambda e: e.path == "/consent"
            and e.form.get("decision") == "allow"
            and e.status == 303,
        )
        self._one("a callback", lambda e: e.path.startswith("/callback/") and e.status == 303)

    def _got_token(self):
        self._token_answer("authorization_code", 0.0)

    def _token_answer(self, grant, since):
        return self._one(
            f"a token by {grant}",
            lambda e: e.path == "/token"
            and e.form.get("grant_type") == grant
            and e.status == 200
            and e.answer.get("token_type", "").lower() == "bearer",
            since,
        )

    async def _judge(self, answer):
        """What the backend received: the person, and nothing of the client's."""
        if "headers" not in answer["tools"]:
            raise Missed(f"the tools are {answer['tools']}")
        headers = json.loads(answer["result"]["content"][0]["text"])
        forward = RESOURCES[self._path][1]
        expected = {
            "x-forwarded-user": SUBJECTS[self._upstream],
            "x-forwarded-email": EMAILS[self._upstream],
            "mcp-protocol-version": self._era,
        }
        for name, value in expected.items():
            if headers.get(name) != value:
                raise Missed(f"the backend got {name}: {headers.get(name)}, not {value}")
        for name in ("x-request-id", "traceparent"):
            if name not in headers:
                raise Missed(f"the backend got no {name}")
        if any(e.bearer and e.bearer in json.dumps(headers) for e in self._seen()):
            raise Missed("the backend got the client's token")
        if "authorization" in headers and "authorization" not in forward:
            raise Missed("the backend got an Authorization")
        tokens = []
        if "access_token" in forward:
            tokens.append(headers.get("x-forwarded-access-token", ""))
        if "authorization" in forward:
            tokens.append(headers.get("authorization", "").removeprefix("Bearer "))
        for token in tokens:
            await asyncio.to_thread(self._suite.ask_upstream, self._upstream, token)

    async def _expiry(self):
        """Waits until the client's access token has run out."""
        granted = self._one("a token", lambda e: e.path == "/token" and e.status == 200)
        ends = granted.time + granted.answer.get("expires_in", 0)
        await asyncio.sleep(max(0, ends + 1.5 - time.time()))

    async def _refreshed(self, action):
        """`action` must lead to a refresh that worked, and to no new sign-in."""
        since = time.time()
        async with self._suite.busy:
            await self._judge(await action())
        self._token_answer("refresh_token", since)
        signed_in = [e for e in self._seen(since) if e.path in ("/authorize", "/register")]
        if signed_in:
            raise Missed(f"a new sign-in: {signed_in[0].method} {signed_in[0].path}")

    async def _refresh(self):
        if "refresh" in self._client.cannot:
            raise NotApplicable(self._client.cannot["refresh"])
        await self._expiry()
        await self._refreshed(lambda: self._driver.ask("call"))
        return "✓"

    async def _restart(self):
        if "restart" in self._client.cannot:
            raise NotApplicable(self._client.cannot["restart"])
        await self._driver.stop()
        await self._expiry()

        async def again():
            await self._start()
            await self._driver.ask("connect")
            return await self._driver.ask("call")

        await self._refreshed(again)
        return "✓"

    async def _revoke(self):
        if "revocation_endpoint" not in self._deployment.metadata:
            raise NotApplicable("this deployment advertises no revocation")
        held = self._one("a token", lambda e: e.path == "/token" and e.status == 200)
        since = time.time()
        async with self._suite.busy:
            answer = await self._driver.ask("revoke")
        if "n/a" in answer:
            raise NotApplicable(answer["n/a"])
        self._one("a revocation", lambda e: e.path == "/revoke" and e.status == 200, since)
        await asyncio.to_thread(self._dead, held)
        return "✓"

    def _dead(self, held):
        """Neither of the tokens works any more. Replicas without a store cannot tell each other:
        there the access token lives on, briefly, and it is the provider, told in the background,
        that ends the refresh token."""
        if self._deployment.replicas > 1:
            time.sleep(1)
        else:
            status, _ = self._post(self._path, {}, {"authorization": f"Bearer {held.answer['access_token']}"})
            if status != 401:
                raise Missed(f"the revoked access token is answered {status}")
        form = {"grant_type": "refresh_token", "refresh_token": held.answer["refresh_token"]}
        form |= {n: held.form[n] for n in ("client_id", "client_secret") if n in held.form}
        headers = {"authorization": held.basic} if held.basic else {}
        for _ in range(self._deployment.replicas):
            status, answer = self._post("/token", form, headers)
            if (status, answer.get("error")) != (400, "invalid_grant"):
                raise Missed(f"the revoked refresh token is answered {status} {answer}")

    def _post(self, path, form, headers):
        parts = urlsplit(self._deployment.tap.origin)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        try:
            kind = {"content-type": "application/x-www-form-urlencoded"}
            connection.request("POST", path, urlencode(form), {**kind, **headers})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else {}
        finally:
            connection.close()
