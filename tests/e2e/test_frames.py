"""RFC 6455 against `echo-test`: the codec and connection code of the server, without tokens and without Redis."""

import asyncio
import itertools
import os
import random
import subprocess

import pytest
import websockets

import clients
import harness
import schema
from clients import Raw, frame, node, request, run


class Echo:
    """A running `echo-test`, with a port as a server has."""

    def __init__(self):
        self.port = harness.free_port()
        self.log_directory = harness.make_directory()
        self.log = self.log_directory / "echo.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([harness.BINARY, "echo-test", "--port", str(self.port)], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env=harness.environment())
        harness.wait_until(self.accepts, "echo-test listens")

    def accepts(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            with Raw(self.port):
                return True
        except ConnectionError:
            return False

    def stop(self):
        self.process.terminate()
        status = self.process.wait(harness.DEADLINE)
        text = self.log.read_text(errors="replace")
        assert not harness.REPORTS.search(text), text
        assert status == 0, text
        harness.remove_directory(self.log_directory)


@pytest.fixture(scope="module")
def echo():
    instance = Echo()
    yield instance
    instance.stop()


def connect(echo):
    raw = Raw(echo.port)
    raw.conversation = schema.NoConversation()
    raw.send(request("/"))
    assert raw.answer().status == 101
    return raw


@pytest.fixture
def raw(echo):
    with connect(echo) as connection:
        yield connection


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20])
@pytest.mark.parametrize("opcode", [1, 2])
def test_every_length_comes_back(raw, opcode, length):
    payload = b"\x61" * length if opcode == 1 else bytes(random.Random(length).randbytes(length))
    raw.send(frame(opcode, payload))
    assert raw.frame() == (True, opcode, payload)


