"""Groups: who may post and subscribe; a post is stored once and reaches every subscriber, replayed or live."""

import asyncio
import itertools
import json
import os
import signal

import pytest

import harness
from clients import Closed, PythonClient, b64, eventually, open_on, run

FAST = harness.FAST
MEMBER = {"groups": ["#*"]}
_batches = itertools.count(1)


def position(seq):
    """A seq as something that can be compared; only a test does that."""
    return tuple(int(part) for part in seq.split("-"))


def posts(client, group=None):
    return [m for m in client.inbox if m["type"] == 3 and (group is None or group in m["to"])]


def ids(messages):
    return [m["id"] for m in messages]


def replayed(client, group):
    return [m for m in client.inbox if m["subject"] == "replayed" and m.get("tags") == [group]]


async def enter(post, address, slot=None, po=None, **options):
    """A session whose token allows every group."""
    token = post.token(address, po={**MEMBER, **(po or {})})
    if slot is None:
        return await PythonClient.open(post, address, token=token, **options)
    return await open_on(post, slot, address, PythonClient.open, token=token, **options)


async def subscribe(client, *groups, **fields):
    answer = await client.order("subscribe", tags=list(groups), **fields)
    assert answer["subject"] == "result", answer
    return answer["groups"]


async def pour(sender, to, count, **fields):
    batch = f"{sender.address}-{next(_batches)}"
    for number in range(count):
        await sender.send(to, str(number), type=3, id=f"{batch}-{number}", **fields)
    return [f"{batch}-{number}" for number in range(count)]


def answers(client):
    return [m for m in client.inbox if m["from"] == "postmaster" and m["subject"] in ("accepted", "rejected")]


async def all_accepted(sender, wanted):
    await eventually(lambda: len(answers(sender)) >= len(wanted), f"{len(wanted)} answers for {sender.address}")
    got = answers(sender)
    assert [(m["subject"], m["inReplyTo"]) for m in got] == [("accepted", one) for one in wanted]
    assert not any(m.get("refused") for m in got)
    for message in got:
        sender.inbox.remove(message)


async def post_all(sender, to, count, **fields):
    sent = await pour(sender, to, count, **fields)
    await all_accepted(sender, sent)
    return sent


async def has(client, count, group=None):
    await eventually(lambda: len(posts(client, group)) >= count or client.close_code is not None,
                     f"{count} posts for {client.address}, has {len(posts(client, group))}")
    return posts(client, group)


# ------------------------------------------------------------------------------------------------ permission


def test_who_may_not_is_told(server):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice", token=post.token("alice", po={"groups": ["#news", "#team/*"]}))
        for to, kind, code in (("#other", 3, "forbidden-to"), ("#all", 3, "forbidden-to"), ("#other", 2, "forbidden-to"),
                               ("#all", 2, "forbidden-to"), ("#news", 1, "bad-field"), ("bob", 3, "bad-field"),
                               (["#news", "#other"], 3, "forbidden-to")):
            assert (await alice.rejected(await alice.send(to, type=kind)))["code"] == code
        for command in ("subscribe", "history"):
            assert (await alice.order(command, tags=["#other"]))["code"] == "forbidden-to"
        assert (await alice.order("subscribe", tags=["#news", "#other"]))["code"] == "forbidden-to"
        assert (await alice.order("ack", tags=["#news"], references="1-1"))["code"] == "not-found"
        assert list(await subscribe(alice, "#team/one", "#news")) == ["#team/one", "#news"]
        sent = await post_all(alice, ["#news"], 1)
        assert ids(await has(alice, 1)) == sent
        # A token inside a message counts for that message only.
        token = post.token("bob", po={"groups": ["#other"]})
        reader = await enter(post, "reader")
        await subscribe(reader, "#other")
        message = {"from": "bob", "to": ["#other"], "subject": "", "content": "", "type": 3, "id": "own", "token": token}
        await alice.send_text(json.dumps(message))
        assert (await alice.said("accepted", inReplyTo="own"))["state"] == 1
        got = await reader.message(id="own")
        assert got["from"] == "bob" and "token" not in got

    run(scene())


