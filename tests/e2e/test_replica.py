"""Durability "replica", and fail-over: real masters and replicas, demoted with REPLICAOF.

A server finds its Redis by a symbolic link to a socket, so a fail-over is: promote the other, let the link name it.
"""

import asyncio
import os
import time

import pytest

import harness
from clients import PythonClient, eventually, open_on, run

FAST = harness.merge(harness.FAST, {"redis": {"commandTimeoutMs": 8000}})
PATIENCE_MS = 4000  # mailbox.replicaTimeoutMs: a replica that is there is not given a processor at once


class Pair:
    """Two Redis servers, `first` the master and `second` its replica; `socket` leads to the one in office."""

    def __init__(self, directory):
        self.servers = []
        for name in ("first", "second"):
            home = directory / name
            home.mkdir()
            home.chmod(0o755)
            server = harness.Redis(home)
            server.tcp_port = harness.free_port()
            server.client().config_set("bind", "127.0.0.1")
            server.client().config_set("port", server.tcp_port)
            server.client().config_set("repl-diskless-sync-delay", 0)
            self.servers.append(server)
        self.first, self.second = self.servers
        self.socket = directory / "redis.link"
        self.lead_to(self.first)
        self.follow(self.second, self.first)

    def lead_to(self, server):
        temporary = self.socket.with_suffix(".new")
        os.symlink(server.socket, temporary)
        os.replace(temporary, self.socket)

    @staticmethod
    def follow(server, master):
        server.client().execute_command("REPLICAOF", "127.0.0.1", str(master.tcp_port))
        harness.wait_until(lambda: server.client().info("replication")["master_link_status"] == "up",
                           "the replica follows")

    @staticmethod
    def promote(server):
        server.client().execute_command("REPLICAOF", "NO", "ONE")

    def client(self):
        return self.first.client()

    def stop(self):
        for server in self.servers:
            server.stop()


@pytest.fixture
def pair(directory):
    made = Pair(directory)
    yield made
    made.stop()


def lengths(server, address):
    return server.client().xlen(f"po:{{{address}}}:box")


async def answer(client, message, deadline=harness.DEADLINE):
    return await client.take(lambda m: m.get("inReplyTo") == message["id"], deadline, f"an answer to {message['id']}")


async def accepted_again(client, to, deadline=harness.DEADLINE):
    """Sends until a mail is accepted."""
    began = time.monotonic()
    while time.monotonic() - began < deadline:
        said = await answer(client, await client.send(to, "x", type=1))
        if said["subject"] == "accepted":
            return
        assert said["code"] == "storage-unavailable", said
        await asyncio.sleep(0.05)
    raise AssertionError("mail is never accepted again")


def replicated(make, workers=2, **options):
    return make(workers, harness.merge(FAST, {"mailbox": {"durability": "replica", "replicaTimeoutMs": PATIENCE_MS}}),
                **options)


# ---------------------------------------------------------------------------------------------- a replica is missing


def test_without_a_replica_every_mail_is_answered_in_time_and_nothing_else_waits(server_with_own_redis, own_redis):
    """Twenty mails in twenty turns are a few WAITs, not twenty; a session opens and acks meanwhile."""
    async def story(post):
        alice = await open_on(post, 0, "alice", PythonClient.open)
        sent = {}
        for number in range(20):
            message = await alice.send("bob", "x", type=1, id=f"t{number}")
            sent[message["id"]] = time.monotonic()
            await asyncio.sleep(0.02)
        await open_on(post, 0, "carol", PythonClient.open)
        bob = await open_on(post, 0, "bob", PythonClient.open)
        await alice.settle()
        asked = await alice.order("history")
        assert asked["subject"] == "result"
        assert not [m for m in alice.inbox if m["subject"] == "rejected"], "nothing of it has waited for a replica"
        for name in sent:
            said = await alice.rejected({"id": name})
            assert said["code"] == "storage-unavailable"
            sent[name] = time.monotonic() - sent[name]
        assert min(sent.values()) > 0.8 * PATIENCE_MS / 1000, "each has its time"
        assert own_redis.client().info("commandstats")["cmdstat_wait"]["calls"] < 10
        assert lengths(own_redis, "bob") == 20, "stored, and not promised"
        await bob.close()

    post = replicated(server_with_own_redis, 1)
    run(story(post))


