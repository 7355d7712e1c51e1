"""Nodes that share one Redis are one post office; hosts are network namespaces (hosts.py)."""

import asyncio
import contextlib
import json
import os
import re
import signal

import psutil
import pytest

import clients
import harness
import hosts
from clients import PythonClient, eventually, open_on, run
from test_mailbox import all_accepted, answers, backlog, has, ids, mails, pour, post_mail

FAST = {**harness.FAST, "node": {"leaseSeconds": 6}}


@pytest.fixture(scope="module")
def network():
    reason = hosts.why_not()
    if reason:
        pytest.skip(reason)
    directory = harness.make_directory()
    net = hosts.Network(2, directory)
    yield net
    net.close()
    harness.remove_directory(directory)


@pytest.fixture
def nodes(network, directory):
    """nodes() starts a node of two workers on each host, and waits until they know each other."""
    for host in network.hosts:
        host.plug()
    network.redis.client().flushall()
    made = []

    def make(**config):
        for number, host in enumerate(network.hosts):
            home = directory / f"node{number}"
            home.mkdir()
            home.chmod(0o755)
            over = harness.merge(harness.merge(host.config(f"node{number}"), FAST), config)
            made.append(harness.Server(home, workers=2, config=over, host=host))
        for node in made:
            node.start()
        know_each_other(*made)
        return made

    yield make
    for node in made:
        node.host.plug()
        node.stop()
    for node in made:
        node.judge()


def know_each_other(*nodes):
    for node in nodes:
        harness.wait_until(lambda node=node: [(row["redis"], row["workersElsewhere"])
                                              for row in node.status()["workers"]] == [("up", 2)] * 2,
                           "each worker knows the two of the other node")


def kill_host(node):
    """Kills master and workers, all at once."""
    for process in node.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker leaves by itself when its master is gone
            process.kill()
    node.expected_status = -signal.SIGKILL
    node.process.wait(harness.DEADLINE)


def put_into_mailbox(store, sender, to, message_id):
    """Appends to the mailbox as a worker does, and rings no doorbell."""
    box = next(store.scan_iter(f"*{{{to}}}:box"))
    body = json.dumps(clients.stamped(sender, to, message_id))
    seq = store.xadd(box, {"f": sender, "i": message_id, "b": body}).decode()
    store.hset(box[:-len(b":box")] + b":ids", mapping={message_id: f"{seq} {sender}", "": seq})


async def mailed(sender, to, count):
    """As post_mail; but just after Redis came back mail may be refused, and is sent again."""
    ready = await sender.order("presence", tags=[sender.address])
    assert ready["subject"] == "result"
    while True:
        probe = await sender.send(sender.address, "", type=1)
        answer = await sender.take(lambda m, probe=probe: m.get("inReplyTo") == probe["id"], what="an answer")
        if answer["subject"] == "accepted":
            sender.inbox.clear()
            return await post_mail(sender, to, count)
        await asyncio.sleep(0.02)


async def online(client, address):
    return sorted((await client.order("presence", tags=[address]))["online"][address])


async def is_online(client, address, devices):
    """Asks for presence again and again, until the answer is as wanted."""
    while await online(client, address) != sorted(devices):
        await asyncio.sleep(0.05)


# ------------------------------------------------------------------------------------------ found wherever it is


def test_mail_signals_and_copies_reach_sessions_on_another_host(nodes):
    one, two = nodes()

    async def scene():
        alice = await open_on(one, 0, "alice", PythonClient.open, device="APP")
        bob = await open_on(two, 1, "bob", PythonClient.open)
        carol = await open_on(two, 0, "carol", PythonClient.open)
        sent = await post_mail(alice, ["bob", "carol"], 30)
        for reader in (bob, carol):
            assert ids(await has(reader, 30)) == sent
        back = await post_mail(bob, "alice", 30)
        assert ids(await has(alice, 30)) == back
        signals = [(await alice.send(["bob", "nobody"], str(n), type=2))["id"] for n in range(50)]
        got = [(await bob.message(type=2))["id"] for _ in signals]
        assert got == signals  # in order
        # The other device connects later, on another host: from then on the device gets copies, and the sender none.
        tab = await PythonClient.open(two, "alice", device="TAB")
        await tab.settle()
        copied = await post_mail(alice, "bob", 5)
        await eventually(lambda: set(copied) <= set(ids(mails(tab))), "copies")
        assert not set(copied) & set(ids(mails(alice)))

    run(scene())


