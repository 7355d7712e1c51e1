"""After a hundred thousand connects the server has no more descriptors and no more memory than before."""

import asyncio
import os
import random
import socket
import struct

import psutil
import pytest

import clients
import harness
from clients import run

CONNECTS = harness.scaled(100000)


def measured(post):
    """Descriptors and private memory of the master and each worker."""
    sizes = []
    for process in post.processes():
        with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as file:
            private = sum(int(line.split()[1]) for line in file if line.startswith("Private_"))
        sizes.append((process.num_fds(), private))
    return sizes


async def churn(post, count, token, at_once=64):
    """Connects that end in every way a client can end one."""
    chance = random.Random(count)
    loop = asyncio.get_running_loop()
    left = count
    text = clients.json.dumps(clients.envelope("crowd", "crowd", "x"))
    whole = clients.request("/ws?clientID=crowd", token=token).encode()

    async def one(kind, number):
        sock = socket.socket()
        sock.setblocking(False)
        # Several source addresses, so that the ports of one do not run out in TIME_WAIT.
        sock.bind((f"127.0.1.{number % 200 + 1}", 0))
        try:
            await loop.sock_connect(sock, ("127.0.0.1", post.port))
            if kind == "silent":
                return
            if kind == "half":
                await loop.sock_sendall(sock, whole[:chance.randrange(len(whole))])
                return
            if kind == "refused":
                await loop.sock_sendall(sock, clients.request("/nowhere").encode())
                await loop.sock_recv(sock, 4096)
                return
            await loop.sock_sendall(sock, whole.replace(b"clientID=crowd", b"clientID=c%d" % number))
            await loop.sock_recv(sock, 4096)
            if kind == "talks":
                message = text.replace('"crowd"', f'"c{number}"')
                await loop.sock_sendall(sock, clients.frame(1, message) + clients.frame(1, message[:30], fin=False))
                await loop.sock_recv(sock, 4096)
            if kind == "closes":
                await loop.sock_sendall(sock, clients.frame(8, b"\x03\xe8"))
                await loop.sock_recv(sock, 4096)
            if kind == "resets":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except ConnectionError:
            pass
        finally:
            sock.close()

    async def line():
        nonlocal left
        while left > 0:
            left -= 1
            kind = chance.choice(("silent", "half", "refused", "talks", "talks", "closes", "resets", "vanishes"))
            await one(kind, left)

    await asyncio.gather(*(line() for _ in range(at_once)))


def test_descriptors_and_memory_stay_as_they_are(server):
    post = server(2, {"log": {"level": "warn"}})
    token = post.token("crowd", po={"relay": ["c*"]})

    def settled():
        status = post.status()
        return sum(row["sessions"] + row.get("pending", 0) for row in status["workers"]) == 0

    run(churn(post, CONNECTS // 5, token), deadline=900)  # one-time allocations are made now
    harness.wait_until(settled, "everybody has left")
    before = measured(post)
    run(churn(post, CONNECTS, token), deadline=900)
    harness.wait_until(settled, "everybody has left")
    after = measured(post)
    for (fds_before, kib_before), (fds_after, kib_after) in zip(before, after):
        assert fds_after <= fds_before + 2, (before, after)
        # A leak of one byte a connect would be 100 KiB; noise of the allocator is allowed for.
        assert kib_after - kib_before < (16384 if harness.SANITIZED else 512), (before, after)
    totals = post.status()["totals"]
    assert totals["sessions_opened"] == totals["sessions_closed"]
    assert post.status()["restarts"] == 0
