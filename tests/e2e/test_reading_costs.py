"""Who reads stored mail of 1 MB, and takes nothing of it from the socket, costs a worker a page and Redis a page.

Each load runs on a fresh worker with default limits. The growth of the worker's private memory (RssAnon) is sampled
while the load lasts, and so is the memory of Redis: it must stay near what the stored mail itself takes.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time

import pytest

import clients
import harness
from clients import PythonClient, b64, eventually, run

MAILS = 40
MEGABYTE = 1 << 20
CONTENT = b64(b"x" * 760000)  # a mail of just under 1 MB
GROWTH_MAX = 64 * MEGABYTE * (4 if harness.SANITIZED else 1)
# Default limits, but for who fills the mailboxes; a session that hangs on purpose is not cut.
LIMITS = {"limits": {"queueBytes": MEGABYTE, "slowConsumerSeconds": 3600, "pingSeconds": 3600},
          "sessions": {"perAddress": 64}, "log": {"level": "info"}}
ALL_GROUPS = {"groups": ["#*"]}


def private_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def fresh_worker(post):
    """No growth hides in memory that was freed before."""
    old = post.worker_pids()[0]
    os.kill(old, signal.SIGTERM)
    harness.wait_until(lambda: post.has_replaced(0, old), "a fresh worker serves")
    return post.worker_pids()[0]


async def fill(post, to, count=MAILS, content=CONTENT, prefix="", **fields):
    sender = await PythonClient.open(post, "sender", token=post.token("sender", po=ALL_GROUPS))
    for number in range(count):
        text = json.dumps({**clients.envelope("sender", to, "", **{"type": 1, **fields}, id=f"{prefix}{number}"),
                           "content": content})
        await sender.send_text(text)
        await eventually(lambda n=number: len(sender.inbox) > n, "an answer")
    assert {m["subject"] for m in sender.inbox} == {"accepted"}
    await sender.close()


class Deaf(clients.Raw):
    """A session whose socket takes little, and is read by nobody until the test reads on."""

    def __init__(self, port):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(harness.DEADLINE)
        self.socket.connect(("127.0.0.1", port))
        self.input = b""

    def open(self, post, address, device, query=""):
        self.send(clients.request(f"/ws?clientID={address}&device={device}{query}",
                                  token=post.token(address, po=ALL_GROUPS)))
        assert self.answer().status == 101
        return self

    def order(self, address, subject, **fields):
        message = {"from": address, "to": ["postmaster"], "type": 4, "subject": subject, **fields}
        message = {name: value for name, value in message.items() if value is not None}
        self.send(clients.frame(1, json.dumps(message)))

    def subject(self, wanted):
        while True:
            message = json.loads(self.message())
            if message["from"] == "postmaster" and message["subject"] == wanted:
                return message


class Watch:
    """The largest growth of the worker and of Redis since it began."""

    def __init__(self, pid, redis):
        self.pid, self.redis = pid, redis.client()
        self.redis.config_resetstat()
        self.before = private_bytes(pid)
        self.redis_before = self.used()
        self.most = self.redis_most = 0

    def used(self):
        return self.redis.info("memory")["used_memory"]

    def sample(self, seconds=0.0):
        end = time.monotonic() + seconds
        while True:
            self.most = max(self.most, private_bytes(self.pid) - self.before)
            self.redis_most = max(self.redis_most, self.used() - self.redis_before)
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def judge(self):
        print(f"the worker grew by {self.most / MEGABYTE:.1f} MiB, Redis by {self.redis_most / MEGABYTE:.1f} MiB")
        assert self.most < GROWTH_MAX
        assert self.redis_most < 64 * MEGABYTE


@contextlib.contextmanager
def deaf(post, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Deaf(post.port)) for _ in range(count)]


def test_sessions_that_read_nothing_cost_a_page_each(server, redis):
    post = server(1, LIMITS)
    run(fill(post, "bob"))
    watch = Watch(fresh_worker(post), redis)
    with deaf(post, 12) as sessions:
        for number, session in enumerate(sessions):
            session.open(post, "bob", f"D{number}", "&since=0")
            watch.sample()
        watch.sample(3)
        watch.judge()
        assert [json.loads(sessions[0].message())["subject"]] == ["welcome"]
        assert [json.loads(sessions[0].message())["id"] for _ in range(MAILS)] == [str(n) for n in range(MAILS)]


def test_subscribers_that_read_nothing_cost_a_page_each(server, redis):
    post = server(1, LIMITS)
    run(fill(post, "#room", type=3))
    watch = Watch(fresh_worker(post), redis)
    with deaf(post, 12) as sessions:
        for number, session in enumerate(sessions):
            session.open(post, f"s{number}", "D")
            session.order(f"s{number}", "subscribe", tags=["#room"], references="1")
            watch.sample()
        watch.sample(3)
        watch.judge()
        sessions[0].subject("result")
        assert [json.loads(sessions[0].message())["id"] for _ in range(MAILS)] == [str(n) for n in range(MAILS)]


def test_many_groups_that_are_read_on_at_once_stay_within_the_bound(server, redis):
    """Redis was away for the worker: every group's log is asked for its end and read on, all at once."""
    post = server(1, {**LIMITS, "redis": {"reconnectMinMs": 20, "reconnectMaxMs": 200}})
    groups = [f"#g{number}" for number in range(40)]

    async def scene():
        member = await PythonClient.open(post, "member", token=post.token("member", po=ALL_GROUPS))
        assert (await member.order("subscribe", tags=groups))["subject"] == "result"
        control = redis.client()
        watch = Watch(post.worker_pids()[0], redis)
        body = json.dumps({**clients.stamped("x", "#g", "i"), "type": 3, "content": CONTENT})
        for number in range(2):
            for group in groups:
                key = f"po:{{{group}}}:box"
                control.xadd(key, {"f": "x", "i": f"{group}-{number}", "b": body})
        watch.redis_before = watch.used()
        control.client_kill_filter(_type="normal", skipme=True)
        control.client_kill_filter(_type="pubsub")

        def all_have_come():
            watch.sample()
            return sum(m["type"] == 3 for m in member.inbox) >= 2 * len(groups)

        await eventually(all_have_come, "every post")
        assert sum(m["type"] == 3 for m in member.inbox) == 2 * len(groups)
        watch.judge()

    run(scene())


