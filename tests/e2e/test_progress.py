"""Who makes progress is not cut, in either direction; who does not is closed, counted, and logged with why. And the
answers to good messages leave before the close frame that a bad one behind them causes.
"""

import json
import socket
import time

import pytest

import clients
import harness
from clients import PythonClient, b64, frame, run, upgrade

# A reader that is given no processor for a while must not be closed for it.
IMPATIENT = {"limits": {"pingSeconds": 1, "pongSeconds": 3, "slowConsumerSeconds": 4}, "log": {"level": "info"}}


class SlowReader(clients.Raw):
    """Reads at a rate, into a small buffer, and answers the pings that it comes to."""

    def __init__(self, post, address, rate, piece=2048):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.settimeout(harness.DEADLINE)
        self.socket.connect(("127.0.0.1", post.port))
        self.input, self.rate, self.piece = b"", rate, piece
        self.begun, self.read, self.pings = time.monotonic(), 0, 0
        self.send(clients.request(f"/ws?clientID={address}", token=post.token(address)))
        assert self.answer().status == 101

    def fill(self):
        time.sleep(max(0, self.begun + self.read / self.rate - time.monotonic()))  # the rate is the test
        try:
            data = self.socket.recv(self.piece)
        except ConnectionError:
            return False
        self.input += data
        self.read += len(data)
        return bool(data)

    def until(self, wanted):
        """The first message that is wanted."""
        while True:
            _, opcode, payload = self.frame()
            assert opcode != 8, payload
            if opcode == 9:
                self.pings += 1
                self.send(frame(10, payload))
            elif opcode == 1 and wanted(message := json.loads(payload)):
                return message


async def store(post, to, content, **fields):
    alice = await PythonClient.open(post, "alice")
    sent = await alice.send(to, content, type=1, **fields)
    await alice.said("accepted", inReplyTo=sent["id"])
    await alice.close()
    return sent


@pytest.mark.parametrize("with_redis", [True, False])
def test_a_large_message_read_slowly_arrives_though_no_pong_can_come_meanwhile(server, with_redis):
    post = server(1, IMPATIENT, **({} if with_redis else {"redis": None}))
    size = harness.scaled(400_000)
    if with_redis:
        run(store(post, "phone", "x" * size, id="large"))
    with SlowReader(post, "phone", 80_000) as phone:
        phone.until(lambda m: m["subject"] == "welcome")
        if not with_redis:
            async def send():
                alice = await PythonClient.open(post, "alice")
                await alice.send("phone", "x" * size, type=1, id="large")
                await alice.said("accepted", inReplyTo="large")
                await alice.close()

            run(send())
        message = phone.until(lambda m: m.get("id") == "large")
        assert message["content"] == b64("x" * size)
        assert time.monotonic() - phone.begun > 4 or harness.SANITIZED
        phone.send(frame(1, json.dumps(clients.envelope("phone", "phone", "still here", id="alive"))))
        phone.until(lambda m: m.get("id") == "alive")
    assert post.total("peers_dead") == post.total("peers_stuck") == post.total("slow_closed") == 0


