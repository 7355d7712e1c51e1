"""Revocations by HTTP: tokens and addresses that are kept out from now on, on all nodes (docs/admin.md)."""

import asyncio
import os
import signal
import time

import admin
import clients
import harness
import pytest
import websockets
from admin import Admin, quoted
from harness import wait_until

PATH = "/api/v1/revocations"


class Revocations(Admin):
    """A clerk that is asked to revoke."""

    def __init__(self, server, redis=("up",)):
        super().__init__(server)
        wait_until(lambda: self.get(PATH).json()["redis"] in redis, "the clerk has its Redis")

    def revoke(self, what, **body):
        return self.ask("PUT", f"{PATH}/{quoted(what)}", body or None)

    def allow(self, what):
        return self.delete(f"{PATH}/{quoted(what)}")

    def listed(self, limit=500):
        found, query = [], f"?limit={limit}"
        while query:
            page = self.get(PATH + query).json()
            found += page["revocations"]
            query = f"?limit={limit}&cursor={quoted(page['cursor'])}" if "cursor" in page else None
        return found


def knows(post, count):
    """Every process of the node has so many revocations."""
    return lambda: post.total("revocations") == count * (post.workers + 1)


async def is_let_in(post, address, token):
    try:
        client = await clients.PythonClient.open(post, address, token=token)
    except websockets.InvalidStatusCode as refusal:
        assert refusal.status_code == 401
        return False
    await client.close()
    return True


async def everybody_is_out(sessions):
    for one in sessions:
        assert (await one.closed())[1] == 4501


def test_live_sessions_of_an_address_end_on_every_worker_and_node_and_no_new_one_begins(server):
    first = server(2, {**admin.config(), "node": {"id": "n1"}})
    second = server(2, {**admin.config(), "node": {"id": "n2"}})

    async def talk():
        token = {post: post.token("mallory") for post in (first, second)}
        open_client = clients.PythonClient.open
        there = [await clients.open_on(post, slot, "mallory", open_client, device=f"{number}{slot}", token=token[post])
                 for number, post in enumerate((first, second)) for slot in (0, 1)]
        others = [await open_client(post, "alice", device=str(number)) for number, post in enumerate((first, second))]
        with Revocations(first) as clerk, Revocations(second) as clerk_there:
            assert clerk.revoke("sub:mallory", reason="left the house").status == 204
            await everybody_is_out(there)
            for post in (first, second):
                assert not await is_let_in(post, "mallory", token[post])
            (entry,) = clerk_there.listed()
            assert entry["what"] == "sub:mallory" and entry["reason"] == "left the house" and entry["stored"]
            assert entry["by"] == "local" and abs(entry["since"] - time.time()) < 60 and "until" not in entry
            assert clerk_there.revoke("sub:mallory").status == 204, "the same again changes nothing"
            assert clerk_there.allow("sub:mallory").status == 204
            assert clerk_there.allow("sub:mallory").code == "not-found"
            for post in (first, second):
                assert await is_let_in(post, "mallory", token[post])
        await asyncio.gather(*(one.close() for one in others))
        assert "what=revocation_put" in first.log() and "what=revocation_delete" in second.log()
        assert first.total("tokens_revoked") == 2 == second.total("tokens_revoked")

    clients.run(talk())


def test_a_revoked_jti_ends_its_sessions_and_leaves_other_tokens_of_the_address(server):
    post = server(2, admin.config())

    async def talk():
        stolen, good = post.token("bob", jti="stolen/1"), post.token("bob")
        inside = post.keys.inside("carol", 600, "--jti", "inside")
        thief = await clients.PythonClient.open(post, "bob", device="a", token=stolen)
        owner = await clients.PythonClient.open(post, "bob", device="b", token=good)
        assert await is_let_in(post, "carol", inside), "the token is remembered from now on"
        with Revocations(post) as clerk:
            assert clerk.revoke("jti:stolen/1").status == 204
            await everybody_is_out([thief])
            assert not await is_let_in(post, "bob", stolen) and await is_let_in(post, "bob", good)
            assert clerk.revoke("jti:inside").status == 204
            assert not await is_let_in(post, "carol", inside), "a token that is remembered"
        assert (await owner.order("renew", token=stolen))["code"] == "bad-token"
        sent = await owner.send("dave", token=inside, **{"from": "carol"})
        assert (await owner.rejected(sent))["code"] == "bad-token", "a message's own token"
        await owner.close()

    clients.run(talk())