def test_a_renewed_token_with_fewer_groups_ends_the_others(server):
    post = server(1)

    async def scene():
        alice, bob = await enter(post, "alice"), await enter(post, "bob")
        await subscribe(bob, "#a", "#b")
        answer = await bob.order("renew", token=post.token("bob", po={"groups": ["#a"]}))
        assert answer["subject"] == "result" and answer["unsubscribed"] == ["#b"]
        await post_all(alice, ["#b"], 1)
        sent = await post_all(alice, ["#a"], 1)
        assert ids(await has(bob, 1)) == sent
        answer = await bob.order("renew", token=post.token("bob", po={"groups": ["#a", "#b"]}))
        assert "unsubscribed" not in answer

    run(scene())


def test_a_session_has_at_most_so_many_groups(server):
    post = server(1, {"sessions": {"groupsPerSession": 3}})

    async def scene():
        alice = await enter(post, "alice")
        await subscribe(alice, "#1", "#2", "#3")
        answer = await alice.order("subscribe", tags=["#3", "#4"])
        assert (answer["code"], answer["field"]) == ("bad-field", "tags")
        assert (await alice.order("unsubscribe", tags=["#1"]))["subject"] == "result"
        await subscribe(alice, "#3", "#4")

    run(scene())


# --------------------------------------------------------------------------------------------- stored and live


@pytest.mark.parametrize("workers", [1, 3])
def test_a_post_reaches_every_subscriber_once_with_one_publish_a_worker(server, workers):
    post = server(workers)

    async def scene():
        people = [await enter(post, f"user{n}", n % workers) for n in range(2 * workers)]
        outsider = await enter(post, "outsider")
        for person in people:
            assert position((await subscribe(person, "#news"))["#news"]["seq"]) == (0, 0)
        before = post.status()["totals"]
        sent = await pour(people[0], "#news", 20)
        message = {"id": sent[0], "to": ["#news"], "content": b64("0"), "from": "user0"}
        await eventually(lambda: len(answers(people[0])) == 20, "20 answers")
        for person in people:
            got = await has(person, 20)
            assert ids(got) == sent  # the poster is subscribed too
            assert {name: got[0][name] for name in message} == message
            order = [position(m["seq"]) for m in got]
            assert order == sorted(set(order))
        assert len({m["seq"] for person in people for m in posts(person)}) == 20
        for person in [*people, outsider]:
            await person.settle()
            assert len(posts(person)) == (20 if person is not outsider else 0)
        after = post.status()["totals"]
        assert after["publishes"] - before["publishes"] == 20 * (workers - 1)
        assert after["group_deliveries"] == 40 * workers

    run(scene())


def test_several_groups_and_cc_in_one_post_and_the_same_id_twice(server):
    post = server(2)

    async def scene():
        alice = await enter(post, "alice", 0)
        bob = await enter(post, "bob", 1)
        await subscribe(bob, "#a", "#b", "#c")
        for _ in range(2):
            await alice.send(["#a", "#b"], "x", type=3, id="twice", cc=["#c", "#a"])
            assert "refused" not in await alice.said("accepted", inReplyTo="twice")
        last = await post_all(alice, "#a", 1)
        assert ids(await has(bob, 4)) == ["twice"] * 3 + last
        assert post.total("mailbox_repeated") == 3
        # A group without subscribers keeps its log all the same.
        sent = await post_all(alice, "#later", 3)
        await subscribe(bob, "#later", references="0-0")
        await bob.said("replayed", tags=["#later"])
        assert ids(posts(bob, "#later")) == sent

    run(scene())


