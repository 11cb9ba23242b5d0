"""The image, as the last stage of the Containerfile says, without building it: the file tree, the
user, and what is started. The binary is ours; if it is no static one, what it links comes along."""

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from harness.processes import Failed

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass
class Stage:
    base: str = ""
    name: str = ""
    lines: list = field(default_factory=list)

    def of(self, instruction):
        return [rest for word, rest in self.lines if word == instruction]


def stages(text):
    """The stages with their instructions; continued lines are joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "FROM":
            base, *name = rest.split()
            found.append(Stage(base, name[1] if len(name) == 2 else ""))
        else:
            found[-1].lines.append((word.upper(), rest.strip()))
    return found


@dataclass
class Copy:
    source: str
    target: str
    stage: str = ""
    owner: tuple = (0, 0)


def copies(stage):
    for rest in stage.of("COPY"):
        words = shlex.split(rest)
        flags = dict(word[2:].split("=") for word in words if word.startswith("--"))
        source, target = [word for word in words if not word.startswith("--")]
        owner = tuple(int(part) for part in flags.get("chown", "0:0").split(":"))
        yield Copy(source, target, flags.get("from", ""), owner)


class Image:
    def __init__(self, containerfile, binary):
        self.stage = stages(containerfile.read_text())[-1]
        self.binary = binary
        self.user = self.stage.of("USER")[-1]
        self.entrypoint = json.loads(self.stage.of("ENTRYPOINT")[-1])
        self.command = json.loads(self.stage.of("CMD")[-1])

    @property
    def folders(self):
        """What is empty in the image, with its owner: volumes take it from there."""
        return {it.target: it.owner for it in copies(self.stage) if it.source.endswith("/state")}

    def build(self, root, without=()):
        """Lays out the file tree; `without` are paths that are left out."""
        root.mkdir(parents=True)
        for copy in copies(self.stage):
            target = root / copy.target.lstrip("/")
            if copy.target in without:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if copy.target in self.folders:
                target.mkdir()
            elif copy.source == str(CERTIFICATES):
                shutil.copy(CERTIFICATES, target)
            elif Path(copy.source).name == self.binary.name:
                shutil.copy(self.binary, target)
            else:
                raise Failed(f"the Containerfile copies {copy.source}, which is not known here")
        for library in libraries(self.binary):
            target = root / str(library).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
        return root


def libraries(binary):
    """What the binary links; nothing for a static one."""
    said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return [Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", said, re.MULTILINE)]
