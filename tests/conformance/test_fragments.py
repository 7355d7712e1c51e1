"""Messages in fragments, with control frames between them, and fragments that make no message (RFC 6455 5.4)."""

import play
from play import BINARY, PONG, TEXT, Row, binary, close, echoed, fragments, more, ping, pong, text

GOOD = [
    Row("5.4", "two fragments", fragments(TEXT, "frag", "ment"), [(TEXT, b"fragment")]),
    Row("5.4", "two fragments of a binary", fragments(BINARY, b"\xff\xfe", b"\0"), [(BINARY, b"\xff\xfe\0")]),
    Row("5.4", "three fragments, all empty", fragments(TEXT, "", "", ""), [(TEXT, b"")]),
    Row("5.4", "three fragments, the middle one not empty", fragments(TEXT, "", "middle", ""), [(TEXT, b"middle")]),
    Row("5.4", "an empty first fragment", fragments(BINARY, b"", b"x"), [(BINARY, b"x")]),
    Row("5.4", "an empty last fragment", fragments(BINARY, b"x", b""), [(BINARY, b"x")]),
    Row("5.4", "a fragment a byte", fragments(TEXT, *"byte by byte"), [(TEXT, b"byte by byte")]),
    Row("5.4", "fragments of 125, 126 and 127 bytes", fragments(BINARY, b"a" * 125, b"b" * 126, b"c" * 127),
        [(BINARY, b"a" * 125 + b"b" * 126 + b"c" * 127)]),
    Row("5.4", "fragments of 65,535 and 65,536 bytes", fragments(BINARY, b"a" * 65535, b"b" * 65536),
        [(BINARY, b"a" * 65535 + b"b" * 65536)]),
    Row("5.4", "a ping between two fragments", [text("a", fin=False), ping(b"between"), more("b", fin=True)],
        [(PONG, b"between"), (TEXT, b"ab")]),
    Row("5.4", "pings between and behind fragments",
        [text("f1", fin=False), ping(b"p1"), more("f2"), ping(b"p2"), more("f3", fin=True), ping(b"p3")],
        [(PONG, b"p1"), (PONG, b"p2"), (TEXT, b"f1f2f3"), (PONG, b"p3")]),
    Row("5.4", "pings of 125 bytes between two fragments of 200",
        [binary(b"1" * 200, fin=False), ping(b"\xfe" * 125), ping(b"\xfd" * 125), more(b"2" * 200, fin=True)],
        [(PONG, b"\xfe" * 125), (PONG, b"\xfd" * 125), (BINARY, b"1" * 200 + b"2" * 200)]),
    Row("5.4", "a pong between two fragments", [text("a", fin=False), pong(b"unsolicited"), more("b", fin=True)],
        [(TEXT, b"ab")]),
    Row("5.4", "two messages in fragments, one behind the other", [*fragments(TEXT, "a", "b"), *fragments(BINARY, b"c", b"d")],
        [(TEXT, b"ab"), (BINARY, b"cd")]),
    Row("5.4", "a whole message between two in fragments", [*fragments(TEXT, "a", "b"), text("c"), *fragments(TEXT, "d", "e")],
        [(TEXT, b"ab"), (TEXT, b"c"), (TEXT, b"de")]),
    Row("5.4", "a mask a fragment", [text("one", fin=False, mask=b"abcd"), more("two", mask=b"\0\0\0\0"),
                                     more("three", fin=True, mask=b"\xff\1\2\3")], [(TEXT, b"onetwothree")]),
    Row("5.4", "a hundred fragments", fragments(TEXT, *[f"<{n}>" for n in range(100)]),
        [echoed(TEXT, "".join(f"<{n}>" for n in range(100)))]),
    Row("5.4", "a thousand fragments, every other one empty", fragments(BINARY, *[b"x" * (n % 2) for n in range(1000)]),
        [(BINARY, b"x" * 500)]),
]

BAD = [
    Row("5.4", "a continuation of nothing, final", more("x", fin=True), fails=1002),
    Row("5.4", "a continuation of nothing, not final", more("x"), fails=1002),
    Row("5.4", "an empty continuation of nothing", more("", fin=True), fails=1002),
    Row("5.4", "a continuation of nothing before a text", [more("x", fin=True), text("y")], fails=1002),
    Row("5.4", "a continuation of nothing before a text in fragments", [more("x"), *fragments(TEXT, "a", "b")], fails=1002),
    Row("5.4", "a continuation behind a whole text", [text("whole"), more("x", fin=True)], [(TEXT, b"whole")], fails=1002),
    Row("5.4", "a continuation behind a message in fragments", [*fragments(TEXT, "a", "b"), more("c", fin=True)],
        [(TEXT, b"ab")], fails=1002),
    Row("5.4", "a continuation of nothing, four times", [more("f"), more("f"), more("f"), more("f", fin=True)], fails=1002),
    Row("5.4", "a text within a text", [text("a", fin=False), text("b")], fails=1002),
    Row("5.4", "an unfinished text within a text", [text("a", fin=False), text("b", fin=False)], fails=1002),
    Row("5.4", "a binary within a text", [text("a", fin=False), binary(b"b")], fails=1002),
    Row("5.4", "a text within a binary", [binary(b"a", fin=False), text("b")], fails=1002),
    Row("5.4", "an empty text within a text", [text("a", fin=False), text("")], fails=1002),
    Row("5.4", "a text within a text behind a ping", [text("a", fin=False), ping(b"p"), text("b")], [(PONG, b"p")], fails=1002),
    Row("5.4", "a text in the place of the last fragment", [text("a", fin=False), more("b"), text("c")], fails=1002),
    Row("5.5", "a ping in fragments", [ping(b"a", fin=False), more(b"b", fin=True)], fails=1002),
    Row("5.5", "a close in fragments", [close(1000, fin=False), more(b"", fin=True)], fails=1002),
    Row("5.5", "a ping in fragments within a text", [text("a", fin=False), ping(b"p", fin=False)], fails=1002),
]


@play.table(GOOD, BAD)
def test_row(echo, row, way):
    play.check(echo, row, way)
