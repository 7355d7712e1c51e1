"""Redis fails in the ways of docs/operations.md, "When Redis fails". Nobody has to reconnect, accepted mail arrives
once and in order, rejected mail never arrives, and after a loss of data every session gets a second `welcome`.
"""

import asyncio
import contextlib
import itertools
import os
import signal

import pytest
import redis as redis_client

import harness
from clients import PythonClient, eventually, open_on, run
from redis_proxy import Proxy

FAST = {"redis": dict(harness.FAST["redis"])}
# How long Redis hangs; POSTOFFICE_COMMAND_TIMEOUT_MS=5000 is the default of redis.commandTimeoutMs.
HANG_S = float(os.environ.get("POSTOFFICE_HANG_SECONDS", "30"))
if "POSTOFFICE_COMMAND_TIMEOUT_MS" in os.environ:
    FAST["redis"]["commandTimeoutMs"] = int(os.environ["POSTOFFICE_COMMAND_TIMEOUT_MS"])
HEALS_S = harness.DEADLINE + FAST["redis"]["commandTimeoutMs"] / 500 + HANG_S
_numbers = itertools.count(1)


def mails(client):
    return [m["id"] for m in client.inbox if m["type"] == 1]


class Sender:
    """Writes without pause and keeps account of every answer. A Sender never sends a message twice."""

    def __init__(self, client, to):
        self.client, self.to = client, to
        self.sent, self.content = [], "x"

    async def write(self, count):
        for _ in range(count):
            name = f"t{next(_numbers)}"
            self.sent.append(name)
            await self.client.send(self.to, self.content, type=1, id=name)

    async def write_until(self, check, what, pause=0.01):
        """Goes on until check() is true. The pause keeps the test's own processor free; nothing depends on it."""
        end = asyncio.get_running_loop().time() + HEALS_S
        while not check():
            assert asyncio.get_running_loop().time() < end, f"waited in vain: {what}"
            await self.write(2)
            await asyncio.sleep(pause)

    def answers(self, subject):
        return [m["inReplyTo"] for m in self.client.inbox if m["subject"] == subject]

    async def account(self):
        """Checks that every message has one answer, and no `accepted` names `refused`; returns the accepted ids."""
        await eventually(lambda: len(self.answers("accepted")) + len(self.answers("rejected")) >= len(self.sent),
                         "an answer to everything", HEALS_S)
        accepted, rejected = self.answers("accepted"), self.answers("rejected")
        assert sorted(accepted + rejected) == sorted(self.sent), "two answers to one message"
        assert accepted == [one for one in self.sent if one in set(accepted)], "accepted in another order"
        for message in self.client.inbox:
            if message["subject"] == "rejected":
                assert message["code"] == "storage-unavailable" and message["retryAfter"] > 0, message
            assert not message.get("refused") or message["subject"] == "rejected", message
        return accepted


class Scene:
    """alice on worker 0 writes to bob on 1 and carol on 2; dora, on 1 too, gets no mail."""

    def __init__(self, post, redis):
        self.post, self.redis = post, redis
        self.sender = None
        self.people = []

    async def open(self):
        alice, bob, carol, dora = self.people = [
            await open_on(self.post, slot, name, PythonClient.open)
            for slot, name in ((0, "alice"), (1, "bob"), (2, "carol"), (1, "dora"))]
        self.sender = Sender(alice, ["bob", "carol"])
        self.readers = [bob, carol]
        await self.sender.write(20)
        await self.sender.account()
        self.dora = dora
        self.restarts = self.post.status()["restarts"]
        return self

    def rejections(self):
        return len(self.sender.answers("rejected"))

    async def until_rejected(self):
        before = self.rejections()
        await self.sender.write_until(lambda: self.rejections() > before + 10, "rejections")

    async def until_away(self):
        await self.sender.write_until(lambda: self.all_say("away"), "everybody knows that Redis is away", 0.02)

    async def until_accepted(self):
        """Waits until the server works again: three workers are connected, and mail sent after that is accepted."""
        await self.sender.write_until(lambda: self.all_say("up"), "everybody is connected again", 0.02)
        last = len(self.sender.sent)

        def is_accepted():
            return any(int(name[1:]) > last for name in self.sender.answers("accepted"))

        last = int(self.sender.sent[-1][1:])
        await self.sender.write_until(is_accepted, "mail is accepted again")

    def all_say(self, state):
        rows = self.post.serving(self.post.status())
        return len(rows) == 3 and all(row["redis"] == state for row in rows)

    def welcomes(self):
        return [(client.address, m) for client in self.people for m in client.inbox if m["subject"] == "welcome"]

    async def judge(self):
        """No data was lost, and no session was told so; nobody had to reconnect; mailboxes hold accepted mail, once."""
        accepted = await self.sender.account()
        for reader in self.readers:
            await eventually(lambda r=reader: set(accepted) <= set(mails(r)), f"all of {reader.address}'s mail", HEALS_S)
            assert mails(reader) == accepted
            stored = await PythonClient.open(self.post, reader.address, device="AUDIT")
            assert mails(stored) == accepted
            await stored.close()
        assert not self.welcomes(), "nothing was lost"
        await self.judge_sessions()
        assert not mails(self.dora)

    async def judge_lost(self):
        """Every session learns of the lost data, and then the server goes on: new mail arrives, once, in order."""
        for client in self.people:
            welcome = await client.take(lambda m: m["subject"] == "welcome" and not m["recovered"], HEALS_S,
                                        "the second welcome")
            assert welcome["epoch"] not in ("", client.welcome["epoch"]) and welcome["cursor"] == "0-0"
            await client.said("replayed")
        assert len({client.address for client in self.people}) == len(self.people)
        await self.sender.account()
        for client in self.people:
            client.inbox.clear()
        self.sender.sent.clear()
        await self.sender.write(50)
        accepted = await self.sender.account()
        assert len(accepted) == 50
        for reader in self.readers:
            await eventually(lambda r=reader: len(mails(r)) >= 50, "mail after the loss")
            assert mails(reader) == accepted
        assert not self.welcomes(), "told once is enough"
        await self.judge_sessions()

    async def judge_sessions(self):
        assert [client.close_code for client in self.people] == [None] * len(self.people)
        for client in self.people:
            await client.settle()
        assert self.post.status()["restarts"] == self.restarts


