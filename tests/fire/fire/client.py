"""Clients and their people: the whole dance, and a ledger of every mint and every acceptance."""

import base64
import hashlib
import html
import itertools
import json
import re
import secrets
from collections import Counter
from urllib.parse import parse_qs, urlencode, urlsplit

from harness.processes import Failed

from .http import post, send

REDIRECT = "http://127.0.0.1:8799/callback"
NUMBERS = itertools.count(1)


class Ledger:
    """What must never happen, counted: a code that was accepted twice, one token handed out as two."""

    def __init__(self):
        self.codes, self.minted = Counter(), Counter()
        self.accepted = self.ended = 0

    def mint(self, code, answer):
        if code is not None:
            self.codes[code] += 1
        self.minted[answer.json["access_token"]] += 1

    @property
    def doubles(self):
        return sum(count - 1 for count in self.codes.values() if count > 1)


class Client:
    """A registered client with one person, anew for each sign-in."""

    def __init__(self, deployment, ledger):
        self.deployment, self.ledger = deployment, ledger
        self.failures = []

    async def ask(self, method, path, **more):
        return await send(self.deployment.port, method, path, **more)

    async def register(self):
        body = {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
        kind = [("content-type", "application/json")]
        answer = await self.ask("POST", "/register", fields=kind, body=json.dumps(body).encode())
        if answer.status != 201:
            raise Failed(f"{self.deployment.name}: registration is answered {answer.status}")
        self.id = answer.json["client_id"]
        return self

    async def code(self):
        """From the authorization request to a code; the failing answer where a step failed."""
        self.verifier = secrets.token_urlsafe(32)
        self.person = f"person-{next(NUMBERS)}"
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.id,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "state": "s",
            "resource": f"{self.deployment.origin}/mcp",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        cookies = {}
        page = await self._browse("GET", f"/authorize?{urlencode(query)}", cookies)
        field = re.search(r'name="consent" value="([^"]*)"', page.body.decode(errors="replace"))
        if page.status != 200 or field is None:
            return None, page
        form = {"consent": html.unescape(field[1]), "decision": "allow"}
        sent = await self._browse("POST", "/consent", cookies, form)
        if sent.status != 303:
            return None, sent
        state = parse_qs(urlsplit(sent.get("location")).query)["state"][0]
        back = {"code": f"{self.person}.1", "state": state}
        answer = await self._browse("GET", f"/callback/stub?{urlencode(back)}", cookies)
        if answer.status != 303:
            return None, answer
        return parse_qs(urlsplit(answer.get("location")).query)["code"][0], answer

    async def _browse(self, method, path, cookies, form=None):
        fields = [("sec-fetch-site", "same-origin" if form else "none")]
        if cookies:
            fields.append(("cookie", "; ".join(f"{n}={v}" for n, v in cookies.items())))
        if form is None:
            answer = await self.ask(method, path, fields=fields)
        else:
            fields.append(("origin", self.deployment.origin))
            answer = await post(self.deployment.port, path, form, fields=fields)
        for name, value in answer.fields:
            if name == "set-cookie":
                pair, _, rest = value.partition(";")
                key, _, held = pair.partition("=")
                if "Max-Age=0" in rest:
                    cookies.pop(key, None)
                else:
                    cookies[key] = held
        return answer

    async def redeem(self, code, port=None, **more):
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "client_id": self.id,
            "code_verifier": self.verifier,
        }
        host = f"127.0.0.1:{self.deployment.port}"
        answer = await post(port or self.deployment.port, "/token", form, host=host, **more)
        if answer.status == 200:
            self.ledger.mint(code, answer)
        return answer

    async def refresh(self, token, **more):
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": self.id}
        answer = await post(self.deployment.port, "/token", form, **more)
        if answer.status == 200:
            self.ledger.mint(None, answer)
        return answer

    async def revoke(self, token):
        return await post(self.deployment.port, "/revoke", {"token": token, "client_id": self.id})

    async def call(self, access, port=None):
        fields = [
            ("authorization", f"Bearer {access}"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ]
        body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        host = f"127.0.0.1:{self.deployment.port}"
        port = port or self.deployment.port
        answer = await send(port, "POST", "/mcp", host=host, fields=fields, body=body)
        self.ledger.accepted += answer.status == 200
        return answer

    async def login(self):
        code, answer = await self.code()
        if code is None:
            raise Failed(f"{self.deployment.name}: a step is answered {answer.status}")
        answer = await self.redeem(code)
        if answer.status != 200:
            raise Failed(f"{self.deployment.name}: the code is answered {answer.status}")
        return code, answer.json
