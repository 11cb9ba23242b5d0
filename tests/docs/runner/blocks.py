"""The fenced blocks of a document, and the marks directly above them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(\s*)```(.*)$")
MARK = re.compile(r"^\s*<!-- (.+?) -->\s*$")

# What may stand above a block. A value is what follows the colon.
MARKS = {"not run", "keeps running", "exit", "output", "file", "proxy", "ci", "config", "provider", "library"}


class Wrong(Exception):
    """Something in the documentation does not hold."""


@dataclass
class Block:
    """One fenced block."""

    path: Path
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


def read(path: Path, shown: Path) -> list[Block]:
    """The blocks of a document in their order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found, index = [], 0
    while index < len(lines):
        opening = FENCE.match(lines[index])
        if not opening:
            index += 1
            continue
        indent, end = len(opening[1]), index + 1
        while end < len(lines) and lines[end].strip() != "```":
            end += 1
        if end == len(lines):
            raise Wrong(f"{shown}:{index + 1}: the block has no end")
        text = "\n".join(line[indent:] for line in lines[index + 1 : end]) + "\n"
        block = Block(shown, index + 1, opening[2].strip(), text)
        block.marks = marks(lines, index, block.place)
        found.append(block)
        index = end + 1
    return found


def marks(lines: list[str], index: int, place: str) -> dict[str, str]:
    """The comments that stand directly above a block; an unknown one is an error."""
    found = {}
    while index and (mark := MARK.match(lines[index - 1])):
        index -= 1
        name, _, value = mark[1].partition(": ")
        if name not in MARKS:
            raise Wrong(f"{place}: unknown mark `{mark[1]}`; there are: {', '.join(sorted(MARKS))}")
        if name == "not run" and not value:
            raise Wrong(f"{place}: say why: <!-- not run: REASON -->")
        found[name] = value
    return found


def anchors(text: str) -> set[str]:
    """What links to the headings of a document may end in."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(slug)
    return found


def broken_anchors(path: Path, top: Path) -> list[str]:
    """Links of a document to headings that are not there. Files are checked by the architecture test."""
    wrong = []
    for link in re.findall(r"\]\(([^)\s]*#[^)\s]*)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if "://" in link or target.suffix != ".md" or not target.exists():
            continue
        if anchor not in anchors(target.read_text(encoding="utf-8")):
            wrong.append(f"{path.relative_to(top)}: there is no heading for `{link}`")
    return wrong
