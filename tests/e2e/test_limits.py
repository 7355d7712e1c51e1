"""Every limit of docs/protocol.md, section 7.1, answers just past the limit and not before."""

import asyncio
import json
import time

import pytest

import clients
import harness
from clients import PythonClient, Raw, eventually, frame, open_on, request, run, upgrade


def knock(post, address="late", source=None):
    """The answer to one more upgrade; an accepted connection is returned open."""
    raw = Raw(post.port, source)
    raw.send(request(f"/ws?clientID={address}", token=post.token(address)))
    return raw.answer(), raw


@pytest.mark.parametrize("workers", [1, 4])
def test_the_largest_number_of_connections_holds_across_all_workers(server, workers):
    post = server(workers, {"maxWebSocketConnections": 20})
    inside = [upgrade(post, f"a{n}") for n in range(20)]
    for _ in range(8):
        answer, raw = knock(post)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["code"]
        raw.socket.close()
    inside.pop().socket.close()
    harness.wait_until(lambda: post.sessions() == 19, "the seat is free")
    answer, raw = knock(post)
    assert answer.status == 101


@pytest.mark.parametrize("workers", [1, 4])
def test_connections_of_one_origin_address_are_limited_across_workers(server, workers):
    post = server(workers, {"limits": {"connectionsPerIP": 6}})
    inside = [upgrade(post, f"a{n}", source="127.0.0.2") for n in range(6)]
    answer, _ = knock(post, source="127.0.0.2")
    assert answer.status == 503 and "retry-after" in answer.headers
    answer, _ = knock(post, source="127.0.0.3")
    assert answer.status == 101
    inside.pop().socket.close()

    def let_in():
        found, raw = knock(post, source="127.0.0.2")
        if found.status == 101:
            return raw
        return None

    harness.wait_until(let_in, "one left, so one may come")


