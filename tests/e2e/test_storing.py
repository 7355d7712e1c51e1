"""What one sender may store: a large body for many is stored once."""

import asyncio
import base64
import os

from clients import PythonClient, b64, eventually, open_on, run


LARGE = base64.b64encode(os.urandom(300000)).decode()


def used(redis):
    return redis.info("memory")["used_memory"]


def keys(redis, pattern):
    return sorted(key.decode() for key in redis.keys(pattern))


async def sent(sender, to, content, **fields):
    """Sends mail and waits for `accepted`. A worker serves a moment before its Redis does."""
    while True:
        await sender.send(to, content, type=1, **fields)
        answer = await sender.take(lambda m: m["from"] == "postmaster" and m["subject"] in ("accepted", "rejected"))
        if answer["subject"] == "accepted":
            return answer
        assert answer["code"] == "storage-unavailable", answer
        await asyncio.sleep(0.05)


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


def test_a_body_that_is_stored_once_passes_through_no_script(server, redis):
    """Lua reads every byte of a string: 1 MB holds Redis for two milliseconds, and a plain SET for a twentieth of that."""
    async def check():
        one = server()
        sender = await PythonClient.open(one, "ann")
        with redis.monitored() as lines:
            await sent(sender, ["bob", "cat"], LARGE)
        large = [line for line in lines if len(line) > len(LARGE)]
        assert [line.split('"')[1].upper() for line in large] == ["SET"]
        assert " lua]" not in large[0].split('"')[0]
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


# ------------------------------------------------------------------------------------------------ budget


def limits(**more):
    return {"limits": {"messagesPerSecond": 0, **more}}


async def burst(sender, count, to, content=""):
    """Sends `count` mails at once; returns how many were accepted, and the rejections."""
    for number in range(count):
        await sender.send(to(number), content, type=1)
    got = [await sender.take(lambda m: m["subject"] in ("accepted", "rejected")) for _ in range(count)]
    rejected = [m for m in got if m["subject"] == "rejected"]
    return count - len(rejected), rejected


def test_an_address_stores_no_more_than_its_budget_however_many_sessions_it_has(server, redis):
    async def check():
        one = server(workers=2, config=limits(storedBytesPerSecond=20000, storedBytesBurst=1000000))
        first = await PythonClient.open(one, "ann", device="a")
        accepted, rejected = await burst(first, 40, lambda _: ["bob"], "x" * 37500)  # 50 KB each as stored
        assert 18 <= accepted <= 24
        assert {m["code"] for m in rejected} == {"rate-limited"} and all(m["retryAfter"] > 0 for m in rejected)
        # Neither a new session nor another worker starts afresh; another address does.
        await first.close()
        for slot in (0, 1):
            again = await open_on(one, slot, "ann", PythonClient.open, device=f"b{slot}")
            # A worker that has not asked yet asks after a sixteenth of the bucket, and takes mail until the answer.
            for _ in range(4):
                await burst(again, 1, lambda _: ["bob"], "x" * 37500)
            accepted, _ = await burst(again, 20, lambda _: ["bob"], "x" * 37500)
            assert accepted <= 2
            await again.close()
        other = await PythonClient.open(one, "cat")
        assert await burst(other, 10, lambda _: ["bob"], "x" * 37500) == (10, [])
        assert one.total("over_budget") > 0 and one.total("rejected_rate_limited") == one.total("over_budget")
        await other.close()
    run(check())


def test_a_message_above_the_whole_budget_is_taken_and_leaves_a_debt(server, redis):
    async def check():
        one = server(config=limits(storedBytesPerSecond=20000, storedBytesBurst=65536))
        sender = await PythonClient.open(one, "ann")
        await sent(sender, ["bob"], "x" * 150000)  # 200 KB as stored: the debt is one of seven seconds
        await sender.send(["bob"], "small", type=1)
        wait_ms = (await sender.rejected())["retryAfter"]
        assert 0 < wait_ms < 8000
        await asyncio.sleep(wait_ms / 1000 + 0.05)
        await sent(sender, ["bob"], "small")
        await sender.close()
    run(check())


def test_an_address_begins_no_more_mailboxes_than_its_budget(server, redis):
    async def check():
        one = server(workers=2, config=limits(newMailboxesPerMinute=100))
        sender = await PythonClient.open(one, "ann")
        # A reader's first mail is no new mailbox: the address has a session.
        readers = [await PythonClient.open(one, f"reader{number}") for number in range(8)]
        for _ in range(2):
            await sent(sender, [f"reader{number}" for number in range(8)], "hello")
        await sent(sender, [f"new{number}" for number in range(300)], "hello")
        await sender.send(["another"], "hello", type=1)
        rejection = await sender.rejected()
        assert rejection["code"] == "rate-limited" and rejection["retryAfter"] > 30000
        other = await open_on(one, 1 - sender.welcome["worker"], "ann", PythonClient.open, device="b")
        # Another worker learns of it with its first question, after a sixteenth of the bucket.
        for number in range(20):
            await other.send([f"more{number}"], "hello", type=1)
            if (await other.take(lambda m: m["subject"] in ("accepted", "rejected")))["subject"] == "rejected":
                break
        assert number < 12
        for client in (sender, other, *readers):
            await client.close()
    run(check())


def test_plain_mail_asks_redis_nothing_more(server, redis):
    async def check():
        one = server()
        sender = await PythonClient.open(one, "ann")
        await sent(sender, ["bob"], "hello")
        with redis.monitored() as lines:
            assert await burst(sender, 100, lambda _: ["bob"], "hello") == (100, [])
        assert not any(":spent" in line for line in lines)
        assert keys(redis.client(), "*:spent") == []
        await sender.close()
    run(check())


# ------------------------------------------------------------------------------------------------ mailboxes


def test_a_mailbox_keeps_no_more_than_its_bytes(server, redis):
    async def check():
        one = server(config={"mailbox": {"maxBytes": 4000000}})
        sender = await PythonClient.open(one, "ann")
        for number in range(20):  # 400 KB each, half of them shared
            await sent(sender, ["bob", "cat"] if number % 2 else ["bob"], LARGE, id=f"m{number}")
        for number in range(50):  # plain mail removes nothing
            await sent(sender, ["bob"], "small", id=f"s{number}")
        reader = await PythonClient.open(one, "bob")
        got = [m["id"] for m in reader.inbox if m["type"] == 1]
        large = [one for one in got if one[0] == "m"]
        assert large == [f"m{number}" for number in range(20 - len(large), 20)] and 5 <= len(large) <= 9
        assert got[len(large):] == [f"s{number}" for number in range(50)]
        assert int(redis.client().hget("po:{bob}:ids", "/bytes")) <= 4000000
        assert one.total("mailbox_trimmed") >= 20 - len(large)
        await reader.close()
        await sender.close()
    run(check())


def test_a_mailbox_that_is_full_of_bytes_can_refuse_more(server, redis):
    async def check():
        one = server(config={"mailbox": {"maxBytes": 700000, "full": "reject"}})
        sender = await PythonClient.open(one, "ann")
        await sent(sender, ["bob"], LARGE)
        await sender.send(["bob"], LARGE, type=1)
        assert (await sender.rejected())["code"] == "mailbox-full"
        await sent(sender, ["bob"], "small")
        await sender.close()
    run(check())
