"""permessage-deflate on a server with mailboxes: mail, posts and signals through compression, the bounds, the keys."""

import asyncio
import json
import random
import time
import urllib.parse
import zlib

import psutil
import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

import harness
from clients import Client, NodeClient, PythonClient, Raw, b64, frame, node, request, run, target, upgrade

RSV1 = 4
# What docs/operations.md states for a session with takeover, at windowBits 15 and memLevel 8.
TAKEOVER_BYTES = 320 << 10


class Compressing(Client):
    """python3-websockets with an offer of the test's choice; offer None: none."""

    @classmethod
    async def open(cls, server, address, offer=None, **options):
        self = cls(address)
        url, headers, _ = target(server, address, **options)
        extensions = None if offer is None else [ClientPerMessageDeflateFactory(**offer)]
        self.socket = await websockets.connect(url, extra_headers=headers, compression=None, extensions=extensions,
                                               max_size=None, max_queue=None, ping_interval=None,
                                               open_timeout=harness.DEADLINE, close_timeout=harness.DEADLINE)
        self.agreed = self.socket.response_headers.get("Sec-WebSocket-Extensions")
        self.texts = []
        self.reader = asyncio.ensure_future(self._read())
        await self.begun()
        return self

    async def _read(self):
        try:
            async for data in self.socket:
                self.texts.append(data)
                self.arrived(json.loads(data))
        except websockets.ConnectionClosed:
            pass
        finally:
            self.ended(self.socket.close_code, self.socket.close_reason)

    async def send_text(self, text):
        self.conversation.sent(text)
        await self.socket.send(text)

    async def close(self):
        await self.socket.close()
        await self.reader


def words(count, seed=1):
    choose = random.Random(seed)
    return " ".join(choose.choice(["alpha", "beta", "gamma", "中文", "δ"]) for _ in range(count))


def raw_deflate(server, address, device="", behind=b""):
    """A connection that has agreed on compression; `behind` leaves with the request."""
    raw = Raw(server.port)
    raw.send(request(f"/ws?clientID={urllib.parse.quote(address, safe='')}&device={device}", token=server.token(address),
                     over={"Sec-WebSocket-Extensions": "permessage-deflate"}).encode() + behind)
    answer = raw.answer()
    assert answer.status == 101
    raw.agreed = answer.headers.get("sec-websocket-extensions")
    return raw


def deflated(payload, level=9):
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


