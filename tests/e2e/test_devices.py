"""What devices and their sessions cost in Redis: opening a mailbox, cursors, and keys that go with the mail."""

import asyncio

import pytest

from clients import Closed, PythonClient, eventually, open_on, run

BIG = "x" * 400000


def mails(client):
    return [m for m in client.inbox if m["type"] == 1]


async def ack_all(client):
    newest = client.inbox[-1] if not mails(client) else mails(client)[-1]
    return await client.order("ack", references=newest["seq"])


def calls(admin):
    """How often each command was called since `CONFIG RESETSTAT`."""
    return {name[len("cmdstat_"):]: row["calls"] for name, row in admin.info("commandstats").items()}


def test_opening_a_mailbox_and_a_group_copies_no_body(server, redis):
    post = server(workers=1)
    member = {"send": ["*"], "groups": ["#*"]}

    async def story():
        admin = redis.client()
        alice = await PythonClient.open(post, "alice", token=post.token("alice", po=member))
        for number in range(4):
            await alice.send("bob", BIG, type=1, id=f"m{number}")
            await alice.send("#club", BIG, type=3, id=f"p{number}")
            await alice.said("accepted")
            await alice.said("accepted")
        bob = await PythonClient.open(post, "bob", token=post.token("bob", po=member))
        assert (await ack_all(bob))["subject"] == "result"
        await bob.close()
        admin.config_resetstat()
        for _ in range(10):
            bob = await PythonClient.open(post, "bob", token=post.token("bob", po=member))
            assert bob.welcome["seq"] == bob.welcome["cursor"] and bob.welcome["recovered"]
            joined = await bob.order("subscribe", tags=["#club"])
            assert joined["groups"]["#club"]["seq"] != "0-0"
            await bob.close()
        assert not [name for name in calls(admin) if name.startswith("xinfo")]

    run(story(), 60)


def test_an_expiring_mail_that_retention_removes_leaves_the_list_of_expiring_mail(server, redis):
    post = server(workers=1, config={"mailbox": {"maxMessages": 100}})

    async def story():
        alice = await PythonClient.open(post, "alice")
        for number in range(400):
            await alice.send("bob", type=1, id=f"m{number}", expiresAt=4000000000)
        await eventually(lambda: len(alice.inbox) >= 400, "400 answers")
        admin = redis.client()
        assert admin.xlen("po:{bob}:box") == 100
        assert admin.zcard("po:expiring") == 100

    run(story(), 60)
