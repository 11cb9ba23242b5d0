"""Runs the package's scenarios and reads what they say."""

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sign_in
from harness.deployment import free_port
from harness.processes import Failed

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
ONE_RUN = 300
GOOD = ("SUCCESS", "INFO")


@dataclass
class Row:
    """One scenario; `checks` counts what came out of it, per status."""

    group: str
    scenario: str
    checks: Counter
    good: bool
    complaint: str = ""
    remark: str = ""


class Runner:
    def __init__(self, node, processes, directory):
        self.node, self.processes, self.directory = node, processes, directory

    async def authorization(self, front):
        """The authorization server scenarios. One of them prints a URL for a person to open."""
        port, results = free_port(), self.directory / "authorization"
        client = sign_in.register(front.origin, f"http://127.0.0.1:{port}/callback")
        words = ["--url", front.origin, "--client-id", client, "-p", port, "-o", results]
        words += ["--resource", f"{front.origin}/mcp"]
        child = await self.start("authorization", "authorization", words)
        opened = asyncio.ensure_future(self.open(child, front))
        await self.finish(child)
        opened.cancel()
        found = checks_of(results)
        if len(found) < 2:
            raise Failed(f"authorization: results of {sorted(found)} only; {child.log} tells more")
        return [self.judged(name, checks) for name, checks in found.items()]

    def judged(self, scenario, checks):
        wrong = [check for check in checks if check["status"] not in GOOD]
        complaint = "; ".join(f"{it['id']} {it['status']} {it.get('errorMessage')}" for it in wrong)
        return Row("authorization server", scenario, counted(checks), not wrong, complaint)

    async def open(self, child, front):
        """Presses Allow and signs in, as soon as the scenario says where."""
        start = f"{front.origin}/authorize?"
        while True:
            text = child.log.read_text(errors="replace")
            url = next((line for line in text.splitlines() if line.startswith(start)), None)
            if url:
                location = await asyncio.to_thread(front.browser.open, url.strip())
                return await asyncio.to_thread(front.browser.deliver, location)
            await asyncio.sleep(0.1)

    async def server(self, revision, side, url):
        """What a revision requires of a server at `url`: the checks of each scenario."""
        results = self.directory / f"{side}-{revision}"
        words = ["--url", url, "--requirements", revision, "-o", results]
        child = await self.start(f"{side}-{revision}", "server", words)
        await self.finish(child)
        found = checks_of(results)
        if not found:
            raise Failed(f"{side}, {revision}: no results; {child.log} ends:\n{child.last_words()}")
        text = child.log.read_text(errors="replace")
        return found, set(re.findall(r"^  [✓✗] (\S+) \(", text, re.MULTILINE))

    async def start(self, name, command, words):
        return await self.processes.start(name, [self.node, PROGRAM, command, *words], cwd=self.directory)

    async def finish(self, child):
        try:
            await asyncio.wait_for(child.process.wait(), ONE_RUN)
        except asyncio.TimeoutError as error:
            raise Failed(f"{child.name}: not done after {ONE_RUN} s; {child.log}") from error


def checks_of(results):
    """The checks of each scenario, from the files that the package writes."""
    found = {}
    for file in sorted(results.glob("*/checks.json")):
        match = re.fullmatch(r"(?:server-|authorization-)?(.+?)-\d{4}-\d\d-\d\dT.+", file.parent.name)
        found[match[1] if match else file.parent.name] = json.loads(file.read_text())
    return found


def counted(checks):
    return Counter(check["status"] for check in checks)


def essence(checks):
    """What must be equal: which checks were made, and what came out."""
    return Counter((check["id"], check["name"], check["status"]) for check in checks)


def compared(revision, alone, through):
    """A row per scenario. What the revision requires must pass as well as be equal."""
    (bare, unscored), (gateway, _) = alone, through
    rows = []
    for scenario in sorted(bare.keys() | gateway.keys()):
        before, behind = essence(bare.get(scenario, [])), essence(gateway.get(scenario, []))
        required = scenario not in unscored
        differences = [f"only without the gateway: {one}" for one in before - behind]
        differences += [f"only through the gateway: {one}" for one in behind - before]
        failed = [one for one in behind if one[2] == "FAILURE"] if required else []
        complaints = differences + [f"failed: {one}" for one in failed]
        checks = counted(gateway.get(scenario, []))
        remark = "" if required else "not required by the revision"
        rows.append(Row(revision, scenario, checks, not complaints, "; ".join(complaints), remark))
    return rows


def cells(row):
    checks = ", ".join(f"{count} {status.lower()}" for status, count in sorted(row.checks.items()))
    same = row.group[0].isdigit()
    verdict = ("equal" if same else "passed") if row.good else "✗"
    return row.group, row.scenario, checks, verdict, row.remark


def table(rows):
    lines = [("group", "scenario", "checks", "verdict", "")] + [cells(row) for row in rows]
    widths = [max(len(line[n]) for line in lines) for n in range(4)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths)) + f"  {line[4]}"
        for line in lines
    )


def results(rows, versions):
    """The table for the project's pages."""
    head = f"""# Conformance

Written by `tests/conformance/run` with {versions}.

*Equal* means: the same checks with the same outcomes against the MCP server alone and through the gateway. What a revision requires
passes, too; what it does not (extensions, scenarios added later) is compared only.

| group | scenario | checks | verdict | |
|---|---|---|---|---|
"""
    return head + "".join(f"| {' | '.join(cells(row))} |\n" for row in rows)