@contextlib.contextmanager
def durable(redis):
    redis.stop()
    redis.durable = True
    redis.start()
    yield redis


def play(make, redis, story, workers=3, **config):
    """Plays the story on a server of three workers; make is the fixture."""
    post = make(workers, {**FAST, **config})

    async def scene():
        await story(await Scene(post, redis).open())

    run(scene(), 600)
    return post


def logged(post, text):
    return post.log().count(text)


# --------------------------------------------------------------------------------------------- it goes and comes back


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restarted_or_killed(server_with_own_redis, own_redis, how):
    async def story(scene):
        for _ in range(2):
            await scene.sender.write(100)
            getattr(own_redis, how)()
            await scene.until_away()
            await scene.until_rejected()
            own_redis.start()
            await scene.until_accepted()
        await scene.judge()

    with durable(own_redis):
        post = play(server_with_own_redis, own_redis, story)
    assert logged(post, "event=redis_lost") >= 6 and post.total("redis_reconnects") >= 6


def test_hanging(server_with_own_redis, own_redis):
    """Appends on their way are accepted when Redis wakes up; new ones are rejected at once."""
    async def story(scene):
        await scene.sender.write(100)
        own_redis.pause()
        await scene.until_away()
        slept = asyncio.ensure_future(asyncio.sleep(HANG_S))  # the length of the hang is part of the test
        await scene.until_rejected()
        await slept
        own_redis.resume()
        await scene.until_accepted()
        await scene.judge()

    post = play(server_with_own_redis, own_redis, story)
    assert post.total("redis_timeouts") > 0
    assert logged(post, "no answer in time")


def test_come_back_empty(server_with_own_redis, own_redis):
    async def story(scene):
        own_redis.kill()
        await scene.until_away()
        own_redis.start()
        await scene.judge_lost()

    post = play(server_with_own_redis, own_redis, story)
    assert logged(post, "event=stored_data_lost")


# ------------------------------------------------------------------------------------------------------- it refuses


async def newcomer_waits(scene):
    """A session that begins now gets a `welcome` without epoch, and its mail later, without reconnecting."""
    eve = await PythonClient.open(scene.post, "bob", device="NEW", welcome=False)
    eve.welcome = await eve.said("welcome")
    assert eve.welcome["epoch"] == "", eve.welcome
    return eve


async def newcomer_is_told(scene, eve):
    welcome = await eve.take(lambda m: m["subject"] == "welcome", HEALS_S, "the second welcome of who came meanwhile")
    assert welcome["epoch"] and welcome["recovered"]
    await eve.said("replayed")
    accepted = await scene.sender.account()
    await eventually(lambda: len(mails(eve)) >= len(accepted), "the whole mailbox")
    assert mails(eve) == accepted


def test_out_of_memory(server_with_own_redis, own_redis):
    async def story(scene):
        admin = own_redis.client()
        admin.config_set("maxmemory-policy", "noeviction")
        await scene.sender.write(50)
        admin.config_set("maxmemory", "1mb")
        await scene.until_rejected()
        eve = await newcomer_waits(scene)
        await scene.sender.write(50)
        admin.config_set("maxmemory", 0)
        await scene.until_accepted()
        await newcomer_is_told(scene, eve)
        await scene.judge()

    post = play(server_with_own_redis, own_redis, story)
    assert logged(post, "event=mailbox_refused") and "OOM" in post.log() and post.total("mailbox_errors") > 0


