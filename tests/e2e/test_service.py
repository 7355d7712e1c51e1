"""Several sessions share a service address. Each message goes to exactly one session, and to another session when the
first one leaves without an ack.
"""

import asyncio
import collections
import contextlib
import os
import signal
import time

import pytest
import websockets

import harness
from clients import Closed, PythonClient, eventually, open_on, run
from test_mailbox import FAST, answers, ids, mails
from test_nodes import network, nodes  # noqa: F401, pylint: disable=unused-import

BOT = "/service/echo"
CONFIG = {"serviceAddresses": ["/service/*"], "mailbox": {"maxMessages": 1000000}, **FAST}


@pytest.fixture
def post(server):
    """A server on which every address below /service/ is a service address."""
    def make(workers=3, config=None, **options):
        return server(workers, harness.merge(CONFIG, config or {}), **options)

    return make


class Bot(PythonClient):
    """A session of the service: keeps its messages, and acknowledges in batches, one ack at a time."""

    def __init__(self, address):
        super().__init__(address)
        self.given, self.acknowledged, self.at_work, self.asked = [], 0, None, 0
        self.gone = False

    def ended(self, code, reason):
        self.gone = True
        super().ended(code, reason)

    def arrived(self, message):
        if message["type"] == 1 or (message["type"] == 4 and message["from"] != "postmaster"):
            self.given.append(message)
            self.changed.set()
        else:
            super().arrived(message)

    @classmethod
    async def hire(cls, server, slot=None, address=BOT, work=True, **options):
        bot = await (cls.open(server, address, **options) if slot is None
                     else open_on(server, slot, address, cls.open, **options))
        if work:
            bot.work()
        return bot

    def work(self):
        self.at_work = asyncio.ensure_future(self._work())

    async def _work(self):
        with contextlib.suppress(Closed, websockets.ConnectionClosed):  # a killed bot ends here
            while not self.gone:
                while len(self.given) == self.acknowledged and not self.gone:
                    self.changed.clear()
                    await self.changed.wait()
                if self.gone:
                    return
                self.asked = len(self.given)
                await self.ack(self.given[self.asked - 1])
                self.acknowledged = self.asked

    async def ack(self, message):
        answer = await self.order("ack", references=message["seq"])
        assert answer["subject"] == "result", answer
        return answer

    def vanish(self):
        """Cuts the connection, as when the process of the bot is killed."""
        self.socket.transport.abort()


def given(bots):
    return [m["id"] for bot in bots for m in bot.given]


def queue_state(redis, address=BOT):
    """The state of the consumer group: (connected, given and not acknowledged, not given: at most 100)."""
    client = redis.client()
    group = client.xinfo_groups(f"po:{{{address}}}:box")[0]
    connected = [name for name in client.hkeys(f"po:{{{address}}}:svc") if name]
    waiting = client.xrange(f"po:{{{address}}}:box", b"(" + group["last-delivered-id"], count=100)
    return len(connected), group["pending"], len(waiting)


async def idle(redis, sessions, address=BOT, deadline=None):
    """Waits until `sessions` sessions are connected and every message is acknowledged."""
    try:
        await eventually(lambda: queue_state(redis, address) == (sessions, 0, 0), "everything is acknowledged",
                         deadline)
    except AssertionError:
        print(queue_state(redis, address), redis.client().hgetall(f"po:{{{address}}}:svc"),
              redis.client().hgetall(f"po:{{{address}}}:svn"), redis.client().xpending(f"po:{{{address}}}:box", "po"))
        raise


async def send(sender, count, address=BOT, **fields):
    """Sends all at once; returns the ids, all of them accepted."""
    batch = f"{sender.address}-{time.monotonic_ns()}"
    wanted = [f"{batch}-{number}" for number in range(count)]
    for number, one in enumerate(wanted):
        await sender.send(address, str(number), type=1, id=one, **fields)
    await eventually(lambda: len(answers(sender)) >= count, f"{count} answers")
    got = answers(sender)
    assert [(m["subject"], m["inReplyTo"]) for m in got] == [("accepted", one) for one in wanted]
    assert not any(m.get("refused") for m in got)
    sender.inbox.clear()
    return wanted


