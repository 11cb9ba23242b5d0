"""Commands, as a reader would type them: in one folder for each document, one after the other."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from .blocks import Block, Wrong

SECONDS = 60
SETTLED = 1.5


def environment(binary: Path, home: Path) -> dict[str, str]:
    """What a person's shell has, and nothing of this machine's settings for the server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_OAUTH_")}
    for name in ("PORT", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        kept.pop(name, None)
    return kept | {
        "PATH": f"{binary.parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
    }


class Shell:
    """Runs the blocks of one document, and ends what they left running."""

    def __init__(self, folder: Path, env: dict[str, str]):
        self.folder, self.env = folder, env
        self.running: list[subprocess.Popen[bytes]] = []
        self.log: Path | None = None

    def run(self, block: Block) -> None:
        expected = int(block.marks.get("exit", "0"))
        self.log = self.folder / f".block-{block.line}"
        with self.log.open("wb") as log:
            process = self.start(block.text, log)
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                end(process)
                raise Wrong(f"{block.place}: not done after {SECONDS} s\n{self.output()}") from None
        if code != expected:
            raise Wrong(f"{block.place}: exit code {code}, not {expected}\n{self.output()}")

    def keep(self, block: Block) -> None:
        """Starts what keeps running, and waits until it has nothing more to say."""
        self.log = self.folder / f".block-{block.line}"
        with self.log.open("wb") as log:
            process = self.start(block.text, log)
        self.running.append(process)
        begun, size, since = time.monotonic(), 0, time.monotonic()
        while size == 0 or time.monotonic() - since < SETTLED:
            if process.poll() is not None:
                raise Wrong(f"{block.place}: ended with {process.returncode}\n{self.output()}")
            if time.monotonic() - begun > SECONDS:
                raise Wrong(f"{block.place}: silent for {SECONDS} s")
            time.sleep(0.05)
            if self.log.stat().st_size != size:
                size, since = self.log.stat().st_size, time.monotonic()

    def start(self, text: str, log) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log else ""

    def compare(self, block: Block) -> None:
        """Compares a block of output with what the last command said; `…` stands for anything."""
        if self.log is None:
            raise Wrong(f"{block.place}: the output of which command?")
        expected = pattern(block.text)
        # What keeps running may have more to say.
        until = time.monotonic() + (20 if self.running else 0)
        while not expected.fullmatch(lines(self.output())):
            if time.monotonic() > until:
                raise Wrong(f"{block.place}: the output is another:\n{self.output()}")
            time.sleep(0.1)

    def close(self) -> None:
        while self.running:
            end(self.running.pop())


def lines(text: str) -> str:
    """The text without blanks at the ends of its lines, and without empty lines around it."""
    return "".join(line.rstrip() + "\n" for line in text.strip("\n").splitlines())


def pattern(text: str) -> re.Pattern[str]:
    """`…` within a line is anything there; alone on a line, any lines."""
    parts = []
    for line in lines(text).splitlines():
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(re.escape(line).replace("…", ".*?") + r"\n")
    return re.compile("".join(parts))


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
