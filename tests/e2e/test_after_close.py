"""Behind the server's last word (a close frame, a refusal) a client is heard for its own end, and within bounds in bytes."""

import contextlib
import ssl

import pytest

import admin
import clients
import harness
from clients import Raw
from tls import Tls, TlsRaw, upgrade

MESSAGE_BYTES = 64 << 10
SESSION_BOUND = MESSAGE_BYTES + (16 << 20)
REFUSAL_BOUND = 1 << 20
KERNELS = 64 << 20  # what two kernels may hold of a connection of this machine
FLOOD = 2 << 30  # more than a server could read that reads until the time is over


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    tls = Tls(directory)
    body = {"bodyBytes": REFUSAL_BOUND}
    config = harness.merge(tls.config(limits={"messageBytes": MESSAGE_BYTES}), admin.config(**body))
    server = harness.Server(directory, redis, 1, config).start()
    server.tls = tls
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


def flood(sock, piece):
    """Sends until the connection is cut; returns the bytes that the kernels took."""
    sent = 0
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while sent < FLOOD:
            sent += sock.send(piece)
    return sent


def is_cut(post, sock, bound, piece=b"x" * 65536):
    before = post.total("cut_after_close")
    sent = flood(sock, piece)
    assert bound - len(piece) <= sent <= bound + KERNELS
    harness.wait_until(lambda: post.total("cut_after_close") == before + 1, "the cut is counted")


def session(post, secure, address):
    raw = upgrade(post, post.tls, address) if secure else clients.upgrade(post, address)
    assert '"welcome"' in raw.message()
    return raw


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_who_sends_on_after_a_broken_frame_is_cut(post, secure):
    with session(post, secure, f"breaker-{secure}") as raw:
        raw.send(clients.frame(1, "x", mask=None))
        assert raw.close_code() == 1002
        is_cut(post, raw.socket, SESSION_BOUND)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_who_sends_on_after_the_servers_close_frame_is_cut(post, secure):
    with session(post, secure, f"replaced-{secure}") as raw, session(post, secure, f"replaced-{secure}"):
        assert '"goodbye"' in raw.message()
        assert raw.close_code() == 4500
        is_cut(post, raw.socket, SESSION_BOUND, clients.frame(2, b"x" * 60000))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_was_under_way_when_the_server_closed_harms_nobody(post, secure):
    before = post.total("cut_after_close")
    with session(post, secure, f"honest-{secure}") as raw, session(post, secure, f"honest-{secure}"):
        assert '"goodbye"' in raw.message()
        assert raw.close_code() == 4500
        raw.socket.settimeout(harness.DEADLINE)
        for _ in range(8 << 20 >> 16):
            raw.send(clients.frame(2, b"x" * 65000))
        raw.send(clients.frame(8, b"\x11\x94"))
        assert raw.ended() == b""
    assert post.total("cut_after_close") == before


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_who_sends_on_after_a_refusal_is_cut(post, secure):
    with TlsRaw(post.tls.port, post.tls.context()) if secure else Raw(post.port) as raw:
        raw.send(b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n")
        assert raw.answer().status == 405
        is_cut(post, raw.socket, REFUSAL_BOUND)


def test_who_sends_on_after_a_failed_handshake_is_cut(post):
    with Raw(post.tls.port) as raw:
        raw.send(b"no TLS at all, and much of it\r\n" * 10)
        is_cut(post, raw.socket, REFUSAL_BOUND)


def test_a_body_that_the_clerk_has_refused_is_read_as_far_as_a_body_may_go(post):
    with admin.Admin(post) as clerk:
        clerk.connection.connect()
        sock = clerk.connection.sock
        sock.sendall(b"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n")
        assert b" 413 " in sock.recv(4096)
        is_cut(post, sock, REFUSAL_BOUND)
