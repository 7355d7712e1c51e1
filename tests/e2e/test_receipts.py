"""A sender who asked gets the receipts delivered (2) and read (3), once each, even when processes die in between."""

import os
import signal

import pytest

import clients
import harness
from clients import PythonClient, eventually, open_on, run
from test_mailbox import FAST, ack, all_accepted, backlog, ids, mails, post_mail


def receipts(client):
    """(state, from, inReplyTo) of all receipts that the client has so far."""
    return [(m["state"], m["from"], m["inReplyTo"]) for m in client.inbox
            if m["type"] == 4 and m["from"] != "postmaster"]


async def receipt(client, **wanted):
    """The next receipt that the client gets."""
    return await client.take(lambda m: m["type"] == 4 and m["from"] != "postmaster"
                             and all(m.get(k) == v for k, v in wanted.items()), what=f"a receipt {wanted}")


async def stored_receipts(post, address, device="checker"):
    """The receipts in the mailbox: a new device gets a replay of the whole mailbox."""
    client = await PythonClient.open(post, address, device=device)
    await client.close()
    return receipts(client)


async def nothing_more(client, post):
    """Checks that no receipt comes: a letter to the client comes after everything stored before."""
    other = await PythonClient.open(post, f"to-{client.address}")
    sent = await post_mail(other, client.address, 1)
    await client.message(id=sent[0])
    await other.close()


@pytest.mark.parametrize("slots", [(0, 0), (0, 1)])
def test_the_sender_hears_once_that_a_device_acknowledged(server, slots):
    post = server(2)

    async def scene():
        alice = await open_on(post, slots[0], "alice", PythonClient.open)
        phone = await open_on(post, slots[1], "bob", PythonClient.open, device="APP")
        table = await open_on(post, slots[1], "bob", PythonClient.open, device="TAB")
        await alice.send("bob", "x", type=1, id="asked", receipt=2)
        await alice.send("bob", "x", type=1, id="plain")
        await all_accepted(alice, ["asked", "plain"])
        for device in (phone, table):
            await device.message(id="asked")
            await ack(device, await device.message(id="plain"))
        got = await receipt(alice, state=2)
        assert (got["from"], got["to"], got["inReplyTo"]) == ("bob", ["alice"], "asked")
        assert got["subject"] == "delivered" and got["content"] == "" and got["seq"] and got["id"]
        assert isinstance(got["createTime"], int) and "receipt" not in got
        await nothing_more(alice, post)
        assert not receipts(alice)
        assert await stored_receipts(post, "alice") == [(2, "bob", "asked")]
        assert post.total("receipts_sent") == 1

    run(scene())


def test_two_nodes_tell_each_other(server):
    here, there = server(1), server(1)

    async def scene():
        alice = await PythonClient.open(here, "alice")
        bob = await PythonClient.open(there, "bob")
        await alice.send("bob", "x", type=1, id="one", receipt=3)
        await alice.send("bob", "x", type=1, id="two", receipt=2)
        await ack(bob, await bob.message(id="one"))
        assert (await receipt(alice))["state"] == 2
        await bob.send("alice", type=4, inReplyTo="one", state=3)
        assert (await receipt(alice))["state"] == 3
        await bob.message(id="two")
        assert (await alice.order("recall", inReplyTo="two"))["recalled"] == ["bob"]
        assert (await receipt(bob))["state"] == 4
        assert (await receipt(alice, state=4))["from"] == "bob"

    run(scene())


def test_it_is_told_of_what_was_replayed_and_waits_for_a_sender_who_is_away(server):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await post_mail(alice, ["bob", "carol"], 3, receipt=3)
        await alice.close()
        for reader in ("bob", "carol"):
            client = await PythonClient.open(post, reader)
            got = mails(client)
            assert ids(got) == sent and all(m["receipt"] == 3 for m in got)
            await ack(client, got[1])
            await client.close()
        await eventually(lambda: post.total("receipts_sent") == 4, "four receipts")
        assert sorted(await stored_receipts(post, "alice")) == \
            sorted((2, reader, one) for reader in ("bob", "carol") for one in sent[:2])

    run(scene())


