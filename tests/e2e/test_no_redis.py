"""Without Redis the workers of one host reach each other through rings in shared memory."""

import asyncio
import os
import signal

import pytest

import harness
from clients import Closed, PythonClient, eventually, open_on, run

WORKERS = [1, 2, 4]


@pytest.fixture
def alone(server):
    """A server without a Redis."""
    def make(workers, config=None, **options):
        return server(workers, config, redis=None, **options)

    return make


async def one_each(post, workers, name="user"):
    return [await open_on(post, slot, f"{name}{slot}", PythonClient.open) for slot in range(workers)]


@pytest.mark.parametrize("workers", WORKERS)
def test_signals_and_mail_reach_every_worker(alone, workers):
    post = alone(workers)

    async def scene():
        people = await one_each(post, workers)
        names = [person.address for person in people]
        for sender in people:
            signal_ = await sender.send(names, "hello")
            mail = await sender.send(names, "a letter", type=1)
            for reader in people:
                assert (await reader.message(id=signal_["id"]))["type"] == 2
                assert (await reader.message(id=mail["id"]))["content"] == mail["content"]
            accepted = await sender.said("accepted", inReplyTo=mail["id"])
            assert accepted["state"] == 2 and "refused" not in accepted
        for person in people:
            await person.settle()
            assert not person.inbox, f"too much: {list(person.inbox)[:3]}"
        totals = post.status()["totals"]
        assert totals["relayed"] == totals["relay_in"] == 2 * workers * (workers - 1)
        assert totals["publishes"] == totals["ring_full"] == 0

    run(scene())


@pytest.mark.parametrize("workers", WORKERS)
def test_who_is_not_there_is_refused(alone, workers):
    post = alone(workers)

    async def scene():
        people = await one_each(post, workers)
        alice, bob = people[0], people[-1]
        sent = await alice.send([bob.address, "nobody"], "x", type=1)
        accepted = await alice.said("accepted", inReplyTo=sent["id"])
        assert accepted["refused"] == [{"address": "nobody", "code": "storage-unavailable"}]
        await bob.message(id=sent["id"])
        sent = await alice.send("nobody", "x", type=1)
        answer = await alice.rejected(sent)
        assert answer["code"] == "storage-unavailable" and answer["state"] == 9
        await bob.close()
        await eventually(lambda: post.sessions() == workers - 1, "bob has left")
        if alice is not bob:
            sent = await alice.send(bob.address, "x", type=1)
            await alice.rejected(sent)

    run(scene())


def test_status_and_log_say_that_there_is_none(alone):
    post = alone(2)
    assert [row["redis"] for row in post.status()["workers"]] == ["none", "none"]
    assert "redis=none" in post.log()
    text = harness.command("status", "--pid-file", post.pid_file).stdout
    assert "none" in text


@pytest.mark.parametrize("workers", WORKERS)
def test_presence_and_replaced_devices_hold_over_all_workers(alone, workers):
    post = alone(workers)

    async def scene():
        watcher = await open_on(post, 0, "watcher", PythonClient.open)
        for slot in range(workers):
            await open_on(post, slot, "alice", PythonClient.open, device=f"d{slot}")
        online = (await watcher.order("presence", tags=["alice", "nobody"]))["online"]
        assert sorted(online["alice"]) == [f"d{slot}" for slot in range(workers)]
        assert not online.get("nobody")
        old = await open_on(post, 0, "bob", PythonClient.open, device="APP")
        for slot in reversed(range(workers)):
            new = await open_on(post, slot, "bob", PythonClient.open, device="APP")
            goodbye, code = await old.closed()
            assert code == 4500 and goodbye["code"] == 4500
            old = new
        await old.settle()
        sent = await watcher.send("bob", "to the last one")
        await old.message(id=sent["id"])

    run(scene())


async def write(sender, reader, count, window=200):
    """Sends mail, never more at once than a ring can hold; every mail must be accepted."""
    for number in range(count):
        await sender.send(reader.address, str(number), type=1, id=f"{sender.address}-{number}")
        if number % window == window - 1 or number == count - 1:
            for _ in range(number % window + 1):
                answer = await sender.take(lambda m: m["from"] == "postmaster")
                assert answer["subject"] == "accepted" and answer["state"] == 2, answer
            await eventually(lambda: reader.read_of.get(sender.address, 0) == number + 1, "all have been read")


