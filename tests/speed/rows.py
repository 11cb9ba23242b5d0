"""Rows of a table: fault × target × measured, on the terminal and in a document."""

import re
from dataclasses import dataclass

from harness.processes import Failed
from places import PROJECT

HEAD = "| id | fault | target | measured | |\n|---|---|---|---|---|\n"


@dataclass
class Row:
    id: str
    fault: str
    target: str
    measured: str
    holds: bool

    @property
    def mark(self):
        return "✓" if self.holds else "✗"

    @property
    def line(self):
        return f"| {self.id} | {self.fault} | {self.target} | {self.measured} | {self.mark} |\n"

    @property
    def text(self):
        due = f"       due:  {self.target}\n       seen: {self.measured}"
        return f"{self.mark} {self.id:4} {self.fault}\n{due}"


def table(rows, note):
    return HEAD + "".join(row.line for row in rows) + f"\n{note}"


def write(document, name, text):
    """Puts `text` between `<!-- name -->` and `<!-- /name -->`."""
    file, begin, end = PROJECT / "docs" / document, f"<!-- {name} -->", f"<!-- /{name} -->"
    block = f"{begin}\n{text}\n{end}"
    new, count = re.subn(f"{begin}.*?{end}", lambda _: block, file.read_text(), flags=re.DOTALL)
    if count != 1:
        raise Failed(f"{file} has no `{begin}` … `{end}`")
    file.write_text(new)


def share(values, part):
    """The value below which `part` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
