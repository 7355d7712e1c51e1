"""permessage-deflate (RFC 7692) against `echo-test --deflate` and `--deflate-takeover`: the codec and connections of
the server, with clients of other projects and with bytes that no correct client sends.
"""

import asyncio
import itertools
import random
import struct
import subprocess
import zlib

import psutil
import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

import clients
import harness
import schema
from clients import Raw, frame, node, request, run

RSV1 = 4
ECHO_MAX = 32 << 20


class Echo:
    """A running `echo-test`, with a port as a server has."""

    def __init__(self, option):
        self.port = harness.free_port()
        self.directory = harness.make_directory()
        self.log = self.directory / "echo.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([harness.BINARY, "echo-test", "--port", str(self.port), option], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env=harness.environment())
        harness.wait_until(lambda: b"echo-test: ws://" in self.log.read_bytes(), "echo-test listens")

    def stop(self):
        self.process.terminate()
        status = self.process.wait(harness.DEADLINE)
        text = self.log.read_text(errors="replace")
        assert not harness.REPORTS.search(text), text
        assert status == 0, text
        harness.remove_directory(self.directory)


@pytest.fixture(scope="module", params=["--deflate", "--deflate-takeover"])
def echo(request):
    instance = Echo(request.param)
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def plain_echo():
    instance = Echo("--deflate")
    yield instance
    instance.stop()


def deflated(payload, level=6, bits=15, flush=zlib.Z_SYNC_FLUSH, **options):
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, **options)
    packed = compressor.compress(payload) + compressor.flush(flush)
    if flush == zlib.Z_FINISH:
        return packed + b"\x00"  # RFC 7692 7.2.3.4
    assert packed.endswith(b"\x00\x00\xff\xff")
    return packed[:-4]


class DeflateRaw(Raw):
    """A raw connection that has agreed on compression without takeover, and inflates what it reads."""

    conversation = schema.NoConversation()

    def __init__(self, echo, offer="permessage-deflate; client_no_context_takeover; server_no_context_takeover"):
        super().__init__(echo.port)
        self.send(request("/", over={"Sec-WebSocket-Extensions": offer}))
        answer = self.answer()
        assert answer.status == 101
        self.agreed = answer.headers.get("sec-websocket-extensions")
        self.compressed = 0

    def frame(self):
        self.need(2)
        marked = self.input[0] & 0x40
        if marked:
            assert self.input[0] & 0x0F in (1, 2), "only messages are compressed"
            self.input = bytes([self.input[0] & ~0x40]) + self.input[1:]
            self.compressed += 1
        fin, opcode, payload = super().frame()
        if marked:
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        return fin, opcode, payload


def words(count, seed):
    choose = random.Random(seed)
    return " ".join(choose.choice(["alpha", "beta", "gamma", "中文", "δ"]) for _ in range(count))


