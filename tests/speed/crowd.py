"""A crowd of clients that hold connections and do little: `crowd.py PORT KIND COUNT SECONDS [REQUEST]`.

KIND is `heads` (a byte of a request's head every few seconds), `bodies` (a byte of a form's), `both`
(half of each), `readers` (the request in the file, whose answer is read a byte a second through the
smallest buffer that there is), or `knocks` (a connection and not a word). Who is cut comes again, but
for readers. Prints how long connections lived, as one line of JSON. A single thread; nothing blocks."""

import heapq
import json
import random
import resource
import select
import socket
import sys
import time

PAUSE = {"heads": 2.5, "bodies": 2.5, "readers": 1.0, "knocks": 1.0}
# A crowd comes in at this many connections a second, not all in one moment.
RATE = 2_500
HEAD = b"POST /token HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Slow: "
BODY = (
    b"POST /token HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\na="
)


class Member:
    """One of the crowd; `socket` is its present connection."""

    def __init__(self, number, kind):
        self.number, self.kind = number, kind
        self.socket, self.since, self.is_open, self.heard = None, 0.0, False, b""


class Crowd:
    def __init__(self, port, kind, count, request):
        self.port, self.request = port, request
        self.poll, self.due, self.members = select.epoll(), [], {}
        self.lives = {"heads": [], "bodies": [], "readers": [], "knocks": []}
        self.answers, self.opened, self.most, self.open = {}, 0, 0, 0
        now = time.monotonic()
        for number in range(count):
            one = Member(number, ("heads", "bodies")[number % 2] if kind == "both" else kind)
            heapq.heappush(self.due, (now + number / RATE, number, one))

    def run(self, seconds):
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            wait = self.due[0][0] - now if self.due else 1.0
            for number, events in self.poll.poll(max(0.0, min(wait, 0.5, end - now)), 1_024):
                self.happened(self.members[number], events)
            now = time.monotonic()
            for _ in range(1_024):
                if not self.due or self.due[0][0] > now:
                    break
                self.turn(heapq.heappop(self.due)[2])

    def turn(self, one):
        if one.socket is None:
            if one.kind == "readers" and one.since:
                return
            self.connect(one)
        elif one.is_open:
            self.drip(one)
        pause = PAUSE[one.kind] * random.uniform(0.9, 1.1)
        heapq.heappush(self.due, (time.monotonic() + pause, one.number, one))

    def connect(self, one):
        one.socket = socket.socket()
        one.socket.setblocking(False)
        if one.kind == "readers":
            one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        # Not all from one address, whose ports would run out.
        one.socket.bind((f"127.0.{1 + one.number // 250}.{1 + one.number % 250}", 0))
        one.socket.connect_ex(("127.0.0.1", self.port))
        one.is_open, one.heard, one.since = False, b"", time.monotonic()
        self.members[one.socket.fileno()] = one
        self.poll.register(one.socket, select.EPOLLOUT)

    def happened(self, one, events):
        if not one.is_open and events & select.EPOLLOUT and not events & select.EPOLLERR:
            one.is_open, one.since = True, time.monotonic()
            self.opened, self.open = self.opened + 1, self.open + 1
            self.most = max(self.most, self.open)
            # A reader looks when it pleases; the end of a connection is told in any case.
            self.poll.modify(one.socket, 0 if one.kind == "readers" else select.EPOLLIN)
            first = {"heads": HEAD, "bodies": BODY}.get(one.kind)
            text = first % self.port if first else self.request
            if text:
                self.attempt(one, lambda: one.socket.send(text))
            return
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self.leave(one)
        elif one.is_open:
            self.attempt(one, lambda: self.listen(one))

    def listen(self, one):
        piece = one.socket.recv(4_096)
        one.heard += piece
        if not piece:
            raise ConnectionError("the end")

    def drip(self, one):
        if one.kind == "readers":
            self.attempt(one, lambda: one.socket.recv(1))
        elif one.kind != "knocks":
            self.attempt(one, lambda: one.socket.send(b"x"))

    def attempt(self, one, act):
        try:
            act()
        except BlockingIOError:
            pass
        except OSError:
            self.leave(one)

    def leave(self, one):
        if one.is_open:
            self.open -= 1
            self.lives[one.kind].append(time.monotonic() - one.since)
            status = one.heard[9:12].decode("latin-1") or "none"
            self.answers[status] = self.answers.get(status, 0) + 1
        self.poll.unregister(one.socket)
        del self.members[one.socket.fileno()]
        one.socket.close()
        one.socket = None


def main():
    port, kind, count, seconds, *file = sys.argv[1:]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    request = open(file[0], "rb").read() if file else b""
    crowd = Crowd(int(port), kind, int(count), request)
    crowd.run(float(seconds))
    lives = {name: sorted(values) for name, values in crowd.lives.items() if values}
    # The shortest, what 99 of 100 did not exceed, and the longest.
    ends = {name: [it[0], it[len(it) * 99 // 100], it[-1]] for name, it in lives.items()}
    told = {"opened": crowd.opened, "most": crowd.most, "open": crowd.open}
    print(json.dumps({**told, "answers": crowd.answers, "lives": ends}))


if __name__ == "__main__":
    main()