def test_two_nodes_with_one_name_are_two_nodes(nodes):
    one, two = nodes(node={"id": "same"})

    async def scene():
        first = await PythonClient.open(one, "alice", device="APP")
        bob = await PythonClient.open(two, "bob")
        assert first.welcome["node"] == bob.welcome["node"] == "same"
        sent = await post_mail(first, "bob", 5)
        assert ids(await has(bob, 5)) == sent
        second = await PythonClient.open(two, "alice", device="APP")
        assert (await first.closed())[1] == 4500
        assert await online(second, "alice") == ["APP"]

    run(scene())


def test_a_node_without_a_name_has_the_hosts_and_a_random_part(server):
    names = {server(1).status()["node"] for _ in range(2)}
    assert len(names) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+-[0-9a-f]{6}", name) for name in names)


def test_one_message_is_one_publish_for_each_worker(nodes):
    one, two = nodes()

    async def scene():
        alice = await open_on(one, 0, "alice", PythonClient.open)
        crowd = []
        for node in (one, two):
            for slot in (0, 1):
                for n in range(3):
                    crowd.append(await open_on(node, slot, f"{node.config['node']['id']}-{slot}-{n}",
                                               PythonClient.open))
        everybody = [client.address for client in crowd]
        for kind in (1, 2):
            before = one.total("publishes")
            sent = [(await alice.send(everybody, "", type=kind))["id"] for _ in range(10)]
            for client in crowd:
                for one_id in sent:
                    await client.message(id=one_id)
            assert one.total("publishes") - before == 3 * len(sent)
            assert two.total("publishes") == 0
        # A recipient on the sender's own worker alone: no publish.
        await eventually(lambda: len(answers(alice)) == 10, "answers")
        alice.inbox.clear()
        before = one.total("publishes")
        await post_mail(alice, "node0-0-0", 5)
        assert one.total("publishes") == before

    run(scene())


def test_presence_is_of_all_hosts(nodes):
    one, two = nodes()

    async def scene():
        asker = await PythonClient.open(one, "asker")
        for node, device in ((one, "APP"), (two, "TAB"), (two, "QQ")):
            await PythonClient.open(node, "bob", device=device)
        answer = (await asker.order("presence", tags=["bob", "nobody", "asker"]))["online"]
        assert {name: sorted(devices) for name, devices in answer.items()} == \
            {"bob": ["APP", "QQ", "TAB"], "nobody": [], "asker": [""]}
        gone = await PythonClient.open(two, "carol", device="APP")
        assert await online(asker, "carol") == ["APP"]
        await gone.close()
        await is_online(asker, "carol", [])

    run(scene())


# ------------------------------------------------------------------------------------- one session of a device


def test_a_newer_session_of_the_device_replaces_the_older_on_whichever_host(nodes):
    one, two = nodes()

    async def scene():
        first = await PythonClient.open(one, "alice", device="APP")
        other = await PythonClient.open(one, "alice", device="TAB")
        second = await PythonClient.open(two, "alice", device="APP")
        goodbye, code = await first.closed()
        assert code == 4500 and goodbye["code"] == 4500
        third = await PythonClient.open(one, "alice", device="APP")
        assert (await second.closed())[1] == 4500
        await third.settle()
        await other.settle()
        assert await online(third, "alice") == ["APP", "TAB"]

    run(scene())


def test_of_sessions_of_a_device_that_begin_at_once_everywhere_one_remains(nodes):
    one, two = nodes()

    async def scene():
        watcher = await PythonClient.open(two, "watcher")
        for n in range(harness.scaled(15, 3)):
            name = f"many{n}"
            opened = await asyncio.gather(*(PythonClient.open(node, name, device="APP", welcome=False)
                                            for node in (one, two) * 3))
            await eventually(lambda opened=opened: sum(c.close_code is None for c in opened) == 1, "one remains")
            left = next(c for c in opened if c.close_code is None)
            await left.begun()
            assert all(c.close_code == 4500 for c in opened if c is not left)
            await is_online(watcher, name, ["APP"])
            await left.settle()

    run(scene())


def test_the_oldest_of_too_many_gives_way_on_whichever_host(nodes):
    one, two = nodes(sessions={"perAddress": 3})

    async def scene():
        opened = [await PythonClient.open(node, "alice", device=f"D{n}") for n, node in enumerate((one, two) * 3)]
        for old in opened[:3]:
            assert (await old.closed())[1] == 4500
        for young in opened[3:]:
            await young.settle()
        assert await online(opened[-1], "alice") == ["D3", "D4", "D5"]

    run(scene())


