#!/usr/bin/python3
"""The load of `make bench-admin` (clerk.py starts it): calls at a fixed rate to the clerk's socket, and a scrape a second.

`clerk_load.py PATH RATE` calls; `clerk_load.py PATH RATE dummy` is a stand-in for the clerk at PATH, which answers at once. The load
writes `ready`, calls between the lines `go` and `stop` of its standard input, and writes at its end how many calls were answered with 2xx,
how many otherwise, how many were not made because every connection still waited, and how many of the calls were scrapes.
"""

import json
import os
import selectors
import socket
import sys
import time

CONNECTIONS = 16
ADDRESSES = 100


def request(method, path, body=b""):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n".encode() + body


def mail(number):
    return json.dumps({"from": "erp", "to": [f"api-{number % ADDRESSES}"], "subject": "invoice", "type": 1,
                       "content": "x" * 400}).encode()


def calls():
    """Of ten calls six send a mail; the others are those that a backend or a dashboard makes."""
    made = []
    for number in range(ADDRESSES):
        made += [request("POST", "/api/v1/messages", mail(number + each)) for each in range(6)]
        made += [request("GET", f"/api/v1/addresses/api-{number}"), request("GET", "/api/v1/nodes"),
                 request("GET", f"/api/v1/addresses/api-{number}/messages?limit=5"), request("GET", "/api/v1/sessions?limit=10")]
    return made


SCRAPE = request("GET", "/metrics")


class Connection:
    """A connection that was idle for too long is closed by the clerk, as by any HTTP server: another one takes its place."""

    def __init__(self, path, ways):
        self.path, self.ways, self.socket = path, ways, None
        self.open()

    def open(self):
        if self.socket:
            self.ways.unregister(self.socket)
            self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self.path)
        self.ways.register(self.socket, selectors.EVENT_READ, self)
        self.text, self.whole = b"", 0

    def ask(self, what):
        try:
            self.socket.sendall(what)
        except BrokenPipeError:
            self.open()
            self.socket.sendall(what)

    def hear(self):
        """The status, when the answer is whole."""
        came = self.socket.recv(1 << 18)
        if not came:
            self.open()
            return None
        self.text += came
        if not self.whole:
            end = self.text.find(b"\r\n\r\n")
            if end < 0:
                return None
            at = self.text.index(b"Content-Length: ") + 16
            self.whole = end + 4 + int(self.text[at:self.text.index(b"\r", at)])
        if len(self.text) < self.whole:
            return None
        status = self.text[9:12]
        self.text, self.whole = b"", 0
        return status


def load(path, rate):
    ways = selectors.DefaultSelector()
    idle = [Connection(path, ways) for _ in range(CONNECTIONS)]
    ways.register(sys.stdin, selectors.EVENT_READ)
    list_of_calls = calls()
    made = good = bad = late = scrapes = 0
    going = None  # since when, or at rest
    planned = 0  # calls since then
    print("ready", flush=True)
    while True:
        due = (time.monotonic() - going) * rate if going else 0
        while planned < due:
            planned += 1
            if idle:
                idle.pop().ask(list_of_calls[made % len(list_of_calls)])
                made += 1
            else:
                late += 1
            if planned % rate == rate // 2 and idle:
                idle.pop().ask(SCRAPE)
                scrapes += 1
        for key, _ in ways.select(max(0, (planned + 1 - due) / rate) if going else None):
            if key.data:
                status = key.data.hear()
                if status:
                    idle.append(key.data)
                    fine = status[:1] == b"2" or status == b"404"  # a mailbox that has no mail yet
                    good += fine
                    bad += not fine
                continue
            words = os.read(0, 64).split()
            if not words:
                print(good, bad, late, scrapes, flush=True)
                return
            going, planned = (time.monotonic() if words[-1] == b"go" else None), 0


def dummy(path):
    """Answers of the usual size, without looking at the question."""
    ways = selectors.DefaultSelector()
    door = socket.socket(socket.AF_UNIX)
    door.bind(path)
    door.listen(64)
    ways.register(door, selectors.EVENT_READ)
    ways.register(sys.stdin, selectors.EVENT_READ)
    answer, page = (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size for size in (300, 60000))
    print("ready", flush=True)
    while True:
        for key, _ in ways.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is door:
                ways.register(door.accept()[0], selectors.EVENT_READ)
                continue
            text = key.fileobj.recv(65536)
            if text:
                key.fileobj.sendall(page if text.startswith(b"GET /metrics") else answer)
            else:
                ways.unregister(key.fileobj)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        dummy(sys.argv[1])
    else:
        load(sys.argv[1], int(sys.argv[2]))
