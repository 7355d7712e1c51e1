"""A clerk without memory, or with all the bodies that it takes: sessions do not notice."""

import contextlib
import socket

import pytest

import admin
import clients
import harness
from admin import Admin
from harness import wait_until

LARGE = 4 << 20


def raw_post(path, length):
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(str(path))
    raw.settimeout(30)
    raw.sendall(f"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    return raw


def flood(path, count):
    """Requests whose large bodies have come but for one byte. The clerk may refuse, or die."""
    held = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            raw = raw_post(path, LARGE)
            held.append(raw)
            raw.sendall(b"[" + b" " * (LARGE - 2))
    return held


def end(held):
    """How each was answered; None: the connection was reset."""
    statuses = []
    for raw in held:
        text = b""
        with contextlib.suppress(OSError):
            raw.sendall(b"]")
        with contextlib.suppress(OSError):
            text = raw.recv(65536)
        statuses.append(int(text.split()[1]) if text else None)
        raw.close()
    return statuses


async def talk_during(post, disturb):
    """Two sessions exchange mail before, while and after `disturb` runs; neither is closed."""
    alice, bob = await clients.PythonClient.open(post, "alice"), await clients.PythonClient.open(post, "bob")
    result = None
    for turn in range(3):
        if turn == 1:
            result = disturb()
        await bob.send(["alice"], f"hello {turn}")
        assert (await alice.message(**{"from": "bob"}))["content"] == clients.b64(f"hello {turn}")
    assert post.total("sessions_closed") == 0 and post.total("sessions_opened") == 2
    await alice.close()
    await bob.close()
    return result


class Limited:
    """Starts a server each of whose processes may have so many bytes of address space."""

    def __init__(self, limit):
        self.limit = limit

    def inside(self):
        return ["prlimit", f"--as={self.limit}"]

    @staticmethod
    def dial(port):
        return socket.create_connection(("127.0.0.1", port))


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer's shadow memory has no such limit")
@pytest.mark.parametrize("room", [16 << 20, 32 << 20])
def test_a_clerk_with_a_memory_limit_refuses_or_is_replaced_and_sessions_go_on(server, room):
    free = server(1, admin.config())
    with Admin(free) as clerk:
        clerk.get("/health/live")
        limit = room + max(process.memory_info().vms for process in free.processes())
    free.stop()
    post = server(1, admin.config(), host=Limited(limit))
    with Admin(post) as clerk:
        clerk.get("/health/live")

        def disturb():
            return end(flood(clerk.path, 12))

        statuses = clients.run(talk_during(post, disturb))
        assert set(statuses) <= {400, 503, None}, "an array of nothing, no memory, or no clerk"
        assert 503 in statuses or None in statuses, "the limit was felt"

    def answers():
        with contextlib.suppress(OSError), Admin(post, timeout=5) as after:
            return after.get("/health/ready").status == 200
        return False
    wait_until(answers, "a clerk answers")


def test_more_bodies_than_the_clerk_takes_are_refused_at_once_and_sessions_go_on(server):
    post = server(1, admin.config(bodyBytes=LARGE))
    with Admin(post) as clerk:
        clerk.get("/health/live")

        def disturb():
            held = flood(clerk.path, 12)
            assert clerk.get("/health/live").status == 200, "small requests are answered meanwhile"
            refused = clerk.post("/api/v1/messages", b" " * 1000)
            assert refused.code == "busy" and refused.headers["retry-after"] == "1"
            return end(held)

        statuses = clients.run(talk_during(post, disturb))
        assert statuses.count(400) == 4 and set(statuses) <= {400, 503, None}, statuses
        clerk.connection.close()
        assert clerk.post("/api/v1/messages", b"[]").code == "bad-json", "their room is free again"