def test_every_post_names_the_log_that_its_seq_is_of(server):
    post = server(2)

    async def scene():
        alice, bob = await enter(post, "alice", 0), await enter(post, "bob", 1)
        odd = '#a"b\\c/é'
        groups = ["#a", "#b", odd]
        await subscribe(bob, *groups)
        await alice.send(groups, "x", type=3, id="one", log="#forged")
        await alice.said("accepted", inReplyTo="one")
        live = await has(bob, 3)
        assert sorted(m["log"] for m in live) == sorted(groups) and ids(live) == ["one"] * 3
        for message in live:  # the seq acknowledges in the log that is named, and only there
            answer = await bob.order("ack", tags=[message["log"]], references=message["seq"])
            assert answer["cursor"] == message["seq"], answer
            history = (await bob.order("history", tags=[message["log"]]))["messages"]
            assert history == [message]
        await subscribe(alice, *groups, references="0-0")
        replay = await has(alice, 3)
        assert sorted((m["log"], m["seq"]) for m in replay) == sorted((m["log"], m["seq"]) for m in live)
        mail = await alice.send("bob", "m", type=1, log={"not": "carried"})
        assert "log" not in await bob.message(id=mail["id"])
        assert "log" not in (await bob.order("history"))["messages"][0]

    run(scene())


def test_an_ack_of_a_posts_seq_without_its_group_is_an_error(server):
    post = server(1)

    async def scene():
        boss = await enter(post, "boss", po={"broadcast": True})
        bob = await enter(post, "bob", device="APP")
        await subscribe(bob, "#log")
        await post_all(boss, ["#log", "#all"], 1)
        for message in await has(bob, 2):  # of `#all` although bob did not subscribe to it
            answer = await bob.order("ack", references=message["seq"])
            assert (answer["subject"], answer["code"], answer["field"]) == ("rejected", "missing-field", "tags")
        mail = await boss.send("bob", "m", type=1)
        await boss.said("accepted", inReplyTo=mail["id"])
        mail = await bob.message(id=mail["id"])
        for _ in range(2):
            assert (await bob.order("ack", references=mail["seq"]))["cursor"] == mail["seq"]
        # An acknowledged post's seq is still of its log.
        message = (await post_all(boss, "#log", 1)) and (await has(bob, 3))[2]
        assert (await bob.order("ack", tags=["#log"], references=message["seq"]))["cursor"] == message["seq"]
        assert (await bob.order("ack", references=message["seq"]))["code"] == "missing-field"

    run(scene())


def test_signals_to_a_group_reach_its_subscribers_and_are_not_stored(server):
    post = server(2)

    async def scene():
        alice, bob, carol = await enter(post, "alice", 0), await enter(post, "bob", 0), await enter(post, "carol", 1)
        await subscribe(bob, "#room")
        await subscribe(carol, "#room")
        sent = await alice.send("#room", "typing", epoch=7)  # not a field of a message, so carried
        for reader in (bob, carol):
            got = await reader.message(id=sent["id"])
            assert got["type"] == 2 and "seq" not in got and got["epoch"] == 7
        assert (await alice.order("history", tags=["#room"]))["messages"] == []

    run(scene())


def test_replay_after_a_seq_joins_live_without_gap_or_repetition(server):
    post = server(2)

    async def scene():
        alice = await enter(post, "alice", 0)
        first = await enter(post, "first", 1)
        await subscribe(first, "#log")
        sent = await post_all(alice, "#log", 50)
        got = await has(first, 50)
        late = await enter(post, "late", 1)
        answer = (await subscribe(late, "#log", references=got[19]["seq"]))["#log"]
        assert answer == {"seq": got[-1]["seq"], "cursor": got[19]["seq"], "recovered": True}
        done = await late.said("replayed", tags=["#log"])
        assert done["seq"] == got[-1]["seq"] and ids(posts(late)) == sent[20:]
        # Without references: live from now on. Subscribing twice is subscribing once.
        now = await enter(post, "now", 0)
        answer = (await subscribe(now, "#log"))["#log"]
        assert answer["seq"] == answer["cursor"] == got[-1]["seq"]
        await now.said("replayed", tags=["#log"])
        await subscribe(now, "#log", references="0-0")
        more = await post_all(alice, "#log", 5)
        assert ids(await has(now, 5)) == more
        assert ids(await has(late, 35)) == sent[20:] + more
        # A seq of other data, or a seq from the future: replay from the oldest, and recovered is false.
        for number, fields in enumerate(({"references": got[3]["seq"], "epoch": "another"},
                                         {"references": "99999999999999-0"})):
            lost = await enter(post, f"lost{number}")
            answer = (await subscribe(lost, "#log", **fields))["#log"]
            assert answer["recovered"] is False and answer["cursor"] == "0-0"
            await lost.said("replayed", tags=["#log"])
            assert ids(posts(lost)) == sent + more

    run(scene())


