"""`?refusals=close`: a refusal that a web page can read, as `goodbye` and a close frame behind a 101."""

import json
import signal

import pytest
import websockets

import clients
import harness
from clients import NodeClient, PythonClient, Raw, frame, node, request, run


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    config = {"auth": {"origins": ["https://good.example"]}, "path": ["/ws"],
              "sessions": {"replacementsPerSecond": 1}}
    server = harness.Server(directory, redis, 1, config).start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


def told(post, text, before=b""):
    """The goodbye and the close frame of a refusal, after a good 101."""
    with Raw(post.port) as raw:
        raw.send(before + text.encode())
        answer = raw.answer()
        assert answer.status == 101 and answer.headers["sec-websocket-accept"] == clients.ACCEPT, answer.rest
        goodbye = json.loads(raw.message())
        _, opcode, payload = raw.frame()
        assert opcode == 8
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
        raw.send(frame(8, payload[:2]))
        assert raw.ended() == b"", "nothing follows the close frame"
    assert goodbye["from"] == "postmaster" and goodbye["type"] == 4 and goodbye["subject"] == "goodbye"
    assert goodbye["code"] == code and goodbye["message"] == reason and reason
    return goodbye, answer


CASES = [
    ("no token", "/ws?clientID=alice&refusals=close", {}, 4401, "alice"),
    ("a bad token", "/ws?clientID=alice&refusals=close&token=x.y.z", {}, 4401, "alice"),
    ("no token and no name", "/ws?refusals=close", {}, 4401, ""),
    ("another address", "/ws?clientID=bob&refusals=close&token=ALICE", {}, 4403, "bob"),
    ("a foreign origin", "/ws?refusals=close&token=ALICE", {"Origin": "https://evil.example"}, 4403, ""),
    ("another path", "/else?refusals=close&token=ALICE", {}, 4404, ""),
    ("a reserved name", "/ws?refusals=close&clientID=postmaster&token=ALICE", {}, 4400, ""),
    ("a long device", f"/ws?refusals=close&device={'x' * 65}&token=ALICE", {}, 4400, ""),
]


@pytest.mark.parametrize("name,path,over,code,to", CASES)
def test_each_refusal_has_its_close_code(post, name, path, over, code, to):
    opened, closed = post.total("sessions_opened"), post.total("refusals_closed")
    status = post.total(f"handshake_{code - 4000}")
    goodbye, answer = told(post, request(path.replace("ALICE", post.token("alice")), over=over))
    assert goodbye["code"] == code and goodbye["to"] == [to] and "retryAfter" not in goodbye, name
    assert "sec-websocket-protocol" not in answer.headers
    assert post.total("sessions_opened") == opened and post.sessions() == 0
    assert post.total("refusals_closed") == closed + 1 and post.total(f"handshake_{code - 4000}") == status + 1


def test_the_offered_subprotocol_is_selected(post):
    over = {"Sec-WebSocket-Protocol": "postoffice.v1, bearer.x.y.z"}
    goodbye, answer = told(post, request("/ws?refusals=close", over=over))
    assert goodbye["code"] == 4401 and answer.headers["sec-websocket-protocol"] == "postoffice.v1"


def test_a_request_that_is_no_good_upgrade_is_refused_by_its_status(post):
    token = post.token("alice")
    for text, status in [(request("/ws?refusals=close", over={"Sec-WebSocket-Version": "12"}), 426),
                         (request("/ws?refusals=close", over={"Sec-WebSocket-Key": "x"}), 400),
                         (request("/else?refusals=close", over={"Upgrade": None}), 404),
                         (request("/ws?refusals=close", method="POST"), 405),
                         (request("/ws?refusals=open", token=token), 400),
                         (request("/ws?refusals=close&refusals=close", token=token), 400),
                         (request("/ws?refusals=close&since=x", token=token), 400),
                         (request("/ws"), 401)]:
        with Raw(post.port) as raw:
            raw.send(text)
            assert raw.answer().status == status, text