@pytest.mark.parametrize("opcode", [1, 2])
def test_16_mib_comes_back_whole_and_in_fragments(raw, opcode):
    size = 16 << 20 if not harness.SANITIZED else 4 << 20
    payload = bytes(range(32, 96)) * (size // 64)
    raw.send(frame(opcode, payload))
    assert raw.frame() == (True, opcode, payload)
    chunk = 1 << 16
    for at in range(0, size, chunk):
        raw.send(frame(opcode if at == 0 else 0, payload[at:at + chunk], fin=at + chunk == size))
    assert raw.frame() == (True, opcode, payload)


@pytest.mark.parametrize("size", [64 << 10, 1 << 20])
def test_fragments_of_64_bytes_come_back_as_one_message(raw, size):
    payload = ("0123456789abcdef\u00e9\u4e2d\U0001f600-------" * (size // 32 + 1)).encode()[:size - size % 64]
    payload = payload[:len(payload) // 64 * 64].decode(errors="ignore").encode()
    pieces = [payload[at:at + 64] for at in range(0, len(payload), 64)]
    raw.send(b"".join(frame(1 if n == 0 else 0, piece, fin=n == len(pieces) - 1) for n, piece in enumerate(pieces)))
    assert raw.frame() == (True, 1, payload)


def test_past_32_mib_is_1009(raw):
    raw.send(b"\x82\xff" + ((32 << 20) + 1).to_bytes(8, "big") + b"\0\0\0\0")
    assert raw.close_code() == 1009


def test_byte_by_byte_it_is_the_same(raw):
    data = (frame(1, "h\u00e9", fin=False) + frame(9, b"p") + frame(0, "llo \U0001f600", fin=False) + frame(0, "")
            + frame(2, b"\0" * 126))
    for at in range(len(data)):
        raw.send(data[at:at + 1])
    assert raw.frame() == (True, 10, b"p")
    assert raw.frame() == (True, 1, "h\u00e9llo \U0001f600".encode())
    assert raw.frame() == (True, 2, b"\0" * 126)


def test_many_messages_in_one_segment_come_back_in_order(raw):
    raw.send(b"".join(frame(1, str(number)) for number in range(1000)))
    assert [raw.message() for _ in range(1000)] == [str(number) for number in range(1000)]


def test_pings_are_answered_with_what_they_carry_also_between_fragments(raw):
    for payload in (b"", b"x", b"\0\xff" * 62 + b"\0"):
        raw.send(frame(9, payload))
        assert raw.frame() == (True, 10, payload)
    raw.send(frame(1, "a", fin=False) + frame(9, b"one") + frame(0, "b", fin=False))
    assert raw.frame() == (True, 10, b"one")
    raw.send(frame(10, b"unasked") + frame(0, "c"))
    assert raw.frame() == (True, 1, b"abc")


BROKEN = [
    ("unmasked text", frame(1, "x", mask=None), 1002),
    ("unmasked ping", frame(9, "x", mask=None), 1002),
    ("unmasked close", frame(8, b"\x03\xe8", mask=None), 1002),
    *[(f"reserved bit {bit}", frame(1, "x", reserved=bit), 1002) for bit in (1, 2, 4, 7)],
    *[(f"reserved bit {bit} on a ping", frame(9, "x", reserved=bit), 1002) for bit in (1, 2, 4)],
    *[(f"opcode {opcode}", frame(opcode, "x"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    ("opcode 3 with a huge length", b"\x83\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0", 1002),
    ("125 bytes in the 16-bit form", frame(1, "x" * 125, length_form=16), 1002),
    ("0 bytes in the 16-bit form", frame(1, "", length_form=16), 1002),
    ("65535 bytes in the 64-bit form", frame(1, "x" * 65535, length_form=64), 1002),
    ("the top bit of the length", b"\x82\xff" + (1 << 63).to_bytes(8, "big") + b"\0\0\0\0", 1002),
    ("a ping of 126", frame(9, "x" * 126), 1002),
    ("a close of 126", frame(8, b"\x03\xe8" + b"x" * 124), 1002),
    ("a ping in fragments", frame(9, "x", fin=False), 1002),
    ("a continuation of nothing", frame(0, "x"), 1002),
    ("a continuation of nothing, not final", frame(0, "x", fin=False), 1002),
    ("a text within a text", frame(1, "a", fin=False) + frame(1, "b"), 1002),
    ("a binary within a text", frame(1, "a", fin=False) + frame(2, "b", fin=False), 1002),
    ("a close of one byte", frame(8, b"\x03"), 1002),
    *[(f"close code {code}", frame(8, code.to_bytes(2, "big")), 1002)
      for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)],
    ("a close whose reason is no UTF-8", frame(8, b"\x03\xe8\xff\xfe"), 1007),
]


@pytest.mark.parametrize("name,data,code", BROKEN, ids=[case[0] for case in BROKEN])
@pytest.mark.parametrize("step", [None, 1])
def test_a_broken_frame_ends_the_session_with_its_code(raw, name, data, code, step):
    if step and len(data) > 1000:
        pytest.skip("long frames go in one piece only")
    for at in range(0, len(data), step or len(data)):
        try:
            raw.send(data[at:at + (step or len(data))])
        except ConnectionError:
            break  # the server closed before all data was sent
    assert raw.close_code() == code
    assert raw.ended() == b""


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
                                  4000, 4999])
def test_a_good_close_is_answered_and_the_connection_ends(raw, code):
    raw.send(frame(8, code.to_bytes(2, "big") + "Grüße".encode()) + frame(1, "after the close"))
    assert raw.close_code() == code
    assert raw.ended() == b"", "what comes after a close is not looked at"


def test_an_empty_close_is_answered(raw):
    raw.send(frame(8))
    assert raw.close_code() in (0, 1000)
    assert raw.ended() == b""


def test_a_close_waits_for_no_unfinished_message(raw):
    raw.send(frame(1, "unfinished", fin=False) + frame(8, b"\x03\xe8"))
    assert raw.close_code() == 1000


BAD_UTF8 = [b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
            b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
            b"\xfe", b"\xff", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x98", b"\xc3\x28", b"\xe2\x28\xa1", b"\xf0\x28\x8c\xbc",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"]


@pytest.mark.parametrize("bad", BAD_UTF8, ids=[bad.hex() for bad in BAD_UTF8])
def test_text_that_is_no_utf8_ends_with_1007_however_it_is_split(echo, bad):
    for prefix in (b"", b"plain text of some length before it "):
        payload = prefix + bad
        for at in range(len(prefix), len(payload) + 1):
            with connect(echo) as raw:
                raw.send(frame(1, payload[:at], fin=False) + frame(0, payload[at:]))
                assert raw.close_code() == 1007, (payload, at)


def test_bad_text_is_noticed_before_the_message_ends(raw):
    raw.send(frame(1, b"\xce\xba\xf4\x90", fin=False))
    assert raw.close_code() == 1007


def test_good_utf8_comes_back_split_at_every_byte(echo):
    text = "\0\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff\ufffe\U0001ffff".encode()
    with connect(echo) as raw:
        for at in range(len(text) + 1):
            raw.send(frame(1, text[:at], fin=False) + frame(0, text[at:]))
            assert raw.frame() == (True, 1, text)
        raw.send(b"".join(frame(1 if n == 0 else 0, text[n:n + 1], fin=n == len(text) - 1) for n in range(len(text))))
        assert raw.frame() == (True, 1, text)


def test_a_flood_of_empty_fragments_is_ended(raw):
    flood = frame(0, "", fin=False) * 1000
    raw.send(frame(1, "", fin=False))
    try:
        for _ in range(100):
            raw.send(flood)
    except ConnectionError:
        pass
    assert raw.close_code() in (1008, 1009, None)


def test_ten_pings_in_one_segment_are_ten_pongs(raw):
    raw.send(b"".join(frame(9, f"p{n}") + frame(1, f"t{n}") for n in range(10)))
    assert [raw.frame() for _ in range(20)] == [
        (True, *one) for n in range(10) for one in ((10, b"p%d" % n), (1, b"t%d" % n))]
    raw.send(b"".join(frame(9, f"{n}") for n in range(1000)))
    pongs = [raw.control()[1]]
    while pongs[-1] != b"999":
        pongs.append(raw.control()[1])
    assert pongs[:15] == [b"%d" % n for n in range(15)] and len(pongs) <= 1000
    raw.send(frame(9, "after"))
    assert raw.control() == (10, b"after")


def test_a_peer_that_pings_and_never_reads_costs_no_memory(echo):
    import psutil
    process = psutil.Process(echo.process.pid)
    with connect(echo) as raw:
        flood = frame(9, b"x" * 125) * 1000
        raw.send(flood)
        before = process.memory_info().rss
        raw.socket.settimeout(1)
        try:
            for _ in range(400):
                raw.send(flood)
        except OSError:
            pass
        assert process.memory_info().rss - before < (64 << 20 if harness.SANITIZED else 4 << 20)


def test_resets_in_the_middle_of_everything_disturb_nobody(echo):
    import socket
    import struct
    data = frame(1, "x" * 200, fin=False) + frame(0, "y" * 70000)
    for at in itertools.chain(range(0, 20), range(200, 230), [1000, 70000]):
        raw = connect(echo)
        raw.send(data[:at])
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.socket.close()
    with connect(echo) as raw:
        raw.send(frame(1, "still here"))
        assert raw.message() == "still here"


def test_python_websockets_gets_back_what_it_sends(echo):
    async def scene():
        async with websockets.connect(f"ws://127.0.0.1:{echo.port}/", max_size=None) as socket:
            for message in ("", "text", "\u4e2d" * 100000, b"", b"\0" * 300000, os.urandom(1 << 20)):
                await socket.send(message)
                assert await socket.recv() == message
            await socket.send(iter(["in ", "several ", "frag", "ments"]))
            assert await socket.recv() == "in several fragments"
            await (await socket.ping(b"hello"))
            await socket.close(1000, "goodbye")
            assert socket.close_code == 1000

    run(scene())


def test_nodes_ws_gets_back_what_it_sends(echo):
    class Port:
        port = echo.port

        @staticmethod
        def token(_):
            return "unused"

    async def scene():
        async with node() as process:
            class Talker(clients.NodeClient):
                conversation = schema.NoConversation()

                def told(self, event):
                    if event["event"] == "message":
                        self.arrived(event)
                    elif event["event"] == "pong":
                        self.arrived(event)
                    else:
                        super().told(event)

            client = await Talker.open(Port, "x", process=process, welcome=False)
            for text in ("", "text", "\u4e2d\U0001f600" * 50000):
                await client.send_text(text)
                assert (await client.take())["data"] == text
            process.tell(op="send", id=client.id, data="in ", fin=False)
            process.tell(op="send", id=client.id, data="fragments")
            assert (await client.take())["data"] == "in fragments"
            data = os.urandom(1 << 20)
            process.tell(op="send", id=client.id, base64=clients.b64(data))
            assert (await client.take())["base64"] == clients.b64(data)
            process.tell(op="ping", id=client.id, data="p")
            assert (await client.take())["data"] == "p"
            await client.close(1000)
            assert client.close_code == 1000

    run(scene())


def test_a_hundred_random_conversations_come_back(echo):
    """Random messages, random fragments, random cuts of the stream, control frames in between."""
    chance = random.Random(6455)
    for _ in range(harness.scaled(100, 20)):
        with connect(echo) as raw:
            sent, wire = [], b""
            for _ in range(chance.randrange(1, 12)):
                opcode = chance.choice((1, 2))
                payload = chance.randbytes(chance.choice((0, 5, 125, 126, 300, 66000)))
                if opcode == 1:
                    payload = payload.decode("latin-1").encode()
                sent.append((opcode, payload))
                cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(chance.randrange(5)))
                edges = [0, *cuts, len(payload)]
                for number, (start, end) in enumerate(zip(edges, edges[1:])):
                    if chance.random() < 0.3:
                        wire += frame(chance.choice((9, 10)), b"c" * chance.randrange(126))
                    wire += frame(opcode if number == 0 else 0, payload[start:end], fin=number == len(edges) - 2,
                                  mask=chance.randbytes(4))
            at = 0
            while at < len(wire):
                step = chance.choice((1, 2, 7, 64, 1000, 20000, 100000))
                raw.send(wire[at:at + step])
                at += step
            for opcode, payload in sent:
                while True:
                    fin, got, data = raw.frame()
                    if got != 10:
                        break
                assert (fin, got, data) == (True, opcode, payload)


def test_it_listens_on_loopback_only(echo):
    import psutil
    listening = [c for c in psutil.Process(echo.process.pid).connections() if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]
