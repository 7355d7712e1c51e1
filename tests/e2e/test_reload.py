"""SIGHUP puts changed keys in force, and sessions notice nothing."""

import asyncio
import signal
import time

import pytest

import harness
from clients import PythonClient, eventually, open_on, run
import clients


async def chatter(client, other, stop):
    """Writes to and fro until told to stop; any loss or disorder is a failure."""
    number = 0
    while not stop.is_set():
        await client.send(other.address, str(number), id=f"c{number}")
        assert (await other.message())["id"] == f"c{number}"
        number += 1
    return number


def test_two_workers_become_four_and_two_again_while_clients_talk(server):
    post = server(2)

    async def scene():
        stop = asyncio.Event()
        pairs = []
        for number in range(4):
            one = await open_on(post, number % 2, f"a{number}", PythonClient.open)
            two = await open_on(post, 0, f"b{number}", PythonClient.open)
            pairs.append((one, two))
        talks = [asyncio.ensure_future(chatter(one, two, stop)) for one, two in pairs]
        before = post.worker_pids()
        for _ in range(2):
            await asyncio.get_running_loop().run_in_executor(None, lambda: post.reload(workers=4))
            await eventually(lambda: len(post.worker_pids()) == 4, "four workers serve")
            newcomer = await open_on(post, 3, "newcomer", PythonClient.open)
            await pairs[0][0].send("newcomer", "hello")
            await newcomer.message(**{"from": "a0"})
            await asyncio.get_running_loop().run_in_executor(None, lambda: post.reload(workers=2))
            goodbye, code = await newcomer.closed()
            assert code in (4000, 1012) and goodbye is not None, "a worker that goes says goodbye"
            await eventually(lambda: len(post.worker_pids()) == 2, "two workers serve")
        assert post.worker_pids() == before, "the surviving workers are the same processes"
        stop.set()
        assert all(count > 0 for count in await asyncio.gather(*talks))
        assert all(client.close_code is None for pair in pairs for client in pair)
        assert post.status()["restarts"] == 0

    run(scene())


@pytest.mark.parametrize("broken", [
    '{"socketPort": ',
    '{"socketPort": "seven"}',
    '{"noSuchKey": 1}',
    '{"workers": -3}',
    '{"limits": {"messageBytes": 0}}',
    '{"auth": {"keys": [{"kid": "x", "kty": "hmac", "secretFile": "/no/such/file"}]}}',
])
def test_an_invalid_config_changes_nothing(server, broken):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        before, pids = post.status(), post.worker_pids()
        size = len(post.log())
        post.config_file.write_text(broken)
        post.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "config" in post.log()[size:].lower(), "the error is logged")
        await alice.send("alice", "still here")
        await alice.message()
        after = post.status()
        assert after["configGeneration"] == before["configGeneration"]
        assert post.worker_pids() == pids
        assert alice.close_code is None

    run(scene())


def test_live_limits_apply_to_sessions_that_are_open(server):
    post = server(2)

    async def scene():
        people = [await open_on(post, slot, f"p{slot}", PythonClient.open) for slot in (0, 1)]
        pids = post.worker_pids()
        post.reload(limits={"recipients": 2})

        async def too_many(client):
            sent = await client.send(["x", "y", "z"])
            await client.settle()
            return [m for m in client.inbox if m.get("inReplyTo") == sent["id"]]

        for client in people:
            for _ in range(200):
                answers = await too_many(client)
                if answers:
                    break
            assert answers and answers[0]["code"] == "too-many-recipients"
        post.reload(limits={"recipients": 1000})
        assert post.worker_pids() == pids, "a live key replaces no worker"

    run(scene())


def test_the_log_level_is_live(server):
    post = server(1, {"log": {"level": "error"}})
    post.reload(log={"level": "debug"})
    size = len(post.log())

    def refused():
        assert status_of(post, "no token") == 401
        return "handshake_refused" in post.log()[size:]

    harness.wait_until(refused, "a refused handshake is worth a line at debug")


def test_new_keys_work_and_old_ones_stop_working(server):
    post = server(2)

    async def scene():
        fresh = b"f" * 48
        token = post.keys.outside("alice", header={"kid": "fresh"}, secret=fresh)
        with clients.Raw(post.port) as raw:
            raw.send(clients.request("/ws?clientID=alice", token=token))
            assert raw.answer().status == 401
        path = post.keys.add_secret("fresh", fresh)
        post.reload()
        client = await PythonClient.open(post, "alice", token=token)
        await client.close()
        path.unlink()
        post.reload()
        await eventually(lambda: status_of(post, token) == 401, "the key is gone")

    run(scene())


