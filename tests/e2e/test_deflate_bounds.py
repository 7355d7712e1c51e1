"""What compressed messages may cost a worker: text that is inflated for an address, and large messages that are compressed."""

import json

import harness
from clients import b64, frame, run
from test_deflate import RSV1, Compressing, deflated, raw_deflate, words

MIB = 1 << 20


def bomb(number, sender="mallory", to="nobody"):
    """A compressed signal of some hundred bytes, and of nearly 1 MiB of text."""
    envelope = json.dumps({"from": sender, "to": [to], "type": 2, "subject": "", "id": f"bomb{number}",
                           "content": "x" * 1_000_000})
    return frame(1, deflated(envelope.encode()), reserved=RSV1)


def test_an_address_in_debt_is_read_later_in_all_its_sessions_and_the_others_at_once(server):
    """After one message of 1 MB an address with 64 KiB a second is in debt for 15 s. What its sessions send then waits, also
    what a session sends that comes anew, and what it sends behind its request; the messages of others do not wait.
    """
    s = server(workers=1, config={"limits": {"inflatedBytesPerSecond": 65536}})

    async def talk():
        alice = await Compressing.open(s, "alice", {})
        with raw_deflate(s, "mallory") as first:
            first.message()
            first.send(bomb(0) * 20)
            harness.wait_until(lambda: s.total("deflate_waits") == 1, "the first session waits")
            with raw_deflate(s, "mallory", device="second", behind=bomb(1)) as second:
                second.message()
                second.send(bomb(2) * 20)
                for number in range(5):
                    await alice.send("alice", words(500, number))
                    await alice.message()
                assert s.total("deflate_in") == 1 + 5
                assert s.total("deflate_waits") == 2
        await alice.close()
    run(talk())


def test_what_waited_is_read_in_the_end(server):
    s = server(workers=1, config={"limits": {"inflatedBytesPerSecond": MIB}})

    async def talk():
        mallory = await Compressing.open(s, "mallory", {})
        for number in range(4):
            await mallory.send("mallory", words(100_000, number))
        for number in range(4):
            assert (await mallory.message())["content"]
        assert s.total("deflate_in") == 4
        assert s.total("deflate_waits") > 0
        await mallory.close()
    run(talk())


def test_a_session_that_waits_may_still_be_closed(server):
    s = server(workers=1, config={"limits": {"inflatedBytesPerSecond": 65536}})
    with raw_deflate(s, "mallory") as raw:
        raw.message()
        raw.send(bomb(0) * 3)
        harness.wait_until(lambda: s.total("deflate_waits") == 1, "the session waits")
        raw.send(frame(8, b"\x03\xe8"))
        s.stop()
        raw.ended()


def test_large_messages_past_the_share_of_a_worker_leave_as_they_are(server):
    """With a share of one byte a second one large message is compressed, and the next ones are not; the text is the same,
    and smaller messages are compressed as ever.
    """
    s = server(workers=1, config={"compression": {"largeBytesPerSecond": 1}})

    async def talk():
        bob = await Compressing.open(s, "bob", {})
        alice = await Compressing.open(s, "alice")
        for size in (40_000, 40_000, 40_000, 1000):
            text = words(size, size)
            await alice.send("bob", text)
            assert (await bob.message())["content"] == b64(text)
        assert s.total("deflate_no_share") == 2
        assert s.total("deflate_runs") == 2
        await bob.close()
        await alice.close()
    run(talk())
