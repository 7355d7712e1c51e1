"""permessage-deflate (RFC 7692) against `echo-test --deflate` and `--deflate-takeover`.

Rows of frames, as in the other files, and conversations: every set of parameters, every size of messages, in one frame
and in fragments. The server may answer a message compressed or not: what is compared is what it says.
"""

import json
import random
import threading
import zlib

import pytest

import harness
import play
from clients import Raw, frame
from conftest import Echo
from play import BINARY, PONG, TEXT, Row, binary, close, more, ping, pong, text

MARKED = 4  # RSV1
TAIL = b"\0\0\xff\xff"
NONE = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"


class DeflateRaw(Raw):
    """A connection that has agreed on compression: `frame` inflates, `packed` compresses, as agreed."""

    def __init__(self, port):
        super().__init__(port)
        self.inflater = self.compressor = None
        self.marked = 0  # frames of the server that were compressed

    def agree(self, value):
        names = [part.strip() for part in (value or "").split(";")]
        assert names[0] == "permessage-deflate", value
        agreed = dict((part.split("=") + [True])[:2] for part in names[1:])
        self.forget_own = "client_no_context_takeover" in agreed
        self.forget_servers = "server_no_context_takeover" in agreed
        self.own_bits = int(agreed.get("client_max_window_bits", 15))
        self.server_bits = int(agreed.get("server_max_window_bits", 15))

    def packed(self, payload):
        if self.compressor is None or self.forget_own:
            self.compressor = zlib.compressobj(6, zlib.DEFLATED, -max(self.own_bits, 9))
        data = self.compressor.compress(payload) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(TAIL)
        return data[:-len(TAIL)]

    def frame(self):
        self.need(1)
        marked = self.input[0] & 0x40
        if marked:
            assert self.input[0] & 0x0f in (TEXT, BINARY), "only messages are compressed"
            self.input = bytes([self.input[0] & ~0x40]) + self.input[1:]
            self.marked += 1
        fin, opcode, payload = super().frame()
        if marked:
            if self.inflater is None or self.forget_servers:
                self.inflater = zlib.decompressobj(-self.server_bits)
            payload = self.inflater.decompress(payload + TAIL)
            assert not self.inflater.unconsumed_tail and not self.inflater.unused_data
        return fin, opcode, payload


@pytest.fixture(scope="module", params=["--deflate", "--deflate-takeover"])
def option(request):
    return request.param


@pytest.fixture(scope="module")
def process(option):
    instance = Echo(option)
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def echo(process):
    target = play.EchoTarget(process.port, NONE, DeflateRaw)
    yield target
    target.end()


# ---------------------------------------------------------------------------------------------- rows


def deflated(payload, level=6, bits=15, flush=zlib.Z_SYNC_FLUSH, strategy=zlib.Z_DEFAULT_STRATEGY):
    payload = payload if isinstance(payload, bytes) else payload.encode()
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)
    data = compressor.compress(payload) + compressor.flush(flush)
    return data[:-len(TAIL)] if flush == zlib.Z_SYNC_FLUSH else data


def marked(data, opcode=TEXT, **options):
    return frame(opcode, data, reserved=MARKED, **options)


HELLO = bytes.fromhex("f248cdc9c90700")  # section 7.2.3.1
LONG = "compress me, compress me, compress me. \u4e2d\u6587 \U0001f600 " * 20
NOISE = random.Random(7692).randbytes(1000)

