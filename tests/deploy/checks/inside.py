"""Inside: every check in its order, in the namespaces that `begin` made."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from harness import bounded

from . import documents, kubernetes, roots, running, service
from .compose import Project
from .engine import own_etc

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent
DEPLOY = PROJECT / "deploy"
LIMIT = 110


async def composed(processes, directory, binary, seconds):
    project = Project(DEPLOY / "compose.yaml", binary, directory / "compose", processes)
    await running.started(project)
    await running.one_person()
    await running.sign_in(project, binary)
    await running.backend_is_closed()
    await running.drained(project, seconds)
    await running.idle_stop(project)
    await project.down()


async def everything(processes, directory, binary):
    documents.check(DEPLOY, PROJECT, binary)
    await service.check(DEPLOY / "systemd", binary, directory / "systemd", processes)
    await roots.check(DEPLOY / "Containerfile", binary, directory / "empty", processes)
    await kubernetes.check(DEPLOY, binary, directory / "kubernetes", processes)
    await composed(processes, directory, binary, 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=Path)
    parser.add_argument("--drain", type=int, default=0)
    options = parser.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    began = time.monotonic()

    async def body(processes, directory, _):
        # Other users come in here; their own folders are closed.
        directory.chmod(0o755)
        own_etc(directory / "etc")
        if options.drain:
            await composed(processes, directory, options.binary, options.drain)
        else:
            await everything(processes, directory, options.binary)
        print(f"\nall of it holds; {time.monotonic() - began:.0f} s", flush=True)
        return 0

    return bounded.run(HERE, LIMIT + 3 * options.drain, body)


if __name__ == "__main__":
    sys.exit(main())
