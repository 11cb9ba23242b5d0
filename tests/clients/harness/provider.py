"""What changes at the provider while people are signed in: its signing key, in the middle of a
sign-in; an account, in the middle of a grant."""

import http.client
import json
from urllib.parse import urlencode, urlsplit

from . import codes
from .codes import Wrong


def changes(deployments, suite):
    """Walks both changes, and what follows from each."""
    new_key(deployments, suite)
    for deployment in deployments:
        closed_account(deployment, suite)


def new_key(deployments, suite):
    """The key that signs the ID token is younger than any that a replica has seen. It changes once
    for all of them: a replica looks for unknown keys every 30 seconds at most."""
    forms = [
        (one, codes.sign_in(one, suite.browsers.new(f"{one.name}-new-key"))) for one in deployments
    ]
    tell(suite.shared.oidc, "key")
    for deployment, form in forms:
        what = f"{deployment.name}: a code after the provider's key changed"
        expect(what, post(deployment, form), 200, None)


def closed_account(deployment, suite):
    """The grant of a closed account ends; nobody else's does, and it can sign in when it is open."""
    bob, alice = (
        codes.sign_in(deployment, suite.browsers.new(f"{deployment.name}-{name}", name))
        for name in ("bob", "alice")
    )
    of_bob = expect("Bob's code", post(deployment, bob), 200, None)
    of_alice = expect("Alice's code", post(deployment, alice), 200, None)
    tell(suite.shared.oidc, "closed/bob")
    try:
        refused = post(deployment, refresh(bob, of_bob))
        expect("a refresh for a closed account", refused, 400, "invalid_grant")
        expect("a refresh for another", post(deployment, refresh(alice, of_alice)), 200, None)
    finally:
        tell(suite.shared.oidc, "open/bob")
    again = codes.sign_in(deployment, suite.browsers.new(f"{deployment.name}-bob-again", "bob"))
    expect("Bob's next code", post(deployment, again), 200, None)


def refresh(form, tokens):
    return {
        "grant_type": "refresh_token",
        "client_id": form["client_id"],
        "refresh_token": tokens["refresh_token"],
    }


def expect(what, answer, status, error):
    """The answer's body, if the answer is this one."""
    seen, body = answer
    if (seen, body.get("error")) != (status, error):
        raise Wrong(f"{what} is answered {seen} {body.get('error')} {body.get('error_description')}")
    return body


def post(deployment, form):
    host, port = deployment.tap.target
    connection = http.client.HTTPConnection(host, port, timeout=30)
    headers = {
        "host": urlsplit(deployment.tap.origin).netloc,
        "content-type": "application/x-www-form-urlencoded",
    }
    try:
        connection.request("POST", "/token", urlencode(form), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def tell(provider, change):
    parts = urlsplit(provider)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("POST", f"/change/{change}")
        if connection.getresponse().status != 204:
            raise Wrong(f"the provider did not take the change {change}")
    finally:
        connection.close()
