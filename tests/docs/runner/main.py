"""Every document in turn; what does not hold is told at the end, all of it."""

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from . import alone, blocks, config, proxies
from .blocks import Block, Wrong
from .shell import Shell, environment

TOP = Path(__file__).resolve().parents[3]
SHELLS = {"bash", "shell", "console", "shell-session", "zsh", ""}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, help="the program [default: built by cargo]")
    parser.add_argument("documents", nargs="*", type=Path, help="[default: README.md and docs/]")
    args = parser.parse_args(arguments)
    binary = (args.binary or build()).resolve()
    alone.enter(["--binary", str(binary), *map(str, args.documents)])
    documents = args.documents or [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for document in documents:
        wrong += blocks.broken_anchors(document.resolve(), TOP)
        wrong += check(document.resolve(), binary, counts)
    if not args.documents and not (counts["commands run"] and counts["configurations checked"]):
        wrong.append("nothing was run")
    for complaint in wrong:
        print(f"✗ {complaint}")
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    print(f"{len(wrong)} wrong" if wrong else "all of it holds")
    return 1 if wrong else 0


def build() -> Path:
    command = ["cargo", "build", "--locked", "--quiet", "--bin", "mcp-oauth", "--message-format", "json"]
    built = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, check=True, text=True)
    artifacts = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return Path(next(it["executable"] for it in artifacts if it.get("executable")))


def check(document: Path, binary: Path, counts: Counter[str]) -> list[str]:
    """The blocks of one document, in a folder of their own."""
    shown = document.relative_to(TOP)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        env = environment(binary, Path(folder))
        work = Path(folder) / "work"
        work.mkdir()
        shell = Shell(work, env)
        try:
            found = blocks.read(document, shown)
            certificate = proxies.certificate_for(Path(folder), env) if found else None
            reader = Reader(work, env, shell, certificate, counts)
            for block in found:
                try:
                    reader.take(block)
                except Wrong as complaint:
                    wrong.append(str(complaint))
        except Wrong as complaint:
            wrong.append(str(complaint))
        finally:
            shell.close()
    return wrong


class Reader:
    """What happens with a block."""

    def __init__(self, folder: Path, env: dict[str, str], shell: Shell, certificate, counts: Counter[str]):
        self.folder, self.env, self.shell = folder, env, shell
        self.certificate, self.counts = certificate, counts
        self.base = config.BASE

    def take(self, block: Block) -> None:
        marks = block.marks
        if "not run" in marks:
            self.counts["not run"] += 1
            print(f"- {block.place}: not run: {marks['not run']}")
        elif "ci" in marks:
            self.counts["run by a step of its own"] += 1
        elif "proxy" in marks:
            proxies.check(block, self.folder, self.env, self.certificate)
            self.done(block, "proxies tried", f"streams through {marks['proxy']}")
        elif "output" in marks:
            self.shell.compare(block)
            self.done(block, "outputs compared", "output")
        elif block.language == "sh":
            self.command(block)
        elif block.language == "toml":
            self.configuration(block)
        elif "file" in marks:
            (self.folder / marks["file"]).write_text(block.text)
        elif block.language == "json":
            json.loads(block.text)
            self.done(block, "JSON read", "json")
        elif block.language in SHELLS:
            raise Wrong(f"{block.place}: name the language: `sh` for commands, `text` for what is shown")

    def command(self, block: Block) -> None:
        if "keeps running" in block.marks:
            if block.marks["keeps running"] == "alone":
                self.shell.close()
            self.shell.keep(block)
        else:
            self.shell.run(block)
        self.done(block, "commands run", block.text.strip().splitlines()[0])

    def configuration(self, block: Block) -> None:
        text = config.complete(block.text, self.base)
        if "public_url" in block.text:
            self.base = block.text
        path = self.folder / block.marks.get("file", "mcp-oauth.toml")
        path.write_text(config.with_files(text, self.folder / "files", self.certificate))
        path.chmod(0o600)
        checked = subprocess.run(
            ["mcp-oauth", "config", "check", str(path)],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=False,
        )
        said = checked.stderr + checked.stdout
        if checked.returncode or "no problems" not in said:
            raise Wrong(f"{block.place}: the configuration is not accepted\n{said}")
        self.done(block, "configurations checked", "configuration")

    def done(self, block: Block, what: str, shown: str) -> None:
        self.counts[what] += 1
        print(f"✓ {block.place}: {shown}")
