"""The files by themselves: against the schemas of those who read them, and against each other."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml
from harness.processes import Failed

from . import compose
from .image import CERTIFICATES, Image, copies, stages
from .running import say

HERE = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.prefix) / "bin"
KUBERNETES = "1.37"


def check(deploy, project, binary):
    lint(deploy)
    readers_are_strict(deploy)
    manifests = read_manifests(deploy / "kubernetes")
    say(f"kubernetes: {len(manifests)} manifests are valid for {KUBERNETES}, strictly")
    agree(manifests, deploy)
    say("kubernetes: names, ports and times agree; every secret is in the README")
    document = compose.read(deploy / "compose.yaml")
    agree_in_time(document, deploy)
    say(f"compose: {len(document['services'])} services, accepted by the specification's parser")
    containerfile(deploy / "Containerfile", binary)
    context(project, binary)


def run(words, what, **more):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise Failed(f"{what}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def lint(deploy):
    files = sorted(deploy.rglob("*.yaml"))
    run([TOOLS / "yamllint", "--strict", "-c", HERE / ".yamllint", *files], "yamllint")
    run([TOOLS / "hadolint", deploy / "Containerfile"], "hadolint")
    say(f"lint: {len(files)} YAML files and the Containerfile")


def readers_are_strict(deploy):
    """One misspelled word in a file of ours is refused, or their silence would prove nothing."""
    gateway = (deploy / "kubernetes" / "gateway.yaml").read_text()
    misspelt = gateway.replace("readinessProbe:", "readynessProbe:")
    if misspelt == gateway or not is_refused(lambda: valid_manifests(misspelt, "a misspelt manifest")):
        raise Failed("kubernetes: the schemas let a misspelt word pass")
    services = (deploy / "compose.yaml").read_text()
    misspelt = services.replace("stop_grace_period:", "stop_grace_periods:")
    if misspelt == services or not is_refused(lambda: compose.valid(misspelt, "a misspelt file")):
        raise Failed("compose: the parser lets a misspelt word pass")


def is_refused(read):
    try:
        read()
    except Failed:
        return True
    return False


def read_manifests(folder):
    files = sorted(folder.glob("*.yaml"))
    return [it for file in files for it in valid_manifests(file.read_text(), file.name)]


def valid_manifests(text, name):
    manifests = list(yaml.safe_load_all(text))
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            raise Failed(f"{name}: {error}") from error
    return manifests


def of_kind(manifests, kind):
    return [it for it in manifests if it["kind"] == kind]


def named(manifests, kind, name):
    found = [it for it in of_kind(manifests, kind) if it["metadata"]["name"] == name]
    if len(found) != 1:
        raise Failed(f"kubernetes: {len(found)} {kind}s are named {name}")
    return found[0]


def pod_of(deployment):
    return deployment["spec"]["template"]["spec"]


def agree(manifests, deploy):
    """What a schema does not see: that a name means something, and that times fit."""
    deployments = of_kind(manifests, "Deployment")
    labels = [it["spec"]["template"]["metadata"]["labels"] for it in deployments]
    for service in of_kind(manifests, "Service"):
        wanted = service["spec"]["selector"]
        chosen = [it for it, has in zip(deployments, labels) if wanted.items() <= has.items()]
        ports = {port["name"] for it in chosen for one in pod_of(it)["containers"] for port in one["ports"]}
        if not {port["targetPort"] for port in service["spec"]["ports"]} <= ports:
            raise Failed(f"kubernetes: no pod has the ports of Service {service['metadata']['name']}")
    for ingress in of_kind(manifests, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                named(manifests, "Service", path["backend"]["service"]["name"])
    readme = (deploy / "README.md").read_text()
    for deployment in deployments:
        pod = pod_of(deployment)
        is_confined(deployment)
        for volume in pod["volumes"]:
            if "configMap" in volume:
                named(manifests, "ConfigMap", volume["configMap"]["name"])
            elif not re.search(rf"create secret generic {volume['secret']['secretName']}\s", readme):
                raise Failed(f"kubernetes: the README does not make {volume['secret']['secretName']}")
    judge_times(named(manifests, "Deployment", "mcp-oauth"), settings_in(manifests))
    judge_network(manifests)


def is_confined(deployment):
    pod, name = pod_of(deployment), deployment["metadata"]["name"]
    must = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if not must.items() <= pod["securityContext"].items():
        raise Failed(f"kubernetes: {name} does not have {must}")
    must = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for container in pod["containers"]:
        if not must.items() <= container["securityContext"].items():
            raise Failed(f"kubernetes: a container of {name} does not have {must}")


def settings_in(manifests):
    return tomllib.loads(named(manifests, "ConfigMap", "mcp-oauth")["data"]["mcp-oauth.toml"])


def seconds(text):
    return float(re.fullmatch(r"(\d+)s", text)[1])


def stopping(settings):
    return sum(seconds(settings["shutdown"][name]) for name in ("delay", "drain"))


def judge_times(deployment, settings):
    pod = pod_of(deployment)
    # The server takes two seconds more for its last words.
    if pod["terminationGracePeriodSeconds"] <= stopping(settings) + 2:
        raise Failed("kubernetes: terminationGracePeriodSeconds is not above delay and drain")
    probe = pod["containers"][0]["readinessProbe"]
    if probe["periodSeconds"] * probe["failureThreshold"] >= seconds(settings["shutdown"]["delay"]):
        raise Failed("kubernetes: readiness is asked too rarely for `shutdown.delay`")


def judge_network(manifests):
    """Only the gateway's pods may speak to the MCP server, at the port that the gateway calls."""
    policy = named(manifests, "NetworkPolicy", "backend")["spec"]
    gateway = named(manifests, "Deployment", "mcp-oauth")["spec"]["selector"]
    port = int(re.search(r":(\d+)/", settings_in(manifests)["resources"][0]["backend"])[1])
    only = [{"from": [{"podSelector": gateway}], "ports": [{"port": port}]}]
    if policy["ingress"] != only or "Ingress" not in policy["policyTypes"]:
        raise Failed("kubernetes: others than the gateway reach the MCP server")


