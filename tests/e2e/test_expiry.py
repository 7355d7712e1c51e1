"""Mail that expires before any device acknowledges it is removed; a sender who asked for a receipt gets one."""

import os
import signal
import time

from clients import PythonClient, eventually, open_on, run
from test_mailbox import FAST, ack, all_accepted, backlog, ids, mails, post_mail
from test_receipts import nothing_more, receipt, receipts, stored_receipts


def soon():
    return int(time.time()) + 2


def test_the_sender_is_told_though_no_session_of_the_recipient_ever_comes(server, redis):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        when = soon()
        await alice.send(["bob", "ca{}%rol"], "x", type=1, id="asked", receipt=2, expiresAt=when)
        await alice.send("bob", "x", type=1, id="plain", expiresAt=when)
        await alice.send("bob", "x", type=1, id="late", receipt=2, expiresAt=when + 1000)
        await all_accepted(alice, ["asked", "plain", "late"])
        told = sorted([await receipt(alice) for _ in range(2)], key=lambda m: m["from"])
        assert [(m["state"], m["from"], m["inReplyTo"], m["subject"]) for m in told] == \
            [(5, "bob", "asked", "expired"), (5, "ca{}%rol", "asked", "expired")]
        assert all(m["createTime"] >= when for m in told)
        await eventually(lambda: post.total("mail_removed") == 3, "all three are removed")
        store = redis.client()
        assert store.xlen("po:{bob}:box") == 1
        assert ids(await backlog(post, "bob")) == ["late"]
        bob = await PythonClient.open(post, "bob")
        assert bob.welcome["recovered"] is True
        assert ids((await bob.order("history"))["messages"]) == ["late"]
        await nothing_more(alice, post)
        assert not receipts(alice)

    run(scene())


def test_what_a_device_acknowledged_does_not_expire_for_its_sender(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        phone = await open_on(post, 1, "bob", PythonClient.open, device="APP")
        when = soon()
        await alice.send("bob", "x", type=1, id="asked", receipt=2, expiresAt=when)
        await alice.send("bob", "x", type=1, id="plain", expiresAt=when)
        await phone.message(id="asked")
        await ack(phone, await phone.message(id="plain"))
        assert (await receipt(alice))["state"] == 2
        await alice.send("bob", "x", type=1, id="mark", receipt=2, expiresAt=when)
        assert (await receipt(alice))["inReplyTo"] == "mark"
        assert await stored_receipts(post, "alice") == [(2, "bob", "asked"), (5, "bob", "mark")]
        assert await backlog(post, "bob", "TAB") == [], "another device does not get what has expired"
        assert ids((await phone.order("history"))["messages"]) == ["plain", "asked"]

    run(scene())


def test_an_ack_around_what_expired_does_not_deliver_it(server):
    """The reader gets the mail before and after the expired one. The sweeper or the ack may come first."""
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        for one, fields in (("a", {}), ("gone", {"expiresAt": int(time.time()) - 10}), ("b", {})):
            await alice.send("bob", "x", type=1, id=one, receipt=2, **fields)
        bob = await PythonClient.open(post, "bob")
        await eventually(lambda: ids(mails(bob)) == ["a", "b"], "both")
        await ack(bob, mails(bob)[1])
        await eventually(lambda: len(receipts(alice)) == 3, "three receipts")
        assert sorted(receipts(alice)) == [(2, "bob", "a"), (2, "bob", "b"), (5, "bob", "gone")]

    run(scene())


def test_live_mail_that_may_expire_comes_at_once_and_in_order(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        near = await open_on(post, 0, "bob", PythonClient.open, device="near")
        far = await open_on(post, 1, "bob", PythonClient.open, device="far")
        wanted = []
        for number in range(100):
            fields = {"expiresAt": int(time.time()) + 100} if number % 3 else {}
            wanted.append((await alice.send("bob", "x", type=1, **fields))["id"])
        for reader in (near, far):
            await eventually(lambda r=reader: len(mails(r)) >= 100, "all")
            assert ids(mails(reader)) == wanted

    run(scene())


def test_killed_workers_neither_lose_nor_double_what_is_told(server):
    post = server(2, FAST)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        when = soon()
        wanted = []
        for number in range(300):
            wanted.append((await alice.send(f"away{number}", "x", type=1, receipt=2, expiresAt=when))["id"])
        await all_accepted(alice, wanted)
        await alice.close()
        for slot in (0, 1, 0):
            await eventually(lambda: post.total("mail_removed") > 0, "it has begun")
            pid = await eventually(lambda s=slot: post.worker_pids().get(s), "a worker to kill")
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda s=slot, p=pid: post.has_replaced(s, p), "a new worker")
        store = post.redis.client()
        await eventually(lambda: store.xlen("po:{alice}:box") >= 300 and store.zcard("po:owed") == 0, "all are told")
        got = await stored_receipts(post, "alice")
        assert sorted(got) == sorted((5, f"away{number}", one) for number, one in enumerate(wanted))

    run(scene())