FORM_ROWS = [
    Row("7.2.3.1", "Hello", marked(HELLO), [(TEXT, b"Hello")]),
    Row("7.2.3.1", "Hello in two fragments", [marked(HELLO[:3], fin=False), more(HELLO[3:], fin=True)], [(TEXT, b"Hello")]),
    Row("7.2.3.3", "Hello in a block that is not compressed", marked(b"\0\5\0\xfa\xffHello\0"), [(TEXT, b"Hello")]),
    Row("7.2.3.4", "Hello in a final block", marked(bytes.fromhex("f348cdc9c9070000")), [(TEXT, b"Hello")]),
    Row("7.2.3.5", "Hello in two blocks", marked(bytes.fromhex("f248050000 00ffffcac9c90700")), [(TEXT, b"Hello")]),
    Row("7.2.3.6", "an empty message", marked(b"\0"), [(TEXT, b"")]),
    Row("7.2.3.6", "an empty message that an encoder without this case makes", marked(b"\2\0"), [(TEXT, b"")]),
    *[Row("7.2.1", f"a text by level {level}", marked(deflated(LONG, level)), [(TEXT, LONG.encode())]) for level in range(10)],
    *[Row("7.2.1", f"a text in a window of {bits} bits", marked(deflated(LONG, bits=bits)), [(TEXT, LONG.encode())])
      for bits in range(9, 16)],
    Row("7.2.1", "a text by Huffman codes alone", marked(deflated(LONG, strategy=zlib.Z_HUFFMAN_ONLY)), [(TEXT, LONG.encode())]),
    Row("7.2.1", "a text by fixed codes", marked(deflated(LONG, strategy=zlib.Z_FIXED)), [(TEXT, LONG.encode())]),
    Row("7.2.1", "a binary that does not get smaller", marked(deflated(NOISE), BINARY), [(BINARY, NOISE)]),
    Row("6.1", "a message that is not compressed between two that are",
        [marked(HELLO), text("plain"), marked(deflated("third"))], [(TEXT, b"Hello"), (TEXT, b"plain"), (TEXT, b"third")]),
    Row("6.1", "a message in fragments that is not compressed", [text("pl", fin=False), more("ain", fin=True)],
        [(TEXT, b"plain")]),
    Row("6.1", "a fragment a byte", [marked(HELLO[:1], fin=False), *[more(HELLO[at:at + 1]) for at in range(1, len(HELLO))],
                                     more(b"", fin=True)], [(TEXT, b"Hello")]),
    Row("6.1", "an empty first fragment", [marked(b"", fin=False), more(HELLO, fin=True)], [(TEXT, b"Hello")]),
    Row("6.1", "pings between the fragments", [marked(HELLO[:2], fin=False), ping(b"1"), more(HELLO[2:4]), ping(b"2"),
                                               pong(b"x"), more(HELLO[4:], fin=True)],
        [(PONG, b"1"), (PONG, b"2"), (TEXT, b"Hello")]),
    Row("8.1", "a text that is cut within its characters by fragments",
        [marked(deflated(LONG)[:9], fin=False), more(deflated(LONG)[9:], fin=True)], [(TEXT, LONG.encode())]),
    Row("7.2.1", "a hundred messages", [marked(deflated(f"message {n} " * n)) for n in range(100)],
        [(TEXT, (f"message {n} " * n).encode()) for n in range(100)]),
]

BAD_ROWS = [
    Row("6.1", "the bit on a continuation", [marked(HELLO[:3], fin=False), frame(0, HELLO[3:], reserved=MARKED)], fails=1002),
    Row("6.1", "the bit on the continuation of a message that is not compressed",
        [text("a", fin=False), frame(0, HELLO, reserved=MARKED)], fails=1002),
    *[Row("6.1", f"the bit on {name}", frame(opcode, payload, reserved=MARKED), fails=1002)
      for name, opcode, payload in [("a ping", 9, b"x"), ("a pong", 10, b""), ("a close", 8, b"\x03\xe8")]],
    *[Row("5.2", f"reserved bits {bits:03b} on a text", frame(TEXT, HELLO, reserved=bits), fails=1002) for bits in (1, 2, 3, 5, 6, 7)],
    Row("6.1", "an unknown opcode with the bit", frame(3, HELLO, reserved=MARKED), fails=1002),
    Row("6.1", "the bit without a mask", frame(TEXT, HELLO, reserved=MARKED, mask=None), fails=1002),
    *[Row("7.2.2", f"{name}", marked(data, opcode), fails=1007) for name, data, opcode in [
        ("no byte at all", b"", TEXT), ("text that is not compressed", b"{\"from\":\"alice\"}", TEXT), ("a bad type of block", b"\7", BINARY),
        ("a stored block with a wrong length", b"\0\5\0\0\0Hello\0", BINARY), ("a message without its last byte", HELLO[:-1], TEXT),
        ("the first half of a message", deflated(LONG)[:40], TEXT), ("the tail that is left out", HELLO + TAIL, TEXT),
        ("bytes behind a final block", deflated("x", flush=zlib.Z_FINISH) + b"\7\7", TEXT),
        ("a distance before the beginning", b"\xf2\0\x11\0\0", BINARY), ("noise", NOISE[:50], BINARY),
        ("a text that is no UTF-8", deflated(b"abc\xff"), TEXT), ("a text that ends within a character", deflated(b"abc\xe4\xb8"), TEXT),
        ("a surrogate", deflated(b"\xed\xa0\x80"), TEXT)]],
    Row("7.2.2", "a bad message behind a good one", [marked(HELLO), marked(b"\7")], [(TEXT, b"Hello")], fails=1007),
    Row("6.1", "a close within a compressed message with a bad code", [marked(HELLO[:3], fin=False), close(999)], fails=1002),
]


