"""The clients: what each is, how its driver starts, what it cannot do and why."""

import json
import re
from dataclasses import dataclass, field

from .install import HERE

OLD, NEW = "2025-11-25", "2026-07-28"


@dataclass(frozen=True)
class Client:
    name: str
    # Where it comes from: `npm`, `python-current`, `python-previous`, `cargo`, `debian`.
    source: str
    package: str
    driver: str
    # (resource, era) of each row. The generic clients know no era: they post by hand.
    rows: tuple
    # Its redirect URI; the harness fills in a free port.
    redirect: str = "http://127.0.0.1:{port}/callback"
    # Steps that it cannot do, and why.
    cannot: dict = field(default_factory=dict)


MCP = (("/mcp", OLD), ("/forwarded", NEW))
BOTH = (("/mcp", OLD), ("/forwarded", NEW), ("/plain", NEW), ("/canaille", NEW))
# Signing in is optional there: tools are listed first, without a token.
FREE = (("/optional", OLD), ("/optional", NEW))
BY_HAND = (("/mcp", OLD), ("/plain", OLD))
NO_PROCESS = "each command is a process of its own"

CLIENTS = (
    Client("TypeScript SDK 2", "npm", "@modelcontextprotocol/client", "sdk_v2.mjs", BOTH + FREE),
    Client("TypeScript SDK 1", "npm", "@modelcontextprotocol/sdk", "sdk_v1.mjs", (("/mcp", OLD), ("/plain", OLD), FREE[0])),
    Client("Python SDK 2", "python-current", "mcp", "sdk_v2.py", BOTH + FREE),
    Client("Python SDK 1", "python-previous", "mcp", "sdk_v1.py", (("/mcp", OLD), FREE[0])),
    Client("FastMCP", "python-current", "fastmcp", "fastmcp_client.py", (("/forwarded", NEW), FREE[1])),
    Client("rmcp", "cargo", "rmcp", "rmcp-driver", MCP + FREE),
    Client("mcp-remote", "npm", "mcp-remote", "mcp_remote.mjs", MCP + FREE),
    Client(
        "MCP Inspector",
        "npm",
        "@modelcontextprotocol/inspector",
        "inspector.mjs",
        MCP + FREE,
        redirect="http://127.0.0.1:{port}/oauth/callback",
        cannot={"refresh": NO_PROCESS},
    ),
    Client("oauth4webapi", "npm", "oauth4webapi", "generic_oauth4webapi.mjs", BY_HAND),
    Client("openid-client", "npm", "openid-client", "generic_openid_client.mjs", (("/mcp", OLD),)),
    Client("Authlib", "python-current", "authlib", "generic_authlib.py", (("/mcp", OLD),)),
    Client(
        "Chromium",
        "debian",
        "chromium",
        "chromium.mjs",
        (("/mcp", OLD),),
        cannot={
            "discovery": "the browser row is about the pages",
            "refresh": "the browser row ends with the sign-in",
            "restart": "the browser row ends with the sign-in",
        },
    ),
    Client(
        "Page of another origin",
        "debian",
        "chromium",
        "cross_origin.mjs",
        (("/mcp", OLD),),
        cannot={"restart": "a page keeps its tokens for as long as it is open"},
    ),
)


def command(client, tools):
    if client.source == "cargo":
        return [tools.rmcp]
    if client.source.startswith("python"):
        python = tools.python[client.source.removeprefix("python-")]
        return [python, HERE / "python" / client.driver]
    return [tools.node, HERE / "node" / client.driver]


def version(client):
    """The version as pinned; Debian's is what the release has."""
    if client.source == "npm":
        pins = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
        return pins[client.package]
    if client.source == "cargo":
        lock = (HERE / "rmcp" / "Cargo.lock").read_text()
        return re.search(r'name = "rmcp"\nversion = "([^"]+)"', lock)[1]
    if client.source.startswith("python"):
        name = client.source.removeprefix("python-")
        pins = (HERE / "python" / f"requirements-{name}.txt").read_text()
        return re.search(rf"(?im)^{client.package}==(\S+)", pins)[1]
    import subprocess

    words = ["dpkg-query", "-W", "-f=${Version}", client.package]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout or "?"