CONFIGS = {"alone": {}, "takeover": {"compression": {"takeover": True, "minBytes": 64}},
           "narrow": {"compression": {"takeover": True, "windowBits": 9, "memLevel": 1, "minBytes": 0, "level": 9}}}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_client_gets_the_same_text(server, config):
    """Mail of all sizes, live and from the mailbox: plain, compressed and Node's clients hear the very same bytes."""
    async def talk(s):
        sizes = (0, 10, 1000, 1100, 5000, 70000, 500000)
        async with node() as process:
            plain = await Compressing.open(s, "bob", device="plain")
            packed = await Compressing.open(s, "bob", {}, device="packed")
            small = await Compressing.open(s, "bob", {"server_max_window_bits": 9, "client_max_window_bits": 9},
                                           device="small")
            nodes = await NodeClient.open(s, "bob", device="node", process=process)
            assert plain.agreed is None and packed.agreed.startswith("permessage-deflate")
            alice = await Compressing.open(s, "alice", {})
            contents = [words(size // 6, size) for size in sizes]
            for content in contents:
                sent = await alice.send("bob", content, type=1)
                await alice.said("accepted", inReplyTo=sent["id"])
                for client in (plain, packed, small, nodes):
                    got = await client.message()
                    assert got["content"] == b64(content) and got["id"] == sent["id"] and "seq" in got
            noise = random.Random(3).randbytes(100000)
            await alice.send("bob", noise, type=2)
            await alice.send("bob", words(2000), type=2)
            for client in (plain, packed, small, nodes):
                assert (await client.message())["content"] == b64(noise)
                assert (await client.message())["content"] == b64(words(2000))
            texts = [text for text in plain.texts if '"from":"alice"' in text]
            for client in (packed, small):
                assert [text for text in client.texts if '"from":"alice"' in text] == texts
            pages = [await client.order("history", limit=3) for client in (plain, packed, small, nodes)]
            assert all(page["messages"] == pages[0]["messages"] for page in pages) and pages[0]["messages"]
            late = await Compressing.open(s, "bob", {}, device="late", query={"since": "0-0"})
            got = [await late.message() for _ in sizes]
            assert [message["content"] for message in got] == [b64(content) for content in contents]
            for client in (plain, packed, small, nodes, alice, late):
                await client.close()
    s = server(config=CONFIGS[config])
    run(talk(s))
    totals = s.status()["totals"]
    assert totals["deflate_in"] and totals["deflate_out"]
    assert totals["deflate_out_bytes"] < totals["deflate_out_plain"]
    assert totals["deflate_in_bytes"] < totals["deflate_in_plain"]
    harness.wait_until(lambda: s.total("deflate_takeover") == 0, "no context is left")


def test_a_post_to_many_is_compressed_once(server):
    async def talk(s):
        def token(address):
            return s.token(address, po={"groups": ["#news"]})

        subscribers = [await Compressing.open(s, f"u{n}", {}, token=token(f"u{n}")) for n in range(30)]
        others = [await Compressing.open(s, f"v{n}", token=token(f"v{n}")) for n in range(3)]
        for client in (*subscribers, *others):
            assert (await client.order("subscribe", tags=["#news"]))["subject"] == "result"
        before = s.status()["totals"]
        sent = await subscribers[0].send("#news", words(3000), type=3)
        for client in (*subscribers, *others):
            assert (await client.message(id=sent["id"]))["content"] == b64(words(3000))
        totals = {name: value - before[name] for name, value in s.status()["totals"].items()}
        assert totals["deflate_out"] == len(subscribers)
        assert totals["deflate_runs"] == 1, totals["deflate_runs"]
        assert totals["deflate_out_bytes"] < totals["deflate_out_plain"] / 3
        for client in (*subscribers, *others):
            await client.close()
    run(talk(server(workers=1)))


def test_short_messages_and_noise_leave_as_they_are(server):
    async def talk(s):
        bob = await Compressing.open(s, "bob", {})
        before = s.status()["totals"]
        await bob.send("bob", "x" * 300)
        await bob.message()
        after = s.status()["totals"]
        assert after["deflate_out"] == before["deflate_out"]
        await bob.close()
    run(talk(server(workers=1)))


def resident(s):
    return sum(psutil.Process(pid).memory_info().rss for pid in s.worker_pids().values())


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer's memory is its own")
def test_a_bomb_costs_the_largest_message_at_most(server):
    s = server(workers=1)
    pid = next(iter(s.worker_pids().values()))
    bomb = deflated(b" " * (256 << 20))

    def peak():
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) << 10

    def throw():
        with raw_deflate(s, "mallory") as raw:
            assert raw.message()
            raw.send(frame(1, bomb, reserved=RSV1))
            return raw.close_code()

    small = deflated(b" " * 1000)
    with raw_deflate(s, "mallory") as raw:  # the inflater is made
        raw.send(frame(1, small, reserved=RSV1))
        while "bad-json" not in raw.message():
            pass
    before = peak()
    assert [throw() for _ in range(3)] == [1009] * 3
    assert peak() - before < (1 << 20) + (512 << 10)  # limits.messageBytes, and what a connection costs
    assert s.total("deflate_too_large") == 3
    assert s.total("protocol_errors") == 3


def test_the_limit_of_a_message_holds_for_what_it_inflates_to(server):
    s = server(workers=1, config={"limits": {"messageBytes": 4096}})
    for length, code in ((4096, None), (4097, 1009)):
        with raw_deflate(s, "mallory") as raw:
            raw.message()
            raw.send(frame(1, deflated(b"[" + b" " * (length - 1)), reserved=RSV1))
            if code:
                assert raw.close_code() == code
            else:
                assert '"code":"bad-json"' in raw.message()
    with raw_deflate(s, "mallory") as raw:
        raw.message()
        raw.send(frame(1, b"\xff" * 20, reserved=RSV1))
        assert raw.close_code() == 1007
    assert s.total("deflate_bad") == 1


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer's memory is its own")
def test_200_sessions_with_takeover_cost_what_is_stated(server):
    """Each has sent and been sent enough to fill both windows."""
    async def talk(s):
        first = await Compressing.open(s, "first", {"client_max_window_bits": True})
        assert "no_context_takeover" not in first.agreed
        before = resident(s)
        sessions = [await Compressing.open(s, f"u{n}", {"client_max_window_bits": True}) for n in range(200)]
        for number, client in enumerate(sessions):
            for part in range(3):
                await client.send(client.address, random.Random(number * 3 + part).randbytes(12000).hex())
            for _ in range(3):
                await client.message()
        assert s.total("deflate_takeover") == 201
        assert resident(s) - before < 200 * (TAKEOVER_BYTES + 4096), (resident(s) - before) / 200
        for client in (first, *sessions):
            await client.close()
        harness.wait_until(lambda: s.total("deflate_takeover") == 0, "all contexts have gone")
    run(talk(server(workers=1, config={"compression": {"takeover": True}})))


def test_past_their_number_sessions_get_no_takeover(server):
    async def talk(s):
        sessions = [await Compressing.open(s, f"u{n}", {}) for n in range(4)]
        assert ["no_context_takeover" in client.agreed for client in sessions] == [False, False, True, True]
        await sessions[0].close()
        harness.wait_until(lambda: s.total("deflate_takeover") == 1, "one has gone")
        another = await Compressing.open(s, "u5", {})
        assert "no_context_takeover" not in another.agreed
        for client in (*sessions[1:], another):
            await client.close()
    run(talk(server(workers=1, config={"compression": {"takeover": True, "takeoverSessions": 2}})))


def test_a_reload_counts_for_new_connections(server):
    async def talk(s):
        old = await Compressing.open(s, "old", {})
        assert old.agreed
        s.reload(compression={"enabled": False})
        new = await Compressing.open(s, "new", {})
        assert new.agreed is None
        for client in (old, new):
            await client.send(["old", "new"], words(1000))
            assert (await old.message())["content"] == (await new.message())["content"] == b64(words(1000))
        s.reload(compression={"enabled": True, "takeover": True, "level": 9, "memLevel": 9})
        lasting = await Compressing.open(s, "lasting", {})
        assert "no_context_takeover" not in lasting.agreed
        await lasting.send(["old", "new", "lasting"], words(2000))
        for client in (old, new, lasting):
            assert (await client.message())["content"] == b64(words(2000))
            await client.close()
    run(talk(server(workers=1, config={"compression": {"minBytes": 100}})))


@pytest.mark.parametrize("takeover", [False, True])
def test_a_reader_that_sleeps_gets_everything_in_order_afterwards(server, takeover):
    """Mail of 1 MB and of 2 KB, of several levels, while the reader does not read, and signals that must be shed."""
    s = server(workers=1, config={"compression": {"takeover": takeover, "minBytes": 100},
                                  "limits": {"queueBytes": 1 << 20, "messageBytes": 4 << 20}})
    count = harness.scaled(60)

    async def talk():
        bob = await Compressing.open(s, "bob", {})
        alice = await Compressing.open(s, "alice", {})
        bob.socket.transport.pause_reading()
        noise = random.Random(1)
        sent = {}
        for number in range(count):
            content = noise.randbytes((700000, 1500, 200)[number % 3]) if number % 2 else words((120000, 300)[number % 4 // 2],
                                                                                            number)
            level = number % 5 - 2
            mail = await alice.send("bob", content, type=1, level=level)
            sent[mail["id"]] = b64(content), level
            await alice.send("bob", noise.randbytes(30000), type=2, level=-9)
            await alice.said("accepted", inReplyTo=mail["id"])
        bob.socket.transport.resume_reading()
        seqs = {}
        while len(seqs) < count:
            mail = await bob.message(type=1)
            content, level = sent[mail["id"]]
            assert mail["content"] == content and mail["id"] not in seqs
            seqs[mail["id"]] = mail["seq"], level
        for wanted in range(-2, 3):  # within a level in order
            order = [tuple(map(int, seq.split("-"))) for seq, level in seqs.values() if level == wanted]
            assert order == sorted(order)
        await bob.close()
        await alice.close()
    run(talk())


def test_what_waits_is_counted_compressed(server):
    """A queue of 64 KiB holds 100 signals of 20 KB that compress to a few bytes, for a reader that sleeps."""
    s = server(workers=1, config={"limits": {"queueBytes": 65536}})

    async def talk():
        bob = await Compressing.open(s, "bob", {})
        plain = await Compressing.open(s, "carol")
        alice = await Compressing.open(s, "alice")
        bob.socket.transport.pause_reading()
        plain.socket.transport.pause_reading()
        for number in range(harness.scaled(300)):
            await alice.send(["bob", "carol"], "x" * 30000 + f"{number}")
        await alice.settle()
        bob.socket.transport.resume_reading()
        for number in range(harness.scaled(300)):
            assert (await bob.message())["content"] == b64("x" * 30000 + f"{number}")
        for client in (bob, plain, alice):
            client.socket.transport.abort()
    run(talk())


def test_node_and_python_talk_without_a_word_about_compression(server):
    """Both offer compression by default: what is large enough is compressed, both ways."""
    async def talk(s):
        async with node() as process:
            alice = await NodeClient.open(s, "alice", process=process)
            bob = await PythonClient.open(s, "bob", compression="deflate")
            for size in (10, 3000, 200000):
                await alice.send("bob", words(size // 6), type=1)
                assert (await bob.message())["content"] == b64(words(size // 6))
                await bob.send("alice", words(size // 6, 2), type=1)
                assert (await alice.message())["content"] == b64(words(size // 6, 2))
            await alice.close()
            await bob.close()
    s = server()
    run(talk(s))
    assert s.total("deflate_out") >= 4 and s.total("deflate_in") >= 4


def test_a_flood_of_bombs_within_the_limit_leaves_the_others_their_turn(server):
    """One token sends messages of 1 KB that inflate to 1 MiB as fast as the socket takes them: a pair that talks on the
    same worker is still answered, and not a thousand times later."""
    s = server(workers=1, config={"limits": {"messagesPerSecond": 10, "burst": 10}})
    piece = frame(1, deflated(b" " * (1 << 20)), reserved=RSV1) * 8

    async def talk():
        alice = await Compressing.open(s, "alice", {})
        with raw_deflate(s, "mallory") as raw:
            raw.socket.setblocking(False)
            for _ in range(30):
                try:
                    while raw.socket.send(piece):
                        pass
                except BlockingIOError:
                    pass
                began = time.monotonic()
                while True:
                    try:
                        raw.socket.recv(1 << 16)
                    except BlockingIOError:
                        break
                await alice.socket.ping()
                answered = await alice.socket.ping()
                await asyncio.wait_for(answered, harness.DEADLINE)
                assert time.monotonic() - began < harness.DEADLINE
        await alice.close()
    run(talk())


def test_a_plain_client_is_told_of_no_extension(server):
    s = server(workers=1)
    with upgrade(s, "bob") as raw:
        assert '"subject":"welcome"' in raw.message()
    with raw_deflate(s, "bob") as raw:
        assert raw.agreed == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
