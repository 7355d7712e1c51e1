"""Text is UTF-8, and what is not ends the connection with 1007, as early as the bytes show it (RFC 6455 8.1, RFC 3629)."""

import play
from play import TEXT, Row, fragments, frame, text

KAPPA = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()  # two and three bytes a character

# Every boundary of RFC 3629's table, and code points that software likes to treat in its own way.
POINTS = [0x00, 0x01, 0x1f, 0x20, 0x7f, 0x80, 0x9f, 0xa0, 0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd000, 0xd7ff, 0xe000, 0xfdd0,
          0xfdef, 0xfeff, 0xfff9, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x1f600, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10fffd,
          *[plane << 16 | last for plane in range(1, 17) for last in (0xfffe, 0xffff)]]

GOOD = {
    **{f"U+{point:04X}": chr(point).encode() for point in POINTS},
    "nothing": b"",
    "Greek": KAPPA,
    "several scripts": "Hello-µ@ßöäüàá-UTF-8!! \u4e2d\u6587 \U0001f600\u200d\U0001f4bb \u05d0\u0627".encode(),
    "a combining character alone": "\u0301".encode(),
    "a byte order mark before and within": "\ufeffa\ufeff".encode(),
    "right-to-left marks": "\u202e\u2066x\u2069".encode(),
    "1,000 characters of four bytes": "\U0001f600".encode() * 1000,
    "every length of a character by turns": "a\u00e9\u4e2d\U00010348".encode() * 40,
}

