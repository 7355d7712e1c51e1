"""At the door (docs/security.md): what a client may ask before it is a session, and what its address may cost then."""

import asyncio
import json
import select
import time

import pytest

import clients
import harness
from clients import Closed, PythonClient, Raw, eventually, frame, request, run, upgrade


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    server = harness.Server(directory, redis, 2).start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


@pytest.fixture(scope="module")
def origins(redis):
    directory = harness.make_directory()
    config = {"auth": {"origins": ["https://a.example:443", "http://b.example:80", "https://*.wild.example"]}}
    server = harness.Server(directory, redis, 1, config).start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


def ask(post, text):
    with Raw(post.port) as raw:
        raw.send(text)
        return raw.answer()


# ------------------------------------------------------------------------------------------------ half-open requests

def test_slow_heads_keep_nobody_out(server):
    post = server(1, {"limits": {"pendingHandshakes": 50}})
    slow = []
    for _ in range(200):
        slow.append(Raw(post.port))
        slow[-1].send(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
        if len(slow) % 20 == 0:  # whoever comes with a whole head gets in at once
            upgrade(post, f"fast{len(slow)}").socket.close()
    harness.wait_until(lambda: post.total("handshakes_displaced") >= 150, "the oldest gave way")
    answer = slow[0].answer()
    assert answer.status == 503 and "retry-after" in answer.headers and answer.json()["code"] == "busy"
    assert post.total("handshakes_displaced") == post.total("handshake_503") <= 160
    slow[-1].send(request(token=post.token("late"))[len("GET /ws HTTP/1.1\r\n"):].replace("Host", "X-Host", 1))
    assert slow[-1].answer().status == 101, "the newest may still finish"
    for raw in slow:
        raw.socket.close()


# ------------------------------------------------------------------------------------------------ rates of an address

def pour(post, address, device, count):
    """Sends signals to itself as fast as it can; returns the number that came back. The others were rejected."""
    raw = upgrade(post, address, device=device)
    text = json.dumps(clients.envelope(address, address, "x", type=2))
    raw.send(b"".join(frame(1, text) for _ in range(count)))
    came = rejected = 0
    while came + rejected < count:
        message = json.loads(raw.message())
        came += message["from"] == address
        rejected += message["subject"] == "rejected"
    raw.socket.close()
    return came


def test_who_reconnects_gets_no_fresh_bucket(server):
    post = server(1, {"limits": {"messagesPerSecond": 20, "burst": 40}})
    began = time.monotonic()
    came = sum(pour(post, "rush", f"D{number % 3}", 100) for number in range(30))
    allowed = 40 + 20 * (time.monotonic() - began)
    assert 40 <= came <= allowed + 2
    assert post.total("rejected_rate_limited") >= 3000 - allowed - 2
    assert pour(post, "other", "D", 40) == 40, "another address has a bucket of its own"


def test_the_programs_of_a_service_share_a_bucket_that_grows_with_each(server):
    """Four programs, and one of them sends at once what no single session could."""
    post = server(1, {"limits": {"messagesPerSecond": 50, "burst": 100}, "serviceAddresses": ["/service/*"]})

    def told():
        totals = post.status()["totals"]
        return totals["messages_in"], totals["rejected_rate_limited"]

    async def burst(client, count):
        came, rejected = told()
        for _ in range(count):
            await client.send("nobody", type=2)
        await eventually(lambda: told()[0] == came + count, "all have come")
        return told()[1] == rejected

    async def scene():
        alone = await PythonClient.open(post, "alone")
        assert not await burst(alone, 1000)
        programs = [await PythonClient.open(post, "/service/s", welcome=False) for _ in range(4)]
        for program in programs:
            await program.said("welcome")
        while not await burst(programs[0], 300):
            await asyncio.sleep(2)  # fills the bucket of four
        for client in (alone, *programs):
            await client.close()

    run(scene())


def test_acknowledgements_have_a_bound_of_their_own(server):
    post = server(1, {"limits": {"messagesPerSecond": 1, "burst": 2, "acksPerSecond": 10, "acksBurst": 30}})

    async def scene():
        alice = await PythonClient.open(post, "alice")
        answers = [await alice.order("ack", references="1-0") for _ in range(30)]
        assert {answer["subject"] for answer in answers} == {"result"}
        mail = await alice.send("alice", "still", type=1)
        await alice.said("accepted", inReplyTo=mail["id"])
        late = [await alice.send("postmaster", type=4, subject="ack", references="1-0") for _ in range(200)]
        limited = await alice.said("rejected", code="rate-limited")
        assert limited["retryAfter"] > 0 and limited["inReplyTo"] in [one["id"] for one in late]
        assert "acksPerSecond" in limited["message"]
        await alice.close()

    run(scene())
    assert post.total("acks_limited") > 0


def turned_out(raw):
    """Has the server said goodbye to this session?"""
    while select.select([raw.socket], [], [], 0)[0]:
        data = raw.socket.recv(65536)
        if not data or b"goodbye" in data:
            return True
    return False


@pytest.mark.parametrize("devices,most", [(1, 4), (9, 16)])
def test_clients_that_turn_each_other_out_have_a_floor(server, devices, most):
    """Tabs of one device, or more devices than sessions.perAddress, that all come back at once."""
    post = server(2)
    begun = time.monotonic()
    token, inside, refused = post.token("tabs"), {}, 0
    while time.monotonic() < begun + 3 or refused <= 20:
        for number in range(max(devices, 2)):
            if number in inside:
                if not turned_out(inside[number]):
                    continue
                inside.pop(number).socket.close()
            raw = Raw(post.port)
            raw.send(request(f"/ws?device=D{number % devices}", token=token))
            answer = raw.answer()
            if answer.status == 101:
                inside[number] = raw
            else:
                assert answer.status == 429 and int(answer.headers["retry-after"]) >= 1
                refused += 1
                raw.socket.close()
    seconds = time.monotonic() - begun
    assert post.total("replaced") <= 2 * (most + 1 + seconds), "on each of two workers: a few at once, then one a second"
    assert refused == post.total("handshake_429")
    for raw in inside.values():
        raw.socket.close()


def test_without_tokens_a_page_of_another_origin_is_nobody(server):
    post = server(1, {"auth": {"required": False, "origins": ["http://localhost:3000"]}, "listen": "127.0.0.1"})
    for origin, status in [(None, 101), (f"http://127.0.0.1:{post.port}", 101), ("http://localhost:3000", 101),
                           ("https://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403)]:
        over = {"Host": f"127.0.0.1:{post.port}", **({"Origin": origin} if origin else {})}
        assert ask(post, request("/ws?clientID=anybody", over=over)).status == status, origin


# ------------------------------------------------------------------------------------------------ the request

@pytest.mark.parametrize("more", ["", "chat, "])
def test_a_bearer_subprotocol_alone_is_refused_before_anybody_is_turned_out(post, more):
    older = upgrade(post, "only", device="D")
    older.message()
    token = post.token("only")
    answer = ask(post, request("/ws?device=D", over={"Sec-WebSocket-Protocol": f"{more}bearer.{token}"}))
    assert answer.status == 400 and "postoffice.v1" in answer.json()["message"]
    older.send(frame(9, b"still here"))
    while older.frame() != (True, 10, b"still here"):
        pass
    answer = ask(post, request("/ws", over={"Sec-WebSocket-Protocol": f"bearer.{token}, postoffice.v1"}))
    assert answer.status == 101 and answer.headers["sec-websocket-protocol"] == "postoffice.v1"
    older.socket.close()


@pytest.mark.parametrize("origin,status", [
    ("https://a.example", 101), ("https://a.example:443", 101), ("http://b.example", 101), ("https://x.wild.example", 101),
    ("https://y.x.wild.example", 101), ("https://wild.example", 403), ("https://evilwild.example", 403),
    ("https://x.wild.example.evil", 403), ("https://x.wild.example:8443", 403), ("http://x.wild.example", 403),
    ("https://a.example:80", 403), ("null", 403)])
def test_origins_are_compared_as_browsers_write_them(origins, origin, status):
    assert ask(origins, request(token=origins.token("alice"), over={"Origin": origin})).status == status


# ------------------------------------------------------------------------------------------------ since

@pytest.mark.parametrize("since", ["", "-", "--", "1-", "-1", "1-1-1", "now-1", "NOW", "1" * 64, str(1 << 64), f"1-{1 << 64}"])
def test_a_since_that_is_no_position_is_a_400(post, since):
    answer = ask(post, request(f"/ws?since={since}", token=post.token("alice")))
    assert answer.status == 400
    assert "since" in answer.json()["message"]


def test_since_now_begins_with_what_comes_from_now_on(post):
    async def scene():
        old = await PythonClient.open(post, "newtab", device="OLD")
        for number in range(20):
            sent = await old.send("newtab", str(number), type=1)
            await old.said("accepted", inReplyTo=sent["id"])
        new = await PythonClient.open(post, "newtab", device="NEW", query={"since": "now", "epoch": "another"})
        assert new.welcome["recovered"] is True
        assert new.welcome["cursor"] == new.welcome["seq"] != "0-0"
        sent = await old.send("newtab", "fresh", type=1)
        await new.message(id=sent["id"])
        assert [m for m in new.inbox if m["type"] == 1] == []
        await new.close()
        await old.close()

    run(scene())


def test_subscribe_with_now_replays_nothing(post):
    async def scene():
        token = post.token("poster", po={"groups": ["#door"]})
        alice = await PythonClient.open(post, "poster", device="D", token=token)
        await alice.order("subscribe", tags=["#door"])
        for number in range(5):
            sent = await alice.send("#door", str(number), type=3)
            got = await alice.message(id=sent["id"])
        await alice.order("ack", references=got["seq"], tags=["#door"])
        sent = await alice.send("#door", "behind the cursor", type=3)
        await alice.message(id=sent["id"])
        await alice.order("unsubscribe", tags=["#door"])
        alice.inbox.clear()
        answer = await alice.order("subscribe", tags=["#door"], references="now", epoch="another")
        answer = answer["groups"]["#door"]
        assert answer["recovered"] is True and answer["cursor"] == answer["seq"]
        await alice.said("replayed", tags=["#door"])
        assert [m for m in alice.inbox if m["type"] == 3] == []
        sent = await alice.send("#door", "live", type=3)
        await alice.message(id=sent["id"])
        await alice.close()

    run(scene())
