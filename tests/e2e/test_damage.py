"""Somebody has put something else under a key of one address. Mail to that address is refused; the sender's session,
the sender's other mail and everybody else's sessions go on.
"""

import pytest

from clients import PythonClient, eventually, open_on, run

MEMBER = {"send": ["*"], "groups": ["#*"]}
KEYS = ("box", "ids", "at", "th", "cur", "rq", "rc", "sent", "svc", "svn")


def wrong(kind, number):
    """Puts a value of a wrong type there."""
    def text(redis, key):
        redis.set(key, "text")

    def a_list(redis, key):
        redis.rpush(key, "a")

    def a_hash(redis, key):
        redis.hset(key, "a", "b")

    def a_zset(redis, key):
        redis.zadd(key, {"a": 1})

    own = {"box": None, "sent": None, "ids": a_hash, "at": a_hash, "cur": a_hash, "rc": a_hash, "svc": a_hash,
           "svn": a_hash, "th": a_zset, "rq": a_zset}[kind]
    return [one for one in (text, a_list, a_hash, a_zset) if one is not own][number]


async def write_all(sender, to, mark):
    """Mail of every kind; returns the answers' subjects."""
    sent = [
        await sender.send(to, type=1, id=f"{mark}-plain"),
        await sender.send(to, type=1, id=f"{mark}-thread", thread="talk"),
        await sender.send(to, type=1, id=f"{mark}-receipt", receipt=2),
        await sender.send(to, type=1, id=f"{mark}-expires", expiresAt=4000000000),
        await sender.send(to, type=1, id=f"{mark}-last"),
    ]
    answers = [await sender.take(lambda m, one=one: m["from"] == "postmaster" and m.get("inReplyTo") == one["id"],
                                 what=f"an answer to {one['id']}") for one in sent]
    return [m["subject"] for m in answers]


@pytest.mark.parametrize("kind", KEYS)
def test_a_damaged_key_of_a_recipient_leaves_the_sender_alone(server, redis, kind):
    post = server(workers=2)

    async def story():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        admin = redis.client()
        for number in range(3):
            assert await write_all(alice, ["bob"], f"a{number}") == ["accepted"] * 5
            key = f"po:{{bob}}:{kind}"
            admin.delete(key)
            wrong(kind, number)(admin, key)
            await write_all(alice, ["bob"], f"b{number}")
            recalled = await alice.order("recall", inReplyTo=f"a{number}-plain")
            assert recalled["subject"] in ("result", "rejected")
            both = await alice.send(["bob", "carol"], type=1)
            assert (await alice.said("accepted", inReplyTo=both["id"]))["subject"] == "accepted"
            newest = [m for m in bob.inbox if m["type"] == 1]
            if newest:
                await bob.send("postmaster", type=4, subject="ack", seq=newest[-1]["seq"])
            answer = await bob.order("history", limit=10)
            assert answer["subject"] in ("result", "rejected")
            await bob.settle()
            late = await PythonClient.open(post, "bob", device=f"late{number}", welcome=False)
            await late.said("welcome")
            await late.close()
            admin.delete(key)
            assert await write_all(alice, ["bob"], f"c{number}") == ["accepted"] * 5
        assert alice.close_code is None and bob.close_code is None

    run(story(), 60)


@pytest.mark.parametrize("field", ["", "/lost", "/", "m", "m\0alice", "m\0"])
@pytest.mark.parametrize("value", ["", "junk", "junk alice", "-", "1-", "1-1-1", "18446744073709551616-0", "9" * 400])
def test_a_damaged_field_of_ids_leaves_the_sender_alone(server, redis, field, value):
    post = server(workers=2)

    async def story():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        admin = redis.client()
        assert await write_all(alice, ["bob"], "a") == ["accepted"] * 5
        admin.hset("po:{bob}:ids", field, value)
        sent = [await alice.send("bob", type=1, id=one) for one in ("m", "m", "n")]
        for _ in sent:
            await alice.take(lambda m: m["subject"] in ("accepted", "rejected"), what="an answer")
        await alice.order("recall", inReplyTo="m")
        late = await PythonClient.open(post, "bob", device="late", welcome=False)
        await late.said("welcome")
        await alice.settle()
        await bob.settle()
        admin.delete("po:{bob}:ids")
        assert await write_all(alice, ["bob"], "c") == ["accepted"] * 5
        await eventually(lambda: sum(m["type"] == 1 for m in bob.inbox) >= 10, "bob's mail")

    run(story(), 60)


@pytest.mark.parametrize("body", [b"{\xff}", b'{"content":"\xc0\xaf"}', b'{"content":"\xed\xa0\x80"}', b'{"content":"\xe2\x82'])
def test_a_body_in_redis_that_is_not_utf8_is_dropped_and_counted(server, redis, body):
    """In the replay, in history, in a group, and in what is published: no client is sent such a frame."""
    post = server(workers=2)

    async def story():
        alice = await PythonClient.open(post, "alice", token=post.token("alice", po=MEMBER))
        admin = redis.client()
        for address in ("bob", "#club"):
            admin.xadd(f"po:{{{address}}}:box", {"f": "zoe", "i": "bad", "b": body})
        await alice.send("bob", type=1, id="good")
        await alice.said("accepted")
        await alice.send("#club", type=3, id="post")
        await alice.said("accepted")
        bob = await PythonClient.open(post, "bob", token=post.token("bob", po=MEMBER))
        assert [m["id"] for m in bob.inbox if m["type"] == 1] == ["good"]
        history = await bob.order("history", limit=10)
        assert history["subject"] == "result" and [m["id"] for m in history["messages"]] == ["good"]
        joined = await bob.order("subscribe", tags=["#club"], references="0-0")
        assert joined["subject"] == "result"
        await bob.said("replayed", tags=["#club"])
        head = bytes([0xB5, 1, 1, 0, 1]) + (1).to_bytes(2, "little") + len(body).to_bytes(4, "little")
        channels = [one for one in admin.pubsub_channels() if one.startswith(b"po:w:")]
        assert len(channels) == 2
        for channel in channels:
            admin.publish(channel, head + b"\x03bob" + body)
        await bob.settle()
        assert post.total("mailbox_bad") >= 3
        await eventually(lambda: post.total("bus_bad") == 2, "the frame is counted")

    run(story(), 60)
