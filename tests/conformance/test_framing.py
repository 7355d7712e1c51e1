"""Frames of every length; pings and pongs; reserved bits; opcodes; masks; forms of the length (RFC 6455 5.1, 5.2, 5.5)."""

import play
from play import BINARY, PING, PONG, TEXT, Row, binary, close, echoed, ping, pong, text
from clients import frame

LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 124, 125, 126, 127, 128, 129, 255, 256, 65535, 65536, 65537]
STAR = b"*" * 65537
BYTES = bytes(range(256)) * 257

LENGTH_ROWS = [
    *[Row("5.2", f"a text of {n} bytes", text(STAR[:n]), [(TEXT, STAR[:n])]) for n in LENGTHS],
    *[Row("5.2", f"a binary of {n} bytes", binary(BYTES[:n]), [(BINARY, BYTES[:n])]) for n in LENGTHS],
    Row("5.2", "an empty text between two texts", [text("a"), text(""), text("b")],
        [(TEXT, b"a"), (TEXT, b""), (TEXT, b"b")]),
    Row("5.2", "text and binary by turns", [text("a"), binary(b"\xff"), text("b"), binary(b"")],
        [(TEXT, b"a"), (BINARY, b"\xff"), (TEXT, b"b"), (BINARY, b"")]),
    Row("5.2", "a hundred texts", [text(str(n)) for n in range(100)], [echoed(TEXT, str(n)) for n in range(100)]),
]

