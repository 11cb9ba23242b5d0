"""The person and the browser: follows redirects by hand, keeps cookies as a browser does, presses
Allow on the consent page, signs in at the provider. `Browsers` offers it to the clients."""

import asyncio
import http.client
import json
import time
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from .wire import json_answer, read_body, read_head

PAGE = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
REDIRECTS = (301, 302, 303, 307, 308)
APPROVALS = ("allow", "accept")
# What the person types where a page of a provider leaves a field empty.
TYPED = {"login": "carol", "password": "correct horse battery staple"}


class Form(HTMLParser):
    """The first form of a page: where it goes, its fields, its buttons."""

    def __init__(self, html):
        super().__init__()
        self.action, self.method, self.fields, self.buttons = None, "GET", {}, []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        held = dict(attributes)
        if tag == "form" and self.action is None:
            self.action, self.method = held.get("action", ""), held.get("method", "get").upper()
            self._inside = True
        elif self._inside and tag == "input" and held.get("name"):
            kind = held.get("type", "text")
            if kind == "submit":
                self.buttons.append((held["name"], held.get("value", "")))
            elif kind not in ("checkbox", "radio") or "checked" in held:
                self.fields[held["name"]] = held.get("value", "")
        elif self._inside and tag == "button":
            self.buttons.append((held.get("name"), held.get("value", "")))

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "form"


class Browser:
    """One person's browser. `homes` are the origins of the server and of the providers; whatever
    else a redirect names is the client waiting for its answer. `person` is who signs in, where it is
    not whom the page proposes."""

    def __init__(self, homes, claim, person=None):
        self._homes, self._claim, self._person = homes, claim, person
        self._cookies = {}
        self.pressed = []

    def open(self, url):
        """Walks until the redirect to the client; returns it, not delivered."""
        method, body, origin, site = "GET", None, None, "none"
        for _ in range(30):
            status, headers, text = self._request(method, url, body, origin, site)
            if status in REDIRECTS:
                target = urljoin(url, headers["location"])
                if origin_of(target) not in self._homes:
                    return target
                if origin_of(target) != origin_of(url):
                    # Another port of the same host is another origin of the same site.
                    site = "same-site"
                if status in (301, 302, 303):
                    method, body = "GET", None
                url = target
                continue
            form = Form(text)
            if status != 200 or form.action is None:
                raise RuntimeError(f"{status} without a form at {urlsplit(url).path}: {text[:400]}")
            fields = self._typed(form)
            name, value = next((b for b in form.buttons if b[1] in APPROVALS), form.buttons[0])
            if name:
                fields[name] = value
                self.pressed.append(value)
            origin, site = origin_of(url), "same-origin"
            method, body, url = form.method, urlencode(fields), urljoin(url, form.action)
        raise RuntimeError("more than 30 steps")

    def _typed(self, form):
        fields = {name: value or TYPED.get(name, "") for name, value in form.fields.items()}
        if self._person and "login" in fields:
            fields["login"] = self._person
        return fields

    def deliver(self, url):
        """Hands the redirect to the client's listener, which may still be starting."""
        for attempt in range(50):
            try:
                return self._request("GET", url, None, None, "same-site")[0]
            except ConnectionRefusedError:
                if attempt == 49:
                    raise
                time.sleep(0.1)

    def _request(self, method, url, body, origin, site):
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
        connection.connect()
        self._claim(parts.port, connection.sock.getsockname()[1])
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        headers = {
            "accept": PAGE,
            "user-agent": "Mozilla/5.0 (a person)",
            "sec-fetch-site": site,
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
            "sec-fetch-user": "?1",
        }
        cookies = self._cookies.get(parts.hostname, {})
        fitting = [f"{n}={v}" for n, (v, at) in cookies.items() if parts.path.startswith(at)]
        if fitting:
            headers["cookie"] = "; ".join(fitting)
        if method == "POST":
            headers["content-type"] = "application/x-www-form-urlencoded"
            headers["origin"] = origin
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            self._keep(parts.hostname, answer.headers.get_all("set-cookie") or [])
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def _keep(self, host, lines):
        # Cookies belong to a host, whatever its port.
        held = self._cookies.setdefault(host, {})
        for line in lines:
            for name, cookie in SimpleCookie(line).items():
                past = cookie["expires"].endswith("1970 00:00:00 GMT")
                if cookie["max-age"] == "0" or past or not cookie.value:
                    held.pop(name, None)
                else:
                    held[name] = (cookie.value, cookie["path"] or "/")


def origin_of(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Browsers:
    """Opens a browser for whoever asks: `POST /{owner}` with `{"url": …, "deliver": …}`."""

    def __init__(self, homes, taps):
        self._homes, self._taps = homes, {tap.port: tap for tap in taps}
        self.opened = []
        self._server = None

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"

    async def close(self):
        self._server.close()

    def new(self, owner, person=None):
        def claim(target, local):
            if target in self._taps:
                self._taps[target].claim(local, owner)

        return Browser(self._homes, claim, person)

    async def _serve(self, reader, writer):
        head = await read_head(reader)
        if head is not None:
            _, body = await read_body(reader, head)
            owner = head.words[1].strip("/")
            try:
                answer = await asyncio.to_thread(self._walk, owner, json.loads(body))
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            self.opened.append((owner, answer.get("error")))
            writer.write(json_answer(200, answer))
        writer.close()

    def _walk(self, owner, wish):
        browser = self.new(owner)
        location = browser.open(wish["url"])
        if wish.get("deliver"):
            return {"delivered": browser.deliver(location)}
        return {"location": location}
