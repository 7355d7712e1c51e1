"""A gap is never silent: whoever is connected, and had not had yet what retention removed, is told at that point.

The sender numbers its messages. `judge` reads what a session was sent: wherever a number is missing the word of a gap
stands, once, and nowhere else.
"""

import json
import os
import signal
import socket
import time

import pytest

import clients
import harness
from clients import PythonClient, b64, eventually, open_on, run

KEPT = 20
LARGE = b64(b"x" * 30000)
PATIENT = {"limits": {"messagesPerSecond": 0, "slowConsumerSeconds": 3600, "pingSeconds": 3600}}
BY_COUNT = {**PATIENT, "mailbox": {"maxMessages": KEPT}}
BY_BYTES = {**PATIENT, "mailbox": {"maxBytes": 1 << 20}}
FAST = {"redis": {"reconnectMinMs": 20, "reconnectMaxMs": 200}}
MEMBER = {"groups": ["#*"], "broadcast": True}


class Paused(clients.Raw):
    """A session whose socket takes little, and is read only when the test reads."""

    def __init__(self, post, address, device="APP", query=""):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(harness.DEADLINE)
        self.socket.connect(("127.0.0.1", post.port))
        self.input = b""
        self.address = address
        self.send(clients.request(f"/ws?clientID={address}&device={device}{query}",
                                  token=post.token(address, po=MEMBER)))
        assert self.answer().status == 101
        self.welcome = self.next()
        assert self.welcome["subject"] == "welcome"

    def next(self):
        """The next message, whatever it is."""
        while True:
            _, opcode, payload = self.frame()
            if opcode == 1:
                return json.loads(payload)

    def until(self, wanted):
        """All messages up to the first that is wanted, with it."""
        found = []
        while not found or not wanted(found[-1]):
            found.append(self.next())
        return found

    def order(self, subject, **fields):
        message = {"from": self.address, "to": ["postmaster"], "type": 4, "subject": subject, **fields}
        self.send(clients.frame(1, json.dumps(message)))
        return self.until(lambda m: m["subject"] in ("result", "rejected"))[-1]

    def subscribe(self, group, **fields):
        assert self.order("subscribe", tags=[group], **fields)["subject"] == "result"
        return self.until(lambda m: m["subject"] == "replayed" and m.get("tags") == [group])[-1]


def is_last(wanted):
    """The message with this number."""
    return lambda m: m["type"] in (1, 3) and m["subject"] == str(wanted)


def numbered(messages):
    return [m for m in messages if m["type"] in (1, 3)]


def is_gap(message, group):
    if group:
        return message["subject"] == "replayed" and message.get("tags") == [group] and message.get("recovered") is False
    return message["subject"] == "welcome"


def judge(messages, group=None, after=None):
    """Returns the gaps. `after`: the seq and number that the session had before."""
    gaps, seq, number, word = 0, *(after or ("0-0", -1)), None
    for message in messages:
        if is_gap(message, group):
            assert word is None, "one word a gap"
            word = message
        elif message["type"] in (1, 3):
            missing = int(message["subject"]) - number - 1
            assert missing >= 0, "nothing comes twice, nor out of order"
            assert (missing > 0) == (word is not None), (missing, word, number)
            if word:
                assert word["recovered"] is False and word["seq" if group else "cursor"] == seq
                gaps += 1
            seq, number, word = message["seq"], int(message["subject"]), None
    assert word is None
    return gaps


class Sender:
    def __init__(self, post, to, kind=1, address="sender"):
        self.post, self.to, self.kind, self.address = post, to, kind, address
        self.sent = 0

    async def begin(self, slot=None):
        token = self.post.token(self.address, po=MEMBER)
        self.client = (await PythonClient.open(self.post, self.address, token=token) if slot is None else
                       await open_on(self.post, slot, self.address, PythonClient.open, token=token))
        return self

    async def pour(self, count, content=LARGE, **fields):
        """Sends numbered messages, and waits until all are stored."""
        before = len(self.answers())
        for _ in range(count):
            text = json.dumps({**clients.envelope(self.address, self.to, "", type=self.kind, subject=str(self.sent),
                                                  id=f"{self.to.lstrip(chr(35))}-{self.sent}", **fields), "content": content})
            await self.client.send_text(text.replace("\n", ""))
            self.sent += 1
        await eventually(lambda: len(self.answers()) == before + count, "answers")
        assert {m["subject"] for m in self.answers()} == {"accepted"}

    def answers(self):
        return [m for m in self.client.inbox if m["subject"] in ("accepted", "rejected")]


async def has(client, to, number):
    """The message with this number has come; it stays in the inbox."""
    await eventually(lambda: any(m["to"] == [to] and m["subject"] == str(number) for m in numbered(client.inbox)),
                     f"{client.address} has {number} of {to}")


def pour(post, to, count, kind=1, sender=None, **fields):
    """The same from a test that reads by itself."""
    sender = sender or Sender(post, to, kind)

    async def scene():
        await sender.begin()
        await sender.pour(count, **fields)
        await sender.client.close()

    run(scene())
    return sender