class Sender(PythonClient):
    """Sends thousands: counts the answers as they come, and never has too many messages without an answer."""

    def __init__(self, address):
        super().__init__(address)
        self.accepted = []

    def arrived(self, message):
        if message["subject"] == "accepted":
            assert "refused" not in message
            self.accepted.append(message["inReplyTo"])
            self.changed.set()
        else:
            super().arrived(message)

    async def send_many(self, count):
        wanted = [f"{self.address}-{number}" for number in range(count)]
        for number, one in enumerate(wanted):
            while number - len(self.accepted) > 1000:
                self.changed.clear()
                await asyncio.wait_for(self.changed.wait(), harness.DEADLINE)
            await self.send(BOT, str(number), type=1, id=one)
        await eventually(lambda: len(self.accepted) == count, "all are accepted")
        assert self.accepted == wanted
        return wanted


async def is_stored(redis, bot):
    """Waits until Redis has the acks that have been answered so far. A worker that is killed takes later ones along
    (docs/protocol.md, section 5)."""
    done = set(m["seq"] for m in bot.given[:bot.acknowledged])

    def pending():
        rows = redis.client().xpending_range(f"po:{{{BOT}}}:box", "po", "-", "+", 100000)
        return {row["message_id"].decode() for row in rows}

    await eventually(lambda: not done & pending(), "the acks are in Redis")
    return len(done)


