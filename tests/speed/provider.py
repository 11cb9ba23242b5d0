"""The smallest provider of GitHub's kind: everybody is Alice. `provider.py PORT`."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != "/authorize":
            return self.answer({"id": 1, "login": "alice", "name": "Alice", "email": None})
        asked = parse_qs(url.query)
        self.send_response(302)
        query = urlencode({"code": "a-code", "state": asked["state"][0]})
        self.send_header("Location", f"{asked['redirect_uri'][0]}?{query}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer({"access_token": "an-upstream-token", "token_type": "bearer", "scope": ""})

    def answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