# ------------------------------------------------------------------------------------------------- mail


@pytest.mark.parametrize("config", [BY_COUNT, BY_BYTES], ids=["maxMessages", "maxBytes"])
def test_a_session_that_does_not_read_is_told_of_the_gap_and_then_gets_what_is_kept(server, config):
    post = server(1, config)
    with Paused(post, "bob") as bob:
        bob.until(lambda m: m["subject"] == "replayed")
        sender = pour(post, "bob", 200)
        got = bob.until(lambda m: m["subject"] == "replayed")
        assert judge(got) == 1
        second = next(m for m in got if m["subject"] == "welcome")
        assert second["epoch"] == bob.welcome["epoch"] and second["session"] == bob.welcome["session"]
        last = numbered(got)[-1]
        assert last["subject"] == "199" and got[-1]["seq"] == last["seq"]
        assert second["seq"] == last["seq"]
        pour(post, "bob", 1, sender=sender, content="")
        live = bob.next()
        assert live["subject"] == "200", "then live mail, and nothing else is told"
        assert bob.order("ack", references=live["seq"])["cursor"] == live["seq"]
    assert post.total("gaps_told") == 1
    with Paused(post, "bob") as bob:
        assert bob.welcome["recovered"] is True and bob.welcome["cursor"] == live["seq"]
        assert bob.next()["subject"] == "replayed"


def test_several_gaps_in_a_row_are_told_each_at_its_place(server):
    post = server(1, BY_COUNT)
    with Paused(post, "bob") as bob:
        bob.until(lambda m: m["subject"] == "replayed")
        sender, after, gaps = Sender(post, "bob"), None, 0
        for _ in range(4):
            pour(post, "bob", 120, sender=sender)
            got = bob.until(lambda m: m["subject"] == "welcome")
            got += bob.until(lambda m: m["type"] == 1)  # and no further: the rest waits, and much of it is removed
            gaps += judge(got, after=after)
            after = numbered(got)[-1]["seq"], int(numbered(got)[-1]["subject"])
        got = bob.until(is_last(479))
        gaps += judge(got, after=after)
        assert gaps >= 4
        assert bob.order("ack", references=numbered(got)[-1]["seq"])["cursor"] == numbered(got)[-1]["seq"]
    assert post.total("gaps_told") == gaps


def test_mail_that_is_removed_while_a_replay_is_under_way_is_a_gap(server):
    """Also the replay's own beginning, which `welcome` has told already, is not told twice."""
    post = server(1, {**PATIENT, "mailbox": {"maxMessages": 100}})
    sender = pour(post, "bob", 150)
    with Paused(post, "bob", query="&since=1") as bob:
        assert bob.welcome["recovered"] is False
        first = bob.until(lambda m: m["type"] == 1)
        assert [m["type"] for m in first] == [1], "no second welcome"
        pour(post, "bob", 100, sender=sender)
        got = bob.until(is_last(249))
        # A slow worker may read a page between two removals, which are two gaps then.
        assert judge(first + got, after=("", int(first[0]["subject"]) - 1)) in (1, 2)
        assert bob.next()["subject"] == "replayed"


