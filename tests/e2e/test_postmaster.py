"""The postmaster answers mail and commands."""

import pytest

import harness
from clients import PythonClient, b64, open_on, run


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_presence_names_the_devices_of_who_is_connected(server, workers):
    post = server(workers)

    async def scene():
        asker = await PythonClient.open(post, "asker")
        phone = await PythonClient.open(post, "bob", device="APP")
        await PythonClient.open(post, "bob", device="TAB")
        await PythonClient.open(post, "carol")
        answer = await asker.order("presence", tags=["bob", "carol", "nobody", "asker"])
        assert answer["subject"] == "result"
        online = answer["online"]
        assert sorted(online["bob"]) == ["APP", "TAB"]
        assert online["carol"] == [""] and online["asker"] == [""]
        assert not online.get("nobody")
        await phone.close()

        async def only_tab():
            return (await asker.order("presence", tags=["bob"]))["online"]["bob"] == ["TAB"]

        for _ in range(200):
            if await only_tab():
                break
        else:
            raise AssertionError("who left is still there")

    run(scene())


def test_presence_asks_for_addresses_that_one_may_write_to(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice", token=post.token("alice", po={"send": ["bob"]}))
        assert (await alice.order("presence", tags=["bob", "alice"]))["subject"] == "result"
        assert (await alice.order("presence", tags=["carol"]))["code"] == "forbidden-to"
        assert (await alice.order("presence"))["code"] == "missing-field"
        assert (await alice.order("presence", tags=[""]))["code"] == "bad-field"
        assert (await alice.order("dance"))["code"] == "unknown-command"

    run(scene())


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_mail_is_accepted_for_those_who_are_here_and_for_those_who_are_not(server, workers):
    post = server(workers)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bobs = [await open_on(post, slot, f"bob{slot}", PythonClient.open) for slot in range(workers)]
        names = [bob.address for bob in bobs]

        sent = await alice.send(names, "to all who are here", type=1)
        answer = await alice.said("accepted", inReplyTo=sent["id"])
        assert answer["state"] == 1 and not answer.get("refused")
        for bob in bobs:
            assert (await bob.message())["id"] == sent["id"]

        sent = await alice.send([*names, "away1"], "and to some who are not", type=1, cc=["away2"])
        answer = await alice.said("accepted", inReplyTo=sent["id"])
        assert answer["state"] == 1 and not answer.get("refused")
        for bob in bobs:
            assert (await bob.message())["id"] == sent["id"]

        sent = await alice.send(["away1", "away2"], "to nobody who is here", type=1)
        answer = await alice.said("accepted", inReplyTo=sent["id"])
        assert answer["state"] == 1 and not answer.get("refused")
        late = await PythonClient.open(post, "away2")
        assert [(await late.message())["content"] for _ in range(2)] == \
            [b64("and to some who are not"), b64("to nobody who is here")]

    run(scene())


@pytest.mark.parametrize("workers", [1, 4])
def test_answers_come_in_the_order_in_which_mail_was_sent(server, workers):
    post = server(workers)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bobs = [await open_on(post, slot, f"bob{slot}", PythonClient.open) for slot in range(workers)]
        sent = []
        for number in range(200):
            to = bobs[number % workers].address if number % 5 else "away"
            sent.append((await alice.send(to, str(number), type=1))["id"])
        answered = []
        while len(answered) < len(sent):
            answer = await alice.take(lambda m: m["from"] == "postmaster")
            answered.append(answer["inReplyTo"])
            assert answer["subject"] == "accepted"
        assert answered == sent

    run(scene())


def test_a_receipt_travels_to_the_sender_with_its_state(server):
    post = server(2)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        sent = await alice.send("bob", "x", type=1, receipt=3)
        await bob.message()
        await bob.send("alice", type=4, inReplyTo=sent["id"], state=3)
        got = await alice.message()
        assert (got["type"], got["state"], got["inReplyTo"], got["from"]) == (4, 3, sent["id"], "bob")

    run(scene())


def test_status_counts_what_happened(server):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        for _ in range(5):
            await alice.send("bob", "x")
            await bob.message()
        await alice.send_text("nonsense")
        await alice.rejected()
        status = post.status()
        assert status["connections"] == 2
        assert sum(row["sessions"] for row in status["workers"]) == 2
        assert len(status["workers"]) == 2 and all(row["state"] == "serving" for row in status["workers"])
        assert status["pid"] == post.process.pid
        totals = status["totals"]
        assert totals["sessions_opened"] == 2
        assert totals["messages_in"] == 6 and totals["messages_out"] == 5 + 2  # a `replayed` each
        assert totals["rejected_bad_json"] == 1

    run(scene())