MASK_ROWS = [
    *[Row("5.3", f"a binary under the mask {mask.hex()}", binary(BYTES[:21], mask=mask), [(BINARY, BYTES[:21])])
      for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0", b"\0\0\0\1", b"\x80\x7f\xfe\1")],
    Row("5.3", "a new mask a frame", [text("one", mask=b"abcd"), text("two", mask=b"\0\1\2\3"), ping(b"3", mask=b"zzzz")],
        [(TEXT, b"one"), (TEXT, b"two"), (PONG, b"3")]),
    *[Row("5.1", f"{name} without a mask", data, fails=1002) for name, data in [
        ("a text", text("x", mask=None)), ("an empty text", text("", mask=None)), ("a binary", binary(b"x", mask=None)),
        ("a ping", ping(b"x", mask=None)), ("a pong", pong(b"x", mask=None)), ("a close", close(1000, mask=None)),
        ("an empty close", close(mask=None)), ("an empty continuation", frame(0, b"", mask=None)),
        ("a text of 126 bytes", text("x" * 126, mask=None)),
        ("a text of 65,536 bytes in its first 10 bytes", text("x" * 65536, mask=None)[:10])]],
    Row("5.1", "a text, and one without a mask", [text("good"), text("bad", mask=None)], [(TEXT, b"good")], fails=1002),
    Row("5.1", "a fragment, and its end without a mask", [text("go", fin=False), frame(0, "od", mask=None)], fails=1002),
]


def long_form(opcode, length, size, payload=b""):
    """A head with this length in so many bytes, and as much of the payload as is given."""
    return bytes([0x80 | opcode, 0x80 | (126 if size == 2 else 127)]) + length.to_bytes(size, "big") + b"\0\0\0\0" + payload


HUGE = [(1 << 63) - 1, 1 << 62, 1 << 48, 1 << 40, (1 << 32) + 1, 1 << 32, (1 << 32) - 1, 1 << 31, (1 << 31) - 1,
        (32 << 20) + 1]

LENGTH_FORM_ROWS = [
    *[Row("5.2", f"{n} bytes in the 16-bit form", long_form(TEXT, n, 2, b"x" * n), fails=1002) for n in (0, 1, 124, 125)],
    *[Row("5.2", f"{n} bytes in the 64-bit form", long_form(TEXT, n, 8), fails=1002)
      for n in (0, 1, 125, 126, 65534, 65535)],
    *[Row("5.2", f"a length of {n:#x}, whose top bit is set", long_form(BINARY, n, 8), fails=1002)
      for n in (1 << 63, (1 << 63) + 5, (1 << 64) - 1, (1 << 64) - 14)],
    *[Row("7.4.1", f"a length of {n:#x}, past every limit", long_form(BINARY, n, 8), fails=1009) for n in HUGE],
    Row("7.4.1", "a length past every limit behind a good text", [text("good"), long_form(TEXT, 1 << 40, 8)],
        [(TEXT, b"good")], fails=1009),
    *[Row("7.4.1", f"a fragment, and a continuation of {n:#x}", [binary(b"x", fin=False), long_form(0, n, 8)], fails=1009)
      for n in ((1 << 63) - 1, (1 << 32) - 1, 32 << 20)],
    *[Row("5.5", f"opcode {opcode}: {n} bytes in the 16-bit form", long_form(opcode, n, 2), fails=1002)
      for opcode in (8, 9, 10) for n in (5, 126)],
    *[Row("5.5", f"opcode {opcode}: the 64-bit form", long_form(opcode, 1 << 40, 8), fails=1002) for opcode in (8, 9, 10)],
]

PING_ROWS = [
    Row("5.5.2", "a ping without payload", ping(), [(PONG, b"")]),
    Row("5.5.2", "a ping of text", ping("Hello, world!"), [(PONG, b"Hello, world!")]),
    Row("5.5.2", "a ping of bytes that are no text", ping(b"\0\xff\xfe\xfd\xfc\xfb\0\xff"),
        [(PONG, b"\0\xff\xfe\xfd\xfc\xfb\0\xff")]),
    *[Row("5.5.2", f"a ping of {n} bytes", ping(b"\xfe" * n), [(PONG, b"\xfe" * n)]) for n in (1, 2, 124, 125)],
    Row("5.5", "a ping of 126 bytes", ping(b"x" * 126), fails=1002),
    Row("5.5", "a pong of 126 bytes", pong(b"x" * 126), fails=1002),
    Row("5.5", "a ping that is a fragment", ping(b"x", fin=False), fails=1002),
    Row("5.5", "a pong that is a fragment", pong(b"x", fin=False), fails=1002),
    Row("5.5.3", "a pong that nobody asked for, without payload", pong()),
    Row("5.5.3", "a pong that nobody asked for, with payload", pong(b"unsolicited")),
    Row("5.5.3", "a pong that nobody asked for, and a ping", [pong(b"unsolicited"), ping(b"mine")], [(PONG, b"mine")]),
    Row("5.5.2", "ten pings at once", [ping(b"payload-%d" % n) for n in range(10)],
        [(PONG, b"payload-%d" % n) for n in range(10)]),
    Row("5.5.2", "ten pings of 125 bytes at once", [ping(bytes([n]) * 125) for n in range(10)],
        [(PONG, bytes([n]) * 125) for n in range(10)]),
    Row("5.5.2", "a ping between texts", [text("a"), ping(b"p"), text("b")], [(TEXT, b"a"), (PONG, b"p"), (TEXT, b"b")]),
]


def around(bits, opcode, payload):
    return frame(opcode, payload, reserved=bits)


RESERVED_ROWS = [
    *[Row("5.2", f"reserved bits {bits:03b} on {name}", around(bits, opcode, b"Hello"[:size]), fails=1002)
      for bits in range(1, 8)
      for name, opcode, size in [("a text", TEXT, 5), ("an empty text", TEXT, 0), ("a binary", BINARY, 5), ("a ping", PING, 5),
                                 ("a pong", PONG, 0), ("a close", 8, 0)]],
    *[Row("5.2", f"a text, then a text with reserved bits {bits:03b}, then a ping",
          [text("first"), around(bits, TEXT, "second"), ping(b"third")], [(TEXT, b"first")], fails=1002) for bits in range(1, 8)],
    *[Row("5.2", f"a continuation with reserved bits {bits:03b}", [text("a", fin=False), around(bits, 0, "b")], fails=1002)
      for bits in (1, 2, 4)],
]

UNKNOWN = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]

OPCODE_ROWS = [
    *[Row("5.2", f"opcode {opcode} without payload", frame(opcode), fails=1002) for opcode in UNKNOWN],
    *[Row("5.2", f"opcode {opcode} with payload", frame(opcode, "reserved"), fails=1002) for opcode in UNKNOWN],
    *[Row("5.2", f"a text, then opcode {opcode}, then a ping", [text("first"), frame(opcode, "x"), ping()],
          [(TEXT, b"first")], fails=1002) for opcode in UNKNOWN],
    *[Row("5.2", f"opcode {opcode} with a length of 2^40", long_form(opcode, 1 << 40, 8), fails=1002) for opcode in UNKNOWN],
    *[Row("5.2", f"opcode {opcode} within a message", [text("a", fin=False), frame(opcode, "x")], fails=1002)
      for opcode in UNKNOWN],
]

ALL = [*LENGTH_ROWS, *MASK_ROWS, *LENGTH_FORM_ROWS, *PING_ROWS, *RESERVED_ROWS, *OPCODE_ROWS]


@play.table(ALL)
def test_row(echo, row, way):
    play.check(echo, row, way)