# ------------------------------------------------------------------------------------------------ a host is cut off


def test_a_host_that_is_cut_off_keeps_its_sessions_and_catches_up(nodes):
    one, two = nodes()

    async def scene():
        alice = await PythonClient.open(one, "alice")
        carol = await PythonClient.open(one, "carol")
        bob = await open_on(two, 0, "bob", PythonClient.open)
        dora = await open_on(two, 1, "dora", PythonClient.open)
        sent = await post_mail(alice, ["bob", "carol"], 5)
        assert ids(await has(bob, 5)) == sent
        two.host.unplug()
        await eventually(lambda: all(row["redis"] == "away" for row in two.status()["workers"]), "node 2 is cut off")
        # On the host that is cut off: sessions stay, signals go, mail is refused.
        await dora.send("bob", "", type=2, id="ring")
        await bob.message(id="ring")
        refused = await dora.rejected(await dora.send("bob", "", type=1))
        assert refused["code"] == "storage-unavailable" and refused["retryAfter"] > 0
        # On the other host: mail is accepted, also for sessions of the host that is cut off; they get the mail later.
        sent += await post_mail(alice, ["bob", "carol"], 200)
        assert ids(await has(carol, 205)) == sent
        await is_online(alice, "bob", [])  # as soon as the lease has ended
        assert len(mails(bob)) == 5
        two.host.plug()
        await has(bob, 205)
        know_each_other(one, two)
        sent += await post_mail(alice, ["bob", "carol"], 5)
        assert ids(await has(bob, 210)) == sent and ids(mails(carol)) == sent
        await is_online(alice, "bob", [""])
        await is_online(alice, "dora", [""])
        await alice.send("dora", "", type=2, id="back")
        await dora.message(id="back")
        back = await post_mail(dora, "alice", 5)
        assert ids(await has(alice, 5)) == back

    run(scene())


def test_who_moved_while_a_host_was_cut_off_has_one_session_afterwards(nodes):
    one, two = nodes()

    async def scene():
        watcher = await PythonClient.open(one, "watcher")
        stale = await PythonClient.open(two, "alice", device="APP")
        leaver = await PythonClient.open(two, "emil", device="APP")
        fresh = await PythonClient.open(two, "bob", device="APP")
        two.host.unplug()
        await eventually(lambda: all(row["redis"] == "away" for row in two.status()["workers"]), "node 2 is cut off")
        # alice connects to node 1; bob's device begins a new session on each node, and neither node knows of the other.
        moved = await PythonClient.open(one, "alice", device="APP")
        behind = await PythonClient.open(one, "bob", device="APP")
        assert (await behind.order("presence", tags=["bob"]))["subject"] == "result"
        newest = await PythonClient.open(two, "bob", device="APP", welcome=False)
        await newest.said("welcome")
        assert (await fresh.closed())[1] == 4500
        gone = await PythonClient.open(two, "carol", device="APP", welcome=False)
        await gone.said("welcome")
        stays = await PythonClient.open(two, "dora", device="APP", welcome=False)
        await stays.said("welcome")
        await gone.close()
        await leaver.close()
        two.host.plug()
        assert (await stale.closed())[1] == 4500
        assert (await behind.closed())[1] == 4500
        await is_online(watcher, "dora", ["APP"])
        await moved.settle()
        await newest.settle()
        assert await online(watcher, "alice") == ["APP"] and await online(watcher, "bob") == ["APP"]
        await is_online(watcher, "carol", [])
        await is_online(watcher, "emil", [])

    run(scene())


# ----------------------------------------------------------------------------------------------------- a host dies


def test_a_host_that_dies_leaves_no_ghosts_and_its_clients_go_on_elsewhere(nodes):
    one, two = nodes()

    async def scene():
        alice = await PythonClient.open(one, "alice")
        bob = await PythonClient.open(two, "bob", device="APP")
        await PythonClient.open(two, "unwritten", device="APP")
        assert await online(alice, "unwritten") == ["APP"]
        sent = await post_mail(alice, "bob", 10)
        got = await has(bob, 10)
        assert (await bob.order("ack", references=got[6]["seq"]))["subject"] == "result"
        assert await online(alice, "bob") == ["APP"]
        kill_host(two)
        sent += await post_mail(alice, "bob", 10)
        await is_online(alice, "bob", [])
        again = await PythonClient.open(one, "bob", device="APP")
        assert ids(mails(again)) == sent[7:]
        sent += await post_mail(alice, "bob", 1)
        assert ids(await has(again, 14)) == sent[7:]
        store = one.host.net.redis.client()
        harness.wait_until(lambda: len(store.hkeys("po:{bob}:at")) == 1, "what is left of the dead host is cleaned away")
        await is_online(alice, "unwritten", [])  # when the lease has ended

    run(scene())


