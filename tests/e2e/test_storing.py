"""What one sender may store: a large body for many is stored once."""

import base64
import os

from clients import PythonClient, b64, eventually, run


LARGE = base64.b64encode(os.urandom(300000)).decode()


def used(redis):
    return redis.info("memory")["used_memory"]


def keys(redis, pattern):
    return sorted(key.decode() for key in redis.keys(pattern))


async def sent(sender, to, content, **fields):
    """Sends mail and waits for `accepted`."""
    await sender.send(to, content, type=1, **fields)
    return await sender.said("accepted")


def test_a_large_body_for_many_is_stored_once_and_goes_to_redis_once(server, redis):
    async def check():
        one = server()
        store = redis.client()
        sender = await PythonClient.open(one, "ann")
        crowd = [f"u{number}" for number in range(500)]
        before, received = used(store), store.info("stats")["total_net_input_bytes"]
        await sent(sender, crowd, LARGE, id="m1")
        # 500 mailboxes of one short entry, about 6 KB each, and one body; not 200 MB.
        assert used(store) - before < 4 * len(LARGE) + 500 * 8000
        assert store.info("stats")["total_net_input_bytes"] - received < 2 * len(LARGE) + 500 * 1000
        assert len(keys(store, "po:body:*")) == 1
        assert one.total("bodies_shared") == 1
        assert store.ttl(keys(store, "po:body:*")[0]) > 2592000
        # Each of them gets the whole message, by replay, by history and by thread.
        for name in ("u0", "u499"):
            reader = await PythonClient.open(one, name)
            assert (await reader.message(id="m1"))["content"] == b64(LARGE)
            for thread in ({}, {"subjectId": "m1"}):
                result = await reader.order("history", **thread)
                assert [m["content"] for m in result["messages"]] == [b64(LARGE)]
            await reader.close()
        await sender.close()
    run(check())


def test_a_small_body_and_a_body_for_one_are_stored_with_their_letters(server, redis):
    async def check():
        one = server()
        sender = await PythonClient.open(one, "ann")
        await sent(sender, ["bob", "cat"], "small")
        await sent(sender, ["bob"], LARGE)
        assert keys(redis.client(), "po:body:*") == []
        await sender.close()
    run(check())


def test_a_body_that_no_letter_uses_does_not_stay(server, redis):
    async def check():
        one = server()
        store = redis.client()
        sender = await PythonClient.open(one, "ann")
        for _ in range(5):  # the same message, sent again
            await sent(sender, ["bob", "cat"], LARGE, id="same")
        await eventually(lambda: len(keys(store, "po:body:*")) == 1, "one body")
        store.set("po:{dan}:box", "text")  # mail for dan is refused
        store.set("po:{eve}:box", "text")
        await sender.send(["dan", "eve"], LARGE, type=1)
        await sender.rejected()
        await eventually(lambda: len(keys(store, "po:body:*")) == 1, "no further body")
        reader = await PythonClient.open(one, "bob")
        assert (await reader.message(id="same"))["content"] == b64(LARGE)
        await reader.close()
        await sender.close()
    run(check())


def test_a_body_that_is_gone_is_a_gap_which_the_reader_is_told(server, redis):
    async def check():
        one = server()
        store = redis.client()
        sender = await PythonClient.open(one, "ann")
        await sent(sender, ["bob"], "first", id="m1")
        await sent(sender, ["bob", "cat"], LARGE, id="m2")
        await sent(sender, ["bob"], "third", id="m3")
        store.delete(*keys(store, "po:body:*"))
        reader = await PythonClient.open(one, "bob")
        second = await reader.said("welcome")
        assert second["recovered"] is False and second["epoch"] == reader.welcome["epoch"]
        assert [m["id"] for m in reader.inbox if m["type"] == 1] == ["m1", "m3"]
        assert one.total("bodies_gone") == 1
        await reader.close()
        await sender.close()
    run(check())


def test_a_session_that_is_connected_gets_the_body_live(server, redis):
    async def check():
        one = server()
        readers = [await PythonClient.open(one, name) for name in ("bob", "cat", "dan")]
        sender = await PythonClient.open(one, "ann")
        other = await PythonClient.open(one, "ann", device="other")
        await sent(sender, ["bob", "cat", "dan"], LARGE, id="m1")
        for reader in (*readers, other):
            assert (await reader.message(id="m1"))["content"] == b64(LARGE)
            await reader.close()
        assert len(keys(redis.client(), "po:body:*")) == 1
        await sender.close()
    run(check())
