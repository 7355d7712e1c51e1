"""Accepted mail reaches every device of the recipient, in the order of each sender, even when processes die."""

import asyncio
import itertools
import json
import os
import signal
import time

import psutil
import pytest
import websockets

import clients
import harness
from clients import Closed, PythonClient, b64, eventually, open_on, run

FAST = harness.FAST
_batches = itertools.count(1)


def position(seq):
    """A seq as something that can be compared; only a test does that."""
    return tuple(int(part) for part in seq.split("-"))


def mails(client):
    return [m for m in client.inbox if m["type"] == 1]


def ids(messages):
    return [m["id"] for m in messages]


def by_sender(messages):
    """ids in the order of arrival, by sender."""
    result = {}
    for message in messages:
        result.setdefault(message["from"], []).append(message["id"])
    return result


def answers(client):
    return [m for m in client.inbox if m["from"] == "postmaster" and m["subject"] in ("accepted", "rejected")]


async def pour(sender, to, count, **fields):
    """Sends without waiting for answers; returns the ids."""
    batch = f"{sender.address}-{next(_batches)}"
    for number in range(count):
        await sender.send(to, str(number), type=1, id=f"{batch}-{number}", **fields)
    return [f"{batch}-{number}" for number in range(count)]


async def all_accepted(sender, wanted):
    """Checks that all of these are accepted, in the order of sending, and for all recipients. Takes the answers."""
    await eventually(lambda: len(answers(sender)) >= len(wanted), f"{len(wanted)} answers for {sender.address}")
    got = answers(sender)
    assert [(m["subject"], m["inReplyTo"]) for m in got] == [("accepted", one) for one in wanted]
    assert not any(m.get("refused") for m in got)
    sender.inbox.clear()


async def post_mail(sender, to, count, **fields):
    sent = await pour(sender, to, count, **fields)
    await all_accepted(sender, sent)
    return sent


async def has(client, count):
    """The mails of a client once there are `count`. A surplus mail would come before the mails of a later call."""
    await eventually(lambda: len(mails(client)) >= count or client.close_code is not None, f"{count} mails")
    return mails(client)


async def ack(client, message):
    answer = await client.order("ack", references=message["seq"])
    assert answer["subject"] == "result", answer
    return answer


async def backlog(post, address, device="", **options):
    """The mail that a new session gets up to `replayed`; the session leaves again without an ack."""
    client = await PythonClient.open(post, address, device=device, **options)
    await client.close()
    return mails(client)


# ------------------------------------------------------------------------------------- stored and replayed


@pytest.mark.parametrize("workers", [1, 2])
def test_mail_to_who_is_away_is_accepted_and_waits_between_welcome_and_replayed(server, workers):
    post = server(workers)

    async def scene():
        senders = [await open_on(post, n % workers, f"sender{n}", PythonClient.open) for n in range(3)]
        sent = {s.address: await pour(s, "bob", 30) for s in senders}
        for sender in senders:
            await all_accepted(sender, sent[sender.address])
        bob = await open_on(post, workers - 1, "decoy-bob", PythonClient.open)
        await bob.close()
        bob = await PythonClient.open(post, "bob", welcome=False)
        await eventually(lambda: any(m["subject"] == "replayed" for m in bob.inbox), "replayed")
        welcome, *waiting, replayed = bob.inbox
        assert welcome["subject"] == "welcome" and replayed["subject"] == "replayed"
        assert welcome["recovered"] is True and welcome["epoch"] and position(welcome["cursor"]) == (0, 0)
        assert by_sender(waiting) == sent
        order = [position(m["seq"]) for m in waiting]
        assert order == sorted(set(order))
        assert welcome["seq"] == replayed["seq"] == waiting[-1]["seq"]
        assert all(m["state"] == 1 or m["state"] == 0 for m in waiting)
        live = await post_mail(senders[0], "bob", 5)
        got = (await has(bob, 95))[90:]
        assert ids(got) == live and all(position(m["seq"]) > order[-1] for m in got)

    run(scene())


