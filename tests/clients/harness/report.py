"""The table: client × step, on the terminal, in `results.md`, and in the project's README."""

import re

from .clients import version
from .deployment import OPTIONAL, RESOURCES
from .install import HERE, PROJECT
from .processes import Failed
from .steps import STEPS

BEGIN, END = "<!-- clients -->", "<!-- /clients -->"
TITLES = {
    "single": "One process",
    "two": "Two replicas behind nginx, no store",
    "three": "Three replicas behind nginx, no store",
}


def mark(result):
    return {"✓": "✓", "✗": "✗"}.get(result[0], "n/a")


def cells(row):
    upstream = {"oidc": "OpenID", "plain": "OAuth 2", "canaille": "Canaille"}[RESOURCES[row.path][0]]
    upstream += ", optional" if row.path == OPTIONAL else ""
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


def table(rows):
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    return [*lines, *("| " + " | ".join(cells(row)) + " |" for row in rows)]


def reasons(rows):
    """Why a step is not applicable, once for all clients of which that is so."""
    clients = {}
    for row in rows:
        for step, result in row.results.items():
            if result.startswith("n/a: "):
                names = clients.setdefault((step, result.removeprefix("n/a: ")), [])
                if row.client.name not in names:
                    names.append(row.client.name)
    lines = [f"- {step}: {why} ({', '.join(names)})" for (step, why), names in clients.items()]
    return ["", "What does not apply, and why:", "", *lines] if lines else []


def counted(name, rows, races):
    """A deployment in one sentence."""
    here = [row for row in rows if row.deployment == name]
    passed = sum(row.passed for row in here)
    race = f"; of 64 parallel redemptions of one code, {races[name]}" if name in races else ""
    return f"{TITLES[name]}: {passed} of {len(here)} rows pass{race}."


def full(rows, races, versions):
    """`results.md`: every table."""
    parts = ["# Clients verified", ""]
    for name, title in TITLES.items():
        here = [row for row in rows if row.deployment == name]
        if here:
            parts += [f"## {title}", "", *table(here), "", counted(name, rows, races), ""]
    parts += [*reasons(rows)[1:], "", f"With {versions}."]
    return "\n".join(parts) + "\n"


def summary(rows, races, versions):
    """README: the table of one process, and a sentence for each other deployment."""
    single = [row for row in rows if row.deployment == "single"]
    parts = [*table(single), *reasons(single), ""]
    parts += [f"- {counted(name, rows, races)}" for name in TITLES]
    parts += ["", f"With {versions}. Reproduce: `tests/clients/run`."]
    return "\n".join(parts) + "\n"


def write(rows, races, versions, readme):
    (HERE / "results.md").write_text(full(rows, races, versions))
    if readme:
        file = PROJECT / "README.md"
        block = f"{BEGIN}\n{summary(rows, races, versions)}{END}"
        new, count = re.subn(
            f"{BEGIN}.*?{END}", lambda _: block, file.read_text(), flags=re.DOTALL
        )
        if count != 1:
            raise Failed(f"README.md has no `{BEGIN}` … `{END}`")
        file.write_text(new)
