"""Turns between senders: nobody's mail waits for a neighbour's pile.

Redis stands still while the pile and the neighbour's letter are sent, so that what is stored first is the server's
choice, and no race.
"""

import pytest
from clients import PythonClient, eventually, run

MEGABYTE = "x" * 700_000  # in Base64 nearly limits.messageBytes
# Redis stands still for as long as a busy machine needs to send the pile.
PATIENT = {"redis": {"commandTimeoutMs": 60000}}
SHARE = 20  # letters of one address on their way to Redis: docs/operations.md, turns_waited


def stored_at(store, address, index=0):
    """The milliseconds of an entry of the mailbox, by the clock of Redis."""
    return int(store.xrange(f"po:{{{address}}}:box")[index][0].split(b"-")[0])


async def held(server, redis, sender, *sends):
    """Sends while Redis stands still; the worker has the pile in hand when this returns."""
    redis.pause()
    for to, content, fields in sends:
        await sender.send(to, content, type=1, **fields)
    wanted = sum(len(to) for to, _, _ in sends) - SHARE
    await eventually(lambda: server.total("turns_waited") >= min(wanted, 980), "the pile waits on the worker")


@pytest.mark.parametrize("content", ["", MEGABYTE], ids=["empty", "1 MB"])
def test_a_neighbours_letter_is_stored_before_the_pile_is(server, redis, content):
    async def check():
        one = server(workers=1, config=PATIENT)
        mallory = await PythonClient.open(one, "mallory")
        ann, bob = [await PythonClient.open(one, name) for name in ("ann", "bob")]
        crowd = [f"nobody{number}" for number in range(1000)]
        await ann.send("bob", "the first", type=1)  # the worker serves
        await ann.said("accepted")
        store = redis.client()
        await held(one, redis, mallory, (crowd, content, {"id": "pile"}))
        await ann.send("bob", "a letter", type=1, id="letter")
        try:
            # The letter is with the worker: the answer to a ping follows what came before the ping.
            await ann.settle()
        finally:
            redis.resume()
        assert (await ann.said("accepted"))["inReplyTo"] == "letter"
        assert (await bob.message(id="letter"))["content"]
        assert (await mallory.said("accepted"))["inReplyTo"] == "pile"
        letter = stored_at(store, "bob", -1)
        before = sum(stored_at(store, name) < letter for name in crowd)  # of the same millisecond nobody knows
        assert before <= 2 * SHARE, f"{before} letters of the pile were stored first"
        for client in (mallory, ann, bob):
            await client.close()
    run(check())


def test_letters_of_one_sender_stay_in_order_and_are_all_stored(server, redis):
    async def check():
        one = server(workers=1, config=PATIENT)
        mallory = await PythonClient.open(one, "mallory")
        await mallory.send("last", "the first", type=1, id="first")
        await mallory.said("accepted")
        crowd = [f"nobody{number}" for number in range(999)]
        piles = [([*crowd, "last"], f"pile {number}", {"id": f"pile{number}"}) for number in range(5)]
        await held(one, redis, mallory, *piles)
        redis.resume()
        for number in range(5):
            answer = await mallory.said("accepted")
            assert answer["inReplyTo"] == f"pile{number}"
            assert "refused" not in answer
        entries = redis.client().xrange("po:{last}:box")
        assert [fields[b"i"] for _, fields in entries] == [b"first"] + [f"pile{number}".encode() for number in range(5)]
        assert one.total("senders_stalled") > 0
        await mallory.close()
    run(check())


def test_a_recall_finds_the_letters_that_still_wait(server, redis):
    async def check():
        one = server(workers=1, config=PATIENT)
        mallory = await PythonClient.open(one, "mallory")
        await mallory.send("last", "the first", type=1, id="first")
        await mallory.said("accepted")
        crowd = [f"nobody{number}" for number in range(100)]
        await held(one, redis, mallory, (crowd, "a mistake", {"id": "mistake"}))
        await mallory.send("postmaster", type=4, subject="recall", inReplyTo="mistake")
        redis.resume()
        result = await mallory.said("result")
        assert sorted(result["recalled"]) == sorted(crowd)
        await mallory.close()
    run(check())


def test_letters_that_wait_are_refused_when_redis_goes(server_with_own_redis, own_redis):
    redis = own_redis

    async def check():
        one = server_with_own_redis(workers=1, config=PATIENT)
        mallory = await PythonClient.open(one, "mallory")
        await mallory.send("last", "the first", type=1, id="first")
        await mallory.said("accepted")
        await held(one, redis, mallory, ([f"nobody{number}" for number in range(100)], "", {"id": "pile"}))
        redis.kill()
        redis.start()  # empty: what was on its way is sent again, what waited is not
        answer = await mallory.said("accepted", inReplyTo="pile")
        refused = {entry["address"]: entry["code"] for entry in answer["refused"]}
        assert set(refused.values()) == {"storage-unavailable"}
        stored = {f"nobody{number}" for number in range(100)} - set(refused)
        keys = {key.decode()[4:-5] for key in redis.client().keys("po:{nobody*}:box")}
        assert keys == stored
        await mallory.close()
    run(check())