def test_a_frame_that_comes_behind_its_own_end_revokes_nobody(server):
    """The frame of a revocation reaches a worker of another node after Redis has told that it was taken back."""
    first = server(1, {**admin.config(), "node": {"id": "n1"}})
    second = server(1, {**admin.config(), "node": {"id": "n2"}})
    store = first.redis.client()

    async def talk():
        with Revocations(first) as clerk, store.pubsub() as ear, Revocations(second) as clerk_there:
            ear.psubscribe("po:*")
            assert clerk.revoke("sub:bob").status == 204
            await clients.eventually(lambda: second.total("revocations") == 2, "worker and clerk of the second know it")
            assert clerk_there.allow("sub:bob").status == 204
            await clients.eventually(lambda: second.total("revocations") == 0, "and that it was taken back")
            assert await is_let_in(second, "bob", second.token("bob"))
            heard = iter(lambda: ear.get_message(ignore_subscribe_messages=False, timeout=1), None)
            late = [one for one in heard if one["type"] == "pmessage" and b"sub:bob" in one["data"]]
            assert late, "the frames have been seen"
            for one in late:
                store.publish(one["channel"], one["data"])
            assert clerk.revoke("sub:carol").status == 204  # its frame comes behind those
            await clients.eventually(lambda: second.total("revocations") == 2, "carol alone is kept out")
            assert not await is_let_in(second, "carol", second.token("carol"))
            assert await is_let_in(second, "bob", second.token("bob"))
            assert clerk_there.get(f"{PATH}/sub:bob").code == "not-found"

    clients.run(talk())


def test_a_worker_that_answers_late_brings_nothing_back(server):
    """A clerk that begins asks the workers what they know. Before the answer has come the clerk takes a revocation back."""
    post = server(1, {**admin.config(), "watchdog": {"seconds": 600}})
    with Revocations(post) as clerk:
        assert clerk.revoke("sub:bob").status == 204
    wait_until(knows(post, 1), "both processes know it")
    worker = post.worker_pids()[0]
    os.kill(worker, signal.SIGSTOP)
    os.kill(admin.clerk_pid(post), signal.SIGKILL)
    try:
        with Revocations(post) as clerk:
            assert clerk.allow("sub:bob").status == 204
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until(knows(post, 0), "no process has it")
    with Revocations(post) as clerk:
        assert clerk.get(f"{PATH}/sub:bob").code == "not-found"


def test_an_administrators_token_that_is_revoked_may_not_ask_the_clerk(server):
    port = harness.free_port()
    post = server(1, admin.config(port))
    token = post.token("root", po={"admin": True})
    with Revocations(post) as local, Admin(post, port, token) as clerk:
        assert clerk.get(PATH).status == 200
        assert local.revoke("sub:root").status == 204
        assert clerk.get(PATH).code == "unauthorized"
    with Admin(post, port, post.token("alice")) as clerk:
        assert clerk.ask("PUT", f"{PATH}/sub:bob").code == "forbidden"


def test_only_tokens_issued_before_are_kept_out_and_only_until_the_end(server):
    post = server(1, admin.config())

    async def talk():
        now = int(time.time())
        old, new, undated = post.token("bob", iat=now - 100), post.token("bob", iat=now - 10), post.token("bob", iat=None)
        with Revocations(post) as clerk:
            assert clerk.revoke("sub:bob", before=now - 50, until=now + 3600).status == 204
            assert [await is_let_in(post, "bob", token) for token in (old, new, undated)] == [False, True, False]
            one = clerk.get(f"{PATH}/sub:bob").json()
            assert (one["before"], one["until"]) == (now - 50, now + 3600)
            end = int(time.time()) + 2
            assert clerk.revoke("sub:bob", until=end).status == 204
            assert not await is_let_in(post, "bob", new)
            await clients.eventually(lambda: time.time() > end + 0.1, "the end comes")
            assert await is_let_in(post, "bob", old) and await is_let_in(post, "bob", undated)
            assert clerk.listed() == [] and clerk.get(f"{PATH}/sub:bob").code == "not-found"

    clients.run(talk())