def test_a_stopped_replica_holds_mail_up_and_nothing_else(server_with_own_redis, pair):
    async def story(post):
        alice, bob = await open_on(post, 0, "alice", PythonClient.open), await open_on(post, 1, "bob", PythonClient.open)
        for number in range(50):
            message = await alice.send("bob", "x", type=1, id=f"a{number}")
        assert (await answer(alice, message))["subject"] == "accepted"
        assert lengths(pair.second, "bob") == 50, "what is accepted the replica has"
        pair.second.pause()
        held = await alice.send("bob", "x", type=1, id="held")
        await alice.send("bob", "signal", type=2, id="signal")
        await bob.message(id="signal")
        await alice.settle()
        assert not [m for m in alice.inbox if m.get("inReplyTo") == "held"], "they have not waited for the replica"
        said = await answer(alice, held)
        assert said["code"] == "storage-unavailable"
        slow = await alice.send("bob", "x", type=1, id="slow")
        await asyncio.sleep(0.3)
        pair.second.resume()
        assert (await answer(alice, slow))["subject"] == "accepted"
        again = await alice.send("bob", "x", type=1, id="held")
        assert (await answer(alice, again))["subject"] == "accepted", "the same id asks again"
        await eventually(lambda: [m["id"] for m in bob.inbox if m["type"] == 1].count("held") == 1, "once")
        assert lengths(pair.second, "bob") == 52

    post = replicated(server_with_own_redis, redis=pair)
    run(story(post))


def test_mail_in_a_stream_is_accepted_in_order(server_with_own_redis, pair):
    async def story(post):
        alice = await PythonClient.open(post, "alice")
        for number in range(2000):
            await alice.send("bob", "x", type=1, id=f"n{number}")
        await eventually(lambda: sum(m["subject"] == "accepted" for m in alice.inbox) == 2000, "all are accepted")
        assert [m["inReplyTo"] for m in alice.inbox if m["subject"] == "accepted"] == [f"n{n}" for n in range(2000)]

    run(story(replicated(server_with_own_redis, 1, redis=pair)))


def test_the_waiting_connection_cut_is_made_again(server_with_own_redis, pair):
    async def story(post):
        alice = await PythonClient.open(post, "alice")
        pair.second.pause()
        held = await alice.send("bob", "x", type=1, id="cut")
        admin = pair.first.client()

        def waiting():
            return [row["id"] for row in admin.client_list() if row["cmd"] == "wait"]

        for number in await eventually(waiting, "a WAIT is under way"):
            admin.client_kill_filter(_id=number)
        pair.second.resume()
        assert (await answer(alice, held))["subject"] == "accepted"
        await accepted_again(alice, "bob")

    run(story(replicated(server_with_own_redis, 1, redis=pair)))


# ------------------------------------------------------------------------------------------------------- a fail-over


def ours(server):
    """The connections of the post office at that Redis: workers publish, subscribe or wait."""
    names = ("evalsha", "subscribe", "ping", "wait", "publish", "expire", "set", "incr")
    return [row for row in server.client().client_list() if row["cmd"].split("|")[0] in names
            and row["flags"] not in ("M", "S")]


@pytest.mark.parametrize("durability", ["memory", "replica"])
def test_after_a_fail_over_the_new_master_is_found(server_with_own_redis, pair, durability):
    """The old master lives on as a replica of the new one. Nobody reconnects, no accepted mail is lost."""
    async def story(post):
        alice, bob = await open_on(post, 0, "alice", PythonClient.open), await open_on(post, 1, "bob", PythonClient.open)
        for number in range(100):
            message = await alice.send("bob", "x", type=1, id=f"before{number}")
        await answer(alice, message)
        await eventually(lambda: lengths(pair.second, "bob") == 100, "the replica has all")
        pair.promote(pair.second)
        pair.lead_to(pair.second)
        pair.follow(pair.first, pair.second)
        if durability == "replica":
            pair.second.client().wait(1, 5000)
        await accepted_again(alice, "bob")
        for number in range(100):
            message = await alice.send("bob", "x", type=1, id=f"after{number}")
        assert (await answer(alice, message))["subject"] == "accepted"
        expected = [f"{when}{number}" for when in ("before", "after") for number in range(100)]
        await eventually(lambda: [m["id"] for m in bob.inbox if m["type"] == 1 and m["id"] in expected] == expected,
                         "bob has all, in order, once")
        await eventually(lambda: not ours(pair.first), "no connection stays with the old master")
        await eventually(lambda: len(ours(pair.second)) == (6 if durability == "replica" else 4), "all are at the new")
        await bob.send("alice", "back", type=2, id="signal")
        await alice.message(id="signal")
        assert alice.close_code is None and bob.close_code is None
        newcomer = await PythonClient.open(post, "bob", device="NEW")
        assert newcomer.welcome["epoch"] == bob.welcome["epoch"]

    post = replicated(server_with_own_redis, redis=pair) if durability == "replica" else \
        server_with_own_redis(2, FAST, redis=pair)
    run(story(post))
    assert "READONLY" in post.log()


def test_a_fail_over_is_noticed_without_any_mail(server_with_own_redis, pair):
    async def story(post):
        await PythonClient.open(post, "alice")
        pair.promote(pair.second)
        pair.lead_to(pair.second)
        pair.follow(pair.first, pair.second)
        await eventually(lambda: not ours(pair.first), "no connection stays with the old master")
        await eventually(lambda: len(ours(pair.second)) == 4, "both workers are at the new master")

    run(story(server_with_own_redis(2, FAST, redis=pair)))