def test_read_only(server_with_own_redis, own_redis):
    """Redis becomes a replica of an unreachable master, and is promoted again: Redis keeps its data."""
    async def story(scene):
        await scene.sender.write(50)
        own_redis.client().execute_command("REPLICAOF", "127.0.0.1", "1")
        await scene.until_rejected()
        eve = await newcomer_waits(scene)
        await scene.sender.write(50)
        own_redis.client().execute_command("REPLICAOF", "NO", "ONE")
        await scene.until_accepted()
        await newcomer_is_told(scene, eve)
        await scene.judge()

    post = play(server_with_own_redis, own_redis, story)
    assert "READONLY" in post.log() and post.total("mailbox_errors") > 0


def test_made_a_replica_of_another(server_with_own_redis, own_redis, directory):
    """Redis takes over the data of its new master: the old data is lost, and every session is told."""
    other_directory = directory / "other"
    other_directory.mkdir()
    other = harness.Redis(other_directory)
    port = harness.free_port()
    other.client().config_set("port", port)

    async def story(scene):
        own_redis.client().execute_command("REPLICAOF", "127.0.0.1", str(port))
        await eventually(lambda: own_redis.client().info("replication")["master_link_status"] == "up", "it follows",
                         HEALS_S)
        await scene.until_rejected()
        own_redis.client().execute_command("REPLICAOF", "NO", "ONE")
        await scene.judge_lost()

    try:
        play(server_with_own_redis, own_redis, story)
    finally:
        other.stop()


def test_a_wrong_type_under_a_key(server_with_own_redis, own_redis):
    """Mail to that one address is refused, and carol notices nothing. The key is put right, and bob gets his mail."""
    async def story(scene):
        admin = own_redis.client()
        await scene.sender.write(50)
        await scene.sender.account()
        bob, carol = scene.readers
        to_bob, to_carol = Sender(scene.sender.client, ["bob"]), Sender(scene.sender.client, ["carol"])
        admin.rename("po:{bob}:box", "po:{bob}:away")
        admin.set("po:{bob}:box", "text")
        scene.sender.client.inbox.clear()
        await scene.sender.write(20)
        both = scene.sender.sent[-20:]
        await to_bob.write(20)
        await to_carol.write(20)
        await eventually(lambda: len(to_bob.answers("accepted")) + len(to_bob.answers("rejected")) == 60, "answers")
        assert to_bob.answers("rejected") == to_bob.sent
        assert to_bob.answers("accepted") == both + to_carol.sent
        refused = [m.get("refused") for m in scene.sender.client.inbox if m.get("inReplyTo") in both]
        assert refused == [[{"address": "bob", "code": "storage-unavailable"}]] * 20
        await eventually(lambda: len(mails(carol)) == 110, "carol's mail")
        eve = await newcomer_waits(scene)
        admin.delete("po:{bob}:box")
        admin.rename("po:{bob}:away", "po:{bob}:box")
        scene.sender.client.inbox.clear()
        await to_bob.write(20)
        await eventually(lambda: to_bob.answers("accepted") == to_bob.sent[-20:], "accepted again")
        wanted = scene.sender.sent[:70] + to_bob.sent[-20:]
        await eventually(lambda: len(mails(bob)) >= 90, "bob's mail")
        assert mails(bob) == wanted
        await eve.take(lambda m: m["subject"] == "welcome" and m["epoch"], HEALS_S, "the second welcome")
        await eve.said("replayed")
        assert mails(eve) == wanted
        assert mails(carol) == scene.sender.sent + to_carol.sent
        assert not scene.welcomes()
        await scene.judge_sessions()

    post = play(server_with_own_redis, own_redis, story)
    assert "WRONGTYPE" in post.log()


def test_a_wrong_password(server_with_own_redis, own_redis):
    """The operator changes the password, and corrects it again. No log contains the password."""
    async def story(scene):
        admin = own_redis.client()
        await scene.sender.write(100)
        admin.config_set("requirepass", "changed-by-mistake")
        for kind in ("normal", "pubsub"):
            admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await scene.until_away()
        await scene.until_rejected()
        await scene.sender.write_until(lambda: "NOAUTH" in scene.post.log(), "a worker was not let in", 0.02)
        knowing = redis_client.Redis(unix_socket_path=str(own_redis.socket), password="changed-by-mistake")
        knowing.config_set("requirepass", "")
        await scene.until_accepted()
        await scene.judge()

    post = play(server_with_own_redis, own_redis, story)
    assert "NOAUTH" in post.log() and "changed-by-mistake" not in post.log()


# --------------------------------------------------------------------------------------------------------- it forgets