def test_a_burst_of_histories_that_nobody_reads_costs_one_answer_at_a_time(server, redis):
    post = server(1, LIMITS)
    run(fill(post, "#room", type=3))
    watch = Watch(fresh_worker(post), redis)
    with deaf(post, 1) as [session]:
        session.open(post, "bob", "D")
        for number in range(40):
            session.order("bob", "history", tags=["#room"], id=f"h{number}")
        watch.sample(3)
        watch.judge()
        for number in range(40):
            answer = session.subject("result")
            assert answer["inReplyTo"] == f"h{number}", "in the order of asking"
            assert [m["id"] for m in answer["messages"]] == [str(MAILS - 1)] and answer["more"] is True
            assert answer["references"] == answer["messages"][-1]["seq"]
            watch.sample()
        watch.judge()
    assert post.total("commands_waited") >= 30


@pytest.mark.parametrize("to", ["bob", ["bob", "eve"]], ids=["alone", "shared"])
@pytest.mark.parametrize("size, least", [(200, 1), (300000, 4), (760000, 8)])
def test_history_goes_on_with_its_references_until_there_is_no_more(server, size, least, to):
    post = server(1, LIMITS)

    async def scene():
        await fill(post, to, 8, b64(b"x" * size), prefix="a", subjectId="a0")
        await fill(post, "bob", 2, b64(b"x" * 20), prefix="b")
        bob = await PythonClient.open(post, "bob")
        for thread, wanted in ({}, ["b1", "b0", *(f"a{n}" for n in range(7, -1, -1))]), \
                              ({"subjectId": "a0"}, [f"a{n}" for n in range(7, -1, -1)]):
            got, position, pages = [], {}, 0
            while True:
                answer = await bob.order("history", **thread, **position)
                assert answer["subject"] == "result", answer
                assert sum(len(m["content"]) for m in answer["messages"]) < (256 << 10) + (1 << 20)
                got += [m["id"] for m in answer["messages"]]
                pages += 1
                assert pages < 20
                if "more" not in answer:
                    assert "references" not in answer
                    break
                position = {"references": answer["references"]}
            assert got == wanted and pages >= least
        await bob.close()

    run(scene())


async def pages_of(session, **fields):
    """The ids of a history, a list a page."""
    pages, position = [], {}
    while True:
        answer = await session.order("history", **fields, **position)
        pages.append([m["id"] for m in answer["messages"]])
        if "more" not in answer:
            return pages
        position = {"references": answer["references"]}


@pytest.mark.parametrize("to", ["bob", ["bob", "eve"]], ids=["alone", "shared"])
@pytest.mark.parametrize("thread", [{}, {"subjectId": "0"}], ids=["all", "thread"])
def test_a_history_of_large_messages_passes_through_a_script_once(server, redis, to, thread):
    """Lua reads every byte of a string: a message of 1 MB holds Redis for two milliseconds, a plain command for a tenth."""
    post = server(1, LIMITS)

    async def scene():
        await fill(post, to, 6, subjectId="0")
        bob = await PythonClient.open(post, "bob", query={"since": "now"})
        with redis.monitored() as lines:
            assert sum(await pages_of(bob, **thread), []) == [str(n) for n in range(5, -1, -1)]
        by_script = [line for line in lines if " lua]" in line and ('"XREVRANGE"' in line or '"XRANGE"' in line)]
        assert len(by_script) <= 2, by_script
        await bob.close()

    run(scene())


@pytest.mark.parametrize("thread", [{}, {"subjectId": "a0"}], ids=["all", "thread"])
def test_small_messages_between_large_ones_come_with_their_neighbours(server, thread):
    post = server(1, LIMITS)

    async def scene():
        for part in "abc":
            await fill(post, "bob", 2, prefix=part, subjectId="a0")
            await fill(post, "bob", 30, b64(b"x" * 20), prefix=f"{part}s", subjectId="a0")
        bob = await PythonClient.open(post, "bob", query={"since": "now"})
        pages = await pages_of(bob, **thread)
        wanted = [name for part in "cba" for name in [*(f"{part}s{n}" for n in range(29, -1, -1)), f"{part}1", f"{part}0"]]
        assert sum(pages, []) == wanted
        assert len(pages) <= 10, "each large message is a page, and so are all the small ones between two large ones"
        await bob.close()

    run(scene())