def test_a_worker_between_two_masters_confirms_nothing_that_one_lacks(server_with_own_redis, pair):
    """The old master is not demoted, and keeps its connections; the connection that waits is cut, and reaches the new."""
    async def story(post):
        alice = await PythonClient.open(post, "alice")
        await accepted_again(alice, "bob")
        pair.promote(pair.second)
        pair.follow(third, pair.second)
        pair.lead_to(pair.second)
        pair.first.client().client_kill_filter(_id=next(
            row["id"] for row in pair.first.client().client_list() if row["cmd"] == "wait"))
        accepted = set()
        for number in range(40):
            message = await alice.send("bob", "x", type=1, id=f"w{number}")
            if (await answer(alice, message))["subject"] == "accepted":
                accepted.add(message["id"])
        assert len(accepted) > 10, "the new master is found"
        stored = {fields[b"i"].decode() for _, fields in pair.second.client().xrange("po:{bob}:box")}
        assert accepted <= stored, "what is accepted the master that lives has"
        await eventually(lambda: not ours(pair.first), "no connection stays with the old master")

    home = pair.socket.parent / "third"
    home.mkdir()
    home.chmod(0o755)
    third = harness.Redis(home)
    try:
        run(story(replicated(server_with_own_redis, 1, redis=pair)))
    finally:
        third.stop()


def test_the_search_for_a_master_is_made_with_pauses(server_with_own_redis, pair):
    """Nobody is master for a while: stored mail can be read, and Redis is not stormed with connections."""
    async def story(post):
        alice = await PythonClient.open(post, "alice")
        await alice.send("alice", "x", type=1, id="stored")
        await alice.message(id="stored")
        pair.first.client().execute_command("REPLICAOF", "127.0.0.1", "1")
        before = pair.first.client().info("stats")["total_connections_received"]
        said = await answer(alice, await alice.send("alice", "x", type=1))
        assert said["code"] == "storage-unavailable"

        def came():
            return pair.first.client().info("stats")["total_connections_received"] - before

        began, looks = time.monotonic(), 0
        while (count := came()) < 15 + looks:  # each look is a connection of the test's own
            looks += 1
            await asyncio.sleep(0.2)
        # The pauses grow from 20 ms to 200 ms, and a search is two connections.
        assert count - looks < 30 + 20 * (time.monotonic() - began), count
        history = await alice.order("history")
        assert history["subject"] == "result" and [m["id"] for m in history["messages"]] == ["stored"]
        pair.promote(pair.first)
        await accepted_again(alice, "alice")
        assert alice.close_code is None

    run(story(server_with_own_redis(1, FAST, redis=pair)))


def test_a_reload_while_redis_is_a_replica_rejects_what_waits(server_with_own_redis, own_redis, directory):
    """The new scripts cannot become usable: the epoch of the other data cannot be written."""
    home = directory / "other"
    home.mkdir()
    other = harness.Redis(home)
    port = harness.free_port()
    other.client().config_set("port", port)

    async def story(post):
        alice = await PythonClient.open(post, "alice")
        assert (await answer(alice, await alice.send("bob", "x", type=1)))["subject"] == "accepted"
        own_redis.client().execute_command("REPLICAOF", "127.0.0.1", str(port))
        await eventually(lambda: own_redis.client().info("replication")["master_link_status"] == "up", "it follows")
        post.reload(mailbox={"maxMessages": 5000})
        for _ in range(3):
            said = await answer(alice, await alice.send("bob", "x", type=1))
            assert said["subject"] == "rejected" and said["code"] == "storage-unavailable", said
        own_redis.client().execute_command("REPLICAOF", "NO", "ONE")
        await accepted_again(alice, "bob")

    try:
        run(story(server_with_own_redis(1, FAST)))
    finally:
        other.stop()


# ------------------------------------------------------------------------------------------------- the configuration


@pytest.mark.parametrize("timeout_ms, good", [(1999, True), (2000, False), (3000, False)])
def test_a_replica_timeout_at_the_command_timeout_is_a_configuration_error(directory, timeout_ms, good):
    (directory / "keys").mkdir()
    harness.Keys(directory / "keys")
    path = directory / "config.json"
    path.write_text(harness.json.dumps({
        "socketPort": 1, "listen": "127.0.0.1", "auth": {"keyDir": "keys"}, "redis": {"commandTimeoutMs": 2000},
        "mailbox": {"durability": "replica", "replicaTimeoutMs": timeout_ms}}, indent=2))
    result = harness.command("check-config", "--config", path, check=False)
    said = result.stdout + result.stderr
    assert (result.returncode == 0) == good, said
    if not good:
        assert f"mailbox.replicaTimeoutMs: found {timeout_ms}, allowed less than redis.commandTimeoutMs" in said
        assert str(path) in said
