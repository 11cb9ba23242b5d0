"""The table: client × step, on the terminal, in `results.md`, and in the project's README."""

import re

from .clients import version
from .deployment import RESOURCES
from .install import HERE, PROJECT
from .steps import STEPS

BEGIN, END = "<!-- clients: begin -->", "<!-- clients: end -->"
TITLES = {
    "single": "One process",
    "two": "Two replicas behind nginx, no store",
    "three": "Three replicas behind nginx, no store",
}


def mark(result):
    return {"✓": "✓", "✗": "✗"}.get(result[0], "n/a")


def cells(row):
    upstream = {"oidc": "OpenID", "plain": "OAuth 2"}[RESOURCES[row.path][0]]
    name = f"{row.client.name} ({row.client.package})"
    return [name, version(row.client), row.era, upstream, *(mark(row.results[s]) for s in STEPS)]


HEAD = ["client", "version", "MCP", "provider", *STEPS]


def text(title, rows):
    """For a terminal: columns aligned, and below them what went wrong."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    table = ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines]
    wrong = [
        f"✗ {row.client.name}, MCP {row.era}, {step}: {result[2:]}"
        for row in rows
        for step, result in row.results.items()
        if result.startswith("✗") and result != "✗ not reached"
    ]
    return "\n".join([f"\n{title}", *table, *wrong])


def markdown(rows, races, versions):
    """For a reader: one table a deployment, and the reasons of each `n/a`."""
    parts = []
    for name, title in TITLES.items():
        here = [row for row in rows if row.deployment == name]
        if not here:
            continue
        parts.append(f"**{title}**\n")
        parts.append("| " + " | ".join(HEAD) + " |")
        parts.append("|" + "---|" * len(HEAD))
        parts += ["| " + " | ".join(cells(row)) + " |" for row in here]
        if name in races:
            parts.append(f"\n64 parallel redemptions of one code: {races[name]}.")
        parts.append("")
    reasons = {
        (row.client.name, step, result.removeprefix("n/a: "))
        for row in rows
        for step, result in row.results.items()
        if result.startswith("n/a")
    }
    if reasons:
        parts.append("Not applicable:\n")
        parts += [f"- {name}, {step}: {why}." for name, step, why in sorted(reasons)]
        parts.append("")
    parts.append(f"With {versions}. Reproduce: `tests/clients/run`.\n")
    return "\n".join(parts)


def write(report, readme):
    (HERE / "results.md").write_text(report)
    if readme:
        file = PROJECT / "README.md"
        old = file.read_text()
        block = f"{BEGIN}\n{report}{END}"
        new, count = re.subn(f"{BEGIN}.*?{END}", lambda _: block, old, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"error: README.md has no `{BEGIN}` … `{END}`")
        file.write_text(new)
