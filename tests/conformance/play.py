"""Plays a row of a frame table: sends its bytes in a certain way, and compares everything that comes back.

A row is sent in three ways: `whole` in one write, `bytes` one byte a write, and `cuts`: once for every place where two
bytes meet, in two writes. A write ends where the server has read all of it: a ping on a second connection comes back
behind it, because the server has one loop, which takes its sockets in the order in which bytes came.
"""

import itertools
import random

import pytest

import clients
import harness
from clients import Raw, frame

WAYS = ["whole", "bytes", "cuts"]
CUTS_MAX = 400 if not harness.SANITIZED else 60  # of a row that has more places, so many are chosen
BYTES_MAX = 2000  # a longer row is not sent byte by byte
AT_ONCE = 200  # connections

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


# ------------------------------------------------------------------------------------------------- rows


class Row:
    """name: what is sent. section: of RFC 6455. sent: the client's frames, as bytes. expected: the server's, as
    (opcode, payload). fails: the close code with which the server fails the connection; None: the connection is good to
    the end, and the row closes it with 1000.
    """

    def __init__(self, section, name, sent, expected=(), fails=None):
        self.section, self.name = section, name
        self.sent = [sent] if isinstance(sent, bytes) else list(sent)
        self.expected = list(expected)
        self.fails = fails

    def __str__(self):
        return f"{self.section}: {self.name}"

    def ending(self):
        return (CLOSE, (self.fails or 1000).to_bytes(2, "big"))


def text(payload, **options):
    return frame(TEXT, payload, **options)


def binary(payload, **options):
    return frame(BINARY, payload, **options)


def more(payload, fin=False, **options):
    """A continuation."""
    return frame(0, payload, fin=fin, **options)


def ping(payload=b"", **options):
    return frame(PING, payload, **options)


def pong(payload=b"", **options):
    return frame(PONG, payload, **options)


def close(code=None, reason=b"", **options):
    reason = reason if isinstance(reason, bytes) else reason.encode()
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason, **options)


def fragments(opcode, *pieces):
    """One message in so many fragments."""
    return [frame(opcode if n == 0 else 0, piece, fin=n == len(pieces) - 1) for n, piece in enumerate(pieces)]


def echoed(opcode, payload):
    return (opcode, payload if isinstance(payload, bytes) else payload.encode())


def table(*tables):
    """Runs the decorated test for every row, in every way."""
    rows = list(itertools.chain(*tables))
    names = [str(row) for row in rows]
    assert len(set(names)) == len(names), "two rows have one name"

    def decorate(function):
        return pytest.mark.parametrize("way", WAYS)(pytest.mark.parametrize("row", rows, ids=names)(function))

    return decorate


# ---------------------------------------------------------------------------------------------- targets


class EchoTarget:
    """`echo-test`. extensions: the value of Sec-WebSocket-Extensions that every connection offers. connect: makes a
    connection from a port; what it has beside a Raw is `agree`, which is told the answer."""

    def __init__(self, port, extensions=None, connect=Raw):
        self.port, self.extensions, self.connect = port, extensions, connect
        self.witness = None  # the connection whose ping comes back

    def request(self):
        return clients.request("/", over={"Sec-WebSocket-Extensions": self.extensions})

    def open(self, count=1):
        """So many upgraded connections."""
        connections = [self.connect(self.port) for _ in range(count)]
        for connection in connections:
            connection.send(self.request())
        for connection in connections:
            answer = connection.answer()
            assert answer.status == 101
            if self.extensions:
                connection.agree(answer.headers.get("sec-websocket-extensions"))
        return connections

    def has_read(self):
        """Returns when the server has read all that was sent before on any connection."""
        if self.witness is None:
            self.witness = self.open()[0]
        self.witness.send(ping(b"read?"))
        assert self.witness.control() == (PONG, b"read?")

    def places(self, row):
        """Where the row is cut in two."""
        return places(row)

    def end(self):
        """A server that stops waits for its sessions."""
        if self.witness is not None:
            self.witness.socket.close()


class SessionTarget(EchoTarget):
    """A server with one worker: every connection is a session of an address of its own."""

    def __init__(self, post):
        super().__init__(post.port)
        self.post = post
        self.number = 0

    def latest(self):
        """The address of the last session."""
        return f"row{self.number}"

    def request(self):
        self.number += 1
        return clients.request("/ws", token=self.post.token(self.latest()))

    def open(self, count=1):
        """So many sessions that have got their welcome: only then a server reads on."""
        connections = super().open(count)
        for connection in connections:
            assert '"welcome"' in connection.message()
        return connections


# ---------------------------------------------------------------------------------------------- playing


def send_or_closed(connection, data):
    """The server may have failed the connection at an earlier byte."""
    try:
        connection.send(data)
    except ConnectionError:
        pass


def frames_to_the_end(connection):
    """Every frame up to the end of the stream, as (fin, opcode, payload); what is no whole frame is a failure."""
    frames = []
    try:
        while True:
            frames.append(connection.frame())
    except EOFError:
        assert connection.input == b"", "the stream ends within a frame"
    return frames


def code_of(frames):
    """The frames, each close frame cut to its code: the reason is the server's own words."""
    return [(opcode, payload[:2] if opcode == CLOSE else payload) for _, opcode, payload in frames]


def places(row, cuts_max=CUTS_MAX):
    """Where the row is cut in two: everywhere, or, in a long row, near the ends of frames and at some places by chance."""
    length = sum(map(len, row.sent))
    if length - 1 <= cuts_max:
        return range(1, length)
    chance = random.Random(str(row))
    near = set()
    end = 0
    for one in row.sent:
        near |= set(range(end - 2, end + 15))
        end += len(one)
    near |= {end - 1, end - 2}
    near = sorted(at for at in near if 0 < at < length)
    if len(near) > cuts_max:
        near = chance.sample(near, cuts_max)
    return sorted({*near, *chance.sample(range(1, length), min(20, cuts_max))})


def pieces(target, row, way):
    """The ways to write the row's bytes, each a list of writes."""
    data = b"".join(row.sent)
    if way == "whole":
        return [[data]]
    if way == "bytes":
        if len(data) > BYTES_MAX:
            return [[data[at:at + 1021] for at in range(0, len(data), 1021)]]
        return [[data[at:at + 1] for at in range(len(data))]]
    return [[data[:at], data[at:]] for at in target.places(row)]


def play(target, row, way, judge):
    """Sends the row in this way, and has the frames that came back judged."""
    plans = pieces(target, row, way)
    for begin in range(0, len(plans), AT_ONCE):
        group = plans[begin:begin + AT_ONCE]
        connections = target.open(len(group))
        for writes in itertools.zip_longest(*group):
            for connection, data in zip(connections, writes):
                if data is not None:
                    send_or_closed(connection, data)
            if len(group[0]) > 1:
                target.has_read()
        for connection, plan in zip(connections, group):
            if row.fails is None:
                send_or_closed(connection, close(1000))
            judge(row, frames_to_the_end(connection), [len(data) for data in plan[:8]])
            connection.socket.close()


def judge_echo(row, frames, plan):
    assert all(fin for fin, _, _ in frames), "the server does not fragment"
    assert code_of(frames) == [*row.expected, row.ending()], f"{row}, in writes of {plan}"


def check(target, row, way):
    play(target, row, way, judge_echo)
