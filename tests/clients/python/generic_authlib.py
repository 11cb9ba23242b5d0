"""`authlib`: knows OAuth, not MCP. It refreshes by itself when the token has run out."""

import asyncio
import json
import os
import re

# Authlib refuses plain http; on loopback it is what we want.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import httpx
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from repl import CASE, State, open_in_browser, repl

state = State()


def discover():
    """From the 401 to the authorization server's metadata."""
    refusal = httpx.post(CASE["url"])
    challenge = refusal.headers.get("www-authenticate", "")
    told = re.search(r'resource_metadata="([^"]+)"', challenge)
    if refusal.status_code != 401 or not told:
        raise RuntimeError(f"{refusal.status_code} {challenge}")
    resource = httpx.get(told[1]).raise_for_status().json()
    issuer = resource["authorization_servers"][0]
    answer = httpx.get(f"{issuer}/.well-known/oauth-authorization-server").raise_for_status()
    server = AuthorizationServerMetadata(answer.json())
    # `validate` would also demand https of every endpoint.
    server.validate_response_types_supported()
    server.validate_grant_types_supported()
    server.validate_token_endpoint_auth_methods_supported()
    server.validate_code_challenge_methods_supported()
    return dict(server)


def register(server):
    metadata = {
        "client_name": "authlib",
        "redirect_uris": [CASE["redirect"]],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    answer = httpx.post(server["registration_endpoint"], json=metadata)
    answer.raise_for_status()
    return answer.json()


def session(server, client):
    return OAuth2Client(
        client_id=client["client_id"],
        client_secret=client["client_secret"],
        token_endpoint_auth_method=client["token_endpoint_auth_method"],
        revocation_endpoint_auth_method=client["token_endpoint_auth_method"],
        redirect_uri=CASE["redirect"],
        scope="mcp offline_access",
        code_challenge_method="S256",
        token_endpoint=server["token_endpoint"],
        token=state.get("tokens"),
        update_token=lambda token, **_: state.set("tokens", dict(token)),
        # Refresh on expiry, not before: the life here is half a minute.
        leeway=0,
    )


async def connect():
    if state.get("tokens"):
        return
    server = discover()
    client = register(server)
    state.set("server", server)
    state.set("client", client)
    with session(server, client) as oauth:
        verifier = generate_token(48)
        url, expected = oauth.create_authorization_url(
            server["authorization_endpoint"], code_verifier=verifier, resource=CASE["url"]
        )
        location = await asyncio.to_thread(open_in_browser, url)
        token = oauth.fetch_token(
            server["token_endpoint"],
            authorization_response=location,
            state=expected,
            code_verifier=verifier,
            resource=CASE["url"],
        )
        state.set("tokens", dict(token))


def call_by_hand(oauth):
    held = {"accept": "application/json, text/event-stream"}

    def post(message):
        answer = oauth.post(CASE["url"], json={"jsonrpc": "2.0", **message}, headers=held)
        if answer.status_code >= 400:
            raise RuntimeError(f"{answer.status_code} {answer.text}")
        if "mcp-session-id" in answer.headers:
            held["mcp-session-id"] = answer.headers["mcp-session-id"]
            held["mcp-protocol-version"] = "2025-11-25"
        data = re.search(r"^(?:data: )?(\{.*)$", answer.text, re.MULTILINE)
        return json.loads(data[1])["result"] if data else None

    info = {"name": "by hand", "version": "0"}
    parameters = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
    post({"id": 1, "method": "initialize", "params": parameters})
    post({"method": "notifications/initialized"})
    tools = post({"id": 2, "method": "tools/list", "params": {}})["tools"]
    parameters = {"name": "headers", "arguments": {}}
    result = post({"id": 3, "method": "tools/call", "params": parameters})
    return {"tools": [tool["name"] for tool in tools], "result": result}


async def call():
    with session(state.get("server"), state.get("client")) as oauth:
        return call_by_hand(oauth)


async def revoke():
    server = state.get("server")
    with session(server, state.get("client")) as oauth:
        answer = oauth.revoke_token(
            server["revocation_endpoint"],
            token=state.get("tokens")["refresh_token"],
            token_type_hint="refresh_token",
        )
        answer.raise_for_status()


asyncio.run(repl({"connect": connect, "call": call, "revoke": revoke}))
