"""As much of a container as is needed to run what the files describe: a root, mounts, a user, an
environment, and no privileges. Each runs in a mount namespace of its own, and all of them in the one
network of this run."""

import os
import shlex
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from harness.processes import Failed

# What engines put into every container; a static glibc build has its randomness from there.
DEVICES = ("dev/null", "dev/zero", "dev/random", "dev/urandom")
# What engines give where an image says nothing.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Container:
    name: str
    # `/` for images that are not ours: their program is this machine's own.
    root: Path
    words: list
    user: str
    environment: dict = field(default_factory=dict)
    # Where in the container: where on this machine, and whether it may be written to.
    mounts: dict = field(default_factory=dict)
    tmpfs: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    tracer: list = field(default_factory=list)
    child: object = None

    def script(self):
        root = str(self.root).rstrip("/")
        lines = ["set -e"]
        if root:
            lines.append(f"mount --bind {root} {root}")
            for device in DEVICES:
                make_place(self.root / device, Path("/", device))
                lines.append(f"mount --bind /{device} {root}/{device}")
        for inside, (outside, is_writable) in self.mounts.items():
            target = self.root / inside.lstrip("/")
            make_place(target, Path(outside))
            lines.append(f"mount --bind {outside} {target}")
            if not is_writable:
                lines.append(f"mount -o remount,bind,ro {target}")
        for inside, options in self.tmpfs:
            lines.append(f"mount -t tmpfs -o {options or 'mode=1777'} tmpfs {root}{inside}")
        if root:
            lines.append(f"mount -o remount,bind,ro {root}")
        pairs = [f"{name}={value}" for name, value in {"PATH": PATH, **self.environment}.items()]
        owner, group = self.user.split(":")
        words = [*self.tracer, "env", "-i", *pairs, "setpriv", "--no-new-privs", "chroot"]
        words += [f"--userspec=+{owner}:+{group}", f"--groups={','.join(self.groups)}"]
        words += [str(self.root), *self.words]
        lines.append("exec " + " ".join(map(shlex.quote, words)))
        return "\n".join(lines)

    async def start(self, processes):
        # The program opens /dev/stdout anew, as its own user.
        log = processes.logs / f"{self.name}.log"
        log.touch()
        log.chmod(0o666)
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", self.script()]
        self.child = await processes.start(self.name, words)

    def signal(self, number):
        os.kill(self.child.process.pid, number)

    async def stop(self):
        self.signal(signal.SIGTERM)
        return await self.child.process.wait()

    def complain(self, what):
        raise Failed(f"{self.name} {what}; {self.child.log} ends:\n{self.child.last_words()}")


def own_etc(folder):
    """Lets this run put files into /etc that nobody else sees."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    for name in ("upper", "work"):
        (folder / name).mkdir()
    layers = f"lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", "/etc"], check=True)


def make_place(target, outside):
    """Where something is mounted there is something, as an engine sees to it."""
    if outside.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