def test_sessions_of_a_killed_worker_are_gone_at_once_for_all_hosts(nodes):
    """The sessions are gone long before the lease ends, because the other workers of its node know."""
    one, two = nodes(node={"leaseSeconds": 300})

    async def scene():
        asker = await PythonClient.open(one, "asker")
        bob = await open_on(two, 0, "bob", PythonClient.open, device="APP")
        carol = await open_on(two, 1, "carol", PythonClient.open, device="APP")
        assert await online(asker, "bob") == ["APP"] == await online(asker, "carol")
        os.kill(two.worker_pids()[0], signal.SIGKILL)
        await is_online(asker, "bob", [])
        assert await online(asker, "carol") == ["APP"]
        await carol.settle()
        sent = await post_mail(asker, ["bob", "carol"], 5)
        assert ids(await has(carol, 5)) == sent
        assert bob.close_code is not None or await bob.closed()
        assert ids(await backlog(one, "bob", device="APP")) == sent

    run(scene())


@pytest.mark.parametrize("dies", ["one worker", "the host"])
def test_mail_of_a_worker_that_died_before_telling_reaches_other_hosts(nodes, network, dies):
    """The mail lies in the mailbox as the dead worker left it; no doorbell was rung, and no other mail comes."""
    one, two = nodes()

    async def scene():
        alice = await open_on(one, 0, "alice", PythonClient.open)
        bob = await PythonClient.open(two, "bob")
        sent = await post_mail(alice, "bob", 1)
        await bob.message(id=sent[0])
        put_into_mailbox(network.redis.client(), "alice", "bob", "orphan")
        if dies == "the host":
            kill_host(one)
        else:
            os.kill(one.worker_pids()[0], signal.SIGKILL)
        assert (await bob.message(type=1))["id"] == "orphan"

    run(scene())


def test_one_dead_redis_connection_costs_no_doorbell(nodes):
    """The channel is cut while mail comes: missed mail is read from the mailbox, and later mail comes live again."""
    one, two = nodes()

    async def scene():
        alice = await PythonClient.open(one, "alice")
        bob = await PythonClient.open(two, "bob")
        store = one.host.net.redis.client()
        sent = []
        for _ in range(10):
            pouring = asyncio.ensure_future(pour(alice, "bob", 40))
            await asyncio.sleep(0)
            store.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
            sent += await pouring
        await eventually(lambda: len(answers(alice)) == len(sent), "all are answered")
        await all_accepted(alice, sent)
        assert ids(await has(bob, len(sent))) == sent
        end = await post_mail(alice, "bob", 1)
        assert ids(await has(bob, len(sent) + 1)) == sent + end

    run(scene())


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_redis_that_was_away_for_all_hosts_finds_everything_as_it_was(nodes, network, how):
    store = network.redis
    store.stop()
    store.durable = True
    store.start()
    store.client().flushall()  # removes the data that an earlier test left in the file
    one, two = nodes()

    async def scene():
        alice = await PythonClient.open(one, "alice", device="APP")
        bob = await PythonClient.open(two, "bob", device="APP")
        sent = await post_mail(alice, "bob", 5)
        if how == "kill":
            store.kill()
        else:
            store.pause()
        await eventually(lambda: all(row["redis"] == "away" for node in (one, two) for row in node.status()["workers"]),
                         "Redis is away for all")
        newer = await PythonClient.open(one, "bob", device="APP", welcome=False)
        await newer.said("welcome")
        if how == "kill":
            store.start()
        else:
            store.resume()
        assert (await bob.closed())[1] == 4500  # the newer one is on the other host
        await newer.said("welcome", recovered=True)
        know_each_other(one, two)
        back = await PythonClient.open(two, "carol", device="APP")
        sent += await mailed(alice, ["bob", "carol"], 5)
        await eventually(lambda: len(mails(back)) >= 5, "mail to the other host")
        assert ids(mails(newer))[-5:] == ids(mails(back)) == sent[-5:]
        await is_online(alice, "bob", ["APP"])
        await is_online(newer, "carol", ["APP"])
        await alice.send("carol", "", type=2, id="ring")
        await back.message(id="ring")

    try:
        run(scene())
    finally:
        store.resume()
        store.stop()
        store.durable = False
        store.start()
