"""`recall` removes a message where it lies unacknowledged; the result names the other recipients."""

from clients import PythonClient, open_on, run
from test_mailbox import ack, all_accepted, backlog, has, ids, mails, post_mail
from test_receipts import nothing_more, receipt, receipts, stored_receipts


async def recall(client, one, **fields):
    return await client.order("recall", inReplyTo=one, **fields)


def test_what_lies_unread_is_taken_out_and_nobody_who_comes_later_sees_it(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        sent = await post_mail(alice, ["bob", "carol"], 3)
        answer = await recall(alice, sent[1])
        assert answer["subject"] == "result" and answer["notRecalled"] == []
        assert sorted(answer["recalled"]) == ["bob", "carol"]
        bob = await PythonClient.open(post, "bob")
        assert ids(mails(bob)) == [sent[0], sent[2]] and not receipts(bob)
        assert bob.welcome["recovered"] is True
        again = await PythonClient.open(post, "bob", query={"since": mails(bob)[0]["seq"]})
        assert again.welcome["recovered"] is True and ids(mails(again)) == [sent[2]]
        history = await again.order("history")
        assert ids(history["messages"]) == [sent[2], sent[0]]
        more = await post_mail(alice, "bob", 2)
        assert ids(await has(again, 3)) == [sent[2], *more]
        answer = await recall(alice, sent[1])
        assert answer["recalled"] == []
        assert sorted(r["address"] for r in answer["notRecalled"]) == ["bob", "carol"]
        assert {r["code"] for r in answer["notRecalled"]} == {"not-found"}

    run(scene())


def test_a_session_that_has_it_is_told_and_one_that_acknowledged_keeps_it(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        carol = await open_on(post, 0, "carol", PythonClient.open)
        await alice.send(["bob", "carol", "dave"], "x", type=1, id="one", receipt=2, level=-3)
        await all_accepted(alice, ["one"])
        await bob.message(id="one")
        await ack(carol, await carol.message(id="one"))
        await receipt(alice, state=2, **{"from": "carol"})
        answer = await recall(alice, "one")
        assert sorted(answer["recalled"]) == ["bob", "dave"]
        assert answer["notRecalled"] == [{"address": "carol", "code": "delivered"}]
        for reader in (bob, carol):
            told = await receipt(reader)
            assert (told["state"], told["from"], told["to"], told["inReplyTo"], told["subject"]) == \
                (4, "alice", [reader.address], "one", "recalled")
            assert told["level"] == -3, "or it could overtake what it is about"
        assert sorted([(await receipt(alice))["from"] for _ in range(2)]) == ["bob", "dave"]
        await nothing_more(alice, post)
        assert not receipts(alice)
        # An ack that comes too late sends no receipt.
        more = await post_mail(alice, "bob", 1)
        await ack(bob, await bob.message(id=more[0]))
        await recall(alice, "one")
        await nothing_more(carol, post)
        assert not receipts(carol), "told once"
        assert sorted(await stored_receipts(post, "alice")) == [(2, "carol", "one"), (4, "bob", "one"), (4, "dave", "one")]
        assert ids(await backlog(post, "dave")) == []

    run(scene())


def test_the_senders_other_device_loses_its_copy(server):
    post = server(2)

    async def scene():
        phone = await open_on(post, 0, "alice", PythonClient.open, device="APP")
        table = await open_on(post, 1, "alice", PythonClient.open, device="TAB")
        await phone.send("bob", "x", type=1, id="one")
        await all_accepted(phone, ["one"])
        await table.message(id="one")
        assert (await recall(phone, "one"))["recalled"] == ["bob"]
        told = await receipt(table)
        assert (told["state"], told["from"], told["inReplyTo"]) == (4, "alice", "one")
        assert ids(await backlog(post, "alice", "NEW")) == []

    run(scene())


def test_only_its_sender_recalls_it_from_any_of_his_sessions(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        sent = await post_mail(alice, "bob", 1)
        mallory = await PythonClient.open(post, "mallory")
        assert (await recall(mallory, sent[0]))["code"] == "not-found"
        assert (await mallory.order("recall", inReplyTo=sent[0], **{"from": "alice"}))["code"] == "forbidden-from"
        answer = await alice.order("recall")
        assert (answer["code"], answer["field"]) == ("missing-field", "inReplyTo")
        for wrong in ("never", "", "a\nb", "x" * 300):
            answer = await recall(alice, wrong)
            assert (answer["subject"], answer["code"]) == ("rejected", "not-found")
        await alice.close()
        table = await open_on(post, 1, "alice", PythonClient.open, device="TAB")
        assert (await recall(table, sent[0]))["recalled"] == ["bob"]
        gate = await PythonClient.open(post, "gate", token=post.token("gate", po={"relay": ["guest-*"]}))
        for guest in ("guest-1", "guest-2", "guest-1"):
            await gate.send("bob", "x", type=1, **{"from": guest})
        last = await gate.send("bob", "x", type=1, **{"from": "guest-2"})
        assert (await recall(gate, last["id"], **{"from": "guest-2"}))["recalled"] == ["bob"]
        assert len(await backlog(post, "bob")) == 3

    run(scene())


def test_it_is_found_among_thousands_and_at_once(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await post_mail(alice, ["bob", *[f"r{n}" for n in range(99)]], 1)
        for number in range(200):
            await post_mail(alice, "carol", 1)
        late = await alice.send("bob", "x", type=1)
        answer = await recall(alice, late["id"])
        assert answer["recalled"] == ["bob"], "also before it was accepted"
        answer = await recall(alice, sent[0])
        assert len(answer["recalled"]) == 100 and answer["notRecalled"] == []
        assert await backlog(post, "bob") == []
        # A repetition of a recalled message does not bring the message back.
        await alice.send("bob", "x", type=1, id=sent[0])
        await alice.said("accepted", inReplyTo=sent[0])
        assert await backlog(post, "bob") == []

    run(scene())


def test_recall_without_redis_says_that_nothing_is_stored(server):
    post = server(1, redis=None)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        assert (await recall(alice, "one"))["code"] == "storage-unavailable"

    run(scene())
