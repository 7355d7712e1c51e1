#!/usr/bin/python3
"""What an idle session costs: `make bench-idle`.

20,000 sessions, each with its own address and token, are held against a real server with 2 workers
and a private Redis. The figure is user-space memory: the proportional set size (PSS) of the master and
the workers together, above that of the same server while it was empty. Fails above LIMIT bytes a
session, when a session is lost, or when session 20,001 is not told to come back later.

Further rows are of sessions that have agreed on compression (without takeover), and that have had compressed
messages: `compression.minBytes` is 0, so that `welcome` and `replayed` are compressed; of sessions over TLS; and of both.
ROWS=tls,deflate: these rows alone.
"""

import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from tls import Tls  # noqa: E402

CLIENT = sys.argv[1]
SESSIONS = int(os.environ.get("SESSIONS", "20000"))
CLIENTS = 4
LIMIT = 1536
# OpenSSL 3.0 itself has 14 KiB a connection, of which its struct alone has 7.4 (docs/performance.md).
LIMIT_TLS = 16896
ROWS = {"plain": {"client": [], "config": {}},
        "deflate": {"client": ["deflate"], "config": {"compression": {"minBytes": 0}}},
        "tls": {"client": ["tls"], "config": {}},
        "tls-deflate": {"client": ["tls", "deflate"], "config": {"compression": {"minBytes": 0}}}}
REQUEST = ("GET /ws?clientID=late HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
           "Authorization: Bearer {}\r\n\r\n")


def pss(server):
    """Bytes of each of the server's processes, the master first."""
    sizes = []
    for process in server.processes():
        rollup = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        kib = next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
        sizes.append(int(kib) * 1024)
    return sizes


def show(what, sizes):
    each = " + ".join(f"{size // 1024}" for size in sizes)
    print(f"{what:<28}{sum(sizes) / 2**20:8.1f} MiB   ({each} KiB)", flush=True)


def hold_all(server, row):
    """Starts the clients; returns when every session has had its welcome."""
    share = SESSIONS // CLIENTS
    port = server.tls.port if "tls" in ROWS[row]["client"] else server.port
    clients = [subprocess.Popen(
        [CLIENT, str(port), str(server.keys_directory / "outside.secret"), f"127.0.0.{2 + i}",
         str(i * share), str(share), *ROWS[row]["client"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for i in range(CLIENTS)]
    for client in clients:
        assert client.stdout.readline() == f"held {share}\n", "a client did not get its sessions"
    return clients


def release(clients):
    for client in clients:
        client.stdin.close()
    assert all(client.wait(60) == 0 for client in clients), "a client lost a session"


def one_too_many(server):
    """The head of the answer to one session more."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as late:
        late.sendall(REQUEST.format(server.token("late")).encode())
        answer = b""
        while piece := late.recv(4096):
            answer += piece
    return answer.decode().split("\r\n\r\n")[0]


def measure(server, row):
    print(f"-- {row}")
    show("empty", empty := pss(server))
    began = time.monotonic()
    clients = hold_all(server, row)
    took = time.monotonic() - began
    harness.wait_until(lambda: server.sessions() == SESSIONS, "status counts them all")
    time.sleep(1)
    show(f"{SESSIONS} sessions held", held := pss(server))
    each = (sum(held) - sum(empty)) / SESSIONS
    limit = LIMIT_TLS if "tls" in ROWS[row]["client"] else LIMIT
    print(f"{'a session':<28}{each:8.0f} bytes   (at most {limit})")
    spread = [row["sessions"] for row in server.status()["workers"]]
    print(f"{'on the workers':<28}{' + '.join(map(str, spread)):>8}   ({SESSIONS / took:.0f} connects a second)")
    head = one_too_many(server)
    refused = head.startswith("HTTP/1.1 503 ") and "\r\nretry-after:" in head.lower()
    print(f"session {SESSIONS + 1}: {head.splitlines()[0]}, Retry-After {'given' if refused else 'MISSING'}")
    assert all(client.poll() is None for client in clients), "a client lost a session"
    release(clients)
    harness.wait_until(lambda: server.sessions() == 0, "all have gone", deadline=60)
    time.sleep(1)
    show("after they have gone", pss(server))
    clients = hold_all(server, row)
    show("all of them once more", pss(server))
    release(clients)
    return each <= limit and refused


def run(row):
    directory = harness.make_directory()
    redis = harness.Redis(directory)
    tls = Tls(directory)
    server = harness.Server(directory, redis, workers=2, config={
        **tls.config(),
        "maxWebSocketConnections": SESSIONS, "limits": {"connectionsPerIP": 0, "queueBytes": None},
        "log": {"level": "info"}, **ROWS[row]["config"]})
    server.tls = tls
    try:
        server.start()
        good = measure(server, row)
    finally:
        server.stop()
        redis.stop()
        harness.remove_directory(directory)
    return good


def main():
    wanted = os.environ.get("ROWS") or ",".join(ROWS)
    return 0 if all([run(row) for row in wanted.split(",")]) else 1


if __name__ == "__main__":
    sys.exit(main())
