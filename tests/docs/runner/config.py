"""Configurations in the documentation: completed where they are fragments, with files for their secrets."""

import re
import tomllib
from pathlib import Path

BASE = """\
public_url = "https://mcp.example.com"

[upstreams.github]
provider = "github"
client_id = "Iv1.0123456789abcdef"
client_secret_file = "/run/secrets/github"

[[resources]]
path = "/mcp"
backend = "http://127.0.0.1:3000/mcp"

[access]
allow_emails = ["*@example.com"]
"""

HEADING = re.compile(r"^\[.*\]\s*(#.*)?$")
KEY = re.compile(r"^([A-Za-z0-9_.-]+)\s*=")
FILE = re.compile(r'^(\s*(?:\w+_file|certificate|key)\s*=\s*")([^"]+)(")', re.M)


def complete(text: str, base: str) -> str:
    """A whole configuration: the text itself, or the text laid over the base."""
    if "public_url" in tomllib.loads(text):
        return text
    own, under = sections(text), sections(base)
    headings = [heading for heading, _ in own]
    names_provider = any(h.startswith("[upstreams.") and "provider" in keys(b) for h, b in own)
    merged = []
    for heading, body in under:
        same = [b for h, b in own if h == heading]
        if heading.startswith("[upstreams.") and names_provider and not same:
            continue
        if len(same) > 1:
            merged += [(heading, part) for part in same]
        elif same:
            kept = [line for line in body if not (key(line) and key(line) in keys(same[0]))]
            merged.append((heading, kept + same[0]))
        else:
            merged.append((heading, body))
    known = [heading for heading, _ in under]
    merged += [part for part, heading in zip(own, headings) if heading not in known]
    return "".join(f"{heading}\n" * bool(heading) + "".join(f"{l}\n" for l in body) for heading, body in merged)


def sections(text: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        if HEADING.match(line):
            found.append((line.split("#")[0].strip(), []))
        else:
            found[-1][1].append(line)
    return found


def key(line: str) -> str | None:
    match = KEY.match(line)
    return match[1] if match else None


def keys(body: list[str]) -> set[str]:
    return {found for line in body if (found := key(line))}


def with_files(text: str, folder: Path, certificate: tuple[Path, Path]) -> str:
    """The text with every file that it names in `folder`, made where it is not there yet."""

    def place(match: re.Match[str]) -> str:
        name = match[1].strip().split(" ")[0].split("=")[0]
        if name in ("certificate", "key") or name.endswith("ca_file"):
            return match[1] + str(certificate[name == "key"]) + match[3]
        path = folder / match[2].strip("/").replace("/", "-") if match[2].startswith("/") else folder / match[2]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(secret(name))
            path.chmod(0o600)
        return match[1] + str(path) + match[3]

    return FILE.sub(place, text)


def secret(name: str) -> str:
    if name == "url_file":
        return "redis://127.0.0.1:6379/0"
    if name == "backend_headers_file":
        return "X-Api-Key: a-secret-of-a-decent-length"
    return "a-secret-of-a-decent-length"
