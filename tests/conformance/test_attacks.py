"""What has brought other WebSocket servers down: it costs this one a bound of memory, and its neighbours nothing.

Each test names the class of the fault. The rows of test_framing.py hold what a single frame can do: lengths past 63 bits,
unknown opcodes with a length, lengths that are not the shortest, frames without a mask.
"""

import contextlib
import itertools
import random
import socket
import struct

import psutil
import pytest

import harness
import play
from clients import frame
from play import BINARY, PONG, TEXT, ping, text

MIB = 1 << 20
ROOM = 2 * MIB if not harness.SANITIZED else 64 * MIB  # what an allocator may keep
MESSAGE_MAX = MIB  # limits.messageBytes


class Memory:
    """Of one process: what it holds beside what it held at first."""

    def __init__(self, pid):
        self.process = psutil.Process(pid)
        self.before = self.held()

    def held(self):
        return self.process.memory_info().rss

    def grown(self):
        return self.held() - self.before


@pytest.fixture(scope="module")
def session(post):
    target = play.SessionTarget(post)
    yield target
    target.end()


def memory_of(post):
    """Of the worker, after it has served what a session needs."""
    pid, = post.worker_pids().values()
    return Memory(pid)


def abort(connection):
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def pour(connection, piece, count):
    """Sends so often what the server may refuse to read; stops when the server has ended the connection."""
    with contextlib.suppress(ConnectionError):
        for _ in range(count):
            connection.send(piece)


def last_code(connection):
    frames = play.code_of(play.frames_to_the_end(connection))
    return int.from_bytes(frames[-1][1], "big")


# ------------------------------------------------------------------------------------------------ fragments


def test_empty_fragments_without_end(post, session):
    session.has_read()
    memory = memory_of(post)
    connection, = session.open()
    connection.send(text("", fin=False))
    pour(connection, frame(0, b"", fin=False) * 10_000, harness.scaled(1000))  # ten million
    assert last_code(connection) == 1008
    assert memory.grown() < ROOM
    session.has_read()


def test_fragments_of_one_byte_without_end(post, session):
    session.has_read()
    memory = memory_of(post)
    connection, = session.open()
    connection.send(frame(BINARY, b"x", fin=False))
    pour(connection, frame(0, b"x", fin=False) * 10_000, 200)
    assert last_code(connection) == 1009
    assert memory.grown() < ROOM + MESSAGE_MAX


def test_many_messages_that_begin_and_do_not_end(post, session):
    """A message costs what has come of it, not what its frame promises."""
    session.has_read()
    memory = memory_of(post)
    connections = session.open(200)
    for connection in connections:
        connection.send(bytes([0x82, 0xff]) + MESSAGE_MAX.to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 100)
    session.has_read()
    assert memory.grown() < ROOM + 200 * 16384
    for connection in connections:
        abort(connection)
    session.has_read()


# ------------------------------------------------------------------------------------------------ control frames


def test_pings_by_a_client_that_does_not_read(post, session):
    session.has_read()
    memory = memory_of(post)
    connection, = session.open()
    connection.socket.settimeout(1)
    with contextlib.suppress(OSError):
        for _ in range(harness.scaled(10_000)):  # more than a gigabyte, unless the server stops to read
            connection.send(ping(b"x" * 125) * 1000)
    assert memory.grown() < ROOM
    abort(connection)
    session.has_read()


def test_control_frames_within_every_place_of_a_message(echo):
    connection, = echo.open()
    wire = []
    pieces = [b"one", b"", b"two", b"three", b""]
    for number, piece in enumerate(pieces):
        wire += [ping(b"%d" % number), play.pong(b"unasked"), frame(BINARY if number == 0 else 0, piece,
                                                                  fin=number == len(pieces) - 1)]
    connection.send(b"".join(wire))
    got = [connection.frame() for _ in range(len(pieces) + 1)]
    pongs = [data for _, opcode, data in got if opcode == PONG]
    assert pongs == [b"%d" % number for number in range(len(pieces))]
    assert got[-1] == (True, BINARY, b"onetwothree")


# ------------------------------------------------------------------------------------------------ ends


def test_resets_in_the_middle_of_everything(post, session):
    """Each descriptor is closed, and the worker does not spin."""
    session.has_read()
    pid, = post.worker_pids().values()
    worker = psutil.Process(pid)
    before = worker.num_fds()
    wire = text("x" * 200, fin=False) + ping(b"p" * 20) + frame(0, "y" * 300)
    for start in range(0, harness.scaled(2000), 100):
        for at, connection in enumerate(session.open(100), start):
            connection.send(wire[:at % len(wire)])
            abort(connection)
    session.has_read()
    harness.wait_until(lambda: worker.num_fds() <= before, "every descriptor is closed")
    assert worker.cpu_percent(interval=1) < 50, "the worker spins"


def test_half_open_ends_within_a_head_and_within_a_payload(session):
    for data in (b"", b"\x81", b"\x81\xfe\x01", text("x" * 300)[:7], text("x" * 300)[:100], ping(b"x" * 20)[:9]):
        connection, = session.open()
        connection.send(data)
        connection.socket.shutdown(socket.SHUT_WR)
        assert all(opcode == TEXT for opcode, _ in play.code_of(play.frames_to_the_end(connection)))


# ------------------------------------------------------------------------------------------------ text


def characters_of_four_bytes():
    """Every first byte with every boundary of the others, good ones and bad ones."""
    edges = (0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0)
    for first in range(0xee, 0xf8):
        yield from (bytes([first, *rest]) for rest in itertools.product(edges, repeat=3))


def is_text(data):
    try:
        return bool(data.decode()) or not data
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("place", range(5))
def test_characters_of_four_bytes_cut_at_each_place(echo, place):
    """All good ones over one connection; the bad ones each over a connection of its own."""
    candidates = list(characters_of_four_bytes())
    good = [data for data in candidates if is_text(data)]
    bad = random.Random(place).sample([data for data in candidates if not is_text(data)], harness.scaled(400))
    assert good and bad

    def two(data):
        return frame(TEXT, data[:place], fin=False) + frame(0, data[place:])

    connection, = echo.open()
    connection.send(b"".join(two(data) for data in good))
    for data in good:
        assert connection.frame() == (True, TEXT, data)
    connection.socket.close()
    for start in range(0, len(bad), 100):
        group = bad[start:start + 100]
        connections = echo.open(len(group))
        for data, connection in zip(group, connections):
            connection.send(two(data))
        for data, connection in zip(group, connections):
            assert last_code(connection) == 1007, data.hex()
            connection.socket.close()
