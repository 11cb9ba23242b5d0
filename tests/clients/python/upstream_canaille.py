"""A second OpenID provider that others wrote: Canaille, with its own pages for sign-in and consent.
Its accounts and its one client live in memory."""

import asyncio
import json
import os

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from hypercorn.asyncio import serve
from hypercorn.config import Config
from joserfc.jwk import RSAKey


def configuration(port):
    key = RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)
    return {
        "SECRET_KEY": os.urandom(32).hex(),
        "SERVER_NAME": f"127.0.0.1:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"DATABASE": "memory", "LOGIN_ATTRIBUTES": ["user_name"]},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [key], "TRUSTED_DOMAINS": []},
    }


def furnish(app):
    """One person and one client."""
    with app.app_context():
        person = models.User(
            user_name="carol",
            password=os.environ["PASSWORD"],
            formatted_name="Carol",
            display_name="carol",
            family_name="Carol",
            emails=["carol@example.com"],
        )
        client = models.Client(
            client_id="gateway",
            client_secret=os.environ["CLIENT_SECRET"],
            client_name="The MCP server",
            client_uri="http://127.0.0.1",
            redirect_uris=json.loads(os.environ["REDIRECT_URIS"]),
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            scope=["openid", "email", "profile"],
            token_endpoint_auth_method="client_secret_basic",
        )
        Backend.instance.save(person)
        Backend.instance.save(client)
        client.audience = [client]
        Backend.instance.save(client)


def main():
    port = int(os.environ["PORT"])
    app = create_app(config=configuration(port))
    furnish(app)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    asyncio.run(serve(app, config))


main()
