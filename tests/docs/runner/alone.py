"""A network of its own, so that the ports in the documentation are free and nothing leaves the machine."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

INSIDE = "MCP_OAUTH_DOCS_ALONE"


def enter(arguments: list[str]) -> None:
    """Starts this program again in a network namespace, where the system allows it."""
    if os.environ.pop(INSIDE, None):
        raise_loopback()
        return
    unshare = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
        os.execvpe(unshare[0], [*unshare, sys.executable, sys.argv[0], *arguments], os.environ | {INSIDE: "1"})
    print("no network of its own here: the ports in the documentation must be free")


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        up = struct.pack("16sh", b"lo", 0x1 | 0x40)
        fcntl.ioctl(control, 0x8914, up)  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
