"""mailbox.addresses "known": mail goes to addresses that have had a session, and a mistyped one is told."""

import asyncio

import pytest

from clients import PythonClient, eventually, open_on, run

KNOWN = {"mailbox": {"addresses": "known", "knownAddresses": ["/relay/*", "eve"]}, "serviceAddresses": ["/service/*"]}


def keys(redis, name):
    return sorted(key.decode() for key in redis.client().keys(f"po:{{{name}}}:*"))


def answered(code, *addresses):
    return [{"address": one, "code": code} for one in addresses]


async def visit(post, redis, name):
    """A session that comes and goes."""
    await (await PythonClient.open(post, name)).close()
    await eventually(lambda: not redis.client().exists(f"po:{{{name}}}:at"), "the end of the session")


async def accepted(client, message):
    return await client.said("accepted", inReplyTo=message["id"])


@pytest.fixture
def post(server):
    return server(2, KNOWN)


def test_a_mistyped_recipient_is_told_and_the_others_get_their_mail(post, redis):
    async def check():
        bob = await PythonClient.open(post, "bob")
        ann = await PythonClient.open(post, "ann")
        one = await ann.send(["bob", "bbo", "obb"], type=1)
        assert (await accepted(ann, one))["refused"] == answered("not-found", "bbo", "obb")
        await bob.message(id=one["id"])
        one = await ann.send(["bbo"], type=1)
        answer = await ann.rejected(one)
        assert answer["code"] == "not-found" and answer["refused"] == answered("not-found", "bbo")
        assert "retryAfter" not in answer and "session" in answer["message"]
        assert keys(redis, "bbo") == keys(redis, "obb") == []
        assert post.total("recipients_refused") == 3 and post.total("rejected_not_found") == 1
        # All forms of mail: alone, in a batch, with what is noted in further keys, with a large body.
        for fields in ({"receipt": 2}, {"expiresAt": 4000000000}, {"content": "x" * 20000}):
            one = await ann.send(["bbo", "obb"], **fields, type=1)
            assert (await ann.rejected(one))["refused"] == answered("not-found", "bbo", "obb")
        many = [await ann.send(["bbo"], type=1) for _ in range(50)]
        for one in many:
            assert (await ann.rejected(one))["code"] == "not-found"
        assert keys(redis, "bbo") == [] and redis.client().zcard("po:expiring") == 0
        await eventually(lambda: redis.client().keys("po:body:*") == [], "no body that nobody has")
        await bob.close()
        await ann.close()
    run(check())


def test_who_has_had_a_session_is_known_from_then_on(post, redis):
    async def check():
        ann = await PythonClient.open(post, "ann")
        one = await ann.send(["cat"], type=1)
        assert (await ann.rejected(one))["code"] == "not-found"
        await visit(post, redis, "cat")
        await ann.send(["cat"], type=1, id=one["id"])  # sent again: the recipient gets it now
        assert "refused" not in await accepted(ann, one)
        two = await ann.send(["cat", "dan"], type=1)
        await accepted(ann, two)
        cat = await PythonClient.open(post, "cat")
        got = [await cat.message() for _ in range(2)]
        assert [mail["id"] for mail in got] == [one["id"], two["id"]]
        await cat.order("ack", references=got[1]["seq"])
        await cat.close()
        assert redis.client().ttl("po:{cat}:cur") > 360 * 86400  # a year
        assert redis.client().ttl("po:{cat}:box") < 61 * 86400
        await ann.close()
    run(check())


def test_a_pattern_a_service_and_what_the_operator_writes_are_known_before(post, redis):
    async def check():
        ann = await PythonClient.open(post, "ann")
        redis.client().set("po:{fay}:known", 1)
        crowd = ["/relay/7", "eve", "/service/one", "fay"]
        answer = await accepted(ann, await ann.send([*crowd, "/relay", "eve2"], type=1))
        assert answer["refused"] == answered("not-found", "/relay", "eve2")
        for name in crowd:
            reader = await PythonClient.open(post, name)
            await reader.message(type=1)
            await reader.close()
        await ann.close()
    run(check())


def test_a_reload_changes_who_is_known(server, redis):
    async def check():
        post = server(2)
        await visit(post, redis, "cat")
        ann = await PythonClient.open(post, "ann")
        before = await ann.send(["bob"], type=1)
        await accepted(ann, before)

        async def refused(*names):
            answer = await ann.take(lambda m: m["subject"] in ("accepted", "rejected"))
            return [one["address"] for one in answer.get("refused", [])] == list(names)

        async def until_refused(*names):
            while True:
                await ann.send(["bob", "cat", "dan"], type=1)
                if await refused(*names):
                    return
                await asyncio.sleep(0.02)

        await until_refused()
        post.reload(mailbox={"addresses": "known"})
        await until_refused("bob", "dan")  # cat's session was before the reload
        await ann.send(["bob"], type=1, id=before["id"])  # what was accepted then is still accepted
        await accepted(ann, before)
        post.reload(mailbox={"addresses": "known", "knownAddresses": ["d*"]})
        await until_refused("bob")
        post.reload(mailbox={"addresses": "any"})
        await until_refused()
        await ann.close()
    run(check())


def test_signals_posts_and_receipts_go_as_ever(post, redis):
    async def check():
        bob = await PythonClient.open(post, "bob")
        gateway = await PythonClient.open(post, "gateway",
                                          token=post.token("gateway", po={"relay": ["far"], "groups": ["#g"]}))
        # `far` has never had a session: its receipts are stored, its mail has no one else to go to.
        one = await gateway.send(["bob"], **{"from": "far"}, type=1, receipt=3)
        await accepted(gateway, one)
        mail = await bob.message(id=one["id"])
        await bob.order("ack", references=mail["seq"])
        await accepted(bob, await bob.send(["far"], type=4, state=3, inReplyTo=one["id"]))
        await eventually(lambda: redis.client().xlen("po:{far}:box") == 2, "both receipts")
        await accepted(gateway, await gateway.send(["#g"], type=3))
        await gateway.send(["nobody"], type=2)  # forgotten without a word
        assert (await gateway.order("presence", tags=["nobody"]))["online"] == {"nobody": []}
        assert post.total("rejected_not_found") == 0 and post.total("receipts_failed") == 0
        await bob.close()
        await gateway.close()
    run(check())


def test_while_redis_is_away_nobody_is_called_unknown(post, redis):
    async def check():
        ann = await PythonClient.open(post, "ann")
        await ann.rejected(await ann.send(["bbo"], type=1))
        redis.kill()
        await eventually(lambda: all(one["redis"] == "away" for one in post.status()["workers"]), "away")
        one = await ann.send(["bbo", "ann"], type=1)
        assert (await ann.rejected(one))["code"] == "storage-unavailable"
        await ann.close()
        redis.start()
    run(check())


def test_a_sender_elsewhere_knows_the_sessions_of_all_workers(post):
    async def check():
        cat = await open_on(post, 0, "cat", PythonClient.open)
        ann = await open_on(post, 1, "ann", PythonClient.open)
        one = await ann.send(["cat"], type=1)
        assert "refused" not in await accepted(ann, one)
        await cat.message(id=one["id"])
        await cat.close()
        await ann.close()
    run(check())
