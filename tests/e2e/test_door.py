"""At the door (docs/security.md): what a client may ask before it is a session, and what its address may cost then."""

import asyncio
import json
import time

import pytest

import clients
import harness
from clients import Closed, PythonClient, Raw, eventually, frame, request, run, upgrade


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    server = harness.Server(directory, redis, 2).start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


def ask(post, text):
    with Raw(post.port) as raw:
        raw.send(text)
        return raw.answer()


# ------------------------------------------------------------------------------------------------ since

@pytest.mark.parametrize("since", ["", "-", "--", "1-", "-1", "1-1-1", "now-1", "NOW", "1" * 64, str(1 << 64), f"1-{1 << 64}"])
def test_a_since_that_is_no_position_is_a_400(post, since):
    answer = ask(post, request(f"/ws?since={since}", token=post.token("alice")))
    assert answer.status == 400
    assert "since" in answer.json()["message"]


def test_since_now_begins_with_what_comes_from_now_on(post):
    async def scene():
        old = await PythonClient.open(post, "newtab", device="OLD")
        for number in range(20):
            sent = await old.send("newtab", str(number), type=1)
            await old.said("accepted", inReplyTo=sent["id"])
        new = await PythonClient.open(post, "newtab", device="NEW", query={"since": "now", "epoch": "another"})
        assert new.welcome["recovered"] is True
        assert new.welcome["cursor"] == new.welcome["seq"] != "0-0"
        sent = await old.send("newtab", "fresh", type=1)
        await new.message(id=sent["id"])
        assert [m for m in new.inbox if m["type"] == 1] == []
        await new.close()
        await old.close()

    run(scene())


def test_subscribe_with_now_replays_nothing(post):
    async def scene():
        token = post.token("poster", po={"groups": ["#door"]})
        alice = await PythonClient.open(post, "poster", device="D", token=token)
        await alice.order("subscribe", tags=["#door"])
        for number in range(5):
            sent = await alice.send("#door", str(number), type=3)
            got = await alice.message(id=sent["id"])
        await alice.order("ack", references=got["seq"], tags=["#door"])
        sent = await alice.send("#door", "behind the cursor", type=3)
        await alice.message(id=sent["id"])
        await alice.order("unsubscribe", tags=["#door"])
        alice.inbox.clear()
        answer = await alice.order("subscribe", tags=["#door"], references="now", epoch="another")
        answer = answer["groups"]["#door"]
        assert answer["recovered"] is True and answer["cursor"] == answer["seq"]
        await alice.said("replayed", tags=["#door"])
        assert [m for m in alice.inbox if m["type"] == 3] == []
        sent = await alice.send("#door", "live", type=3)
        await alice.message(id=sent["id"])
        await alice.close()

    run(scene())