async def read(reader, senders, count):
    reader.read_of = {}
    for _ in range(count * len(senders)):
        message = await reader.message()
        number = reader.read_of.get(message["from"], 0)
        assert message["id"] == f"{message['from']}-{number}", f"instead of {number}"
        reader.read_of[message["from"]] = number + 1


@pytest.mark.parametrize("workers", WORKERS)
def test_five_thousand_messages_arrive_in_order(alone, workers):
    post = alone(workers)
    count = harness.scaled(5000) // max(1, workers - 1)

    async def scene():
        people = await one_each(post, workers, "writer")
        reader = await open_on(post, 0, "reader", PythonClient.open)
        writers = people[1:] or people
        await asyncio.gather(read(reader, writers, count), *(write(w, reader, count) for w in writers))
        await reader.settle()
        assert not reader.inbox

    run(scene())


def test_a_killed_worker_under_load_leaves_the_others_working(alone):
    post = alone(3)

    async def chatter(sender, reader, stop):
        """Ping and pong between living workers: no message may be lost."""
        number = 0
        while not stop.is_set():
            sent = await sender.send(reader.address, str(number), type=1)
            await reader.message(id=sent["id"])
            assert (await sender.said("accepted", inReplyTo=sent["id"]))["state"] == 2
            number += 1
        return number

    async def shout(sender, stop):
        """Sends to the worker that dies, without waiting for answers."""
        while not stop.is_set():
            for _ in range(20):
                await sender.send("victim", "x" * 500)
            await asyncio.sleep(0.005)

    async def flood(post, stop):
        """Sends from the worker that dies."""
        while not stop.is_set():
            try:
                victim = await open_on(post, 2, "victim", PythonClient.open)
                while not stop.is_set():
                    for _ in range(20):
                        await victim.send(["sink"], "y" * 500)
                    await asyncio.sleep(0.005)
            except (Closed, OSError, AssertionError, asyncio.TimeoutError):
                await asyncio.sleep(0.05)
            except Exception as error:
                if not type(error).__name__.startswith(("ConnectionClosed", "InvalidMessage", "InvalidStatus")):
                    raise
                await asyncio.sleep(0.05)

    async def scene():
        alice, ann = [await open_on(post, 0, name, PythonClient.open) for name in ("alice", "ann")]
        bob, ben = [await open_on(post, 1, name, PythonClient.open) for name in ("bob", "ben")]
        shouter = await open_on(post, 0, "shouter", PythonClient.open)
        await open_on(post, 1, "sink", PythonClient.open)
        stop = asyncio.Event()
        tasks = [asyncio.ensure_future(t) for t in (chatter(alice, bob, stop), chatter(ben, ann, stop),
                                                    shout(shouter, stop), flood(post, stop))]
        for _ in range(harness.scaled(5, 3)):
            pid = (await eventually(lambda: post.worker_pids().get(2), "the worker serves"))
            await asyncio.sleep(0.3)  # a time under load
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: post.has_replaced(2, pid), "it is replaced")
        stop.set()
        talked = await asyncio.gather(*tasks)
        assert talked[0] > 10 and talked[1] > 10
        assert all(client.close_code is None for client in (alice, ann, bob, ben, shouter))
        carol = await open_on(post, 2, "carol", PythonClient.open)
        for _ in range(100):  # the successor uses the rings of the dead worker, in both directions
            sent = await alice.send("carol", "x", type=1)
            await carol.message(id=sent["id"])
            sent = await carol.send("bob", "x", type=1)
            await bob.message(id=sent["id"])

    run(scene())