def test_nobody_is_told_who_did_not_ask_or_wrote_to_himself_and_receipts_cause_none(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        await post_mail(alice, ["bob", "alice"], 1)
        await alice.send("alice", "x", type=1, id="self", receipt=2)
        await alice.send("bob", "x", type=1, id="asked", receipt=3)
        await ack(bob, await bob.message(id="asked"))
        await ack(alice, await receipt(alice, state=2, inReplyTo="asked"))
        await bob.send("alice", type=4, inReplyTo="asked", state=3, receipt=2)
        await ack(alice, await receipt(alice, state=3))
        await nothing_more(alice, post)
        assert await stored_receipts(post, "bob") == []
        assert await stored_receipts(post, "alice") == [(2, "bob", "asked"), (3, "bob", "asked")]

    run(scene())


def test_only_what_an_ack_covers_is_delivered(server):
    """A message of higher level overtakes others; its ack does not cover the overtaken ones."""
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        low = await post_mail(alice, "bob", 5, receipt=2)
        high = await post_mail(alice, "bob", 1, receipt=2, level=9)
        bob = await PythonClient.open(post, "bob")
        got = mails(bob)
        assert ids(got) == high + low
        await ack(bob, got[0])
        assert (await receipt(alice))["inReplyTo"] == high[0]
        await ack(bob, got[2])
        assert [(await receipt(alice))["inReplyTo"] for _ in range(2)] == low[:2]
        await ack(bob, got[-1])
        assert [(await receipt(alice))["inReplyTo"] for _ in range(3)] == low[2:]
        await nothing_more(alice, post)
        assert len(await stored_receipts(post, "alice")) == 6

    run(scene())


def test_thousands_acknowledged_at_once_give_a_receipt_each(server):
    post = server(2)
    count = harness.scaled(3000)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        sent = await post_mail(alice, "bob", count, receipt=2)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        await ack(bob, mails(bob)[-1])
        await eventually(lambda: len(receipts(alice)) >= count, "all receipts")
        assert [one[2] for one in receipts(alice)] == sent
        await bob.close()
        assert not await backlog(post, "bob")
        await nothing_more(alice, post)
        assert len(receipts(alice)) == count

    run(scene())


# ------------------------------------------------------------------------------------------------ state 3


def test_read_is_told_once_however_many_devices_say_it(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        phone = await open_on(post, 1, "bob", PythonClient.open, device="APP")
        table = await open_on(post, 0, "bob", PythonClient.open, device="TAB")
        await alice.send("bob", "x", type=1, id="asked", receipt=3)
        for device in (phone, table):
            await device.message(id="asked")
        for device in (phone, table, phone):
            sent = await device.send("alice", type=4, inReplyTo="asked", state=3)
            assert (await device.said("accepted", inReplyTo=sent["id"]))["state"] == 1
        got = await receipt(alice)
        assert (got["state"], got["from"], got["inReplyTo"]) == (3, "bob", "asked")
        await nothing_more(alice, post)
        assert await stored_receipts(post, "alice") == [(3, "bob", "asked")]

    run(scene())


def test_read_is_refused_where_nobody_asked(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        await alice.send("bob", "x", type=1, id="plain")
        await alice.send("bob", "x", type=1, id="two", receipt=2)
        await alice.send("carol", "x", type=1, id="not-bobs", receipt=3)
        await all_accepted(alice, ["plain", "two", "not-bobs"])
        for wrong in ("plain", "two", "not-bobs", "nothing", "", "/", "/lost"):
            answer = await bob.rejected(await bob.send("alice", type=4, inReplyTo=wrong, state=3))
            assert answer["code"] == "not-found" and answer["refused"] == [{"address": "alice", "code": "not-found"}]
        assert await stored_receipts(post, "alice") == []

    run(scene())


def test_a_client_cannot_forge_receipts(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        await alice.send("bob", "x", type=1, id="asked", receipt=3)
        await all_accepted(alice, ["asked"])
        for fields, code, field in (
                ({"state": 2, "inReplyTo": "asked"}, "bad-field", "state"),
                ({"state": 4, "inReplyTo": "asked"}, "bad-field", "state"),
                ({"state": 5, "inReplyTo": "asked"}, "bad-field", "state"),
                ({"inReplyTo": "asked"}, "missing-field", "state"),
                ({"state": 3}, "missing-field", "inReplyTo"),
                ({"state": 3, "inReplyTo": "asked", "from": "carol"}, "forbidden-from", "from")):
            answer = await bob.rejected(await bob.send("alice", type=4, **fields))
            assert (answer["code"], answer["field"]) == (code, field)
        assert await stored_receipts(post, "alice") == []

    run(scene())


# ------------------------------------------------------------------------------------------ things that die


async def open_somehow(post, address):
    """Opens a session, and tries again when its worker is just being replaced."""
    for _ in range(100):
        try:
            return await PythonClient.open(post, address)
        except (clients.Closed, OSError, EOFError, AssertionError, clients.websockets.WebSocketException):
            pass
    raise AssertionError("nobody serves")


@pytest.mark.parametrize("sender_is_there", [True, False])
def test_a_worker_killed_between_ack_and_receipt_costs_none_and_doubles_none(server_with_own_redis, own_redis,
                                                                             sender_is_there):
    """Redis is stopped when the ack comes: the worker has sent the ack to Redis and dies without an answer."""
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        wanted = []
        for number in range(3):
            bob = await open_on(post, 1, "bob", PythonClient.open)
            sent = await post_mail(alice, "bob", 3, receipt=2)
            wanted += sent
            last = await bob.message(id=sent[-1])
            if number == 2 and not sender_is_there:
                await alice.close()
            pid = post.worker_pids()[1]
            own_redis.pause()
            await ack(bob, last)
            os.kill(pid, signal.SIGKILL)
            own_redis.resume()
            await eventually(lambda p=pid: post.has_replaced(1, p), "a new worker serves")
        expected = [(2, "bob", one) for one in wanted]
        if sender_is_there:
            await eventually(lambda: len(receipts(alice)) >= len(wanted), "every receipt")
            await nothing_more(alice, post)
            assert sorted(receipts(alice)) == sorted(expected)
        store = own_redis.client()
        await eventually(lambda: store.zcard("po:owed") == 0, "nothing is owed any more")
        assert sorted(await stored_receipts(post, "alice")) == sorted(expected)
        assert not await backlog(post, "bob"), "the ack was stored with what it owes"

    run(scene())


def test_acks_while_redis_is_away_are_made_up_for(server_with_own_redis, own_redis):
    own_redis.stop()
    own_redis.durable = True
    own_redis.start()
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        sent = await post_mail(alice, "bob", 10, receipt=2)
        got = [await bob.message(id=one) for one in sent]
        own_redis.kill()
        await eventually(lambda: "event=redis_down" in post.log() or "redis" in post.log(), "it is noticed")
        await ack(bob, got[3])
        await ack(bob, got[7])
        own_redis.start()
        await eventually(lambda: len(receipts(alice)) >= 8, "the receipts")
        await ack(bob, got[9])
        await eventually(lambda: len(receipts(alice)) >= 10, "the rest")
        await nothing_more(alice, post)
        assert sorted(receipts(alice)) == sorted((2, "bob", one) for one in sent)
        await bob.close()
        assert not await backlog(post, "bob")

    run(scene())
