"""Redis goes away in every way: sessions stay, signals go by rings, mail is rejected, and the server recovers by
itself.
"""

import asyncio
import itertools

import pytest

import harness
from clients import PythonClient, eventually, open_on, run

FAST = harness.FAST


async def three(post):
    """alice and a neighbour on worker 0, bob on worker 1."""
    return [await open_on(post, 0, "alice", PythonClient.open), await open_on(post, 0, "near", PythonClient.open),
            await open_on(post, 1, "bob", PythonClient.open)]


_attempts = itertools.count()


async def talks_again(sender, reader):
    """Tries until a signal arrives; signals on their way when Redis went are lost."""
    for _ in range(1000):
        sent = await sender.send(reader.address, "again", id=f"again-{next(_attempts)}")
        try:
            return await reader.take(lambda m: m.get("id") == sent["id"], deadline=0.3)
        except AssertionError:
            continue
    raise AssertionError("it does not heal")


async def until_rejected(alice, to="bob"):
    """Sends mail until the answer is storage-unavailable; returns that answer. Mail under way when Redis went may be
    answered only when Redis is back.
    """
    for _ in range(600):
        sent = await alice.send(to, "x", type=1)
        try:
            return await alice.take(lambda m: m["subject"] == "rejected" and m.get("inReplyTo") == sent["id"],
                                    deadline=0.1)
        except AssertionError:
            continue
    raise AssertionError("nobody says that Redis is away")


async def all_know(post, state):
    await eventually(lambda: all(row["redis"] == state for row in post.status()["workers"]),
                     f"status says that Redis is {state}")


async def in_order(sender, reader, count):
    """Checks that no signal is lost and none is out of order."""
    first = next(_attempts)
    for number in range(count):
        await sender.send(reader.address, str(number), id=f"o{first}-{number}")
    got = [(await reader.take(lambda m: m.get("id", "").startswith(f"o{first}-")))["id"] for _ in range(count)]
    assert got == [f"o{first}-{number}" for number in range(count)]


async def near_works(alice, near):
    """A signal needs no Redis. Mail cannot be stored, so mail is refused even to a session of the same worker."""
    sent = await alice.send("near", "no Redis is needed for this")
    await near.message(id=sent["id"])
    await until_rejected(alice, "near")


@pytest.mark.parametrize("how", ["stop", "kill", "pause"])
def test_sessions_stay_and_it_heals_by_itself(server_with_own_redis, own_redis, how):
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice, near, bob = await three(post)
        await talks_again(alice, bob)
        for _ in range(2):
            getattr(own_redis, how)()
            answer = await until_rejected(alice)
            assert answer["code"] == "storage-unavailable"
            assert answer["retryAfter"] > 0
            await near_works(alice, near)
            await all_know(post, "away")
            relayed = post.total("relayed")
            await in_order(alice, bob, 100)
            await in_order(bob, alice, 100)
            assert post.total("relayed") == relayed + 200
            own_redis.resume() if how == "pause" else own_redis.start()
            await talks_again(alice, bob)
            await talks_again(bob, alice)
            await all_know(post, "up")
            relayed = post.total("relayed")
            await in_order(alice, bob, 100)
            assert post.total("relayed") == relayed
        for client in (alice, near, bob):
            assert client.close_code is None
        assert post.total("redis_reconnects") > 0
        assert len(post.worker_pids()) == 2 and post.status()["restarts"] == 0

    run(scene())


def test_a_restart_between_two_messages_loses_neither(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice, _, bob = await three(post)
        await talks_again(alice, bob)
        own_redis.stop()
        own_redis.start()
        await talks_again(alice, bob)
        for number in range(100):
            await alice.send("bob", str(number), id=f"n{number}")
        got = [(await bob.take(lambda m: m.get("id", "").startswith("n")))["id"] for _ in range(100)]
        assert got == [f"n{number}" for number in range(100)]

    run(scene())


def test_the_server_starts_without_redis_and_finds_it_later(server_with_own_redis, own_redis):
    own_redis.stop()
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice, near, bob = await three(post)
        await near_works(alice, near)
        await until_rejected(alice)
        await in_order(alice, bob, 100)
        own_redis.start()
        await all_know(post, "up")
        await in_order(alice, bob, 100)

    run(scene())


def test_it_can_be_stopped_while_redis_hangs(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice, _, bob = await three(post)
        own_redis.pause()
        await alice.send("bob", "into the void", type=1)
        post.process.terminate()
        for client in (alice, bob):
            goodbye, code = await client.closed()
            assert code == 1001 and goodbye

    run(scene())
    assert post.process.wait(harness.DEADLINE) == 0


def test_signals_stay_in_order_over_the_return_of_redis(server_with_own_redis, own_redis):
    """Some signals go by rings, later ones through Redis; no signal overtakes one that is still in a ring."""
    post = server_with_own_redis(2, FAST)

    async def scene():
        alice, _, bob = await three(post)
        own_redis.stop()
        await all_know(post, "away")
        own_redis.start()
        sent = 0
        while sent < 200 or not all(row["redis"] == "up" for row in post.status()["workers"]):
            for _ in range(50):
                await alice.send("bob", str(sent), id=f"r{sent}")
                sent += 1
            await bob.take(lambda m: m.get("id") == f"r{sent - 1}")  # never more signals on the way than a ring can hold
        await in_order(alice, bob, 50)
        got = [m["id"] for m in bob.inbox if m.get("id", "").startswith("r")]
        assert got == [f"r{number}" for number in range(sent) if number % 50 != 49]

    run(scene())


def test_a_replaced_session_leaves_at_once_while_redis_is_away(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, FAST)

    async def scene():
        old = await open_on(post, 0, "alice", PythonClient.open, device="APP")
        own_redis.stop()
        await all_know(post, "away")
        new = await open_on(post, 1, "alice", PythonClient.open, device="APP")
        goodbye, code = await old.closed()
        assert code == 4500 and goodbye["code"] == 4500
        await new.settle()

    run(scene())


def test_a_redis_that_wants_a_password_gets_it_and_it_is_not_in_the_log(server_with_own_redis, own_redis):
    own_redis.client().config_set("requirepass", "s3cret-of-redis")
    port = harness.free_port()
    client = own_redis.client()
    client = type(client)(unix_socket_path=str(own_redis.socket), password="s3cret-of-redis")
    client.config_set("port", port)
    post = server_with_own_redis(2, {**FAST, "dataSource": {"redis": {"private": {
        "uri": f"redis://:s3cret-of-redis@127.0.0.1:{port}/2"}}}})

    async def scene():
        alice, _, bob = await three(post)
        await talks_again(alice, bob)

    run(scene())
    assert "s3cret-of-redis" not in post.log()
