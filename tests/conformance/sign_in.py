"""A client by hand, for what the scenarios do not do: registering, and getting a token."""

import base64
import hashlib
import http.client
import json
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

from harness.processes import Failed

REDIRECT = "http://127.0.0.1:8799/callback"


def register(origin, redirect):
    metadata = {
        "client_name": "Conformance",
        "redirect_uris": [redirect],
        "token_endpoint_auth_method": "none",
    }
    return post(origin, "/register", json.dumps(metadata), "application/json")["client_id"]


def token(origin, browser):
    """An access token for the resource at `/mcp`."""
    client, verifier = register(origin, REDIRECT), secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    common = {"client_id": client, "redirect_uri": REDIRECT, "resource": f"{origin}/mcp"}
    query = {
        **common,
        "response_type": "code",
        "state": secrets.token_urlsafe(8),
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    answer = parse_qs(urlsplit(browser.open(f"{origin}/authorize?{urlencode(query)}")).query)
    if "code" not in answer:
        raise Failed(f"sign-in: no code: {answer}")
    form = {
        **common,
        "grant_type": "authorization_code",
        "code": answer["code"][0],
        "code_verifier": verifier,
    }
    kind = "application/x-www-form-urlencoded"
    return post(origin, "/token", urlencode(form), kind)["access_token"]


def post(origin, path, body, kind):
    connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=20)
    try:
        connection.request("POST", path, body, {"content-type": kind})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise Failed(f"{path}: {answer.status} {text[:300]}")
        return json.loads(text)
    finally:
        connection.close()
