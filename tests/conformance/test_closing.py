"""Closing: codes, reasons, what comes behind a close, and an end of the stream without one (RFC 6455 5.5.1, 7)."""

import socket
import struct

import pytest

import play
from clients import frame
from play import CLOSE, PONG, TEXT, Row, binary, close, more, ping, text

GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999]
BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1099, 1100, 1999, 2000, 2999, 5000, 32768, 65535]


class Closing(Row):
    """A row whose bytes hold the client's close frame: the server's answer is `answer`, and nothing is sent behind it."""

    def __init__(self, section, name, sent, answer, expected=()):
        super().__init__(section, name, sent, expected, fails=0)
        self.answer = (CLOSE, answer)

    def ending(self):
        return self.answer


def code(number):
    return number.to_bytes(2, "big")


ROWS = [
    Closing("5.5.1", "a close without a code", close(), b""),
    *[Closing("7.4", f"code {n}", close(n), code(n)) for n in GOOD_CODES],
    Closing("5.5.1", "a reason", close(1000, "going home"), code(1000)),
    Closing("5.5.1", "a reason of several scripts", close(1000, "Grüße, \u4e2d\u6587, \U0001f600"), code(1000)),
    Closing("5.5.1", "a reason of 123 bytes", close(1000, "x" * 123), code(1000)),
    Closing("5.5.1", "a reason with a NUL", close(1000, b"a\0b"), code(1000)),
    Closing("5.5.1", "a reason that ends in U+10FFFF", close(4000, "\U0010ffff"), code(4000)),
    Closing("5.5.1", "a text, then a close", [text("last"), close(1000)], code(1000), [(TEXT, b"last")]),
    Closing("5.5.1", "two closes", [close(1000), close(1001)], code(1000)),
    Closing("5.5.1", "a close, then a ping", [close(1000), ping(b"late")], code(1000)),
    Closing("5.5.1", "a close, then a text", [close(1000), text("late")], code(1000)),
    Closing("5.5.1", "a close, then bytes that are no frame", [close(1000), b"\xff" * 20], code(1000)),
    Closing("5.4", "a close within a message", [text("unfinished", fin=False), close(1000), more("late", fin=True)],
            code(1000)),
    Closing("5.5.1", "a ping, then a close", [ping(b"p"), close(1000)], code(1000), [(PONG, b"p")]),
    Closing("7.4", "a text of 256 KiB and a close behind it", [text("x" * (256 << 10)), close(1000)], code(1000),
            [(TEXT, b"x" * (256 << 10))]),
]

BAD = [
    Row("5.5.1", "a close of one byte", frame(CLOSE, b"\x03"), fails=1002),
    *[Row("7.4", f"code {n}", close(n), fails=1002) for n in BAD_CODES],
    *[Row("7.4", f"code {n}, with a reason", close(n, "reason"), fails=1002) for n in (0, 1005, 1006, 2999, 65535)],
    Row("5.5", "a close of 126 bytes", close(1000, "x" * 124), fails=1002),
    Row("5.5", "a close of 65,536 bytes", close(1000, "x" * 65534), fails=1002),
    *[Row("5.5.1", f"a reason that is no UTF-8: {bad.hex()}", close(1000, bad), fails=1007)
      for bad in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80",
                  b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64")],
    Row("5.5.1", "a bad code within a message", [binary(b"a", fin=False), close(999)], fails=1002),
    Row("5.5.1", "a bad code behind a text", [text("first"), close(1005)], [(TEXT, b"first")], fails=1002),
]


@play.table(ROWS, BAD)
def test_row(echo, row, way):
    play.check(echo, row, way)


@pytest.mark.parametrize("sent", [b"", text("whole"), text("half", fin=False), text("x" * 300)[:100], b"\x81", b"\x82\xff\0\0"],
                         ids=["nothing", "a text", "a fragment", "a part of a payload", "one byte", "a part of a length"])
@pytest.mark.parametrize("reset", [False, True], ids=["end of file", "reset"])
def test_7_1_1_an_end_without_a_close_ends_the_connection_at_once(echo, sent, reset):
    connection, = echo.open()
    connection.send(sent)
    echo.has_read()
    if reset:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.socket.close()
    else:
        connection.socket.shutdown(socket.SHUT_WR)
        opcodes = [opcode for _, opcode, _ in play.frames_to_the_end(connection)]
        assert opcodes == ([TEXT] if sent == text("whole") else [])
    echo.has_read()  # others are served on


def test_7_1_1_the_server_ends_the_tcp_connection_first(echo):
    """So that TIME_WAIT is the server's, and the client's port is free at once."""
    connection, = echo.open()
    connection.send(close(1000))
    assert [opcode for _, opcode, _ in play.frames_to_the_end(connection)] == [CLOSE]