def test_who_keeps_up_is_told_of_no_gap(server):
    post = server(2, BY_COUNT)

    async def scene():
        sender = await Sender(post, "bob").begin(0)
        readers = [await open_on(post, slot, "bob", PythonClient.open, device=f"D{slot}") for slot in (0, 1)]
        for _ in range(10):
            await sender.pour(KEPT // 2, content=b64("small"))
            for reader in readers:
                await has(reader, sender.to, sender.sent - 1)
        for reader in readers:
            assert judge(reader.inbox) == 0
            assert [m["subject"] for m in numbered(reader.inbox)] == [str(n) for n in range(sender.sent)]
    run(scene())
    assert post.total("gaps_told") == 0


def test_mail_that_expired_or_was_recalled_is_no_gap(server):
    post = server(1, PATIENT)
    with Paused(post, "bob") as bob:
        bob.until(lambda m: m["subject"] == "replayed")
        sender = Sender(post, "bob")

        async def scene():
            await sender.begin()
            await sender.pour(100)
            sender.sent = 300
            await sender.pour(5, expiresAt=int(time.time()) + 1)
            await sender.pour(5)
            for number in range(305, 310):
                answer = await sender.client.order("recall", inReplyTo=f"bob-{number}")
                assert answer["subject"] == "result", answer
            await eventually(lambda: post.total("mail_removed") >= 5, "they have expired")
            sender.sent = 400
            await sender.pour(1)
            await sender.client.close()

        run(scene())
        got = bob.until(is_last(400))
        assert not [m for m in got if m["subject"] == "welcome"]
        assert [m["subject"] for m in numbered(got)] == [*map(str, range(100)), "400"]
    assert post.total("gaps_told") == 0


def test_a_device_that_begins_now_or_new_misses_nothing(server):
    post = server(1, BY_COUNT)
    sender = pour(post, "bob", 60)
    for query in ("&since=now", ""):
        with Paused(post, "bob", device="new" + query[7:], query=query) as bob:
            assert bob.welcome["recovered"] is True
            assert not [m for m in bob.until(lambda m: m["subject"] == "replayed") if m["subject"] == "welcome"]
            pour(post, "bob", 1, sender=sender, content="")
            assert bob.next()["subject"] == str(sender.sent - 1)
    assert post.total("gaps_told") == 0


# ----------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize("config", [BY_COUNT, BY_BYTES], ids=["maxMessages", "maxBytes"])
def test_a_subscriber_that_does_not_read_is_told_of_the_gap_in_the_groups_log(server, config):
    post = server(1, config)
    with Paused(post, "bob") as bob, Paused(post, "eve") as eve:
        bob.subscribe("#news")
        eve.subscribe("#news")
        sender = pour(post, "#news", 200, kind=3)
        got = bob.until(is_last(199))
        assert judge(got, "#news") == 1
        assert not [m for m in got if m["subject"] == "welcome"]
        pour(post, "#news", 1, sender=sender, content="")
        live = bob.next()
        assert live["subject"] == "200"
        answer = bob.order("ack", references=live["seq"], tags=["#news"])
        assert answer["cursor"] == live["seq"]
        assert judge(eve.until(is_last(200)), "#news") == 1
    assert post.total("gaps_told") == 2
    with Paused(post, "bob") as bob:
        assert bob.order("subscribe", tags=["#news"])["groups"]["#news"]["recovered"] is True


def test_who_is_behind_in_all_is_told_without_having_subscribed(server):
    post = server(1, BY_COUNT)
    with Paused(post, "bob") as bob:
        bob.until(lambda m: m["subject"] == "replayed")
        pour(post, "#all", 200, kind=3)
        assert judge(bob.until(is_last(199)), "#all") == 1


def test_subscribers_that_keep_up_are_told_of_no_gap(server):
    post = server(2, BY_COUNT)

    async def scene():
        sender = await Sender(post, "#news", kind=3).begin(0)
        readers = [await open_on(post, slot, f"bob{slot}", PythonClient.open, token=post.token(f"bob{slot}", po=MEMBER))
                   for slot in (0, 1)]
        for reader in readers:
            await reader.order("subscribe", tags=["#news"])
            await reader.said("replayed", tags=["#news"])
        for _ in range(10):
            await sender.pour(KEPT // 2, content=b64("small"))
            for reader in readers:
                await has(reader, sender.to, sender.sent - 1)
        for reader in readers:
            assert judge(reader.inbox, "#news") == 0
    run(scene())
    assert post.total("gaps_told") == 0


# -------------------------------------------------------------------------------------- a whole worker


def test_a_worker_that_missed_doorbells_tells_all_whom_retention_cost_something(server_with_own_redis, own_redis):
    """The worker stands still, and its doorbells are lost, while mailbox and logs overflow. Each of its sessions is
    told: by its mailbox, as a subscriber, as one of everybody.
    """
    post = server_with_own_redis(2, {**BY_COUNT, **FAST})

    async def scene():
        senders = [await Sender(post, to, kind, address=f"sender{number}").begin(0)
                   for number, (to, kind) in enumerate((("bob", 1), ("#news", 3), ("#all", 3)))]
        bob, eve = [await open_on(post, 1, name, PythonClient.open, token=post.token(name, po=MEMBER))
                    for name in ("bob", "eve")]
        for client in (bob, eve):
            await client.order("subscribe", tags=["#news"])
            await client.said("replayed", tags=["#news"])
        for sender in senders:
            await sender.pour(3, content="")
        for client in (bob, eve):
            await eventually(lambda c=client: len(numbered(c.inbox)) == (9 if c is bob else 6), "the first of each")
        still = post.worker_pids()[1]
        os.kill(still, signal.SIGSTOP)
        try:
            store = own_redis.client()
            store.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await eventually(lambda: store.client_list(_type="pubsub"), "the other worker listens again")
            for sender in senders:
                await sender.pour(3 * KEPT, content="")
        finally:
            os.kill(still, signal.SIGCONT)
        for to in ("bob", "#news", "#all"):
            for client in (bob, eve):
                if to != "bob" or client is bob:
                    await has(client, to, 3 * KEPT + 2)
        for client in (bob, eve):
            for group in ("#news", "#all"):
                log = [m for m in client.inbox if m.get("log") == group or is_gap(m, group)]
                assert judge(log, group) == 1, group
        assert judge([m for m in bob.inbox if "log" not in m and m["type"] == 1 or m["subject"] == "welcome"]) == 1
        for sender in senders:
            await sender.pour(1, content="")
        assert (await bob.message(subject=str(3 * KEPT + 3), type=1))["to"] == ["bob"]
        for group in ("#news", "#all"):
            got = await eve.message(subject=str(3 * KEPT + 3), log=group)
            if group == "#news":
                assert (await eve.order("ack", tags=[group], references=got["seq"]))["cursor"] == got["seq"]
        assert post.total("gaps_told") == 5
    run(scene())