BAD = {
    **{f"a continuation byte alone: {byte:02x}": bytes([byte]) for byte in (0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf)},
    **{f"{count} continuation bytes": b"\x80\xbf"[count % 2:] * count for count in (2, 3, 4, 7)},
    "every continuation byte": bytes(range(0x80, 0xc0)),
    **{f"a first byte and a space: {byte:02x}": bytes([byte, 0x20])
       for byte in (0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4)},
    **{f"a first byte and another: {byte:02x}": bytes([byte, byte]) for byte in (0xc2, 0xe1, 0xf1)},
    **{f"a byte that never occurs: {byte:02x}": bytes([byte]) for byte in (0xc0, 0xc1, *range(0xf5, 0x100))},
    "fe and ff": b"\xfe\xfe\xff\xff",
    # overlong: a slash, the largest that fits in too many bytes, NUL
    **{f"overlong slash in {len(data)} bytes": data for data in (b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
                                                              b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf")},
    **{f"the largest overlong in {len(data)} bytes": data for data in (b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf",
                                                                      b"\xf8\x87\xbf\xbf\xbf",
                                                                      b"\xfc\x83\xbf\xbf\xbf\xbf")},
    **{f"overlong NUL in {len(data)} bytes": data for data in (b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80",
                                                            b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80")},
    **{f"surrogate U+{point:04X}": bytes([0xed, 0x80 | point >> 6 & 63, 0x80 | point & 63])
       for point in (0xd800, 0xdb7f, 0xdb80, 0xdbff, 0xdc00, 0xdf80, 0xdfff)},
    **{f"a pair of surrogates: {first:04X} {second:04X}": b"".join(bytes([0xed, 0x80 | point >> 6 & 63, 0x80 | point & 63])
                                                                 for point in (first, second))
       for first in (0xd800, 0xdb7f, 0xdb80, 0xdbff) for second in (0xdc00, 0xdfff)},
    "U+110000": b"\xf4\x90\x80\x80",
    "U+13FFFF": b"\xf4\xbf\xbf\xbf",
    "U+140000": b"\xf5\x80\x80\x80",
    "U+1FFFFF": b"\xf7\xbf\xbf\xbf",
    "U+200000 in five bytes": b"\xf8\x88\x80\x80\x80",
    "U+3FFFFFF in five bytes": b"\xfb\xbf\xbf\xbf\xbf",
    "U+4000000 in six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "U+7FFFFFFF in six bytes": b"\xfd\xbf\xbf\xbf\xbf\xbf",
    **{f"an unfinished character: {data.hex()}": data
       for data in (b"\xc2", b"\xdf", b"\xe0\xa0", b"\xe0", b"\xed\x9f", b"\xef\xbf", b"\xf0\x90\x80", b"\xf0\x90", b"\xf0",
                    b"\xf4\x8f\xbf", b"\xf1\x80\x80")},
    "all unfinished characters, one behind the other": b"\xc2\xe0\xa0\xf0\x90\x80\xef\xbf",
    "good, then a surrogate, then good": KAPPA + b"\xed\xa0\x80edited",
    "good, then too large, then good": KAPPA + b"\xf4\x90\x80\x80edited",
    "a wrong third byte": b"\xe4\xb8\x28",
    "a wrong fourth byte": b"\xf0\x9f\x98\x28",
    "latin-1": "caf\u00e9s".encode("latin-1"),
    "utf-16": "text".encode("utf-16-le") + b"\x00\xd8",
    "1,000 good bytes and one bad": b"x" * 1000 + b"\xff",
    "4,095 good characters and one surrogate": "\u4e2d".encode() * 4095 + b"\xed\xbf\xbf",
}

for _name, _data in GOOD.items():
    assert _data.decode().encode() == _data, _name


def halves(data):
    """The message in two fragments, cut at every byte: one connection a cut, or one for all cuts of a good text."""
    return [(at, [frame(TEXT, data[:at], fin=False), frame(0, data[at:])]) for at in range(len(data) + 1)]


def singles(data):
    return fragments(TEXT, *[data[at:at + 1] for at in range(len(data))])


SHORT = 32  # a longer text is cut in fragments at every seventh byte only

GOOD_ROWS = [
    *[Row("8.1", f"{name}, in one frame", text(data), [(TEXT, data)]) for name, data in GOOD.items()],
    *[Row("8.1", f"{name}, in a fragment a byte", singles(data), [(TEXT, data)])
      for name, data in GOOD.items() if 1 < len(data) <= 200],
    *[Row("8.1", f"{name}, in two fragments, cut at every byte", [one for _, two in halves(data) for one in two],
          [(TEXT, data)] * (len(data) + 1)) for name, data in GOOD.items() if 1 < len(data) <= SHORT],
    Row("8.1", "a binary that is no text", frame(2, bytes(range(256))), [(2, bytes(range(256)))]),
    Row("8.1", "a binary that is no text, in fragments", fragments(2, b"\xff", b"\xc0\x80", b"\xed\xa0\x80"),
        [(2, b"\xff\xc0\x80\xed\xa0\x80")]),
    Row("8.1", "a text behind a binary that ends within a character", [frame(2, b"\xe4\xb8"), text("ok")],
        [(2, b"\xe4\xb8"), (TEXT, b"ok")]),
]

BAD_ROWS = [
    *[Row("8.1", f"{name}, in one frame", text(data), fails=1007) for name, data in BAD.items()],
    *[Row("8.1", f"{name}, behind a good text", [text("good"), text(b"x" + data)],
          [(TEXT, b"good")], fails=1007) for name, data in BAD.items() if len(data) <= SHORT],
    *[Row("8.1", f"{name}, in a fragment a byte", singles(data), fails=1007)
      for name, data in BAD.items() if 1 < len(data) <= 200],
    *[Row("8.1", f"{name}, in two fragments, cut at {at}", two, fails=1007)
      for name, data in BAD.items() if len(data) <= SHORT for at, two in halves(data)],
    Row("8.1", "a character over the end of a message into the next", [text(b"\xe4\xb8"), text(b"\xad")], fails=1007),
]


def early(name, data):
    """The message does not end: the server must not wait for the rest."""
    return Row("8.1", f"{name}: noticed before the frame ends", text(data + b"x" * 20)[:-20], fails=1007)


def early_in_fragments(name, data):
    return Row("8.1", f"{name}: noticed before the message ends", [frame(TEXT, KAPPA, fin=False), frame(0, data, fin=False)],
               fails=1007)


# The first byte that no continuation can make good is the last one that is sent.
HOPELESS = {
    "U+110000, by its second byte": b"\xf4\x90",
    "a surrogate, by its second byte": b"\xed\xa0",
    "an overlong in two bytes, by its first": b"\xc0",
    "an overlong in three bytes, by its second": b"\xe0\x80",
    "an overlong in four bytes, by its second": b"\xf0\x80",
    "a byte that never occurs": b"\xff",
    "a continuation byte alone": b"\x80",
    "a wrong second byte": b"\xe4\x28",
    "a wrong fourth byte": b"\xf0\x9f\x98\x28",
}

EARLY_ROWS = [*[early(name, data) for name, data in HOPELESS.items()],
              *[early_in_fragments(name, data) for name, data in HOPELESS.items()]]


@play.table(GOOD_ROWS, BAD_ROWS, EARLY_ROWS)
def test_row(echo, row, way):
    play.check(echo, row, way)
