"""The image's file tree, and nothing else: the binary starts in it as the image's user, and says
what is missing where certificate authorities are."""

import asyncio
import os

from harness.processes import Failed, answers

from .engine import Container
from .image import CERTIFICATES, Image, libraries
from .running import say

CONFIGURATION = """
public_url = "http://127.0.0.1:8080"
listen = "127.0.0.1:8080"
[keys]
directory = "/var/lib/mcp-oauth/keys"
[upstreams.github]
provider = "github"
client_id = "Iv1.0123456789abcdef"
client_secret_file = "/etc/secret"
[[resources]]
path = "/mcp"
backend = "http://127.0.0.1:3000/mcp"
"""


async def check(containerfile, binary, home, processes):
    image = Image(containerfile, binary)
    container = prepared(image, home / "whole", "empty-root")
    await container.start(processes)
    for _ in range(100):
        if await answers("127.0.0.1", 8080):
            break
        await asyncio.sleep(0.1)
    else:
        container.complain("does not start from an empty root")
    if await asyncio.wait_for(container.stop(), 60) != 0:
        container.complain("did not stop in order")
    kind = f"with {len(libraries(binary))} libraries" if libraries(binary) else "static"
    say(f"image: the binary ({kind}) starts from a root with nothing else but an engine's devices, as {image.user}")
    await without_certificates(image, home / "bare", processes)


async def without_certificates(image, home, processes):
    container = prepared(image, home, "no-certificates", without=[str(CERTIFICATES)])
    await container.start(processes)
    code = await asyncio.wait_for(container.child.process.wait(), 20)
    said = container.child.log.read_text()
    if code != 1 or "certificate authorities" not in said or "ca-certificates" not in said:
        raise Failed(f"without certificate authorities, it exits {code} and says:\n{said}")
    say("image: without certificate authorities it does not start, and says what is missing")


def prepared(image, home, name, without=()):
    root, state = image.build(home / "root", without), home / "state"
    state.mkdir()
    owner = next(iter(image.folders.values()))
    files = {"mcp-oauth.toml": CONFIGURATION + "[shutdown]\ndelay = \"0s\"\n", "secret": "a-secret-for-nobody"}
    for file, text in files.items():
        (home / file).write_text(text)
    os.chown(state, *owner)
    return Container(
        name=name,
        root=root,
        words=[*image.entrypoint, *image.command, "--config", "/etc/mcp-oauth.toml"],
        user=image.user,
        mounts={
            "/etc/mcp-oauth.toml": (home / "mcp-oauth.toml", False),
            "/etc/secret": (home / "secret", False),
            next(iter(image.folders)): (state, True),
        },
    )
