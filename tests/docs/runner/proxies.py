"""The proxies of the how-to pages, for real: the configuration in the page, TLS before it, this server
and a streaming MCP server behind it, and a request through all of them."""

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .blocks import Block, Wrong
from .shell import end

HOST = "mcp.example.com"
EVENTS = 4
PAUSE = 0.3
# Longer than any token of this server, with the rest of a head.
TOKEN = "a" * 12_000



class Backend(BaseHTTPRequestHandler):
    """Answers every POST with events that come one by one."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(EVENTS):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(PAUSE)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_) -> None:
        pass


def nginx(block: Block, folder: Path, certificate: tuple[Path, Path]) -> list[str]:
    """The page's file as one of `conf.d`, in the smallest `nginx.conf` around it."""
    site = re.sub(r"(ssl_certificate\s+)[^;]+", rf"\g<1>{certificate[0]}", block.text)
    site = re.sub(r"(ssl_certificate_key\s+)[^;]+", rf"\g<1>{certificate[1]}", site)
    (folder / "site.conf").write_text(site)
    temporary = "".join(
        f"  {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nuser root;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\n  access_log off;\n{temporary}  include {folder}/site.conf;\n}}\n"
    )
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(block: Block, folder: Path, _: tuple[Path, Path]) -> list[str]:
    """The page's site, with a certificate authority of its own in place of a public one."""
    options = "{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n}\n\n"
    (folder / "Caddyfile").write_text(options + block.text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


PROXIES = {"nginx": nginx, "caddy": caddy}


def check(block: Block, folder: Path, env: dict[str, str], certificate: tuple[Path, Path]) -> None:
    """Serves the document's configuration behind the proxy, and streams through it."""
    name = block.marks["proxy"]
    make = PROXIES.get(name)
    if not make:
        raise Wrong(f"{block.place}: no proxy `{name}`; there are: {', '.join(PROXIES)}")
    for program in (name, "openssl"):
        if not shutil.which(program):
            raise Wrong(f"{block.place}: {program} is not installed")
    text = (folder / "mcp-oauth.toml").read_text()
    # Without a provider nobody can sign in: the backend lets everybody in, without identity.
    text = text.replace("[[resources]]", '[[resources]]\nauth = "optional"')
    (folder / "behind-proxy.toml").write_text(text)
    (folder / "behind-proxy.toml").chmod(0o600)
    env = env | {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    keys = ["mcp-oauth", "keys", "generate"]
    if not (folder / "keys").exists():
        subprocess.run(keys, cwd=folder, env=env, check=True, capture_output=True)
    backend = ThreadingHTTPServer(("127.0.0.1", 3000), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    running = []
    try:
        for command in (["mcp-oauth", "serve", "--config", "behind-proxy.toml"], make(block, folder, certificate)):
            log = (folder / f"{command[0]}.log").open("wb")
            running.append(
                subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
            )
        wait_for(block, folder, running)
        complain_unless_it_works(block)
    finally:
        for process in running:
            end(process)
        backend.shutdown()
        backend.server_close()


def connect() -> http.client.HTTPSConnection:
    """To the proxy, which has a certificate that nobody signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(HOST, timeout=20)
    plain = socket.create_connection(("127.0.0.1", 443), timeout=20)
    connection.sock = context.wrap_socket(plain, server_hostname=HOST)
    return connection


def wait_for(block: Block, folder: Path, running: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and all(process.poll() is None for process in running):
        try:
            connection = connect()
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    logs = "".join(f"--- {log.name}\n{log.read_text(errors='replace')}" for log in sorted(folder.glob("*.log")))
    raise Wrong(f"{block.place}: does not serve\n{logs}")


def complain_unless_it_works(block: Block) -> None:
    connection = connect()
    connection.request("GET", "/.well-known/oauth-protected-resource/mcp")
    document = json.loads(connection.getresponse().read())
    if document["resource"] != f"https://{HOST}/mcp":
        raise Wrong(f"{block.place}: the resource is {document['resource']}")

    connection = connect()
    connection.request("POST", "/mcp", "{}", {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    if answer.status != 401 or "resource_metadata" not in answer.headers.get("WWW-Authenticate", ""):
        raise Wrong(f"{block.place}: a long token does not come through: {answer.status}")

    connection = connect()
    connection.request("POST", "/mcp", "{}", {"Content-Type": "application/json"})
    answer = connection.getresponse()
    times = []
    while line := answer.readline():
        if line.startswith(b"data:"):
            times.append(time.monotonic())
    if answer.status != 200 or len(times) != EVENTS:
        raise Wrong(f"{block.place}: {answer.status} with {len(times)} of {EVENTS} events")
    spread = times[-1] - times[0]
    if spread < PAUSE * (EVENTS - 1) / 2:
        raise Wrong(f"{block.place}: the events came together, within {spread:.3f} s: something buffers")


def certificate_for(folder: Path, env: dict[str, str]) -> tuple[Path, Path]:
    """A certificate for the host of the documentation, and its key."""
    chain, key = folder / "tls.crt", folder / "tls.key"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN={HOST} -addext subjectAltName=DNS:{HOST} -keyout {key} -out {chain}"
    )
    made = subprocess.run(command.split(), env=env, capture_output=True, check=False)
    if made.returncode:
        raise Wrong(f"no certificate: {made.stderr.decode(errors='replace')}")
    key.chmod(0o600)
    return chain, key