def test_a_history_of_large_messages_leaves_out_a_body_that_is_gone(server, redis):
    post = server(1, LIMITS)

    async def scene():
        await fill(post, ["bob", "eve"], 4)
        bob = await PythonClient.open(post, "bob", query={"since": "now"})
        stored = await bob.order("history", limit=1)
        names = sorted(redis.client().keys("*body:*"))
        assert len(names) == 4 and [m["id"] for m in stored["messages"]] == ["3"]
        with redis.monitored() as lines:
            assert (await bob.order("history", limit=1, references=stored["messages"][0]["seq"]))["messages"]
        (third,) = [name for name in names if any(name.decode() in line for line in lines)]
        redis.client().delete(third)
        assert sum(await pages_of(bob), []) == ["3", "1", "0"]
        assert post.total("bodies_gone") >= 1
        await bob.close()

    run(scene())


def test_a_history_of_one_message_above_16_MiB_is_answered(server):
    post = server(1, {"limits": {"messageBytes": 40 << 20, "queueBytes": 64 << 20}})

    async def scene():
        await fill(post, "bob", 2, b64(b"x" * (20 << 20)))
        bob = await PythonClient.open(post, "bob")
        answer = await bob.order("history")
        assert [m["id"] for m in answer["messages"]] == ["1"] and answer["more"]
        await bob.close()

    run(scene())


def wait_for_history(session, address):
    """A worker that has not reached its Redis within a second serves without, and refuses `history` until then."""
    def is_answered():
        session.order(address, "history", id="ready")
        while (message := json.loads(session.message())).get("inReplyTo") != "ready":
            pass
        return message["subject"] == "result"

    harness.wait_until(is_answered, "the mailbox can be read", pause=0.1)


def test_commands_past_the_bound_are_rate_limited_and_the_others_answered_in_order(server, redis):
    post = server(1, {"limits": {"commandsWaiting": 5}, "redis": {"commandTimeoutMs": 60000}})
    with deaf(post, 1) as [session]:
        session.open(post, "bob", "D")
        wait_for_history(session, "bob")
        redis.pause()
        try:
            for number in range(12):
                session.order("bob", ("history", "presence", "recall")[number % 3], id=f"c{number}", tags=["bob"]
                              if number % 3 < 2 else None, inReplyTo="nothing")
            for number in range(6, 12):  # one is under way, five wait
                refused = session.subject("rejected")
                assert (refused["inReplyTo"], refused["code"]) == (f"c{number}", "rate-limited")
                assert refused["retryAfter"] > 0
        finally:
            redis.resume()
        answers = []
        while len(answers) < 6:
            message = json.loads(session.message())
            if message["subject"] in ("result", "rejected"):
                answers.append(message)
        assert [m["inReplyTo"] for m in answers] == [f"c{number}" for number in range(6)]
        assert [m.get("code") for m in answers] == [None, None, "not-found", None, None, "not-found"]
    assert post.total("rejected_rate_limited") == 6


def test_a_recall_searches_a_bounded_part_of_what_was_sent(server):
    post = server(1, {"limits": {"recallEntries": 10}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        for number in range(40):
            await alice.send("bob", type=1, id=f"m{number}")
            await alice.said("accepted", inReplyTo=f"m{number}")
        assert (await alice.order("recall", inReplyTo="m39"))["recalled"] == ["bob"]
        refused = await alice.order("recall", inReplyTo="m0")
        assert refused["code"] == "not-found" and "latest" in refused["message"]
        post.reload(limits={"recallEntries": 1000})
        assert (await alice.order("recall", inReplyTo="m0"))["recalled"] == ["bob"]
        refused = await alice.order("recall", inReplyTo="never")
        assert refused["code"] == "not-found" and "latest" not in refused["message"]
        await alice.close()

    run(scene())


def test_presence_of_many_nearly_equal_addresses_names_each_once(server):
    post = server(1, {"limits": {"recipients": 10000}})

    async def scene():
        alice = await PythonClient.open(post, "alice", device="APP")
        tags = ["x" * 80 + str(number) for number in range(4000)]
        answer = await alice.order("presence", tags=[*tags, "alice", *reversed(tags), "alice"])
        assert list(answer["online"]) == [*tags, "alice"] and answer["online"]["alice"] == ["APP"]
        await alice.close()

    run(scene())


def test_a_service_that_reads_nothing_costs_a_page_a_session(server, redis):
    post = server(1, {**LIMITS, "serviceAddresses": ["svc"]})
    run(fill(post, "svc"))
    watch = Watch(fresh_worker(post), redis)
    with deaf(post, 12) as sessions:
        for number, session in enumerate(sessions):
            session.open(post, "svc", f"D{number}")
            watch.sample()
        watch.sample(3)
        watch.judge()
