"""What devices and their sessions cost in Redis: opening a mailbox, cursors, and keys that go with the mail."""

from clients import PythonClient, eventually, run

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


def test_a_cursor_begins_with_the_first_ack_and_the_device_unused_longest_gives_way(server, redis):
    post = server(workers=2, config={"sessions": {"devicesPerAddress": 4}})

    async def story():
        admin = redis.client()
        alice = await PythonClient.open(post, "alice")
        await alice.send("bob", type=1, id="m1")
        await alice.said("accepted")

        async def visit(device, ack=False):
            bob = await PythonClient.open(post, "bob", device=device)
            had = [m["id"] for m in mails(bob)]
            if ack:
                assert (await ack_all(bob))["subject"] == "result"
            await bob.close()
            return had

        def cursors():
            return sorted(field.decode() for field in admin.hkeys("po:{bob}:cur") if field not in (b"\0", b"\1", b"\2"))

        for number in range(30):
            assert await visit(f"idle{number}") == ["m1"]
        assert cursors() == []
        for device in "abcd":
            assert await visit(device, ack=True) == ["m1"]
        assert await visit("a") == []
        for number in range(30):
            await visit(f"idle{number}")
        await visit("e", ack=True)
        assert cursors() == ["a", "c", "d", "e"], "b was used longest ago"
        assert await visit("b") == ["m1"]
        assert admin.hlen("po:{bob}:cur") <= 4 + 3
        assert sum(len(one) for pair in admin.hgetall("po:{bob}:cur").items() for one in pair) < 1000
        assert post.total("devices_forgotten") == 1

    run(story(), 120)


def test_many_cursors_of_an_earlier_version_are_searched_once(server, redis):
    """Mail that expires or is recalled asks for the highest acknowledgement, which stands in one field."""
    post = server(workers=1)

    async def story():
        admin = redis.client()
        alice = await PythonClient.open(post, "alice")
        for number in range(10):
            await alice.send("bob", type=1, id=f"m{number}")
            await alice.said("accepted")
        first = admin.xrange("po:{bob}:box")[2][0].decode()
        epoch = alice.welcome["epoch"]
        for start in range(0, 20000, 1000):
            admin.hset("po:{bob}:cur", mapping={f"d{n}": f"1-0@{epoch}" for n in range(start, start + 1000)})
        admin.hset("po:{bob}:cur", "phone", f"{first}@{epoch}")
        admin.config_resetstat()
        for number in range(10):
            await alice.order("recall", inReplyTo=f"m{number}")
        assert calls(admin).get("hvals", 0) == 1
        assert [entry[1][b"i"] for entry in admin.xrange("po:{bob}:box") if entry[1][b"i"][:1] == b"m"] == [b"m0", b"m1", b"m2"]
        phone = await PythonClient.open(post, "bob", device="phone")
        assert [m["id"] for m in mails(phone)] == [], "the cursor of the earlier version counts"
        new = await PythonClient.open(post, "bob", device="new")
        await ack_all(new)
        await eventually(lambda: admin.hlen("po:{bob}:cur") < 20000, "old cursors give way")

    run(story(), 120)


def test_ids_are_unique_for_each_sender_also_when_the_first_message_of_an_id_is_gone(server, redis):
    post = server(workers=2, config={"mailbox": {"maxMessages": 100}})

    async def story():
        admin = redis.client()
        alice, zoe = await PythonClient.open(post, "alice"), await PythonClient.open(post, "zoe")
        for sender in (alice, zoe):
            await sender.send("bob", sender.address, type=1, id="one")
            await sender.said("accepted")
        bob = await PythonClient.open(post, "bob")
        history = await bob.order("history", subjectId="one")
        assert [m["from"] for m in history["messages"]] == ["zoe", "alice"], "each is the first of its thread"
        for number in range(99):
            await alice.send("bob", type=1, id=f"a{number}")
            await alice.said("accepted")
        left = [(row[b"f"], row[b"i"]) for _, row in admin.xrange("po:{bob}:box")]
        assert (b"alice", b"one") not in left and (b"zoe", b"one") in left
        await zoe.send("bob", "zoe", type=1, id="one")
        await zoe.said("accepted")
        left = [(row[b"f"], row[b"i"]) for _, row in admin.xrange("po:{bob}:box")]
        assert left.count((b"zoe", b"one")) == 1
        history = await bob.order("history", subjectId="one")
        assert [m["from"] for m in history["messages"]] == ["zoe"]
        for number in range(100):
            await alice.send("bob", type=1, id=f"b{number}")
            await alice.said("accepted")
        assert not [field for field in admin.hkeys("po:{bob}:ids") if field.startswith(b"one")]
        assert not admin.exists("po:{bob}:th")

    run(story(), 60)