def test_a_worker_that_does_not_read_is_never_waited_for(alone):
    post = alone(3, {"watchdog": {"seconds": 600}})
    count = 2000  # messages of 1,000 bytes: more than a ring of 256 KiB takes

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        carol = await open_on(post, 2, "carol", PythonClient.open)
        pid = post.worker_pids()[2]
        os.kill(pid, signal.SIGSTOP)
        try:
            refused = []
            for number in range(count):  # bob gets every message, and every message is answered
                if number % 100 == 0:  # never more on the way than the ring to bob's worker takes
                    for ahead in range(number, number + 100):
                        await alice.send(["carol", "bob"], "z" * 750, type=1, id=f"n{ahead}")
                await bob.message(id=f"n{number}")
                answer = await alice.said("accepted", inReplyTo=f"n{number}")
                if answer.get("refused"):
                    assert answer["refused"] == [{"address": "carol", "code": "storage-unavailable"}]
                    refused.append(number)
            assert refused and refused[0] >= 100
            sent = await alice.send("carol", "z" * 750, type=1)
            answer = await alice.rejected(sent)
            assert answer["code"] == "storage-unavailable" and answer["retryAfter"] > 0
            await alice.send("carol", "z" * 750)  # a signal to a full ring is dropped and counted
            await alice.settle()
            assert post.total("ring_full") == len(refused) + 2
        finally:
            os.kill(pid, signal.SIGCONT)
        taken = [number for number in range(count) if number not in set(refused)]
        for number in taken:  # exactly the accepted messages, in order
            assert (await carol.message())["id"] == f"n{number}"
        sent = await alice.send("carol", "again", type=1)
        await alice.said("accepted", inReplyTo=sent["id"])
        await carol.message(id=sent["id"])
        assert not [m for m in carol.inbox if m["from"] != "postmaster"]

    run(scene())


@pytest.mark.parametrize("workers", [2, 4])
def test_a_burst_of_signals_between_many_pairs_loses_none(alone, workers):
    post = alone(workers)
    pairs, each = harness.scaled(200), 8

    async def scene():
        people = [(await PythonClient.open(post, f"from{n}"), await PythonClient.open(post, f"to{n}"))
                  for n in range(pairs)]
        stopped = list(post.worker_pids().values())[1:]
        for pid in stopped:  # the whole burst is in flight, whatever the speed of the machine
            os.kill(pid, signal.SIGSTOP)
        try:
            for number in range(each):
                await asyncio.gather(*(sender.send(f"to{n}", "x" * 200, id=f"s{number}")
                                       for n, (sender, _) in enumerate(people)))
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        for _, reader in people:
            assert [(await reader.message())["id"] for _ in range(each)] == [f"s{number}" for number in range(each)]
        totals = post.status()["totals"]
        assert totals["ring_full"] == totals["ring_dropped"] == totals["signals_shed"] == 0

    run(scene())


def test_what_a_stopped_worker_did_not_take_comes_in_order_and_what_a_killed_one_did_not_is_counted(alone):
    post = alone(2, {"watchdog": {"seconds": 600}})

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 1, "bob", PythonClient.open)
        pid = post.worker_pids()[1]
        os.kill(pid, signal.SIGSTOP)
        sent = [(await alice.send("bob", "y" * 1500))["id"] for _ in range(400)]  # more than the ring takes
        await alice.settle()
        assert post.total("ring_waited") > 0 and post.total("ring_full") == 0
        os.kill(pid, signal.SIGCONT)
        assert [(await bob.message())["id"] for _ in sent] == sent
        os.kill(pid, signal.SIGSTOP)
        for _ in range(400):
            await alice.send("bob", "y" * 1500)
        await alice.settle()
        os.kill(pid, signal.SIGKILL)
        post.expected_status = None
        await eventually(lambda: post.total("ring_dropped") > 0, "counted when the reader has ended")
        assert post.total("ring_full") == 0
        bob = await open_on(post, 1, "bob", PythonClient.open)
        await alice.send("bob", "for the successor", id="new")
        assert (await bob.message())["id"] == "new"

    run(scene())


def test_what_is_too_large_for_a_ring_is_told(alone):
    post = alone(2)

    async def scene():
        alice, bob = await one_each(post, 2)
        large = "q" * 100000
        sent = await alice.send([alice.address, bob.address], large, type=1)
        accepted = await alice.said("accepted", inReplyTo=sent["id"])
        assert accepted["refused"] == [{"address": bob.address, "code": "storage-unavailable"}]
        await alice.message(id=sent["id"])
        sent = await alice.send([alice.address, bob.address], large)
        assert (await alice.rejected(sent))["code"] == "storage-unavailable"
        sent = await alice.send(alice.address, large)
        await alice.message(id=sent["id"])
        sent = await alice.send(bob.address, "q" * 45000, type=1)
        await bob.message(id=sent["id"])

    run(scene())