def status_of(post, token, address="alice"):
    with clients.Raw(post.port) as raw:
        raw.send(clients.request(f"/ws?clientID={address}", token=token))
        return raw.answer().status


def test_a_revoked_token_opens_nothing_and_ends_what_it_opened(server):
    post = server(2, start=False)
    revoked = post.directory / "revoked"
    revoked.write_text("")
    post.write_config({"auth": {"revoked": "revoked"}})
    post.start()

    async def scene():
        bad, good = post.keys.outside("alice", jti="bad-one"), post.keys.outside("bob", jti="good-one")
        alice = [await open_on(post, slot, "alice", PythonClient.open, token=bad, device=str(slot))
                 for slot in (0, 1)]
        bob = await PythonClient.open(post, "bob", token=good)
        revoked.write_text("another\nbad-one\n")
        post.reload()
        for session in alice:
            goodbye, code = await session.closed()
            assert code == 4501 and goodbye["code"] == 4501
        assert status_of(post, bad) == 401
        assert status_of(post, good, "bob&device=another") == 101
        sent = await bob.send("bob", token=bad, **{"from": "alice"})
        answer = await bob.said("rejected", inReplyTo=sent["id"])
        assert answer["code"] == "bad-token"
        assert bob.close_code is None

    run(scene())


def test_a_revoked_address_is_out_whatever_its_token_says(server):
    post = server(2, start=False)
    revoked = post.directory / "revoked"
    revoked.write_text("# nobody yet\n")
    post.write_config({"auth": {"revoked": "revoked"}})
    post.start()
    now = int(time.time())

    async def scene():
        alice = [await open_on(post, slot, "alice", PythonClient.open, device=str(slot)) for slot in (0, 1)]
        old = await PythonClient.open(post, "bob", device="old", token=post.keys.outside("bob", iat=now - 100.5))
        new = await PythonClient.open(post, "bob", device="new", token=post.keys.outside("bob", iat=now - 1))
        revoked.write_text(f"J1 # left\nsub:alice # left too\nsub:bob before:{now - 50}\n")
        post.reload()
        for session in (*alice, old):
            goodbye, code = await session.closed()
            assert code == 4501 and goodbye["code"] == 4501
        await new.settle()
        assert status_of(post, post.token("alice")) == 401
        assert status_of(post, post.keys.outside("bob", iat=now - 51), "bob") == 401
        assert status_of(post, post.keys.outside("bob", jti="J1"), "bob") == 401
        assert status_of(post, post.keys.outside("bob", iat=now), "bob&device=x") == 101
        # Junk keeps everything as it was.
        revoked.write_text("J1 left\n")
        post.process.send_signal(signal.SIGHUP)
        harness.wait_until(lambda: "config_kept" in post.log(), "the junk is refused")
        assert status_of(post, post.token("alice")) == 401

    run(scene())
    assert "event=revoked_read tokens=1 addresses=2" in post.log()
    assert "auth.revoked" in post.log() and "line 1" in post.log()


def test_a_swap_key_replaces_the_workers_without_refusing_anybody(server):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        before = set(post.worker_pids().values())
        post.write_config({"redis": {"prefix": "other:"}})
        post.process.send_signal(signal.SIGHUP)
        goodbye, code = await alice.closed()
        assert code in (1012, 4000) and goodbye is not None

        def swapped():
            pids = set(post.worker_pids().values())
            return len(pids) == 2 and not pids & before

        await eventually(swapped, "both workers are new")
        one, two = [await open_on(post, slot, f"p{n}", PythonClient.open)
                    for n, slot in enumerate(sorted(post.worker_pids()))]  # new workers may have other slots
        await one.send("p1", "hello")
        await two.message(**{"from": "p0"})

    run(scene())


def test_a_key_that_needs_a_restart_is_named_and_left_alone(server):
    post = server(1)
    other = harness.free_port()
    size = len(post.log())
    post.write_config({"socketPort": other})
    post.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: "socketPort" in post.log()[size:], "the log names the key that needs a restart")
    with clients.Raw(post.port) as raw:
        raw.send(clients.request("/ws", token=post.token("alice")))
        assert raw.answer().status == 101


def test_a_storm_of_sighup_disconnects_nobody(server):
    post = server(2)

    async def scene():
        people = [await PythonClient.open(post, f"p{n}") for n in range(8)]
        for number in range(harness.scaled(200, 20)):
            post.process.send_signal(signal.SIGHUP)
            await people[number % 8].send("p0", "x")
        post.reload()
        for person in people:
            await person.settle()
            assert person.close_code is None

    run(scene())