async def thirty_thousand(post, redis, bots, senders, kill):
    """`kill` ends the last bot when half of the messages are given, and returns how many of its acks are in Redis for sure."""
    total = 12000 if harness.SANITIZED else 30000
    people = [await open_on(post, slot, f"sender{slot}", Sender.open) for slot in range(senders)]
    sending = [asyncio.ensure_future(sender.send_many(total // senders)) for sender in people]
    await eventually(lambda: sum(len(bot.given) for bot in bots) >= total // 2, "half of it", 300)
    shares = [len(bot.given) for bot in bots]
    kept = await kill(bots[-1])
    wanted = [one for part in await asyncio.gather(*sending) for one in part]
    await idle(redis, len(bots) - 1, deadline=300)
    return wanted, shares, bots[-1], bots[:-1], kept


def judge(wanted, shares, victim, others, kept):
    """Checks that each message came to one bot, and that the unacknowledged ones of the victim came once more."""
    assert min(shares) >= 0.1 * sum(shares), shares  # a third each, where all have the same time of processors
    assert min(len(bot.given) for bot in others) >= 0.1 * len(wanted)
    counts = collections.Counter(given(others))
    assert max(counts.values()) == 1, "one of the others got something that another had"
    again = set(ids(victim.given)) & set(counts)
    kept = set(ids(victim.given[:victim.acknowledged if kept is None else kept]))
    asked = set(ids(victim.given[:victim.asked]))
    assert not again & kept, "what was acknowledged went out again"
    assert set(ids(victim.given)) - asked <= again, "what was not acknowledged stayed with the dead"
    assert kept | set(counts) >= set(wanted) - (asked - kept) and set(given([victim, *others])) == set(wanted)


def test_each_of_30000_goes_to_one_of_three_and_what_a_dead_one_held_to_the_others(post, redis):
    office = post()

    async def vanish(bot):
        bot.vanish()  # its worker lives, and forgets no ack

    async def scene():
        bots = [await Bot.hire(office, slot) for slot in range(3)]
        judge(*await thirty_thousand(office, redis, bots, 3, vanish))
        assert office.total("service_moved") <= 64 and office.total("service_gone") == 0

    run(scene())


def test_a_killed_worker_takes_nothing_with_it(post, redis):
    office = post()

    async def scene():
        bots = [await Bot.hire(office, slot) for slot in range(3)]
        pid = office.worker_pids()[2]

        async def kill(bot):
            kept = await is_stored(redis, bot)
            os.kill(pid, signal.SIGKILL)
            return kept

        judge(*await thirty_thousand(office, redis, bots, 2, kill))
        # The successor of the worker gets work again.
        office.wait_serving()
        bots.append(await Bot.hire(office, 2))
        await send(await PythonClient.open(office, "alice"), 30)
        await idle(redis, 3)
        assert len(bots[3].given) >= 5

    run(scene())


def test_who_saw_nothing_of_it_gets_what_a_dead_worker_s_bot_held(post, redis):
    """One worker appended, gave and held the message, and rang no doorbell."""
    office = post(2)

    async def scene():
        alice = await open_on(office, 1, "alice", PythonClient.open)
        near = await Bot.hire(office, slot=1, work=False)
        far = await Bot.hire(office, slot=0)
        await eventually(lambda: queue_state(redis)[0] == 2, "both are known")
        sent = []
        while not near.given:
            sent += await send(alice, 1)
            await eventually(lambda: len(given([near, far])) == len(sent), "it is given to one of them")
            await eventually(lambda: queue_state(redis)[1] == len(near.given), "the far one acknowledges")
        os.kill(office.worker_pids()[1], signal.SIGKILL)
        await eventually(lambda: far.given[-1:] and far.given[-1]["id"] == sent[-1], "the other one gets it")
        await idle(redis, 1)

    run(scene())


def test_a_slow_trickle_is_spread_evenly(post, redis):
    office = post()

    async def scene():
        bots = [await Bot.hire(office, slot) for slot in (0, 1, 1, 2)]
        alice = await PythonClient.open(office, "alice")
        for number in range(40):
            await send(alice, 1)
            await eventually(lambda: sum(bot.acknowledged for bot in bots) == number + 1 and queue_state(redis)[1] == 0,
                             "it is acknowledged")
        await idle(redis, 4)
        assert [len(bot.given) for bot in bots] == [10] * 4

    run(scene())


def test_an_ack_covers_what_was_sent_up_to_it_and_the_rest_goes_to_others_in_order(post, redis):
    office = post(2)

    async def scene():
        first = await Bot.hire(office, 0, work=False)
        assert first.welcome["service"] is True and first.welcome["cursor"] == "0-0"
        alice = await open_on(office, 1, "alice", PythonClient.open)
        wanted = await send(alice, 10)
        await eventually(lambda: len(first.given) == 10, "ten are given")
        assert ids(first.given) == wanted
        for seq in ("1-1", first.given[9]["seq"].replace("-", "1-")):
            assert (await first.order("ack", references=seq))["cursor"] == "0-0"
        answer = await first.ack(first.given[3])
        assert answer["cursor"] == first.given[3]["seq"]
        await first.ack(first.given[1])  # a seq that an earlier ack covers
        await eventually(lambda: queue_state(redis) == (1, 6, 0), "four are acknowledged")
        second = await Bot.hire(office, 1, work=False)
        await first.close()
        await eventually(lambda: len(second.given) == 6, "the others are handed over")
        assert [(m["id"], m["seq"]) for m in second.given] == [(m["id"], m["seq"]) for m in first.given[4:]]
        second.vanish()
        third = await Bot.hire(office, 0, work=False)
        await eventually(lambda: len(third.given) == 6, "and once more")
        assert third.given == second.given
        await third.ack(third.given[-1])
        await idle(redis, 1)
        assert not [m for bot in (first, second, third) for m in bot.inbox if m["subject"] == "goodbye"]
        history = (await third.order("history", limit=200))["messages"]
        assert ids(reversed(history)) == wanted
        assert office.total("service_moved") >= 12

    run(scene())


def test_what_waits_while_nobody_is_there_is_shared_by_those_who_come(post, redis):
    office = post(2)

    async def scene():
        alice = await PythonClient.open(office, "alice")
        wanted = await send(alice, 1000)
        bots = await asyncio.gather(*(Bot.hire(office, work=False) for _ in range(4)))
        await eventually(lambda: all(len(bot.given) >= 50 for bot in bots), "each has a share before any has done its own")
        for bot in bots:
            bot.work()
        await eventually(lambda: len(given(bots)) >= 1000, "all of it")
        await idle(redis, 4)
        assert sorted(given(bots)) == sorted(wanted)
        for bot in bots:
            assert ids(bot.given) == sorted(ids(bot.given), key=wanted.index)

    run(scene())


def test_who_does_not_acknowledge_is_given_no_more_than_the_credit(post, redis):
    office = post(2, {"sessions": {"serviceCredit": 5, "perServiceAddress": 3}})

    async def scene():
        lazy = await Bot.hire(office, 0, work=False, device="D")
        alice = await PythonClient.open(office, "alice")
        wanted = await send(alice, 50)
        await eventually(lambda: len(lazy.given) == 5, "five are given")
        eager = await Bot.hire(office, 1, device="D")
        await eventually(lambda: len(eager.given) == 45, "the rest goes to the other")
        assert ids(eager.given) == wanted[5:] and ids(lazy.given) == wanted[:5]
        assert (await alice.order("presence", tags=[BOT]))["online"] == {BOT: ["D"]}
        third = await Bot.hire(office, 0)
        fourth = await Bot.hire(office, 1)
        goodbye, code = await lazy.closed()
        assert code == 4500 and goodbye["code"] == 4500
        await idle(redis, 3)
        assert sorted(given([eager, third, fourth])) == sorted(wanted)

    run(scene())


def test_large_messages_and_levels_reach_a_bot_that_reads_slowly(post, redis):
    office = post(2, {"limits": {"queueBytes": 65536, "messageBytes": 2 << 20}})

    async def scene():
        bot = await Bot.hire(office, 0, work=False)
        bot.socket.transport.pause_reading()
        alice = await open_on(office, 1, "alice", PythonClient.open)
        batch = [(f"big{n}", "x" * 700000) for n in range(12)] + [(f"small{n}", "") for n in range(3)]
        for name, content in batch:
            await alice.send(BOT, content, type=1, id=name, level=5 if name == "small2" else 0)
        await eventually(lambda: len(answers(alice)) == len(batch), "all are accepted")
        await eventually(lambda: queue_state(redis)[1] == len(batch), "all are given")
        bot.socket.transport.resume_reading()
        await eventually(lambda: len(bot.given) == len(batch), "all have come")
        assert [i for i in ids(bot.given) if i != "small2"] == [name for name, _ in batch if name != "small2"]
        last = max(bot.given, key=lambda m: bot.given.index(m))
        await bot.ack(last)
        await idle(redis, 1)

    run(scene())


def test_what_has_expired_or_is_not_ours_is_given_to_nobody(post, redis):
    office = post(2)

    async def scene():
        alice = await PythonClient.open(office, "alice")
        await send(alice, 3, expiresAt=int(time.time()) + 1)
        redis.client().xadd(f"po:{{{BOT}}}:box", {"what": "is this"})
        wanted = await send(alice, 3)
        end = int(time.time()) + 2
        await eventually(lambda: time.time() > end, "they have expired")
        bot = await Bot.hire(office)
        await idle(redis, 1)
        assert ids(bot.given) == wanted
        totals = office.status()["totals"]
        assert totals["mail_expired"] + totals["mail_removed"] == 3 and totals["mailbox_bad"] == 1

    run(scene())


def test_what_retention_takes_is_counted_and_holds_nobody_up(post, redis):
    office = post(2, {"mailbox": {"maxMessages": 20}, "sessions": {"serviceCredit": 5}})

    async def scene():
        alice = await PythonClient.open(office, "alice")
        lazy = await Bot.hire(office, 0, work=False)
        wanted = await send(alice, 5)
        await eventually(lambda: len(lazy.given) == 5, "five are given")
        wanted += await send(alice, 40)
        eager = await Bot.hire(office, 1)
        await eventually(lambda: ids(eager.given) == wanted[-20:], "what is left")
        lazy.vanish()
        await idle(redis, 1)
        assert office.total("service_gone") == 5
        assert ids(eager.given) == wanted[-20:]

    run(scene())


def test_what_is_acknowledged_makes_room_in_a_mailbox_that_rejects(post, redis):
    office = post(2, {"mailbox": {"maxMessages": 20, "full": "reject", "dedupeSeconds": 10}})

    async def scene():
        alice = await PythonClient.open(office, "alice")
        bot = await Bot.hire(office, work=False)
        wanted = await send(alice, 20)
        await eventually(lambda: len(bot.given) == 20, "all are given")
        await bot.ack(bot.given[14])
        refused = await alice.send(BOT, "", type=1)
        assert (await alice.rejected(refused))["code"] == "mailbox-full"
        assert redis.client().xlen(f"po:{{{BOT}}}:box") == 20
        await eventually(lambda: redis.client().xlen(f"po:{{{BOT}}}:box") == 5, "after 10 s what is done goes")
        assert ids((await bot.order("history"))["messages"]) == wanted[:14:-1]
        await send(alice, 15)
        await eventually(lambda: len(bot.given) == 35, "there is room again")

    run(scene())


def test_receipts_and_recall_know_what_a_service_has_acknowledged(post, redis):
    office = post(2)

    async def scene():
        bots = [await Bot.hire(office, slot, work=False) for slot in range(2)]
        alice = await PythonClient.open(office, "alice")
        for number in range(10):
            await alice.send(BOT, str(number), type=1, id=f"asks-{number}", **({"receipt": 2} if number % 2 else {}))
        await eventually(lambda: len(given(bots)) == 10, "all are given")
        await alice.settle()
        alice.inbox.clear()
        for bot in bots:
            await bot.ack(bot.given[2])
        done = [m["id"] for bot in bots for m in bot.given[:3]]
        owed = sorted(one for one in done if int(one[-1]) % 2)
        await eventually(lambda: len([m for m in alice.inbox if m["from"] == BOT]) == len(owed), "the receipts")
        told = [m for m in alice.inbox if m["from"] == BOT]
        assert sorted(m["inReplyTo"] for m in told) == owed and all(m["state"] == 2 for m in told)
        for one in (done[0], bots[0].given[4]["id"]):
            answer = await alice.order("recall", inReplyTo=one)
            assert answer["subject"] == "result", answer
            assert answer["recalled"] == ([] if one == done[0] else [BOT]), answer
        for bot in bots:
            bot.work()
        await idle(redis, 2)
        assert len(given(bots)) == 12, "one of them is told of each recall"

    run(scene())


def test_a_bot_s_own_mail_is_no_work_for_its_colleagues(post, redis):
    office = post(2)

    async def scene():
        bots = [await Bot.hire(office, slot, device=f"d{slot}") for slot in range(2)]
        alice = await PythonClient.open(office, "alice")
        asked = await alice.send(BOT, "question", type=1)
        await eventually(lambda: given(bots) == [asked["id"]], "the question")
        bot = next(bot for bot in bots if bot.given)
        answer = await bot.send("alice", "answer", type=1, inReplyTo=asked["id"])
        await bot.said("accepted", inReplyTo=answer["id"])
        got = await alice.message(id=answer["id"])
        assert got["from"] == BOT and got["inReplyTo"] == asked["id"]
        reply = await alice.send(BOT, "and?", type=1, inReplyTo=answer["id"])
        await eventually(lambda: len(given(bots)) == 2, "a reply goes to any")
        assert sorted(given(bots)) == sorted([asked["id"], reply["id"]])
        await idle(redis, 2)
        own = await bot.send(BOT, "to myself", type=1)
        await eventually(lambda: len(given(bots)) == 3, "what it sends there itself is work")
        assert own["id"] in given(bots)
        assert redis.client().xlen(f"po:{{{BOT}}}:box") == 3

    run(scene())


@pytest.mark.parametrize("with_redis", [True, False])
def test_a_signal_goes_to_one_of_them_by_turns(post, with_redis):
    office = post(3, **({} if with_redis else {"redis": None}))

    async def scene():
        bots = [await Bot.hire(office, slot, work=False) for slot in (0, 0, 1, 2)]
        alice = await open_on(office, 1, "alice", PythonClient.open)
        sent = [(await alice.send([BOT, "alice"], str(n)))["id"] for n in range(40)]
        for one in sent:
            await alice.message(id=one)
        await eventually(lambda: sum(len(bot.inbox) for bot in bots) >= 40, "all signals")
        assert sorted(m["id"] for bot in bots for m in bot.inbox) == sorted(sent)
        assert [len(bot.inbox) for bot in bots] == [10] * 4

    run(scene())


def test_without_redis_mail_goes_to_one_of_those_who_are_there(post):
    office = post(3, redis=None)

    async def scene():
        alice = await open_on(office, 0, "alice", PythonClient.open)
        nobody = await alice.send(BOT, "x", type=1)
        assert (await alice.rejected(nobody))["code"] == "storage-unavailable"
        bots = [await Bot.hire(office, slot, work=False) for slot in (0, 1, 2)]
        sent = []
        for number in range(60):
            message = await alice.send(BOT, str(number), type=1)
            assert (await alice.said("accepted", inReplyTo=message["id"]))["state"] == 2
            sent.append(message["id"])
        await eventually(lambda: len(given(bots)) >= 60, "all of it")
        assert sorted(given(bots)) == sorted(sent) and [len(bot.given) for bot in bots] == [20] * 3
        assert (await bots[0].order("ack", references="1-1"))["code"] == "storage-unavailable"
        bots[1].vanish()
        await eventually(lambda: office.sessions() == 3, "one has gone")
        for number in range(10):
            message = await alice.send(BOT, str(number), type=1)
            await alice.said("accepted", inReplyTo=message["id"])
        await eventually(lambda: len(bots[0].given) == len(bots[2].given) == 25, "the others share")

    run(scene())


# ------------------------------------------------------------------------------------------ Redis in trouble


def test_redis_is_killed_and_comes_back_with_everything(directory, server_with_own_redis, own_redis):
    own_redis.kill()
    own_redis.durable = True
    own_redis.start()
    office = server_with_own_redis(3, CONFIG)

    async def scene():
        bots = [await Bot.hire(office, slot) for slot in range(3)]
        lazy = await Bot.hire(office, 1, work=False)
        alice = await PythonClient.open(office, "alice")
        wanted = await send(alice, 300)
        own_redis.kill()
        await eventually(lambda: {row["redis"] for row in office.status()["workers"]} == {"away"}, "it is away")
        missed = await alice.send(BOT, "x", type=1)
        assert (await alice.rejected(missed))["code"] == "storage-unavailable"
        own_redis.start()
        await eventually(lambda: {row["redis"] for row in office.status()["workers"]} == {"up"}, "it is back")
        wanted += await until_accepted(alice, 300)
        await eventually(lambda: queue_state(own_redis) == (4, len(lazy.given), 0), "all but the lazy one's is done")
        assert sorted(given([*bots, lazy])) == sorted(wanted), "each to exactly one"
        lazy.vanish()
        await idle(own_redis, 3)
        assert sorted(given(bots)) == sorted(wanted)
        assert not any(m["subject"] == "welcome" for bot in bots for m in bot.inbox)

    run(scene())


async def until_accepted(sender, count, address=BOT):
    """Sends one after the other, each again under its id until accepted."""
    wanted = []
    for number in range(count):
        one = f"{sender.address}-again-{number}"
        while True:
            await sender.send(address, "", type=1, id=one)
            answer = await sender.take(lambda m: m.get("inReplyTo") == one)
            if answer["subject"] == "accepted":
                break
            await asyncio.sleep(0.05)
        wanted.append(one)
    return wanted


def test_data_that_is_lost_is_said_and_work_goes_on(server_with_own_redis, own_redis):
    office = server_with_own_redis(2, CONFIG)

    async def scene():
        bots = [await Bot.hire(office, slot, work=False) for slot in range(2)]
        alice = await PythonClient.open(office, "alice")
        await send(alice, 10)
        await eventually(lambda: len(given(bots)) == 10, "ten are given")
        own_redis.client().flushall()
        for bot in bots:
            welcome = await bot.said("welcome")
            assert welcome["recovered"] is False and welcome["cursor"] == "0-0" and welcome["service"] is True
            assert welcome["epoch"] not in ("", bot.welcome["epoch"])
            bot.given.clear()
            bot.work()
        wanted = await until_accepted(alice, 50)
        await idle(own_redis, 2)
        assert sorted(given(bots)) == sorted(wanted)

    run(scene())


def test_a_bot_that_came_while_redis_was_away_begins_when_it_is_back(server_with_own_redis, own_redis):
    office = server_with_own_redis(2, CONFIG)

    async def scene():
        alice = await PythonClient.open(office, "alice")
        own_redis.kill()
        await eventually(lambda: {row["redis"] for row in office.status()["workers"]} == {"away"}, "it is away")
        bot = await Bot.hire(office)
        assert bot.welcome["epoch"] == ""
        own_redis.start()
        welcome = await bot.said("welcome")
        assert welcome["epoch"] and welcome["service"] is True
        wanted = await until_accepted(alice, 20)
        await idle(own_redis, 1)
        assert ids(bot.given) == wanted

    run(scene())


@pytest.mark.parametrize("trouble", ["subscriber", "commands", "script"])
def test_cut_connections_and_forgotten_scripts_lose_nothing(post, redis, trouble):
    office = post(3)
    client = redis.client()
    acts = {
        "subscriber": lambda: client.client_kill_filter(_type="pubsub"),
        "commands": lambda: client.client_kill_filter(_type="normal", skipme=True),
        "script": client.script_flush,
    }

    async def scene():
        bots = [await Bot.hire(office, slot) for slot in range(3)]
        alice = await open_on(office, 0, "alice", PythonClient.open)
        wanted = set()
        for _ in range(10):
            before = len(wanted)
            sending = asyncio.ensure_future(
                until_accepted_batch(alice, 200, len(wanted)) if trouble == "commands" else send(alice, 200))
            await eventually(lambda: len(set(given(bots))) > before, "some of it")
            acts[trouble]()
            wanted |= set(await sending)
            await eventually(lambda: wanted <= set(given(bots)), "all of it")
        await idle(redis, 3)
        assert set(given(bots)) == wanted
        assert len(given(bots)) == len(wanted), "each to exactly one: nobody died"

    run(scene())


def test_a_full_redis_stops_neither_acks_nor_what_comes_after(server_with_own_redis, own_redis):
    office = server_with_own_redis(2, CONFIG)

    async def scene():
        bots = [await Bot.hire(office, slot, work=False) for slot in range(2)]
        alice = await PythonClient.open(office, "alice")
        wanted = await send(alice, 200)
        await eventually(lambda: len(given(bots)) == 128, "each has its credit")
        own_redis.client().config_set("maxmemory", 1)
        for bot in bots:
            bot.work()
        refused = await alice.send(BOT, "", type=1)
        assert (await alice.rejected(refused))["code"] == "storage-unavailable"
        late = await Bot.hire(office)
        own_redis.client().config_set("maxmemory", 0)
        wanted += await until_accepted(alice, 50)
        await late.begun()  # the second `welcome`; only after `replayed` is the session a consumer
        while not late.given:  # a worker that asks first may take all of a batch for its own session
            wanted += await send(alice, 50)
        await idle(own_redis, 3)
        assert sorted(given([*bots, late])) == sorted(wanted)

    run(scene())


async def until_accepted_batch(sender, count, first):
    """Sends many at once, and rejected ones again under their id."""
    left = {f"{sender.address}-b{first + number}" for number in range(count)}
    wanted = set(left)
    while left:
        for one in sorted(left):
            await sender.send(BOT, "", type=1, id=one)
        for _ in range(len(left)):
            answer = await sender.take(lambda m: m["from"] == "postmaster")
            if answer["subject"] == "accepted":
                left.discard(answer["inReplyTo"])
        await asyncio.sleep(0.02)
    return wanted


# -------------------------------------------------------------------------------------------- what it is called


def test_an_address_that_becomes_a_service_begins_behind_what_was_acknowledged(post, redis):
    office = post(2, {"serviceAddresses": []})

    async def scene():
        alice = await PythonClient.open(office, "alice")
        single = await PythonClient.open(office, BOT)
        assert "service" not in single.welcome
        old = await send(alice, 10)
        await eventually(lambda: len(mails(single)) == 10, "it has all")
        await single.order("ack", references=mails(single)[6]["seq"])
        office.reload(serviceAddresses=["/service/*"])
        for client in (single, alice):
            assert (await client.closed())[1] == 1012
        await eventually(office.is_serving, "the new workers serve")
        bots = [await Bot.hire(office) for _ in range(2)]
        await idle(redis, 2)
        assert sorted(given(bots), key=old.index) == old[7:]

    run(scene())


def test_other_addresses_are_as_they_were(post):
    office = post(2)

    async def scene():
        first = await PythonClient.open(office, "/services")
        second = await PythonClient.open(office, "/services", device="D")
        alice = await PythonClient.open(office, "alice")
        sent = await alice.send("/services", "x", type=1)
        for client in (first, second):
            await client.message(id=sent["id"])
        await PythonClient.open(office, "/services", device="D")
        assert (await second.closed())[1] == 4500

    run(scene())


# ------------------------------------------------------------------------------------------------- several hosts


def test_sessions_on_two_hosts_share_and_a_host_that_dies_leaves_its_work_to_the_other(nodes, network):  # noqa: F811
    one, two = nodes(**{name: value for name, value in CONFIG.items() if name != "redis"})

    async def scene():
        near = [await Bot.hire(one, slot) for slot in (0, 1)]
        far = [await Bot.hire(two, 0), await Bot.hire(two, 1, work=False)]
        alice = await PythonClient.open(one, "alice")
        wanted = await send(alice, 400)
        await eventually(lambda: queue_state(network.redis) == (4, len(far[1].given), 0), "all but the lazy one's is done")
        assert sorted(given([*near, *far])) == sorted(wanted) and all(len(bot.given) >= 20 for bot in [*near, far[0]])
        assert far[1].given, "the lazy one holds what it was given before the others had room"
        beep = [(await alice.send(BOT, "beep"))["id"] for _ in range(10)]
        await eventually(lambda: sum(len(bot.inbox) for bot in near) == 10, "signals stay on the host")
        assert sorted(m["id"] for bot in near for m in bot.inbox) == sorted(beep)
        for process in two.processes():
            process.kill()
        two.expected_status = None
        await idle(network.redis, 2)
        assert set(given(near)) | set(ids(far[0].given)) == set(wanted) and not set(ids(far[0].given)) & set(given(near))
        assert sorted(given(near) + ids(far[0].given)) == sorted(wanted)

    run(scene())


def test_a_signal_finds_the_one_session_on_another_host(nodes):  # noqa: F811
    one, two = nodes(serviceAddresses=["/service/*"])

    async def scene():
        far = [await Bot.hire(two, slot, work=False) for slot in (0, 1)]
        alice = await PythonClient.open(one, "alice")
        beep = [(await alice.send(BOT, "beep"))["id"] for _ in range(20)]
        await eventually(lambda: sum(len(bot.inbox) for bot in far) >= 20, "all signals")
        await alice.settle()
        assert sorted(m["id"] for bot in far for m in bot.inbox) == sorted(beep)
        assert all(len(bot.inbox) >= 5 for bot in far)

    run(scene())
