"""The gateway's and Valkey's pods, run as their manifests say: arguments, volumes with the links that a
kubelet swaps, user and group, probes, and the time that there is to stop."""

import asyncio
import os
import re
import secrets
import time
from pathlib import Path

from harness.processes import Failed, answers

from .documents import named, pod_of, read_manifests, run, settings_in, stopping
from .engine import Container
from .image import Image
from .people import send
from .running import MARGIN, say

# How often servers read the folder of keys.
LOOK = 5
PASSWORD = secrets.token_urlsafe(18)


class Volume:
    """A volume of a Secret or a ConfigMap: files are links to `..data`, a link that is swapped."""

    def __init__(self, folder, mode, group):
        self.folder, self.mode, self.group = folder, mode, group
        self.written = 0
        folder.mkdir(parents=True)

    def write(self, files):
        self.written += 1
        version = self.folder / f"..{self.written}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_text(text)
            (version / name).chmod(self.mode)
            os.chown(version / name, 0, self.group)
        (self.folder / "..new").symlink_to(version.name)
        (self.folder / "..new").rename(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


class Pod:
    def __init__(self, deployment, contents, home):
        self.spec = pod_of(deployment)
        self.container = self.spec["containers"][0]
        group = self.spec["securityContext"]["fsGroup"]
        self.volumes = {}
        for volume in self.spec["volumes"]:
            if "secret" in volume:
                name, mode = volume["secret"]["secretName"], volume["secret"]["defaultMode"]
            else:
                name, mode = volume["configMap"]["name"], 0o644
            self.volumes[volume["name"]] = made = Volume(home / volume["name"], mode, group)
            made.write(contents["secret" in volume, name])

    def run_as(self, name, root, words):
        context = self.spec["securityContext"]
        # What service links would bring, if they were not switched off.
        linked = self.spec.get("enableServiceLinks", True)
        return Container(
            name=name,
            root=root,
            words=words,
            user=f"{context['runAsUser']}:{context['runAsGroup']}",
            groups=[str(context["fsGroup"])],
            environment={"MCP_OAUTH_PORT": "tcp://10.96.0.1:80"} if linked else {},
            mounts={
                it["mountPath"]: (self.volumes[it["name"]].folder, False)
                for it in self.container["volumeMounts"]
            },
        )

    def port(self, name):
        return next(it["containerPort"] for it in self.container["ports"] if it["name"] == name)

    async def probe(self, name):
        asked = self.container[name]["httpGet"]
        answer = await send("127.0.0.1", self.port(asked["port"]), "GET", asked["path"], (), b"")
        return answer.status == 200


async def check(deploy, binary, home, processes):
    manifests = read_manifests(deploy / "kubernetes")
    keys = make_keys(binary, home)
    contents = {
        (False, "mcp-oauth"): named(manifests, "ConfigMap", "mcp-oauth")["data"],
        (True, "mcp-oauth-keys"): keys,
        (True, "mcp-oauth"): {"github": "a-secret", "redis-url": f"redis://:{PASSWORD}@valkey:6379"},
        (True, "mcp-oauth-valkey"): {"valkey.conf": f"requirepass {PASSWORD}\n"},
    }
    store = await start_store(manifests, contents, home, processes)
    image = Image(deploy / "Containerfile", binary)
    root = image.build(home / "root")
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost valkey mcp-backend\n")
    pod = Pod(named(manifests, "Deployment", "mcp-oauth"), contents, home / "pod")
    checked = pod.run_as("pod-config", root, [*image.entrypoint, "config", "check", config_in(pod)])
    await checked.start(processes)
    code = await checked.child.process.wait()
    if code != 0 or "no problems" not in checked.child.log.read_text():
        checked.complain(f"exited {code}")
    words = [*image.entrypoint, *pod.container["args"]]
    gateway = pod.run_as("pod-gateway", root, words)
    await gateway.start(processes)
    await until(lambda: pod.probe("startupProbe"), 30, gateway, "does not pass its startup probe")
    for name in ("readinessProbe", "livenessProbe"):
        await until(lambda: pod.probe(name), 2, gateway, f"does not pass its {name}")
    say("kubernetes: the gateway's pod starts with Valkey's, and passes its probes")
    await key_comes(pod, gateway, binary, home)
    await stops_in_time(pod, gateway, settings_in(manifests))
    await store.stop()


def config_in(pod):
    return pod.container["args"][pod.container["args"].index("--config") + 1]


async def start_store(manifests, contents, home, processes):
    pod = Pod(named(manifests, "Deployment", "valkey"), contents, home / "valkey-pod")
    words = ["redis-server", *pod.container["command"][1:], *pod.container["args"]]
    store = pod.run_as("pod-valkey", Path("/"), words)
    await store.start(processes)
    await until(lambda: answers("127.0.0.1", 6379), 10, store, "does not listen")
    return store


async def until(condition, seconds, container, complaint):
    ends = time.monotonic() + seconds
    while not await condition():
        if not container.child.alive or time.monotonic() > ends:
            container.complain(complaint)
        await asyncio.sleep(0.1)


def make_keys(binary, home):
    """As the README says: made on a machine of one's own."""
    home.mkdir(parents=True)
    run([binary, "keys", "--directory", home / "keys", "generate"], "keys generate")
    return {file.name: file.read_text() for file in (home / "keys").iterdir()}


async def key_comes(pod, gateway, binary, home):
    """A Secret changes: the running pod has the new key, without a restart."""
    said = run([binary, "keys", "--directory", home / "keys", "rotate"], "keys rotate")
    kid = re.search(r"added key (\w+)", said)[1]
    pod.volumes["keys"].write({file.name: file.read_text() for file in (home / "keys").iterdir()})
    began = time.monotonic()

    async def has_it():
        return f"{kid} accept" in gateway.child.log.read_text()

    await until(has_it, LOOK + 3, gateway, "does not read the key that came")
    if "can read" in gateway.child.log.read_text():
        gateway.complain("takes the files of a volume for exposed")
    say(f"kubernetes: a key that came by the swap of a link is read {time.monotonic() - began:.1f} s later")


async def stops_in_time(pod, gateway, settings):
    grace, began = pod.spec["terminationGracePeriodSeconds"], time.monotonic()
    stopped = asyncio.create_task(gateway.stop())

    async def is_out():
        return not await pod.probe("readinessProbe")

    await until(is_out, 2, gateway, "is ready after SIGTERM")
    if not await answers("127.0.0.1", pod.port("http")):
        raise Failed("kubernetes: the pod takes no connection within `shutdown.delay`")
    code = await asyncio.wait_for(stopped, grace)
    took = time.monotonic() - began
    delay = float(settings["shutdown"]["delay"].removesuffix("s"))
    if code != 0 or took > delay + MARGIN or took > stopping(settings):
        gateway.complain(f"exited {code} after {took:.1f} s")
    say(f"kubernetes: the pod is out of the Service at once, and gone {took:.1f} s after SIGTERM")