def agree_in_time(document, deploy):
    settings = tomllib.loads((deploy / "compose" / "mcp-oauth.toml").read_text())
    for name, service in document["services"].items():
        if name.startswith("gateway") and seconds(service["stop_grace_period"]) <= stopping(settings) + 2:
            raise Failed(f"compose: stop_grace_period of {name} is not above delay and drain")


def containerfile(file, binary):
    """What hadolint does not know: that the last stage is empty, and holds what a server needs."""
    last = stages(file.read_text())[-1]
    image = Image(file, binary)
    if last.base != "scratch" or last.of("RUN"):
        raise Failed("Containerfile: the last stage is not made from scratch by copying")
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.user):
        raise Failed(f"Containerfile: {image.user} is not a user by number other than root")
    if image.entrypoint[0] not in {it.target for it in copies(last)}:
        raise Failed(f"Containerfile: {image.entrypoint[0]} is not in the image")
    if str(CERTIFICATES) not in {it.target for it in copies(last)}:
        raise Failed("Containerfile: the image has no certificate authorities")
    say(f"Containerfile: from scratch, user {image.user}, with certificate authorities")


def context(project, binary):
    """Every file that the binary was built from is let in by .containerignore."""
    rules = [line for line in (project / ".containerignore").read_text().splitlines() if line[:1] != "#"]
    if rules[0] != "*" or not all(re.fullmatch(r"![\w./-]+", rule) for rule in rules[1:]):
        raise Failed(".containerignore: not a `*` with one path a line that is let in again")
    let_in = [project / rule[1:] for rule in rules[1:]]
    missing = [path for path in let_in if not path.exists()]
    needed = set(built_from(project, binary))
    for file in sorted(needed):
        if not any(file == path or path in file.parents for path in let_in):
            missing.append(file)
    if missing:
        raise Failed(".containerignore: " + ", ".join(str(it.relative_to(project)) for it in missing))
    say(f"Containerfile: all {len(needed)} files of the build are in its context")


def built_from(project, binary):
    """What the compiler read for the binary, as it noted itself, and every manifest's own files."""
    notes = binary.with_suffix(".d")
    if notes.exists():
        text = notes.read_text().partition(": ")[2].replace("\\ ", "\0")
        for word in text.split():
            file = Path(word.replace("\0", " "))
            if project in file.parents:
                yield file
    said = run(["cargo", "metadata", "--no-deps", "--offline", "--format-version=1"], "cargo", cwd=project)
    for package in json.loads(said.splitlines()[-1])["packages"]:
        yield Path(package["manifest_path"])
        # Cargo refuses a manifest whose targets are not there.
        yield from (Path(target["src_path"]) for target in package["targets"])