def test_each_device_gets_what_lies_behind_its_own_acknowledgement(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        sent = await post_mail(alice, "bob", 20)
        phone = await open_on(post, 0, "bob", PythonClient.open, device="APP")
        assert ids(mails(phone)) == sent
        answer = await ack(phone, mails(phone)[11])
        assert answer["cursor"] == mails(phone)[11]["seq"]
        await phone.close()
        for slot in (0, 1):
            phone = await open_on(post, slot, "bob", PythonClient.open, device="APP")
            assert ids(mails(phone)) == sent[12:]
            assert phone.welcome["cursor"] == answer["cursor"] and phone.welcome["recovered"] is True
            await phone.close()
        assert ids(await backlog(post, "bob", "TAB")) == sent
        assert ids(await backlog(post, "bob", "TAB")) == sent
        assert ids(await backlog(post, "bob", "APP")) == sent[12:]

    run(scene())


def test_live_mail_that_was_not_acknowledged_comes_again(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        sent = await post_mail(alice, "bob", 10)
        got = await has(bob, 10)
        await ack(bob, got[3])
        await bob.close()
        more = await post_mail(alice, "bob", 3)
        assert ids(await backlog(post, "bob")) == sent[4:] + more

    run(scene())


def test_an_older_acknowledgement_takes_nothing_back_and_an_unknown_one_does_nothing(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await post_mail(alice, "bob", 6)
        bob = await PythonClient.open(post, "bob")
        got = mails(bob)
        await ack(bob, got[4])
        await ack(bob, got[1])
        await ack(bob, {"seq": "99999999999999-0"})
        assert (await bob.order("ack"))["code"] == "missing-field"
        assert (await bob.order("ack", references="yesterday"))["code"] == "bad-field"
        await bob.close()
        assert ids(await backlog(post, "bob")) == sent[5:]

    run(scene())


def test_since_replays_after_it_and_a_wrong_epoch_from_the_oldest(server):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await post_mail(alice, "bob", 10)
        bob = await PythonClient.open(post, "bob")
        got, epoch = mails(bob), bob.welcome["epoch"]
        await ack(bob, got[-1])
        await bob.close()
        again = await PythonClient.open(post, "bob", query={"since": got[3]["seq"], "epoch": epoch})
        assert ids(mails(again)) == sent[4:]
        assert again.welcome["recovered"] is True and again.welcome["cursor"] == got[3]["seq"]
        await again.close()
        again = await PythonClient.open(post, "bob", query={"since": got[3]["seq"], "epoch": "another"})
        assert ids(mails(again)) == sent
        assert again.welcome["recovered"] is False and again.welcome["epoch"] == epoch

    run(scene())


def test_the_same_id_twice_is_accepted_twice_and_delivered_once(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        for _ in range(2):
            await alice.send("bob", "once", type=1, id="same")
            await alice.send("away", "once", type=1, id="same-away")
        await all_accepted(alice, ["same", "same-away"] * 2)
        await alice.close()
        alice = await open_on(post, 1, "alice", PythonClient.open)
        await alice.send("bob", "once", type=1, id="same")
        await alice.send("away", "once", type=1, id="same-away")
        await alice.send("bob", "end", type=1, id="end")
        await all_accepted(alice, ["same", "same-away", "end"])
        await bob.message(id="end")
        assert ids(mails(bob)) == ["same"]
        assert ids(await backlog(post, "away")) == ["same-away"]
        assert ids(await backlog(post, "bob", "TAB")) == ["same", "end"]
        carol = await PythonClient.open(post, "carol")
        await carol.send("bob", "of another sender", type=1, id="same")
        await all_accepted(carol, ["same"])
        assert [(m["from"], m["id"]) for m in await backlog(post, "bob", "TAB")][-1] == ("carol", "same")

    run(scene())


def test_mail_of_a_worker_that_died_before_telling_is_delivered_when_it_is_sent_again(server, redis):
    """The mail lies in the mailbox as the dead worker left it; no doorbell was rung."""
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        sent = await post_mail(alice, "bob", 1)
        await bob.message(id=sent[0])
        store = redis.client()
        box = next(store.scan_iter("*{bob}:box"))
        body = json.dumps(clients.stamped("alice", "bob", "orphan"))
        seq = store.xadd(box, {"f": "alice", "i": "orphan", "b": body}).decode()
        store.hset(box[:-len(b":box")] + b":ids", mapping={"orphan": f"{seq} alice", "": seq})
        for _ in range(2):
            await alice.send("bob", "", type=1, id="orphan")
            await all_accepted(alice, ["orphan"])
        assert (await bob.message(type=1))["id"] == "orphan"
        end = await post_mail(alice, "bob", 1)
        assert (await bob.message(type=1))["id"] == end[0]

    run(scene())


def test_a_reader_that_comes_while_mail_pours_in_misses_none_and_gets_none_twice(server):
    post = server(2)
    each = harness.scaled(1600)

    async def scene():
        senders = [await open_on(post, n % 2, f"sender{n}", PythonClient.open) for n in range(3)]
        pouring = [asyncio.ensure_future(pour(sender, "bob", each)) for sender in senders]
        await eventually(lambda: all(len(answers(sender)) > each // 4 for sender in senders), "a part is accepted")
        bob = await open_on(post, 1, "bob", PythonClient.open)
        sent = {sender.address: await task for sender, task in zip(senders, pouring)}
        for sender in senders:
            await all_accepted(sender, sent[sender.address])
        end = await post_mail(senders[0], "bob", 1)
        await eventually(lambda: mails(bob)[-1]["id"] == end[0] and len(mails(bob)) > 3 * each, "the last mail")
        sent[senders[0].address] += end
        assert by_sender(mails(bob)) == sent
        order = [position(m["seq"]) for m in mails(bob)]
        assert order == sorted(set(order))

    run(scene())


# --------------------------------------------------------------------------------------- limits of keeping


def test_a_full_mailbox_drops_the_oldest_and_says_so_to_who_missed_it(server):
    post = server(2, {"mailbox": {"maxMessages": 20}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await post_mail(alice, "bob", 5)
        phone = await PythonClient.open(post, "bob", device="APP")
        await ack(phone, mails(phone)[2])
        await phone.close()
        sent += await post_mail(alice, "bob", 25)
        phone = await PythonClient.open(post, "bob", device="APP")
        assert ids(mails(phone)) == sent[-20:]
        assert phone.welcome["recovered"] is False
        await ack(phone, mails(phone)[0])
        await phone.close()
        phone = await PythonClient.open(post, "bob", device="APP")
        assert ids(mails(phone)) == sent[-19:]
        assert phone.welcome["recovered"] is True
        new = await PythonClient.open(post, "bob", device="TAB")
        assert ids(mails(new)) == sent[-20:]

    run(scene())


def test_a_device_that_never_acknowledged_hears_of_a_gap_once_it_has_one(server):
    post = server(1, {"mailbox": {"maxMessages": 20}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        await post_mail(alice, "bob", 30)
        for _ in range(2):
            bob = await PythonClient.open(post, "bob")
            assert bob.welcome["recovered"] is True, "what was gone before it first came, it does not miss"
            await bob.close()
        sent = await post_mail(alice, "bob", 5)
        bob = await PythonClient.open(post, "bob")
        assert bob.welcome["recovered"] is False
        assert ids(mails(bob))[-5:] == sent and len(mails(bob)) == 20

    run(scene())


def test_a_full_mailbox_refuses_when_told_to(server):
    post = server(1, {"mailbox": {"maxMessages": 20, "full": "reject"}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await post_mail(alice, "bob", 20)
        answer = await alice.rejected(await alice.send("bob", "one too many", type=1))
        assert answer["code"] == "mailbox-full" and answer["state"] == 9
        assert post.total("rejected_mailbox_full") == 1 and post.total("rejected_storage_unavailable") == 0
        both = await alice.send(["bob", "carol"], "one has room", type=1)
        answer = await alice.said("accepted", inReplyTo=both["id"])
        assert answer["refused"] == [{"address": "bob", "code": "mailbox-full"}]
        assert ids(await backlog(post, "bob")) == sent
        assert ids(await backlog(post, "carol")) == [both["id"]]

    run(scene())


def test_what_has_expired_is_not_delivered(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        near = await open_on(post, 0, "near", PythonClient.open)
        far = await open_on(post, 1, "far", PythonClient.open)
        now = int(time.time())
        everybody = ["near", "far", "away"]
        await alice.send(everybody, "stale", type=1, id="stale", expiresAt=now - 10)
        await alice.send(everybody, "fresh", type=1, id="fresh", expiresAt=now + 1000)
        await alice.send(["away"], "soon", type=1, id="soon", expiresAt=now + 1)
        await alice.send(everybody, "end", type=1, id="end")
        await all_accepted(alice, ["stale", "fresh", "soon", "end"])
        for reader in (near, far):
            await eventually(lambda r=reader: "end" in ids(mails(r)), "the last mail")
            assert ids(mails(reader)) == ["fresh", "end"]
        await eventually(lambda: time.time() > now + 2, "it has expired")
        assert ids(await backlog(post, "away")) == ["fresh", "end"]

    run(scene())


# ----------------------------------------------------------------------------------------- copies and levels


@pytest.mark.parametrize("slot", [0, 1])
def test_the_senders_other_device_gets_a_copy_and_the_sending_one_does_not(server, slot):
    post = server(2)

    async def scene():
        phone = await open_on(post, 0, "alice", PythonClient.open, device="APP")
        table = await open_on(post, slot, "alice", PythonClient.open, device="TAB")
        bob = await PythonClient.open(post, "bob")
        await phone.send("bob", "x", type=1, id="one")
        await all_accepted(phone, ["one"])
        copy = await table.message()
        assert (copy["id"], copy["fromTag"], copy["from"], copy["to"]) == ("one", "APP", "alice", ["bob"])
        await bob.message(id="one")
        await bob.send("alice", "to both", type=1, id="two")
        for device in (phone, table):
            await device.message(id="two")
            assert not mails(device)
            await device.close()
        assert ids(await backlog(post, "alice", "APP")) == ["two"]
        assert ids(await backlog(post, "alice", "TAB")) == ["one", "two"]

    run(scene())


def test_no_copies_when_they_are_switched_off(server):
    post = server(1, {"sessions": {"copyToSender": False}})

    async def scene():
        phone = await PythonClient.open(post, "alice", device="APP")
        await PythonClient.open(post, "alice", device="TAB")
        await post_mail(phone, "bob", 1)
        assert not await backlog(post, "alice", "TAB")

    run(scene())


def test_acknowledging_what_overtook_others_does_not_acknowledge_those(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await post_mail(alice, "bob", 15)
        high = await post_mail(alice, "bob", 1, level=9)
        sent2 = await post_mail(alice, "bob", 4)
        bob = await PythonClient.open(post, "bob")
        got = mails(bob)
        assert ids(got) == high + sent + sent2, "the high one leaves first"
        assert position((await ack(bob, got[0]))["cursor"]) < position(got[1]["seq"])
        await bob.close()
        bob = await PythonClient.open(post, "bob")
        got = mails(bob)
        assert ids(got) == high + sent + sent2
        cursor = position((await ack(bob, got[10]))["cursor"])
        assert position(got[10]["seq"]) <= cursor < position(got[11]["seq"])
        await bob.close()
        bob = await PythonClient.open(post, "bob")
        got = mails(bob)
        assert ids(got) == high + sent[10:] + sent2
        cursor = position((await ack(bob, got[5]))["cursor"])
        assert position(got[0]["seq"]) <= cursor < position(got[6]["seq"])
        await bob.close()
        assert ids(await backlog(post, "bob")) == sent2

    run(scene())


def test_replayed_comes_behind_mail_of_any_level(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        low = await post_mail(alice, "bob", 3, level=-5)
        bob = await PythonClient.open(post, "bob", welcome=False)
        await eventually(lambda: len(bob.inbox) == 5, "all of it")
        assert [m["subject"] for m in bob.inbox] == ["welcome", "", "", "", "replayed"]
        assert ids(mails(bob)) == low

    run(scene())


# ------------------------------------------------------------------------------------------------- history


def test_history_is_newest_first_by_limit_position_and_thread(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        sent = await post_mail(alice, "bob", 10)
        await alice.send("bob", "root", type=1, id="root")
        await all_accepted(alice, ["root"])
        replies = []
        for _ in range(4):
            replies += await post_mail(alice, "bob", 1, subjectId="root", inReplyTo="root")
            sent_between = await post_mail(alice, "bob", 1)
            sent += sent_between

        async def history(**fields):
            answer = await bob.order("history", **fields)
            assert answer["subject"] == "result" and "code" not in answer, answer
            return answer["messages"]

        everything = await history()
        order = [position(m["seq"]) for m in everything]
        assert len(everything) == 19 and order == sorted(order, reverse=True)
        first = await history(limit=5)
        assert ids(first) == ids(everything)[:5]
        assert ids(await history(limit=5, references=first[-1]["seq"])) == ids(everything)[5:10]
        assert ids(await history(tags=["bob"], limit=200)) == ids(everything)
        thread = await history(subjectId="root")
        assert ids(thread) == [*reversed(replies), "root"]
        assert ids(await history(subjectId="root", limit=2, references=thread[1]["seq"])) == \
            [replies[1], replies[0]]
        assert await history(subjectId="nothing") == []
        assert (await bob.order("history", tags=["alice"]))["code"] == "forbidden-to"
        assert (await bob.order("history", limit=201))["code"] == "bad-field"
        assert everything[0]["content"] == b64("0")

    run(scene())


# -------------------------------------------------------------------------------------------- a slow reader


def test_a_slow_reader_gets_all_in_order_and_the_server_holds_only_a_part(server):
    post = server(1, {"limits": {"queueBytes": 1 << 20, "slowConsumerSeconds": 5}})
    count = harness.scaled(3000)

    async def fill():
        alice = await PythonClient.open(post, "alice")
        sent = []
        for number in range(count):
            await alice.send("bob", "x" * 6000, type=1, id=f"slow-{number}")
            sent.append(f"slow-{number}")
        await all_accepted(alice, sent)
        return sent

    sent = run(fill())
    worker = psutil.Process(post.worker_pids()[0])
    before = worker.memory_info().rss
    with clients.upgrade(post, "bob") as bob:
        assert json.loads(bob.message())["subject"] == "welcome"
        got, most = [], 0
        while len(got) < count:
            got.append(json.loads(bob.message())["id"])
            if len(got) % 100 == 1:
                most = max(most, worker.memory_info().rss)
        assert got == sent
        bob.send(clients.frame(9, b"still here?"))
        assert bob.control() == (10, b"still here?")
    if not harness.SANITIZED:
        assert most - before < 16 << 20


# ------------------------------------------------------------------------------------------ things that die


class Stubborn:
    """A sender that reconnects and sends unaccepted mail again, in order and under the same id."""

    def __init__(self, post, address, to):
        self.post, self.address, self.to = post, address, to
        self.client = None
        self.pending, self.accepted = [], []

    async def connect(self):
        """Connects, and tries again when the next worker dies meanwhile."""
        while True:
            self.client = await reopen(self.post, self.address)
            try:
                for one in self.pending:
                    await self.client.send(self.to, "x", type=1, id=one)
                return
            except (Closed, websockets.ConnectionClosed):
                pass

    async def work(self, count):
        left = [f"{self.address}-{number}" for number in range(count)]
        await self.connect()
        while left or self.pending:
            try:
                while left and len(self.pending) < 50:
                    self.pending.append(left.pop(0))
                    await self.client.send(self.to, "x", type=1, id=self.pending[-1])
                answer = await self.client.take(lambda m: m["subject"] in ("accepted", "rejected"))
                if answer["subject"] == "rejected":
                    assert answer["code"] == "storage-unavailable", answer
                    await self.client.send(self.to, "x", type=1, id=answer["inReplyTo"])
                elif answer["inReplyTo"] in self.pending:
                    self.pending.remove(answer["inReplyTo"])
                    self.accepted.append(answer["inReplyTo"])
            except (Closed, websockets.ConnectionClosed):
                await self.connect()


async def reopen(post, address, device=""):
    """Opens a session, and tries again when a worker dies in the middle of the handshake."""
    for _ in range(200):
        try:
            return await PythonClient.open(post, address, device=device)
        except (Closed, OSError, EOFError, websockets.WebSocketException, AssertionError):
            await asyncio.sleep(0.01)
    raise AssertionError("nobody serves")


async def read_all(post, address, journal, done):
    """Keeps the mail of all its sessions until done() is true."""
    while not done():
        client = await reopen(post, address)
        seen = 0
        while client.close_code is None and not done():
            client.changed.clear()
            while seen < len(client.inbox):
                if client.inbox[seen]["type"] == 1:
                    journal.append(client.inbox[seen])
                seen += 1
            try:
                await asyncio.wait_for(client.changed.wait(), 0.05)
            except asyncio.TimeoutError:
                pass


def without_repetitions(messages):
    seen = set()
    return [m for m in messages if not (m["id"] in seen or seen.add(m["id"]))]


def test_killed_workers_lose_nothing_that_was_accepted(server):
    post = server(2, FAST)
    count = harness.scaled(1000)

    async def scene():
        senders = [Stubborn(post, f"sender{n}", "bob") for n in range(3)]
        journal = []
        finished = []

        def everything():
            return finished and len({m["id"] for m in journal}) >= 3 * count

        reader = asyncio.ensure_future(read_all(post, "bob", journal, everything))
        working = [asyncio.ensure_future(s.work(count)) for s in senders]
        for round_number in range(4):
            goal = count * (round_number + 1) // 5
            await eventually(lambda g=goal: sum(len(s.accepted) for s in senders) >= 3 * g, "some are accepted")
            await eventually(lambda n=round_number: post.status()["restarts"] == n, "the killed one is replaced")
            pids = await eventually(lambda: (lambda p: p if len(p) == 2 else None)(post.worker_pids()), "two serve")
            os.kill(pids[round_number % 2], signal.SIGKILL)
        await asyncio.gather(*working)
        finished.append(True)
        await asyncio.wait_for(reader, harness.DEADLINE)
        got = by_sender(without_repetitions(journal))
        await eventually(lambda: post.status()["restarts"] == 4, "the last one is replaced")
        for sender in senders:
            assert sorted(sender.accepted) == sorted(got[sender.address])
            assert got[sender.address] == [f"{sender.address}-{number}" for number in range(count)]

    run(scene())


# ---------------------------------------------------------------------------------------- trouble with Redis


async def until_all_are_accepted(sender, to, wanted):
    """Sends refused mail again while Redis is away; returns the ids in the order of acceptance."""
    accepted = []
    while len(accepted) < len(wanted):
        answer = await sender.take(lambda m: m["subject"] in ("accepted", "rejected"))
        if answer["subject"] == "accepted":
            accepted.append(answer["inReplyTo"])
            continue
        assert answer["code"] == "storage-unavailable", answer
        await asyncio.sleep(0.01)  # a pause between attempts; the sleep orders no events
        await sender.send(to, "again", type=1, id=answer["inReplyTo"])
    assert sorted(accepted) == sorted(wanted)
    return accepted


def test_a_killed_redis_that_kept_its_file_costs_nobody_anything(server_with_own_redis, own_redis):
    own_redis.stop()
    own_redis.durable = True
    own_redis.start()
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        accepted = await post_mail(alice, "bob", 100)
        for _ in range(2):
            sent = await pour(alice, "bob", 100)
            own_redis.kill()
            own_redis.start()
            accepted += await until_all_are_accepted(alice, "bob", sent)
        accepted += await until_all_are_accepted(alice, "bob", await pour(alice, "bob", 100))
        await has(bob, len(accepted))
        assert ids(mails(bob)) == accepted
        assert alice.close_code is None and bob.close_code is None
        assert not [m for m in bob.inbox if m["subject"] == "welcome"], "nothing was lost"
        assert ids(await backlog(post, "bob", "TAB")) == accepted

    run(scene())


def test_a_flushed_redis_is_told_to_every_session(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        await post_mail(alice, "bob", 10)
        last = (await has(bob, 10))[-1]
        own_redis.client().flushall()
        for client in (alice, bob):
            welcome = await client.said("welcome")
            assert welcome["recovered"] is False and welcome["epoch"] not in ("", bob.welcome["epoch"])
        await bob.said("replayed")
        await alice.said("replayed")
        bob.inbox.clear()
        alice.inbox.clear()
        sent = await post_mail(alice, "bob", 10)
        await has(bob, 10)
        assert ids(mails(bob)) == sent
        again = await PythonClient.open(post, "bob", query={"since": last["seq"], "epoch": bob.welcome["epoch"]})
        assert again.welcome["recovered"] is False and ids(mails(again)) == sent

    run(scene())


def test_forgotten_scripts_and_cut_connections_are_made_up_for(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        accepted = []
        admin = own_redis.client()
        for round_number in range(10):
            sent = await pour(alice, "bob", 50)
            if round_number % 2:
                admin.script_flush()
            else:
                admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            sent += await pour(alice, "bob", 5)
            accepted += await until_all_are_accepted(alice, "bob", sent)
        await has(bob, len(accepted))
        assert ids(mails(bob)) == accepted
        assert alice.close_code is None and bob.close_code is None
        assert ids(await backlog(post, "bob", "TAB")) == accepted

    run(scene())


def test_a_cut_subscriber_misses_no_mail(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        sent = []
        for _ in range(5):
            own_redis.client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            batch = await pour(alice, "bob", 50)
            sent += await until_all_are_accepted(alice, "bob", batch)
        await has(bob, len(sent))
        assert ids(mails(bob)) == sent

    run(scene())


def test_a_burst_of_mail_for_a_thousand_stalls_nobody_else(server):
    post = server(1)
    crowd = [f"r{number}" for number in range(1000)]
    burst = harness.scaled(40)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        carol = await PythonClient.open(post, "r999")
        asked = 0
        sent = await pour(alice, crowd, burst)
        while len(answers(alice)) < len(sent):
            await bob.settle()  # bob's worker answers between two parts of the burst
            asked += 1
        assert asked >= 2, "the answer to bob came behind the burst"
        await all_accepted(alice, sent)
        await eventually(lambda: len(mails(carol)) == len(sent), "all of it")
        assert ids(mails(carol)) == sent

    run(scene())
