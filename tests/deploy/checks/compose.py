"""compose.yaml, run: each service with the arguments, the environment, the files and the user that
stand there, in the order that `depends_on` asks for."""

import asyncio
import json
import os
import time
from pathlib import Path

import yaml
from compose_spec import PyCompose
from harness.processes import Failed, answers

from .engine import Container
from .image import Image

# Programs of images that are not ours, and what they are called on this machine.
NATIVE = {"valkey-server": "redis-server", "nginx": "nginx"}
OURS = "mcp-oauth"


def read(file):
    return valid(file.read_text(), file.name)


def valid(text, name):
    """The file with its aliases resolved, accepted by a parser of the compose specification."""
    document = yaml.safe_load(text)
    try:
        PyCompose.from_json(json.dumps(document))
    except ValueError as error:
        raise Failed(f"{name}: {error}") from error
    return document


class Project:
    def __init__(self, file, binary, home, processes):
        self.folder, self.home, self.processes = file.parent, home, processes
        self.document = read(file)
        self.services = self.document["services"]
        build = next(it["build"] for it in self.services.values() if it["image"] == OURS)
        context = self.folder / build["context"]
        self.image = Image(context / build["dockerfile"], binary)
        self.containers, self._passing = {}, set()

    async def up(self):
        self._make_volumes()
        for name in self.order():
            self.containers[name] = self._container(name)
            await self.begin(name)

    async def begin(self, name):
        """Starts a service, and waits as its dependents would have to."""
        container = self.containers[name]
        await container.start(self.processes)
        awaited = {
            condition["condition"]
            for service in self.services.values()
            for other, condition in service.get("depends_on", {}).items()
            if other == name
        }
        if "service_completed_successfully" in awaited:
            self._passing.add(name)
            if await asyncio.wait_for(container.child.process.wait(), 20) != 0:
                container.complain("failed")

    async def down(self):
        for container in reversed(list(self.containers.values())):
            if container.child.alive:
                await asyncio.wait_for(container.stop(), 30)

    def order(self):
        """What others need comes first."""
        done = []

        def put(name):
            needs = list(self.services[name].get("depends_on", {}))
            shared = self.services[name].get("network_mode", "")
            needs += [shared.removeprefix("service:")] if shared.startswith("service:") else []
            for other in needs:
                put(other)
            if name not in done:
                done.append(name)

        for name in self.services:
            put(name)
        return done

    def published(self):
        """The ports that compose publishes, as this machine would see them."""
        return [
            int(port.split(":")[-2])
            for service in self.services.values()
            for port in service.get("ports", [])
        ]

    async def until_published(self, seconds=30):
        ends = time.monotonic() + seconds
        while not all([await answers("127.0.0.1", port) for port in self.published()]):
            for name, container in self.containers.items():
                if name not in self._passing and not container.child.alive:
                    container.complain("ended")
            if time.monotonic() > ends:
                raise Failed(f"nobody listens on {self.published()}")
            await asyncio.sleep(0.1)

    def _make_volumes(self):
        for volume in self.document["volumes"]:
            folder = self.home / "volumes" / volume
            folder.mkdir(parents=True)
            folder.chmod(0o700)

    def _container(self, name):
        service = self.services[name]
        words, tmpfs = list(service["command"]), []
        for entry in service.get("tmpfs", []):
            place, _, options = entry.partition(":")
            tmpfs.append((place, options))
        if service["image"] == OURS:
            root = self.image.build(self.home / "roots" / name)
            words = self.image.entrypoint + words
            self._write_hosts(root)
        else:
            root, words[0] = Path("/"), NATIVE[words[0]]
        return Container(
            name=name,
            root=root,
            words=list(map(str, words)),
            user=service["user"],
            environment=service.get("environment", {}),
            mounts=dict(map(self._mount, service.get("volumes", []))),
            tmpfs=tmpfs,
        )

    def _mount(self, entry):
        source, target, *mode = entry.split(":")
        is_writable = mode != ["ro"]
        if source.startswith("."):
            return target, (self.folder / source, is_writable)
        volume = self.home / "volumes" / source
        owner = self.image.folders.get(target)
        # A volume that is empty takes the owner of what it hides.
        if owner and not any(volume.iterdir()):
            os.chown(volume, *owner)
        return target, (volume, is_writable)

    def _write_hosts(self, root):
        """Names of services, which an engine would answer for. Here all have one address."""
        named = [name for name, it in self.services.items() if "network_mode" not in it]
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / "hosts").write_text(f"127.0.0.1 localhost {' '.join(named)}\n")