def test_who_sends_too_fast_is_told_when_to_go_on(server):
    post = server(1, {"limits": {"messagesPerSecond": 1, "burst": 10}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = [await alice.send("alice", str(n)) for n in range(15)]
        rejected = await alice.said("rejected")
        assert rejected["code"] == "rate-limited"
        assert rejected["inReplyTo"] in [m["id"] for m in sent[10:]]
        assert 0 < rejected["retryAfter"] <= 5000
        await asyncio.sleep(rejected["retryAfter"] / 1000 + 0.3)
        again = await alice.send("alice", "again")
        await alice.message(id=again["id"])

    run(scene())


@pytest.mark.parametrize("fragments", [1, 8])
def test_a_message_that_is_too_large_closes_with_1009(server, fragments):
    post = server(1, {"limits": {"messageBytes": 4096}})
    raw = upgrade(post, "alice")
    raw.message()
    size = 4097 // fragments + 1
    for number in range(fragments):
        raw.send(frame(1 if number == 0 else 0, b"x" * size, fin=number == fragments - 1))
    assert raw.close_code() == 1009


def test_a_message_of_exactly_the_limit_is_taken(server):
    post = server(1, {"limits": {"messageBytes": 4096}})
    raw = upgrade(post, "alice")
    raw.message()
    text = json.dumps(clients.envelope("alice", "alice", "x", id="m"))
    text += " " * (4096 - len(text))
    raw.send(frame(1, text))
    assert json.loads(raw.message())["id"] == "m"


def test_the_claim_of_a_huge_length_is_enough_to_be_closed(server):
    post = server(1)
    for length in (1 << 20, 1 << 32, 1 << 62):
        raw = upgrade(post, "alice")
        raw.message()
        raw.send(b"\x81\xff" + (length + 1).to_bytes(8, "big") + b"\0\0\0\0")
        assert raw.close_code() == 1009


def test_a_request_head_over_the_limit_is_answered_431(server):
    post = server(1, {"limits": {"headerBytes": 2048}})
    for head in (request(more=[f"X-Pad: {'x' * 2048}"]), request(more=[f"X{n}: y" for n in range(400)])):
        with Raw(post.port) as raw:
            raw.send(head)
            assert raw.answer().status == 431
    with Raw(post.port) as raw:
        raw.send(b"GET /" + b"x" * 4000)  # the first line has no end: the target is what is too long
        assert raw.answer().status == 414
    with Raw(post.port) as raw:
        raw.send(request(token=post.token("alice"), more=[f"X-Pad: {'x' * 500}"]))
        assert raw.answer().status == 101


def test_a_head_that_does_not_come_in_time_is_answered_408(server):
    post = server(1, {"limits": {"handshakeSeconds": 1}})
    silent, slow = Raw(post.port), Raw(post.port)
    slow.send(request()[:40])
    assert slow.answer().status == 408
    assert silent.answer().status == 408


def test_too_many_recipients_are_rejected_and_just_enough_are_not(server):
    post = server(1, {"limits": {"recipients": 5}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = await alice.send(["a", "b", "c"], cc=["d", "e", "f"])
        assert (await alice.rejected(sent))["code"] == "too-many-recipients"
        await alice.send(["a", "b", "c"], cc=["d", "alice"])
        await alice.message()

    run(scene())


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_second_session_of_a_device_takes_the_place_of_the_first(server, workers):
    post = server(workers, {"sessions": {"replacementsPerSecond": 1000}})

    async def scene():
        old = [await PythonClient.open(post, "alice", device="TAB")]
        for slot in list(range(workers)) * 2:
            newer = await open_new(slot)
            goodbye, code = await old.pop().closed()
            assert code == 4500 and goodbye["code"] == 4500
            await newer.send("alice", "it is I")
            await newer.message()
            old.append(newer)
        online = (await old[0].order("presence", tags=["alice"]))["online"]
        assert online["alice"] == ["TAB"]

    async def open_new(slot):
        # Other sessions fill the wrong workers, so that this device's session lands on the right one.
        held = []
        while True:
            probe = await PythonClient.open(post, f"probe{len(held)}")
            held.append(probe)
            if workers == 1 or probe.welcome["worker"] == (slot - 1) % workers or len(held) > 8:
                break
        client = await PythonClient.open(post, "alice", device="TAB")
        for probe in held:
            await probe.close()
        return client

    run(scene())


@pytest.mark.parametrize("workers", [1, 4])
def test_past_the_sessions_of_an_address_the_oldest_gives_way(server, workers):
    post = server(workers, {"sessions": {"perAddress": 3}})

    async def scene():
        sessions = [await PythonClient.open(post, "alice", device=f"d{n}") for n in range(3)]
        for number in range(3, 9):
            sessions.append(await PythonClient.open(post, "alice", device=f"d{number}"))
            _, code = await sessions.pop(0).closed()
            assert code == 4500
        await sessions[-1].send("alice", "all three")
        for session in sessions:
            await session.message()

    run(scene())


def test_a_silent_peer_is_pinged_and_then_closed_as_dead(server):
    post = server(1, {"limits": {"pingSeconds": 1, "pongSeconds": 5}})
    lively, dead = upgrade(post, "lively"), upgrade(post, "dead")
    lively.message(), dead.message()
    opcode, payload = lively.control()
    assert opcode == 9
    lively.send(frame(10, payload))
    for _ in range(2):
        opcode, payload = lively.control()
        assert opcode == 9, "a peer that answers is only pinged again"
        lively.send(frame(10, payload))
    assert dead.close_code() == 1001


def test_who_reads_too_slowly_loses_signals_of_low_level_first_and_stays(server):
    post = server(1, {"limits": {"queueBytes": 65536, "slowConsumerSeconds": 60}})
    slow, sender = upgrade(post, "slow"), upgrade(post, "alice")
    slow.message(), sender.message()
    big = "x" * 40000
    for number in range(400):
        sender.send(frame(1, json.dumps(clients.envelope("alice", "slow", big, level=-1, id=f"low-{number}"))))
    sender.send(frame(1, json.dumps(clients.envelope("alice", "slow", "", level=9, id="high"))))
    harness.wait_until(lambda: post.total("messages_in") >= 401, "all of it has been taken in")
    assert post.total("signals_shed") > 0
    got = []
    while "high" not in got:
        got.append(json.loads(slow.message())["id"])
    assert len(got) < 401


def test_who_does_not_read_at_all_is_closed_as_too_slow(server):
    post = server(1, {"limits": {"queueBytes": 65536, "slowConsumerSeconds": 1, "pingSeconds": 60}})
    slow, sender = upgrade(post, "slow"), upgrade(post, "alice")
    slow.message(), sender.message()
    big = "x" * 40000
    deadline = time.monotonic() + harness.DEADLINE
    while post.total("slow_closed") == 0:
        assert time.monotonic() < deadline
        for _ in range(20):
            sender.send(frame(1, json.dumps(clients.envelope("alice", "slow", big))))


def test_who_is_rejected_again_and_again_is_closed_at_last(server):
    post = server(1, {"limits": {"errorsPerMinute": 10}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        for _ in range(30):
            try:
                await alice.send_text("nonsense")
            except Exception:
                break
        goodbye, code = await alice.closed()
        assert code == 4503 and goodbye["code"] == 4503

    run(scene())
