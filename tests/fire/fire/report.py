"""The table: fault × target × measured, on the terminal and in `docs/faults.md`."""

import re

from harness.install import PROJECT
from harness.processes import Failed

BEGIN, END = "<!-- fire -->", "<!-- /fire -->"
FILE = PROJECT / "docs" / "faults.md"


def mark(row):
    return "✓" if row.passed else "✗"


def order(row):
    letters, number = re.fullmatch(r"([A-Z]+)(\d+)", row.id).groups()
    return ("TC", "F", "V").index(letters), int(number)


def text(rows):
    lines = []
    for row in rows:
        lines += [f"{mark(row)} {row.id:4} {row.fault}", f"       due:  {row.target}"]
        lines += [f"       seen: {row.measured}"]
    return "\n".join(lines)


def table(rows, seconds, command):
    lines = ["| id | fault | target | measured | |", "|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.id} | {row.fault} | {row.target} | {row.measured} | {mark(row)} |")
    build = "an unoptimized build; proofs of many thousands are optimized with `--long`"
    lines += ["", f"`{command}` wrote this table in {seconds:.0f} s, with {build}."]
    return "\n".join(lines)


def write(rows, seconds, command):
    block = f"{BEGIN}\n{table(rows, seconds, command)}\n{END}"
    new, count = re.subn(
        f"{BEGIN}.*?{END}", lambda _: block, FILE.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise Failed(f"{FILE} has no `{BEGIN}` … `{END}`")
    FILE.write_text(new)