def test_replay_and_live_overlap_while_posts_pour_in(server):
    post = server(3)
    count = harness.scaled(1500, 300)

    async def scene():
        posters = [await enter(post, f"poster{n}", n) for n in range(3)]
        for poster in posters:
            poster.sent = await post_all(poster, "#busy", 100)
        readers = []

        async def pour_in(poster):
            for _ in range(count // 50):
                poster.sent += await pour(poster, "#busy", 50)
                await asyncio.sleep(0)

        async def join():
            for number in range(9):
                reader = await enter(post, f"reader{number}", number % 3)
                await subscribe(reader, "#busy", references="0-0")
                readers.append(reader)

        await asyncio.gather(join(), *(pour_in(poster) for poster in posters))
        total = sum(len(poster.sent) for poster in posters)
        for reader in readers:
            got = await has(reader, total)
            order = [position(m["seq"]) for m in got]
            assert order == sorted(set(order)) and len(got) == total
            for poster in posters:
                assert ids(m for m in got if m["from"] == poster.address) == poster.sent
            assert len(replayed(reader, "#busy")) == 1

    run(scene())


def test_one_session_replays_many_groups_at_once(server):
    post = server(2)

    async def scene():
        alice = await enter(post, "alice", 0)
        groups = [f"#g{number}" for number in range(30)]
        sent = {group: [] for group in groups}
        for _ in range(4):
            for group in groups:
                sent[group] += await post_all(alice, group, 10, attachments=[{"x": "y" * 2000}])
        bob = await enter(post, "bob", 1)
        await subscribe(bob, *groups, references="0-0")
        live = await post_all(alice, groups, 3)
        for group in groups:
            await bob.said("replayed", tags=[group])
        await has(bob, 30 * 43)
        for group in groups:
            assert ids(m for m in posts(bob) if m["to"] == [group]) == sent[group]
        assert sorted(ids(posts(bob))) == sorted(sum(sent.values(), []) + 30 * live)

    run(scene())


def test_a_subscriber_that_does_not_read_catches_up_and_holds_nobody_back(server):
    post = server(1, {"limits": {"slowConsumerSeconds": 600}})

    async def scene():
        alice, slow, quick = await enter(post, "alice"), await enter(post, "slow"), await enter(post, "quick")
        behind = await enter(post, "behind", po={"broadcast": True})  # in #all alone
        for reader in (slow, quick):
            await subscribe(reader, "#big")
        for reader in (slow, behind):
            reader.socket.transport.pause_reading()
        content = "x" * 20000
        everybody = await pour(behind, "#all", 1)
        sent = []
        for _ in range(60):
            sent += await pour(alice, "#big", 10, attachments=[{"x": content}])
            everybody.append((await behind.send("#all", "", type=3, attachments=[{"x": content}]))["id"])
            await has(quick, len(sent), "#big")
        assert ids(posts(quick, "#big")) == sent
        for reader in (slow, behind):
            reader.socket.transport.resume_reading()
        assert ids(await has(slow, len(sent), "#big")) == sent
        assert ids(await has(behind, len(everybody), "#all")) == everybody
        assert post.total("group_replays") > 0
        live = await pour(alice, "#big", 2)
        assert ids(await has(slow, len(sent) + 2, "#big")) == sent + live
        live = [(await behind.send("#all", "", type=3))["id"] for _ in range(3)]
        assert ids(await has(behind, len(everybody) + 3, "#all")) == everybody + live
        assert post.total("slow_closed") == 0

    run(scene())


# ------------------------------------------------------------------------------------ acknowledged, read again


def test_a_device_goes_on_behind_what_it_acknowledged(server):
    post = server(2)

    async def scene():
        alice = await enter(post, "alice", 0)
        bob = await enter(post, "bob", 1, device="APP")
        await subscribe(bob, "#log", "#other")
        sent = await post_all(alice, "#log", 20)
        got = await has(bob, 20)
        answer = await bob.order("ack", tags=["#log"], references=got[11]["seq"])
        assert answer["subject"] == "result" and answer["cursor"] == got[11]["seq"]
        # Older or unsent seqs do not move the cursor; the ack touches neither the mailbox nor another group.
        for references in (got[3]["seq"], "99999999999999-0"):
            answer = await bob.order("ack", tags=["#log"], references=references)
            assert answer["cursor"] == got[11]["seq"]
        answer = await bob.order("ack", references=got[19]["seq"])
        assert (answer["subject"], answer["code"], answer["field"]) == ("rejected", "missing-field", "tags")
        await bob.close()
        for slot in (0, 1):
            bob = await enter(post, "bob", slot, device="APP")
            answer = (await subscribe(bob, "#log"))["#log"]
            assert answer["cursor"] == got[11]["seq"] and answer["recovered"] is True
            await bob.said("replayed", tags=["#log"])
            assert ids(posts(bob)) == sent[12:]
            await bob.close()
        # Another device and another address have no cursor: their subscriptions begin now.
        for address, device in (("bob", "TAB"), ("carol", "APP")):
            other = await enter(post, address, device=device)
            assert (await subscribe(other, "#log"))["#log"]["cursor"] == got[-1]["seq"]
            await other.said("replayed", tags=["#log"])
            assert posts(other) == []

    run(scene())


def test_a_post_that_overtook_is_acknowledged_alone(server):
    post = server(1)

    async def scene():
        alice = await enter(post, "alice")
        await post_all(alice, "#log", 1)
        slow = await enter(post, "slow")
        await subscribe(slow, "#log")
        await slow.said("replayed", tags=["#log"])
        slow.socket.transport.pause_reading()
        low = await pour(alice, "#log", 200, subject="x" * 900)
        fat = await pour(alice, "#log", 10, subject="x" * 990, attachments=[{"x": "y" * 500000}])
        high = await pour(alice, "#log", 1, level=9)
        await all_accepted(alice, low + fat + high)
        slow.socket.transport.resume_reading()
        got = await has(slow, 211)
        assert sorted(ids(got)) == sorted(low + fat + high)
        urgent = next(m for m in got if m["id"] == high[0])
        behind = got[got.index(urgent) + 1:]
        answer = await slow.order("ack", tags=["#log"], references=urgent["seq"])
        lowest = min((position(m["seq"]) for m in behind), default=None)
        assert lowest is None or position(answer["cursor"]) < lowest
        answer = await slow.order("ack", tags=["#log"], references=got[-1]["seq"])
        assert position(answer["cursor"]) >= position(got[-1]["seq"])

    run(scene())


def test_history_of_a_group(server):
    post = server(2)

    async def scene():
        alice, bob = await enter(post, "alice", 0), await enter(post, "bob", 1)
        sent = await post_all(alice, "#log", 5, subjectId="thread")
        sent += await post_all(alice, "#log", 5)
        answer = await bob.order("history", tags=["#log"], limit=3)
        assert ids(answer["messages"]) == sent[:-4:-1]
        answer = await bob.order("history", tags=["#log"], references=answer["messages"][-1]["seq"])
        assert ids(answer["messages"]) == sent[6::-1]
        answer = await bob.order("history", tags=["#log"], subjectId="thread")
        assert ids(answer["messages"]) == sent[4::-1]
        assert (await bob.order("history", tags=["#all"]))["messages"] == []

    run(scene())


def test_after_unsubscribe_comes_nothing(server):
    post = server(2)

    async def scene():
        alice, bob = await enter(post, "alice", 0), await enter(post, "bob", 1)
        await subscribe(bob, "#a", "#b")
        sent = await post_all(alice, ["#a", "#b"], 10)
        await bob.order("unsubscribe", tags=["#a", "#never"])
        had = len(posts(bob))
        await post_all(alice, ["#a"], 10)
        more = await post_all(alice, ["#b"], 1)
        await bob.message(id=more[0])
        await bob.settle()
        assert len(posts(bob)) == had and set(ids(posts(bob))) <= set(sent)
        assert (await bob.order("ack", tags=["#a"], references="1-1"))["code"] == "not-found"
        # With references "0-0": a replay from the beginning.
        bob.inbox.clear()
        await subscribe(bob, "#a", references="0-0")
        await bob.said("replayed", tags=["#a"])
        assert len(posts(bob)) == 20

    run(scene())


def test_all_reaches_every_session_of_every_worker_and_can_be_replayed(server):
    post = server(3)

    async def scene():
        chief = await PythonClient.open(post, "chief", token=post.token("chief", po={"broadcast": True}))
        people = [await open_on(post, n % 3, f"user{n}", PythonClient.open) for n in range(6)]
        sent = await pour(chief, "#all", 10)
        for person in [chief, *people]:
            assert ids(await has(person, 10)) == sent
        signal_ = await chief.send("#all", "now")
        for person in people:
            assert (await person.message(id=signal_["id"]))["type"] == 2
        assert ids((await people[0].order("history", tags=["#all"]))["messages"]) == sent[::-1]
        late = await PythonClient.open(post, "late")
        await late.settle()
        assert not posts(late)
        await subscribe(late, "#all", references="0-0")
        await late.said("replayed", tags=["#all"])
        got = posts(late)
        assert ids(got) == sent
        assert (await late.order("ack", tags=["#all"], references=got[4]["seq"]))["cursor"] == got[4]["seq"]
        await late.close()
        late = await PythonClient.open(post, "late")
        await subscribe(late, "#all")
        await late.said("replayed", tags=["#all"])
        assert ids(posts(late)) == sent[5:]
        await late.order("unsubscribe", tags=["#all"])
        more = await pour(chief, "#all", 2)
        assert ids(await has(late, 7)) == sent[5:] + more
        for person in people:
            assert ids(await has(person, 12)) == sent + more

    run(scene())


# --------------------------------------------------------------------------------------------- when things die


def test_a_killed_worker_takes_only_its_own_with_it(server):
    post = server(3)

    async def scene():
        alice = await enter(post, "alice", 0)
        people = [await enter(post, f"user{slot}", slot) for slot in range(3)]
        for person in people:
            await subscribe(person, "#news")
        sent = await post_all(alice, "#news", 5)
        for person in people:
            await has(person, 5)
        os.kill(post.worker_pids()[2], signal.SIGKILL)
        with pytest.raises(Closed):
            await people[2].message(id="never")
        more = await post_all(alice, "#news", 5)
        for person in people[:2]:
            assert ids(await has(person, 10)) == sent + more
        await eventually(lambda: post.is_serving(), "the worker is replaced")
        back = await enter(post, "user2", 2)
        await subscribe(back, "#news", references=posts(people[0])[4]["seq"])
        last = await post_all(alice, "#news", 1)
        assert ids(await has(back, 6)) == more + last
        for person in people[:2]:
            assert ids(await has(person, 11)) == sent + more + last

    run(scene())


def test_groups_reach_over_all_nodes_that_share_a_redis(server):
    one, two = (server(2, {"node": {"id": name}}) for name in ("one", "two"))

    async def scene():
        for node in (one, two):
            await eventually(lambda n=node: [r["workersElsewhere"] for r in n.status()["workers"]] == [2, 2], "neighbours")
        alice = await enter(one, "alice", 0, po={"broadcast": True})
        near = await enter(one, "near", 1)
        far = [await enter(two, f"far{slot}", slot) for slot in range(2)]
        for reader in (near, *far):
            await subscribe(reader, "#news")
        before = one.total("publishes")
        sent = await post_all(alice, "#news", 20)
        for reader in (near, *far):
            assert ids(await has(reader, 20, "#news")) == sent
        assert one.total("publishes") - before == 20 * 3  # one for each worker that has subscribers
        everybody = await post_all(alice, "#all", 3)
        for reader in (near, *far):
            assert ids(await has(reader, 3, "#all")) == everybody
        for group in ("#news", "#all"):
            typing = await alice.send(group, "typing")
            for reader in (near, *far):
                await reader.message(id=typing["id"])
        for reader in far:
            await reader.order("unsubscribe", tags=["#news"])
            await reader.settle()
        before = one.total("publishes")
        await post_all(alice, "#news", 5)
        assert one.total("publishes") - before == 5

    run(scene())


@pytest.mark.parametrize("trouble", ["restart", "script flush", "client kill normal", "client kill pubsub"])
def test_after_trouble_with_redis_every_subscriber_has_every_post(server_with_own_redis, own_redis, trouble):
    own_redis.stop()
    own_redis.durable = True
    own_redis.start()
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice, bob, carol = await enter(post, "alice", 0), await enter(post, "bob", 1), await enter(post, "carol", 0)
        chief = await enter(post, "chief", 1, po={"broadcast": True})
        for reader in (bob, carol):
            await subscribe(reader, "#news")
        sent = await post_all(alice, "#news", 10)
        everybody = await post_all(chief, "#all", 3)
        if trouble == "restart":
            own_redis.kill()
            await eventually(lambda: post.total("rejected_storage_unavailable") > 0 or
                             all(row["redis"] == "away" for row in post.status()["workers"] if row["pid"]), "Redis is away")
            refused = await alice.send("#news", "x", type=3)
            assert (await alice.rejected(refused))["code"] == "storage-unavailable"
            assert (await alice.order("subscribe", tags=["#else"]))["code"] == "storage-unavailable"
            typing = await alice.send("#news", "typing")
            for reader in (bob, carol):
                await reader.message(id=typing["id"])
            own_redis.start()
            await eventually(lambda: all(row["redis"] == "up" for row in post.status()["workers"] if row["pid"]), "back")
        else:
            words = trouble.split()
            client = own_redis.client()
            if words[0] == "script":
                client.execute_command("SCRIPT", "FLUSH")
            else:
                client.execute_command("CLIENT", "KILL", "TYPE", words[2])
        alice.inbox.clear()
        chief.inbox.clear()
        for _ in range(harness.DEADLINE * 50):  # mail is rejected until the worker has noticed that Redis is back
            probe = await alice.send("#probe", "x", type=3)
            answer = await alice.take(lambda m, i=probe["id"]: m.get("inReplyTo") == i)
            if answer["subject"] == "accepted":
                break
            await asyncio.sleep(0.02)
        more = await post_all(alice, "#news", 10)
        await eventually(lambda: all(row["redis"] == "up" for row in post.status()["workers"] if row["pid"]), "back")
        for reader in (bob, carol):
            assert ids(await has(reader, 20, "#news")) == sent + more
            assert ids(await has(reader, 3, "#all")) == everybody
            assert reader.close_code is None and not [m for m in reader.inbox if m["subject"] == "welcome"]

    run(scene())


def test_who_came_while_redis_was_away_is_in_all_once_it_is_back(server_with_own_redis, own_redis):
    own_redis.stop()
    post = server_with_own_redis(2, FAST)

    async def scene():
        people = [await enter(post, f"user{slot}", slot, po={"broadcast": True}) for slot in range(2)]
        assert people[0].welcome["epoch"] == ""
        own_redis.start()
        for person in people:
            assert (await person.said("welcome"))["epoch"]
        sent = await post_all(people[0], "#all", 3)
        for person in people:
            assert ids(await has(person, 3)) == sent
        await subscribe(people[1], "#news")
        sent = await post_all(people[0], "#news", 3)
        assert ids(await has(people[1], 3, "#news")) == sent

    run(scene())


@pytest.mark.parametrize("how", ["flushall", "kill -9 without persistence"])
def test_lost_data_is_told_and_posts_go_on(server_with_own_redis, own_redis, how):
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice, bob = await enter(post, "alice", 0), await enter(post, "bob", 1)
        await subscribe(bob, "#news")
        await bob.said("replayed", tags=["#news"])
        sent = await post_all(alice, "#news", 5)
        got = await has(bob, 5)
        await bob.order("ack", tags=["#news"], references=got[-1]["seq"])
        if how == "flushall":
            own_redis.client().flushall()
        else:
            own_redis.kill()
            own_redis.start()
        notice = await bob.said("replayed", tags=["#news"])
        assert notice["recovered"] is False
        welcome = await bob.said("welcome")
        assert welcome["recovered"] is False and welcome["epoch"] != bob.welcome["epoch"]
        await alice.said("welcome")
        alice.inbox.clear()
        more = await post_all(alice, "#news", 5)
        assert ids(await has(bob, 10)) == sent + more
        answer = await bob.order("ack", tags=["#news"], references=posts(bob)[-1]["seq"])
        assert answer["cursor"] == posts(bob)[-1]["seq"]
        late = await enter(post, "late", 0)
        answer = (await subscribe(late, "#news", references=got[-1]["seq"], epoch=bob.welcome["epoch"]))["#news"]
        assert answer["recovered"] is False
        assert ids(await has(late, 5)) == more

    run(scene())


def test_retention_that_took_what_was_asked_for_is_told(server):
    post = server(1, {"mailbox": {"maxMessages": 50}})

    async def scene():
        alice, bob = await enter(post, "alice"), await enter(post, "bob")
        sent = await post_all(alice, "#log", 80)
        answer = (await subscribe(bob, "#log", references="1-1"))["#log"]
        assert answer["recovered"] is False
        await bob.said("replayed", tags=["#log"])
        got = ids(posts(bob))
        assert got == sent[-len(got):] and len(got) <= 50

    run(scene())


# ------------------------------------------------------------------------------------------------- no Redis


@pytest.mark.parametrize("workers", [1, 3])
def test_without_redis_posts_reach_who_is_subscribed_now(server, workers):
    post = server(workers, redis=None)

    async def scene():
        people = [await enter(post, f"user{slot}", slot, po={"broadcast": True}) for slot in range(workers)]
        for person in people:
            assert (await subscribe(person, "#news"))["#news"] == {"seq": "0-0", "cursor": "0-0", "recovered": True}
        for group, count in (("#news", 20), ("#all", 5), ("#nobody", 1)):
            sent = await pour(people[0], group, count)
            await eventually(lambda n=count: len(answers(people[0])) == n, "answers")
            assert all(m["subject"] == "accepted" and m["state"] == 2 for m in answers(people[0]))
            for person in people:
                if group != "#nobody":
                    got = await has(person, count, group)
                    assert ids(got) == sent and "seq" not in got[0]
                person.inbox.clear()
        answer = await people[0].order("ack", tags=["#news"], references="1-1")
        assert answer["code"] == "storage-unavailable"
        answer = await people[0].order("subscribe", tags=["#new"], references="1-1")
        assert answer["groups"]["#new"]["recovered"] is False
        await people[-1].order("unsubscribe", tags=["#news"])
        sent = await pour(people[0], "#news", 1)
        await people[0].said("accepted", inReplyTo=sent[0])
        await people[-1].settle()
        assert workers == 1 or not posts(people[-1])

    run(scene())
