"""What signing in costs: a registration, a whole sign-in with consent, a refresh, beside a call that
nginx passes on. On connections that are kept, some people at a time."""

import asyncio
import base64
import hashlib
import html
import http.client
import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

from fire.client import REDIRECT
from harness.processes import Failed
from measure import CONNECTIONS, Load, row, surroundings
from places import started
from rows import write
from stage import Stage

DOCUMENT, MARK = "performance.md", "logins"
LINES = 8
# A whole sign-in may cost as much as this many calls that nginx passes on.
SIGN_IN = 32
FORM = "application/x-www-form-urlencoded"
# Steps of a sign-in, in their order.
LOGIN = ("authorize", "consent", "callback", "token")


class Visitor:
    """A client and its person, on a connection that several share one after the other."""

    def __init__(self, server, connection):
        self.origin, self.connection = server.origin, connection

    def ask(self, expected, method, path, body=None, **fields):
        headers = {name.replace("_", "-"): value for name, value in fields.items() if value}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status != expected:
            raise Failed(f"{path.partition('?')[0]}: {answer.status} {text[:200]}")
        for line in answer.headers.get_all("set-cookie") or []:
            pair, _, rest = line.partition(";")
            self.cookie = "" if "Max-Age=0" in rest else pair
        return answer.headers.get("location"), text

    def register(self):
        body = {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
        kind = "application/json"
        _, text = self.ask(201, "POST", "/register", json.dumps(body), content_type=kind)
        self.client, self.cookie = json.loads(text)["client_id"], ""

    def authorize(self):
        self.verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.client,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "state": "s",
            "resource": f"{self.origin}/mcp",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        self.cookie = ""
        _, page = self.ask(200, "GET", f"/authorize?{urlencode(query)}", sec_fetch_site="none")
        self.field = html.unescape(re.search(r'name="consent" value="([^"]*)"', page)[1])

    def consent(self):
        form = urlencode({"consent": self.field, "decision": "allow"})
        more = {"content_type": FORM, "cookie": self.cookie, "origin": self.origin}
        location, _ = self.ask(303, "POST", "/consent", form, sec_fetch_site="same-origin", **more)
        self.state = parse_qs(urlsplit(location).query)["state"][0]

    def callback(self):
        query = urlencode({"code": f"{secrets.token_hex(8)}.1", "state": self.state})
        more = {"cookie": self.cookie, "sec_fetch_site": "none"}
        location, _ = self.ask(303, "GET", f"/callback/stub?{query}", **more)
        self.code = parse_qs(urlsplit(location).query)["code"][0]

    def token(self):
        form = {"grant_type": "authorization_code", "code": self.code, "redirect_uri": REDIRECT}
        self._redeem({**form, "code_verifier": self.verifier})

    def refresh(self):
        self._redeem({"grant_type": "refresh_token", "refresh_token": self.held})

    def _redeem(self, form):
        body = urlencode({**form, "client_id": self.client})
        _, text = self.ask(200, "POST", "/token", body, content_type=FORM)
        self.held = json.loads(text)["refresh_token"]


async def run(options, processes, directory, binary):
    places, _, _ = await started(processes, directory, binary)
    rounds = 2 if options.short else 7
    calls = await Load(processes, directory, rounds).each(places[1:], "call", CONNECTIONS)
    stage = Stage(processes, directory, binary)
    await stage.open()
    server = await stage.server("logins", places[0].address)
    costs = await measured(server, rounds, 5 if options.short else 40)
    await stage.close()
    text, holds = report(costs, {name: it.cost for name, it in calls.items()})
    print(text)
    if options.write:
        write(DOCUMENT, MARK, text)
    return 0 if holds else 1


async def measured(server, rounds, each):
    """Microseconds of the server's processor time for a step: of some rounds the least."""
    lines = [http.client.HTTPConnection(server.address, timeout=20) for _ in range(LINES)]
    people = [[Visitor(server, line) for _ in range(each)] for line in lines]
    loop, costs = asyncio.get_running_loop(), {}

    def go(visitors, step):
        for visitor in visitors:
            getattr(visitor, step)()

    with ThreadPoolExecutor(LINES) as pool:
        for _ in range(rounds):
            for step in ("register", *LOGIN, "refresh"):
                before = server.place.spent()
                going = (loop.run_in_executor(pool, go, visitors, step) for visitors in people)
                await asyncio.gather(*going)
                cost = (server.place.spent() - before) / (LINES * each)
                costs[step] = min(cost, costs.get(step, cost))
    for line in lines:
        line.close()
    return costs


def report(costs, calls):
    """The table, and whether the bounds hold."""
    nginx = calls["nginx"]
    figures = {
        "a registration": costs["register"],
        "the consent page": costs["authorize"],
        "consent": costs["consent"],
        "the callback": costs["callback"],
        "the code's redemption, with an exchange at the provider": costs["token"],
        "**a whole sign-in**": sum(costs[step] for step in LOGIN),
        "a refresh, with one at the provider": costs["refresh"],
        "a call through the gateway": calls["mcp-oauth"],
        "a call through nginx": nginx,
    }
    text = row("", "CPU, µs", "in calls through nginx") + row("---", "--:", "--:")
    text += "".join(row(name, f"{it:.0f}", f"{it / nginx:.1f}") for name, it in figures.items())
    bound = figures["**a whole sign-in**"] <= SIGN_IN * nginx
    text += f"\n{'✓' if bound else '✗'} a whole sign-in costs at most what {SIGN_IN} calls through nginx cost\n"
    return f"{text}\nMeasured with {surroundings()}.", bound