def test_flushed(server_with_own_redis, own_redis):
    async def story(scene):
        for _ in range(2):
            await scene.sender.write(20)
            own_redis.client().flushall()
            await scene.judge_lost()
            for client in scene.people:
                client.welcome = await reopened_epoch(scene, client)

    async def reopened_epoch(scene, client):
        probe = await PythonClient.open(scene.post, "probe")
        welcome = probe.welcome
        await probe.close()
        return {**client.welcome, "epoch": welcome["epoch"]}

    post = play(server_with_own_redis, own_redis, story)
    assert logged(post, "event=stored_data_lost") >= 3


def test_scripts_flushed(server_with_own_redis, own_redis):
    async def story(scene):
        for _ in range(20):
            await scene.sender.write(30)
            own_redis.client().script_flush()
            await scene.sender.write(5)
        await scene.until_accepted()
        await scene.judge()

    play(server_with_own_redis, own_redis, story)


# -------------------------------------------------------------------------------------------------- connections break


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_connections_killed(server_with_own_redis, own_redis, kind):
    async def story(scene):
        admin = own_redis.client()
        for _ in range(20):
            await scene.sender.write(30)
            admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await scene.sender.write(5)
        await scene.until_accepted()
        await scene.judge()

    post = play(server_with_own_redis, own_redis, story)
    assert post.total("redis_reconnects") > 0


def test_subscribers_cut_for_their_output_buffers(server_with_own_redis, own_redis):
    """Doorbells with large messages overrun the buffer; the messages then come from the mailbox."""
    async def story(scene):
        own_redis.client().config_set("client-output-buffer-limit", "pubsub 20000 0 0")
        before = scene.post.total("redis_reconnects")
        scene.sender.content = "x" * 100000
        await scene.sender.write_until(lambda: scene.post.total("redis_reconnects") >= before + 6, "it cuts", 0.02)
        scene.sender.content = "x"
        await scene.until_accepted()
        await scene.judge()

    post = play(server_with_own_redis, own_redis, story)
    assert logged(post, "connection=inbox")


@contextlib.contextmanager
def proxied(redis, directory):
    """A proxy between the server and its Redis."""
    proxy = Proxy(directory / "proxy.sock", redis.socket)
    try:
        yield proxy
    finally:
        proxy.stop()


def test_slow_answers(server_with_own_redis, own_redis, directory):
    """A slow Redis: mail is accepted later. Slower than the time-out: as if Redis were away."""
    async def story(scene):
        proxy.delay_s = 0.15
        await scene.sender.write(100)
        assert len(await scene.sender.account()) == 120, "nothing is rejected for being slow"
        proxy.delay_s = 3 * FAST["redis"]["commandTimeoutMs"] / 1000
        await scene.until_rejected()
        proxy.delay_s = 0
        await scene.until_accepted()
        await scene.judge()

    with proxied(own_redis, directory) as proxy:
        play(lambda *args: server_with_own_redis(*args, redis=proxy), own_redis, story)


class CutOnce:
    """Cuts the connection that sends `word`, as often as the cut is armed; `then` is called first."""

    def __init__(self, word, then=lambda: None):
        self.word, self.then, self.armed = word, then, 0

    def __call__(self, data):
        if self.armed <= 0 or self.word not in data:
            return False
        self.armed -= 1
        self.then()
        return True


def test_a_doorbell_that_broke_off_is_made_up_for(server_with_own_redis, own_redis, directory):
    """The sender's worker loses its connection with the doorbell on it. The readers' connections are well, and nothing
    more is sent: the other workers find out by themselves."""
    async def story(scene):
        proxy.cuts = CutOnce(b"PUBLISH")
        for _ in range(5):
            proxy.cuts.armed = 1
            await scene.sender.write(1)
            await eventually(lambda: proxy.cuts.armed == 0, "it was cut")
            await scene.judge()

    with proxied(own_redis, directory) as proxy:
        post = play(lambda *args: server_with_own_redis(*args, redis=proxy), own_redis, story)
    assert post.total("doorbells_lost") >= 5


def test_a_worker_killed_before_it_rang_is_made_up_for(server_with_own_redis, own_redis, directory):
    async def story(scene):
        pid = scene.post.worker_pids()[0]
        proxy.cuts = CutOnce(b"PUBLISH", lambda: os.kill(pid, signal.SIGKILL))
        proxy.cuts.armed = 1
        await scene.sender.write(1)
        for reader in scene.readers:
            await eventually(lambda r=reader: mails(r) == scene.sender.sent, "what the dead worker stored", HEALS_S)
        assert not [m for m in scene.welcomes() if m[0] != "alice"]

    with proxied(own_redis, directory) as proxy:
        play(lambda *args: server_with_own_redis(*args, redis=proxy), own_redis, story)