OFFERS = [{}, {"server_no_context_takeover": True}, {"client_no_context_takeover": True},
          {"server_max_window_bits": 9}, {"server_max_window_bits": 15}, {"client_max_window_bits": 9},
          {"client_max_window_bits": True},
          {"server_max_window_bits": 9, "server_no_context_takeover": True},
          {"server_max_window_bits": 10, "client_max_window_bits": 10, "server_no_context_takeover": True,
           "client_no_context_takeover": True}]


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: "+".join(f"{k}={v}" for k, v in offer.items()) or "none")
def test_python_websockets_gets_its_messages_back_with_every_parameter(echo, offer):
    async def talk():
        async with websockets.connect(f"ws://127.0.0.1:{echo.port}/", compression=None, max_size=None,
                                      extensions=[ClientPerMessageDeflateFactory(**offer)]) as client:
            assert client.response_headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
            for length in (0, 1, 5, 125, 126, 1000, 1001, 65535, 65536, 300000, harness.scaled(2 << 20)):
                for message in (b"a" * length, random.Random(length).randbytes(length), words(length // 5, length)):
                    await client.send(message)
                    assert await client.recv() == message
            many = [words(n % 977, n) for n in range(harness.scaled(500))]
            sending = asyncio.ensure_future(asyncio.gather(*(client.send(message) for message in many)))
            assert sorted([await client.recv() for _ in many]) == sorted(many)
            await sending
            await client.send([words(50, 1), "", words(3000, 2), "ü"])  # fragments
            assert await client.recv() == words(50, 1) + words(3000, 2) + "ü"
    run(talk())


@pytest.mark.parametrize("options", [{}, {"serverNoContextTakeover": True, "clientNoContextTakeover": True},
                                     {"serverMaxWindowBits": 9, "clientMaxWindowBits": 9}])
def test_nodes_ws_gets_its_messages_back(echo, options):
    class Talker(clients.NodeClient):
        conversation = schema.NoConversation()

        def told(self, event):
            if event["event"] == "open":
                self.extensions = event["extensions"]
            if event["event"] == "message":
                self.arrived({"from": "echo", **event})
            else:
                super().told(event)

    async def talk():
        async with node() as process:
            client = Talker("node", process)
            process.tell(op="open", id=client.id, url=f"ws://127.0.0.1:{echo.port}/", headers={}, protocols=[],
                         options={"perMessageDeflate": {"threshold": 0, **options}})
            await asyncio.wait_for(client.opened, harness.DEADLINE)
            assert client.extensions.startswith("permessage-deflate")
            for count in (0, 1, 20, 300, 5000, 60000):
                await client.send_text(words(count, count))
                assert (await client.take())["data"] == words(count, count)
            await client.close()
    run(talk())


def test_a_message_is_the_same_however_it_is_cut_into_frames_and_segments(plain_echo):
    payload = words(40, 3).encode()
    packed = deflated(payload)
    with DeflateRaw(plain_echo) as raw:
        for cut in range(len(packed) + 1):
            raw.send(frame(1, packed[:cut], fin=False, reserved=RSV1) + frame(9, b"between")
                     + frame(0, packed[cut:]))
            assert raw.frame() == (True, 10, b"between")
            assert raw.frame() == (True, 1, payload)
        for byte in frame(1, packed, reserved=RSV1):
            raw.send(bytes([byte]))
        assert raw.frame() == (True, 1, payload)
        raw.send(frame(1, b"", fin=False, reserved=RSV1)
                 + b"".join(frame(0, packed[i:i + 1], fin=False) for i in range(len(packed))) + frame(0))
        assert raw.frame() == (True, 1, payload)
        # Compressed and plain messages take turns.
        raw.send(frame(1, payload) + frame(2, packed, reserved=RSV1) + frame(1, payload))
        assert [raw.frame() for _ in range(3)] == [(True, 1, payload), (True, 2, payload), (True, 1, payload)]
        assert raw.compressed


@pytest.mark.parametrize("packed", [
    deflated(b"Hello" * 20), deflated(b"Hello" * 20, level=0), deflated(b"Hello" * 20, strategy=zlib.Z_FIXED),
    deflated(b"Hello" * 20, strategy=zlib.Z_HUFFMAN_ONLY), deflated(b"Hello" * 20, flush=zlib.Z_FINISH),
    deflated(b"Hello" * 10, flush=zlib.Z_FINISH)[:-1] + deflated(b"Hello" * 10),
    deflated(b"Hello" * 10) + b"\x00\x00\xff\xff" + deflated(b"Hello" * 10),
    deflated(b"Hello" * 20, flush=zlib.Z_FULL_FLUSH)],
    ids=["dynamic", "stored", "fixed", "huffman", "final", "final-then-more", "two-flushes", "full-flush"])
def test_every_form_of_block_is_read(plain_echo, packed):
    with DeflateRaw(plain_echo) as raw:
        raw.send(frame(1, packed, reserved=RSV1))
        assert raw.frame() == (True, 1, b"Hello" * 20)


def test_an_empty_message_is_one_byte(plain_echo):
    with DeflateRaw(plain_echo) as raw:
        raw.send(frame(1, b"\x00", reserved=RSV1) + frame(2, b"\x00", reserved=RSV1))
        assert raw.frame() == (True, 1, b"")
        assert raw.frame() == (True, 2, b"")


GOOD = deflated(b"good text " * 5)
BROKEN = {
    "a ping marked as compressed": (frame(9, b"x", reserved=RSV1), 1002),
    "a pong marked as compressed": (frame(10, b"x", reserved=RSV1), 1002),
    "a close marked as compressed": (frame(8, b"\x03\xe8", reserved=RSV1), 1002),
    "a continuation marked as compressed": (frame(1, GOOD[:5], False, reserved=RSV1)
                                            + frame(0, GOOD[5:], reserved=RSV1), 1002),
    "a continuation of a plain message marked": (frame(1, b"a", False) + frame(0, b"b", reserved=RSV1), 1002),
    "rsv2": (frame(1, GOOD, reserved=2), 1002),
    "rsv3": (frame(1, GOOD, reserved=1), 1002),
    "rsv1 and rsv2": (frame(1, GOOD, reserved=6), 1002),
    "rsv1 and rsv3": (frame(2, GOOD, reserved=5), 1002),
    "all three": (frame(2, GOOD, reserved=7), 1002),
    "a new compressed message within a message": (frame(1, GOOD, False, reserved=RSV1) + frame(1, GOOD, reserved=RSV1),
                                                  1002),
    "nothing": (frame(1, b"", reserved=RSV1), 1007),
    "plain text": (frame(1, b'{"from":"alice"}', reserved=RSV1), 1007),
    "a bad block type": (frame(2, b"\x07", reserved=RSV1), 1007),
    "random bytes": (frame(2, random.Random(5).randbytes(300), reserved=RSV1), 1007),
    "without its last byte": (frame(1, GOOD[:-1], reserved=RSV1), 1007),
    "cut in the middle": (frame(1, GOOD[:len(GOOD) // 2], reserved=RSV1), 1007),
    "cut in the middle, in fragments": (frame(1, GOOD[:4], False, reserved=RSV1) + frame(0, GOOD[4:8]), 1007),
    "with the tail that is not sent": (frame(1, GOOD + b"\x00\x00\xff\xff", reserved=RSV1), 1007),
    "garbage behind a final block": (frame(1, deflated(b"text", flush=zlib.Z_FINISH)[:-1] + b"\x07",
                                           reserved=RSV1), 1007),
    "a reference before the beginning": (frame(1, b"\xf2\x00\x11\x00\x00", reserved=RSV1), 1007),
    "text that is not UTF-8": (frame(1, deflated(b"abc\xff" * 10), reserved=RSV1), 1007),
    "text that ends within a character": (frame(1, deflated(b"abc \xe4\xb8"), reserved=RSV1), 1007),
    "a surrogate": (frame(1, deflated(b"\xed\xa0\x80"), reserved=RSV1), 1007),
    "bad text in fragments": (frame(1, deflated(b"ok" * 50 + b"\xf8")[:9], False, reserved=RSV1)
                              + frame(0, deflated(b"ok" * 50 + b"\xf8")[9:]), 1007),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_rules_ends_the_connection(plain_echo, name):
    sent, code = BROKEN[name]
    with DeflateRaw(plain_echo) as raw:
        raw.send(frame(1, GOOD, reserved=RSV1))
        raw.send(sent)
        assert raw.frame() == (True, 1, b"good text " * 5)  # its answer leaves first
        assert raw.close_code() == code
    with DeflateRaw(plain_echo) as raw:  # and byte by byte
        for byte in sent:
            try:
                raw.send(bytes([byte]))
            except ConnectionError:
                break
        assert raw.close_code() == code


def test_bytes_that_are_no_text_may_be_a_binary_message(plain_echo):
    payload = b"\xff\xfe\x00" * 100
    with DeflateRaw(plain_echo) as raw:
        raw.send(frame(2, deflated(payload), reserved=RSV1))
        assert raw.frame() == (True, 2, payload)


def test_without_an_offer_a_marked_frame_breaks_the_protocol(plain_echo):
    with DeflateRaw(plain_echo, offer="permessage-deflate; server_max_window_bits=8") as raw:
        assert raw.agreed is None
        raw.send(frame(1, b"plain") + frame(1, GOOD, reserved=RSV1))
        assert raw.frame() == (True, 1, b"plain")
        assert raw.close_code() == 1002


@pytest.mark.parametrize("offer, agreed", [
    ("permessage-deflate; x, foo;a=\"b\", permessage-deflate; server_max_window_bits=\"10\"", "10"),
    ("permessage-deflate; server_max_window_bits=16", None), ("permessage-deflate; client_max_window_bits=", None),
    (f"permessage-deflate; {'a' * 4000}", None), (",".join(["permessage-deflate; no"] * 300), None)])
def test_a_bad_offer_declines_itself_and_not_the_connection(plain_echo, offer, agreed):
    with DeflateRaw(plain_echo, offer) as raw:
        assert (raw.agreed or "").endswith(f"server_max_window_bits={agreed}") if agreed else raw.agreed is None
        raw.send(frame(1, b"hello"))
        assert raw.frame() == (True, 1, b"hello")


def test_offers_in_several_lines_are_one_list(plain_echo):
    with Raw(plain_echo.port) as raw:
        raw.send(request("/", more=["Sec-WebSocket-Extensions: foo",
                                    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11"]))
        assert "server_max_window_bits=11" in raw.answer().headers["sec-websocket-extensions"]


def resident(echo):
    return psutil.Process(echo.process.pid).memory_info().rss


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer's memory is its own")
def test_a_bomb_costs_the_largest_message_at_most(plain_echo):
    bomb = deflated(b"\x00" * (256 << 20), level=9)
    assert len(bomb) < 270000
    before = resident(plain_echo)
    for _ in range(3):
        with DeflateRaw(plain_echo) as raw:
            raw.send(frame(2, bomb, reserved=RSV1))
            assert raw.close_code() == 1009
        peak = int(next(line for line in open(f"/proc/{plain_echo.process.pid}/status", encoding="ascii")
                        if line.startswith("VmHWM")).split()[1]) * 1024
        assert peak - before < ECHO_MAX + (4 << 20)
    assert resident(plain_echo) - before < 4 << 20


def test_one_byte_repeated_ten_million_times_in_fragments_of_64(plain_echo):
    payload = b"*" * (10 << 20)
    packed = deflated(payload)
    with DeflateRaw(plain_echo) as raw:
        raw.send(frame(1, packed[:64], False, reserved=RSV1)
                 + b"".join(frame(0, packed[i:i + 64], False) for i in range(64, len(packed), 64)) + frame(0))
        assert raw.frame() == (True, 1, payload)
        plain = payload[:harness.scaled(len(payload))]
        pieces = frame(0, plain[:64], False) * (len(plain) // 64 - 1)
        raw.send(frame(1, plain[:64], False) + pieces + frame(0, plain[:len(plain) % 64]))
        assert raw.frame() == (True, 1, plain[:len(plain) // 64 * 64 + len(plain) % 64])


def test_a_flood_of_messages_that_inflate_to_much_leaves_others_their_turn(plain_echo):
    """16 KiB hold 16 messages of 1 MiB: they are echoed turn by turn, in order, and another client is served meanwhile."""
    count = harness.scaled(200)
    large = frame(2, deflated(b"\x00" * (1 << 20), level=9), reserved=RSV1)
    with DeflateRaw(plain_echo) as flood, DeflateRaw(plain_echo) as other:
        for number in range(count):
            flood.send(large + frame(2, struct.pack("!I", number)))
        for number in range(20):
            other.send(frame(1, f"{number}"))
            assert other.frame() == (True, 1, f"{number}".encode())
        for number in range(count):
            assert flood.frame() == (True, 2, b"\x00" * (1 << 20))
            assert flood.frame() == (True, 2, struct.pack("!I", number))


def test_a_close_within_a_flood_is_still_answered(plain_echo):
    large = frame(2, deflated(b"\x00" * (1 << 20), level=9), reserved=RSV1)
    with DeflateRaw(plain_echo) as raw:
        raw.send(large * 12 + frame(8, struct.pack("!H", 1000)) + large)
        assert raw.close_code() == 1000
    with DeflateRaw(plain_echo) as raw:  # one that simply goes
        raw.send(large * 12)


def test_a_client_that_reads_nothing_is_read_no_further(plain_echo):
    """Echoes of 1 MiB that compress to 1 KiB: the answers that wait are bounded by their compressed bytes."""
    noise = random.Random(1).randbytes(1 << 20)
    sent = list(itertools.chain.from_iterable(
        (frame(2, noise), frame(2, deflated(b"\x00" * (1 << 20)), reserved=RSV1)) for _ in range(harness.scaled(20, 3))))
    with DeflateRaw(plain_echo) as raw:
        raw.socket.settimeout(0.5)
        at, data = 0, b"".join(sent)
        try:
            while at < len(data):
                at += raw.socket.send(data[at:at + 65536])
        except TimeoutError:
            pass
        raw.socket.settimeout(harness.DEADLINE)
        rest = data[at:]
        for number in range(len(sent)):
            while rest and number * 600000 + (4 << 20) > len(data) - len(rest):
                rest = rest[raw.socket.send(rest[:65536]):]
            assert raw.frame() == (True, 2, noise if number % 2 == 0 else b"\x00" * (1 << 20))


def test_with_takeover_messages_refer_to_earlier_ones():
    echo = Echo("--deflate-takeover")
    try:
        with DeflateRaw(echo, "permessage-deflate; client_max_window_bits") as raw:
            assert "takeover" not in raw.agreed
            compressor, inflater = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
            text = random.Random(9).randbytes(1500).hex().encode()
            sizes = []
            for _ in range(30):
                packed = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
                raw.send(frame(1, packed[:-4], reserved=RSV1) + frame(9, b"p"))
                raw.need(2)
                assert raw.input[0] == 0xC1
                length, at = struct.unpack_from("!H", raw.input, 2)[0] if raw.input[1] == 126 else raw.input[1], \
                    4 if raw.input[1] == 126 else 2
                raw.need(at + length)
                got, raw.input = raw.input[at:at + length], raw.input[at + length:]
                assert inflater.decompress(got + b"\x00\x00\xff\xff") == text
                assert Raw.frame(raw) == (True, 10, b"p")
                sizes.append(length)
            assert max(sizes[1:]) < 60 < sizes[0]
    finally:
        echo.stop()