@play.table(FORM_ROWS, BAD_ROWS)
def test_row(echo, row, way):
    play.check(echo, row, way)


@pytest.mark.parametrize("way", play.WAYS)
@pytest.mark.parametrize("bits", range(1, 8))
def test_5_2_a_reserved_bit_that_was_not_agreed_is_1002(process, bits, way):
    plain = play.EchoTarget(process.port)
    play.check(plain, Row("5.2", f"{bits:03b}", [text("a"), frame(TEXT, HELLO, reserved=bits)], [(TEXT, b"a")], fails=1002), way)
    plain.end()


def test_10_4_a_message_that_inflates_past_the_limit_is_1009(echo):
    connection, = echo.open()
    connection.send(marked(deflated(bytes((32 << 20) + 1), 9), BINARY))
    assert play.code_of(play.frames_to_the_end(connection)) == [(8, (1009).to_bytes(2, "big"))]


# ------------------------------------------------------------------------------------- conversations

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits; server_max_window_bits=15",
    "permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=15",
    "permessage-deflate; client_max_window_bits=9; client_no_context_takeover",
    "permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9, "
    "permessage-deflate; client_max_window_bits; server_no_context_takeover, permessage-deflate; client_max_window_bits",
]
SIZES = [(16, 0), (64, 0), (256, 0), (1024, 0), (4096, 0), (8192, 0), (16384, 0), (32768, 0), (65536, 0), (131072, 0),
         (8192, 256), (16384, 256), (32768, 256), (65536, 256), (131072, 256), (131072, 1024), (131072, 4096), (131072, 32768)]


def data_sets():
    chance = random.Random(12)
    words = ["Habe", "nun", "ach", "Philosophie", "Juristerei", "und", "Medizin", "durchaus", "stu\u00dfiert", "\u4e2d\u6587"]
    prose = " ".join(chance.choice(words) for _ in range(40_000)).encode()
    records = json.dumps([{"id": n, "name": chance.choice(words), "tags": chance.sample(words, 3), "at": chance.random()}
                          for n in range(4000)]).encode()
    return {"prose": prose, "records": records, "noise": chance.randbytes(300_000), "one byte": b"*" * 300_000}


DATA = data_sets()
BYTES = harness.scaled(1 << 20)  # of one conversation, in 6 to 60 messages


def messages(name, size):
    """Windows over the data that go on where the last ended, so that a context pays."""
    data, at = DATA[name], 0
    for _ in range(min(60, max(6, BYTES // size))):
        yield data[at:at + size] + data[:max(0, at + size - len(data))]
        at = (at + size) % len(data)


def in_fragments(data, size):
    if not size or len(data) <= size:
        return marked(data, BINARY)
    return b"".join(frame(BINARY if at == 0 else 0, data[at:at + size], fin=at + size >= len(data), mask=b"\0\0\0\0",
                          reserved=MARKED if at == 0 else 0) for at in range(0, len(data), size))


def converse(process, offer, name, size, fragment):
    connection, = play.EchoTarget(process.port, offer, DeflateRaw).open()
    sent = list(messages(name, size))
    sender = threading.Thread(target=lambda: [connection.send(in_fragments(connection.packed(one), fragment)) for one in sent])
    sender.start()
    for one in sent:
        assert connection.frame() == (True, BINARY, one)
    sender.join()
    if size >= 256 and name != "noise":
        assert connection.marked == len(sent), "what gets smaller is compressed"
    connection.send(close(1000))
    assert play.code_of(play.frames_to_the_end(connection)) == [(8, b"\x03\xe8")]


@pytest.mark.parametrize("size,fragment", SIZES)
@pytest.mark.parametrize("name", DATA)
def test_7_2_messages_of_this_kind_and_size_come_back(process, name, size, fragment):
    converse(process, OFFERS[0], name, size, fragment)


@pytest.mark.parametrize("size,fragment", SIZES)
@pytest.mark.parametrize("offer", OFFERS)
def test_7_1_every_set_of_parameters(process, offer, size, fragment):
    converse(process, offer, "records", size, fragment)