def test_workers_clerks_and_nodes_that_start_later_know_what_is_revoked(server):
    first = server(2, {**admin.config(), "node": {"id": "n1"}})
    token = first.token("mallory")
    with Revocations(first) as clerk:
        assert clerk.revoke("sub:mallory").status == 204
        assert clerk.revoke("jti:x", until=int(time.time()) + 1000).status == 204
        for pid in [*first.worker_pids().values(), admin.clerk_pid(first)]:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: first.status()["restarts"] == 3 and first.is_serving(), "all are replaced")
    second = server(1, {**admin.config(), "node": {"id": "n2"}})

    async def talk():
        assert not await is_let_in(first, "mallory", token)
        assert not await is_let_in(second, "mallory", second.token("mallory"))

    clients.run(talk())
    for post in (first, second):
        with Revocations(post) as clerk:
            wait_until(lambda: [row["what"] for row in clerk.listed()] == ["jti:x", "sub:mallory"], "the clerk knows them")


def test_while_redis_is_away_the_host_keeps_out_and_redis_learns_later(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, admin.config())

    async def talk():
        alice, bob = await clients.PythonClient.open(post, "alice"), await clients.PythonClient.open(post, "bob")
        with Revocations(post) as clerk:
            assert clerk.revoke("sub:kept").status == 204
            own_redis.stop()
            await clients.eventually(lambda: {row["redis"] for row in post.status()["workers"]} == {"away"}, "Redis is away")
            assert not await is_let_in(post, "kept", post.token("kept"))
            answer = clerk.revoke("sub:alice", reason="now")
            assert answer.status == 202 and answer.json() == {"stored": False}
            await everybody_is_out([alice])
            assert clerk.get(f"{PATH}/sub:alice").json()["stored"] is False
            assert clerk.allow("sub:kept").status == 202
            assert clerk.allow("sub:none").code == "storage-unavailable"
            assert [row["what"] for row in clerk.listed()] == ["sub:alice"]
            # A process that starts now learns from the others of the host.
            for pid in [*post.worker_pids().values()]:
                os.kill(pid, signal.SIGKILL)
            await clients.eventually(lambda: post.status()["restarts"] == 2 and post.is_serving(), "workers are replaced")
            assert not await is_let_in(post, "alice", post.token("alice"))
            os.kill(admin.clerk_pid(post), signal.SIGKILL)
            await clients.eventually(lambda: post.status()["restarts"] == 3, "the clerk is replaced")
            own_redis.start()
        await clients.eventually(lambda: own_redis.client().hexists("po:revoked", "sub:alice"), "Redis has it")
        with Revocations(post) as clerk:
            await clients.eventually(lambda: [row["stored"] for row in clerk.listed() if row["what"] == "sub:alice"] == [True],
                                     "the clerk knows that it is stored")
        assert not await is_let_in(post, "alice", post.token("alice"))
        await bob.close()

    clients.run(talk())


def test_what_redis_has_lost_is_written_again(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, admin.config())
    with Revocations(post) as clerk:
        for number in range(50):
            assert clerk.revoke(f"sub:u{number}").status == 204
        wait_until(knows(post, 50), "all processes know them")
        own_redis.client().flushall()
        redis = own_redis.client()
        wait_until(lambda: redis.hlen("po:revoked") == 51 and all(row["stored"] for row in clerk.listed()), "all are back")
        assert clerk.allow("sub:u7").status == 204
        wait_until(knows(post, 49), "no process has lost one")


def test_without_a_redis_revocations_live_in_the_processes_of_the_host(server):
    post = server(2, admin.config(), redis=None)

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        with Revocations(post, ("none",)) as clerk:
            assert clerk.revoke("sub:alice").status == 202
            await everybody_is_out([alice])
            os.kill(admin.clerk_pid(post), signal.SIGKILL)
        await clients.eventually(lambda: post.status()["restarts"] == 1, "the clerk is replaced")
        await clients.eventually(knows(post, 1), "the new clerk has asked a worker")
        with Revocations(post, ("none",)) as clerk:
            assert clerk.allow("sub:alice").status == 202
        assert await is_let_in(post, "alice", post.token("alice"))

    clients.run(talk())