def test_a_good_request_is_accepted_as_ever(post):
    with Raw(post.port) as raw:
        raw.send(request("/ws?refusals=close", token=post.token("alice")))
        assert raw.answer().status == 101
        assert json.loads(raw.message())["subject"] == "welcome"


def test_a_full_house_says_when_to_come_back(server):
    post = server(1, {"maxWebSocketConnections": 1})
    with Raw(post.port) as inside:
        inside.send(request(token=post.token("alice")))
        assert inside.answer().status == 101
        for _ in range(50):
            goodbye, _ = told(post, request("/ws?refusals=close", token=post.token("bob")))
            assert goodbye["code"] == 1013 and goodbye["retryAfter"] == 1000
        assert post.sessions() == 1 and post.total("sessions_opened") == 1


def test_too_many_of_an_address_and_those_that_turn_each_other_out_come_later(server):
    post = server(1, {"limits": {"connectionsPerIP": 1}})
    with Raw(post.port) as inside:
        inside.send(request(token=post.token("alice")))
        assert inside.answer().status == 101
        assert told(post, request("/ws?refusals=close", token=post.token("bob")))[0]["code"] == 1013
    post.reload(limits={"connectionsPerIP": 0})
    raws = []
    while post.total("handshake_429") == 0:
        raws.append(Raw(post.port))
        raws[-1].send(request("/ws?refusals=close", token=post.token("tab")))
        assert raws[-1].answer().status == 101
    last = json.loads(raws[-1].message())
    assert last["subject"] == "goodbye" and last["code"] == 1013 and last["retryAfter"] >= 1000
    for raw in raws:
        raw.socket.close()


def test_a_draining_server_says_so(server):
    post = server(1, {"shutdown": {"seconds": 600}})
    stubborn = Raw(post.port)
    stubborn.send(request(token=post.token("alice")))
    assert stubborn.answer().status == 101  # and never answers the close frame
    post.process.send_signal(signal.SIGTERM)
    harness.wait_until(lambda: "event=draining" in post.log(), "the worker drains")
    goodbye, _ = told(post, request("/ws?refusals=close", token=post.token("bob")))
    assert goodbye["code"] == 1013 and "shutting down" in goodbye["message"] and goodbye["retryAfter"] == 1000
    stubborn.socket.close()
    assert post.stop() == 0


def test_those_who_stay_after_a_refusal_are_bounded(server):
    """They neither answer the close frame nor close: as many linger as limits.pendingHandshakes, for 2 s at most.
    A slow machine has more than that waiting for their turn: then the oldest gives way."""
    post = server(1, {"limits": {"pendingHandshakes": 50}})
    flood = []
    for _ in range(300):
        flood.append(Raw(post.port))
        flood[-1].send(request("/ws?refusals=close"))
    harness.wait_until(lambda: post.total("refusals_closed") + post.total("handshakes_displaced") == 300, "all are refused")
    assert post.status()["workers"][0]["pending"] <= 52
    clients.upgrade(post, "alice").socket.close()
    harness.wait_until(lambda: post.status()["workers"][0]["pending"] == 0, "the last ones are gone")
    for raw in flood:
        raw.socket.close()


def test_standard_clients_see_the_code(post):
    async def scene():
        query = {"refusals": "close"}
        for path, token, code in [("/ws", "", 4401), ("/ws", post.token("bob"), 4403), ("/else", None, 4404)]:
            client = await PythonClient.open(post, "alice", welcome=False, path=path, token=token, query=query,
                                             token_in="query")
            goodbye, closed = await client.closed()
            assert closed == code == goodbye["code"]
            async with node() as process:
                client = await NodeClient.open(post, "alice", welcome=False, process=process, path=path, token=token,
                                               query=query, token_in="query")
                goodbye, closed = await client.closed()
                assert closed == code == goodbye["code"]
        with pytest.raises(websockets.InvalidStatusCode):  # without it, only a browser would see 1006
            await PythonClient.open(post, "alice", token="x", token_in="query")

    run(scene())
