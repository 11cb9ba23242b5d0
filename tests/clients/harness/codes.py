"""One code, redeemed 64 times at once over all replicas: exactly one redemption succeeds."""

import base64
import hashlib
import http.client
import json
import secrets
import threading
from collections import Counter
from urllib.parse import parse_qs, urlencode, urlsplit

PARALLEL = 64
REDIRECT = "http://127.0.0.1:8799/callback"


class Wrong(Exception):
    """More or fewer than one succeeded, or another refused wrongly."""


def race(deployment, browser):
    """Returns how the redemptions were answered; raises unless exactly one was a success."""
    host, port = deployment.tap.target
    authority = urlsplit(deployment.tap.origin).netloc
    return judge(at_once(host, port, authority, urlencode(sign_in(deployment, browser))))


def sign_in(deployment, browser):
    """Registers, signs in, and returns the form that redeems the code."""
    host, port = deployment.tap.target
    client = register(host, port, urlsplit(deployment.tap.origin).netloc)
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "client_id": client,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "state": "race",
        "resource": deployment.url("/mcp"),
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    location = browser.open(f"{deployment.tap.origin}/authorize?{urlencode(query)}")
    answer = parse_qs(urlsplit(location).query)
    if "code" not in answer:
        raise Wrong(f"no code: {answer}")
    return {
        "grant_type": "authorization_code",
        "code": answer["code"][0],
        "redirect_uri": REDIRECT,
        "client_id": client,
        "code_verifier": verifier,
        "resource": deployment.url("/mcp"),
    }


def register(host, port, authority):
    connection = http.client.HTTPConnection(host, port, timeout=20)
    body = json.dumps({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"})
    headers = {"host": authority, "content-type": "application/json"}
    connection.request("POST", "/register", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 201:
        raise Wrong(f"registration: {answer.status} {text[:300]}")
    return json.loads(text)["client_id"]


def at_once(host, port, authority, body):
    """Connects 64 times, waits for the last, then sends all."""
    barrier = threading.Barrier(PARALLEL, timeout=30)
    answers = []

    def redeem():
        try:
            connection = http.client.HTTPConnection(host, port, timeout=30)
            connection.connect()
            barrier.wait()
            kind = "application/x-www-form-urlencoded"
            connection.request("POST", "/token", body, {"host": authority, "content-type": kind})
            answer = connection.getresponse()
            answers.append((answer.status, json.loads(answer.read()).get("error")))
        except Exception as error:
            answers.append((0, f"{type(error).__name__}: {error}"))

    threads = [threading.Thread(target=redeem) for _ in range(PARALLEL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(answers)


def judge(answers):
    refused = {(400, "invalid_grant"), (200, None)}
    if answers[(200, None)] != 1 or set(answers) - refused:
        raise Wrong(f"of {PARALLEL} redemptions: {dict(answers)}")
    return f"1 succeeded and {answers[(400, 'invalid_grant')]} were refused"