def test_a_large_message_sent_slowly_arrives(server):
    post = server(1, IMPATIENT)
    with upgrade(post, "uploader") as slow:
        text = frame(1, json.dumps(clients.envelope("uploader", "bob", "x" * 100_000, type=1, id="large")))
        for at in range(0, len(text), len(text) // 20):
            slow.send(text[at:at + len(text) // 20])
            time.sleep(0.25)  # longer than ping and pong together, in all
        while json.loads(slow.message())["subject"] != "accepted":
            pass
    assert post.total("peers_dead") == 0


def test_who_is_closed_for_silence_is_counted_and_logged_with_why(server):
    post = server(1, IMPATIENT)
    with upgrade(post, "dead") as dead:
        dead.message()
        assert dead.close_code() == 1001
    harness.wait_until(lambda: post.total("peers_dead") == 1, "counted")
    line = next(line for line in post.log().splitlines() if "event=session_silent" in line)
    assert "dead" in line and "why=no-pong" in line and "code=1001" in line
    run(store(post, "stuck", "x" * 700_000))
    run(store(post, "stuck", "x" * 700_000))
    with SlowReader(post, "stuck", 1e9) as stuck:
        stuck.until(lambda m: m["subject"] == "welcome")
        # Its kernel takes a little; then nothing. It lives, as its pongs say, but takes nothing.
        deadline = time.monotonic() + harness.DEADLINE
        while post.total("peers_stuck") == 0:
            assert time.monotonic() < deadline
            try:
                stuck.send(frame(10, ""))
            except ConnectionError:
                pass
            time.sleep(0.2)
    assert post.total("peers_dead") == 1 and post.total("slow_closed") == 1
    harness.wait_until(lambda: "why=no-progress" in post.log(), "logged")


# ------------------------------------------------------------------------------------- good messages before a bad one

BAD = {
    "unmasked": (frame(1, "x", mask=None), 1002),
    "reserved": (frame(1, "x", reserved=4), 1002),
    "opcode": (frame(3, "x"), 1002),
    "utf-8": (frame(1, b"\xff\xfe"), 1007),
    "utf-8 in pieces": (frame(1, b"a", fin=False) + frame(0, b"\xc3("), 1007),
    "too large": (frame(2, b"", length_form=None)[:1] + b"\xff" + (1 << 40).to_bytes(8, "big") + b"\0" * 4, 1009),
    "close code": (frame(8, b"\x03\xe7"), 1002),
}


def said(raw):
    """Every subject with its inReplyTo, and the close code."""
    got = []
    try:
        while True:
            _, opcode, payload = raw.frame()
            if opcode == 8:
                return got, int.from_bytes(payload[:2], "big")
            if opcode == 1:
                message = json.loads(payload)
                got.append((message["subject"], message.get("inReplyTo")))
            elif opcode == 10:
                got.append(("pong", payload.decode()))
    except EOFError:
        return got, None


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("with_redis", [True, False])
def test_the_answers_to_good_messages_leave_before_the_close_frame(server, bad, with_redis):
    post = server(2, {}, **({} if with_redis else {"redis": None}))
    data, code = BAD[bad]
    with upgrade(post, "alice") as alice, upgrade(post, "bob") as bob:
        bob.message(), alice.message()
        good = [clients.envelope("alice", "bob", "x" * (10 if n else 30_000), type=1, id=f"m{n}") for n in range(20)]
        good += [clients.envelope("alice", "postmaster", type=4, subject="presence", tags=["bob"], id="p")]
        good += [clients.envelope("alice", "postmaster", type=4, subject="history", id="h")] if with_redis else []
        good += [clients.envelope("alice", "postmaster", type=4, subject="recall", inReplyTo="m0", id="r")] \
            if with_redis else []
        good += [clients.envelope("alice", "bob", "", type=7, id="wrong")]
        alice.send(b"".join(frame(1, json.dumps(one)) for one in good) + frame(9, "beat") + data
                   + frame(1, json.dumps(clients.envelope("alice", "bob", type=1, id="behind"))))
        got, closed = said(alice)
        assert closed == code, got
        assert [m for m in got if m[0] == "accepted"] == [("accepted", f"m{n}") for n in range(20)]
        assert ("rejected", "wrong") in got and ("pong", "beat") in got and ("result", "p") in got
        if with_redis:
            assert ("result", "h") in got and [m for m in got if m[1] == "r"]
        assert not [m for m in got if m[1] == "behind"]
    harness.wait_until(lambda: post.total("protocol_errors") == 1, "counted once")


def test_the_last_error_allowed_does_not_swallow_the_answers_before_it(server):
    post = server(1, {"limits": {"errorsPerMinute": 1}})
    with upgrade(post, "alice") as alice:
        alice.message()
        good = frame(1, json.dumps(clients.envelope("alice", "bob", type=1, id="good")))
        alice.send(good + frame(1, "nonsense") * 2 + frame(1, json.dumps(clients.envelope("alice", "bob", type=1, id="no"))))
        got, closed = said(alice)
        assert closed == 4503
        assert [m for m in got if m[0] in ("accepted", "goodbye")] == [("accepted", "good"), ("goodbye", None)]


def test_a_broken_frame_does_not_wait_for_an_answer_that_does_not_come(server_with_own_redis, own_redis):
    post = server_with_own_redis(1, {"redis": {"commandTimeoutMs": 60000}})
    with upgrade(post, "alice") as alice:
        alice.message()
        own_redis.pause()
        try:
            begun = time.monotonic()
            alice.send(frame(1, json.dumps(clients.envelope("alice", "bob", type=1, id="m"))) + frame(3, "x"))
            got, code = said(alice)
            assert code == 1002 and ("accepted", "m") not in got
            assert time.monotonic() - begun > 4
        finally:
            own_redis.resume()