def test_ten_thousand_are_known_everywhere_and_listed_in_pages(server):
    post = server(2, admin.config(revocations=10000))
    names = sorted([f"jti:{number}" for number in range(5000)] + [f"sub:user {number}/ü" for number in range(5000)],
                   key=str.encode)

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        with Revocations(post) as clerk:
            for name in names:
                answer = clerk.revoke(name)
                assert answer.status == 204, answer.text
            wait_until(knows(post, 10000), "all processes know them")
            assert [row["what"] for row in clerk.listed()] == names
            answer = clerk.revoke("sub:one more")
            assert answer.status == 507 and answer.code == "revocations-full"
            assert post.total("revocations_full") == 1
            assert clerk.revoke(names[0], reason="one that is there").status == 204
            assert clerk.allow(names[1]).status == 204 and clerk.revoke("sub:one more").status == 204
            os.kill(admin.clerk_pid(post), signal.SIGKILL)
            for pid in post.worker_pids().values():
                os.kill(pid, signal.SIGKILL)
        await alice.closed()
        await clients.eventually(lambda: post.status()["restarts"] == 3 and post.is_serving(), "all are replaced")
        await clients.eventually(knows(post, 10000), "the new ones know them, too")
        assert not await is_let_in(post, "user 4999/ü", post.token("user 4999/ü"))
        assert await is_let_in(post, "alice", post.token("alice"))

    clients.run(talk())


BAD = [
    ("alice", None), ("sub:", None), ("jti:", None), ("sub:#group", None), ("sub:postmaster", None), ("jti:" + "x" * 129, None),
    ("sub:" + "x" * 256, None), ("jti:a\nb", None), ("SUB:alice", None),
    ("sub:a", b"[]"), ("sub:a", b"{"), ("sub:a", b'{"until":1}'), ("sub:a", b'{"until":"soon"}'),
    ("sub:a", b'{"until":99999999999999999999999}'), ("sub:a", b'{"until":1764000000000}'), ("sub:a", b'{"before":-1}'),
    ("sub:a", b'{"before":1.5}'), ("jti:a", b'{"before":1700000000}'), ("sub:a", b'{"untill":1}'),
    ("sub:a", b'{"reason":7}'), ("sub:a", b'{"reason":"a\\nb"}'), ("sub:a", b'{"reason":"' + b"x" * 257 + b'"}'),
    ("sub:a", b'{"reason":"\xff"}'), ("sub:a", b'{"reason":"' + b"\\u0041" * 100000 + b'"}'),
    ("sub:a", b'{"until":1,"until":2}'), ("sub:a", b"[" * 10000),
]


def test_hostile_requests_are_told_and_change_nothing(server):
    post = server(1, admin.config())
    with Revocations(post) as clerk:
        for what, body in BAD:
            answer = clerk.ask("PUT", f"{PATH}/{quoted(what)}", body)
            assert (answer.status, answer.code) == (400, "bad-field"), (what, body)
        for what in ("alice", "sub:", "jti:a\nb"):
            assert clerk.allow(what).code == "bad-field" and clerk.get(f"{PATH}/{quoted(what)}").code == "bad-field"
        for path in ("/%00", "/sub:%ff", "/", "/a/b"):
            assert clerk.ask("PUT", PATH + path).code == "not-found", path
        for query in ("?limit=0", "?limit=501", "?limit=x", "?cursor=%ff", "?limit=1&limit=2"):
            assert clerk.get(PATH + query).code == "bad-field", query
        assert clerk.ask("POST", PATH, {}).code == "method-not-allowed"
        assert clerk.listed() == []
        assert clerk.revoke("sub:a", reason="é" * 128).status == 204
        assert [row["reason"] for row in clerk.listed()] == ["é" * 128]


@pytest.mark.parametrize("value", ["", "x", "1 2", "-5 -1\n1\nlocal\n", "99999999999999999999 -1\n", "\xff" * 5000, "1\n" * 3000])
def test_what_another_program_has_put_into_redis_harms_nothing(server_with_own_redis, own_redis, value):
    redis = own_redis.client()
    redis.hset("po:revoked", mapping={"": "7 0", "sub:bad": value, "no name": "-1 -1\n", "sub:good": "-1 -1\n1\nlocal\n"})
    redis.zadd("po:revoked:log", {"sub:bad": 5, "no name": 6, "sub:good": 7, "sub:gone": 4})
    post = server_with_own_redis(1, admin.config())

    async def talk():
        assert not await is_let_in(post, "good", post.token("good"))

    clients.run(talk())
    with Revocations(post) as clerk:
        assert clerk.revoke("sub:more").status == 204
        assert {"sub:good", "sub:more"} <= {row["what"] for row in clerk.listed()}
