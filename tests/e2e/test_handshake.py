"""The upgrade, byte by byte: the table of docs/protocol.md, section 1.3, and requests that no correct client sends."""

import pytest

import clients
import harness
from clients import ACCEPT, KEY, Raw, frame, request


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    server = harness.Server(directory, redis, 2, {"auth": {"cookie": "session"}}).start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


def ask(post, text):
    with Raw(post.port) as raw:
        raw.send(text)
        return raw.answer()


def good(post, path="/ws", **options):
    return request(path, token=post.token("alice"), **options)


def test_a_good_upgrade_is_accepted_with_the_right_answer(post):
    for path in ("/", "/ws", "/ws?clientID=alice", "/?clientID=%61lice&device=TAB", "/ws?", "/ws?unknown=1"):
        answer = ask(post, good(post, path))
        assert answer.status == 101, path
        assert answer.headers["sec-websocket-accept"] == ACCEPT
        assert answer.headers["upgrade"].lower() == "websocket"
        assert answer.headers["connection"].lower() == "upgrade"
        assert "sec-websocket-protocol" not in answer.headers
        assert "sec-websocket-extensions" not in answer.headers


@pytest.mark.parametrize("over", [
    {"Connection": "keep-alive, Upgrade"}, {"Connection": "UPGRADE"}, {"Upgrade": "WebSocket"},
    {"Host": "localhost:7502"}, {"Content-Length": "0"}, {"Origin": "https://anywhere.example"},
    {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
    {"Sec-WebSocket-Protocol": "chat, superchat"},
])
def test_harmless_forms_are_accepted(post, over):
    assert ask(post, good(post, over=over)).status == 101


def test_the_protocol_is_chosen_and_the_token_never_echoed(post):
    token = post.token("alice")
    answer = ask(post, request(over={"Sec-WebSocket-Protocol": f"postoffice.v1, bearer.{token}"}))
    assert answer.status == 101
    assert answer.headers["sec-websocket-protocol"] == "postoffice.v1"
    answer = ask(post, request(over={"Sec-WebSocket-Protocol": f"bearer.{token}"}))
    assert answer.status == 400, "a browser would drop a connection that selects nothing"


@pytest.mark.parametrize("name,status,text", [
    ("no host", 400, dict(over={"Host": None})),
    ("two hosts", 400, dict(more=["Host: other"])),
    ("no key", 400, dict(over={"Sec-WebSocket-Key": None})),
    ("short key", 400, dict(over={"Sec-WebSocket-Key": "c2hvcnQ="})),
    ("long key", 400, dict(over={"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"})),
    ("key that is no base64", 400, dict(over={"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZ!=="})),
    ("two keys", 400, dict(more=[f"Sec-WebSocket-Key: {KEY}"])),
    ("a body", 400, dict(over={"Content-Length": "5"})),
    ("a negative length", 400, dict(over={"Content-Length": "-1"})),
    ("an endless length", 400, dict(over={"Content-Length": "1" * 30})),
    ("two lengths", 400, dict(more=["Content-Length: 0", "Content-Length: 5"])),
    ("chunks", 400, dict(over={"Transfer-Encoding": "chunked"})),
    ("chunks and a length", 400, dict(over={"Transfer-Encoding": "chunked", "Content-Length": "0"})),
    ("a folded header", 400, dict(more=["X-A: b", " folded"])),
    ("space before the colon", 400, dict(more=["X-A : b"])),
    ("a nameless header", 400, dict(more=[": b"])),
    ("no colon", 400, dict(more=["nonsense"])),
    ("NUL in a header", 400, dict(more=["X-A: b\0c"])),
    ("bad percent", 400, dict(path="/ws?clientID=%zz")),
    ("cut percent", 400, dict(path="/ws?clientID=%4")),
    ("NUL in the address", 400, dict(path="/ws?clientID=a%00b")),
    ("line feed in the address", 400, dict(path="/ws?clientID=a%0ab")),
    ("space at an end of the address", 400, dict(path="/ws?clientID=%20alice")),
    ("bad UTF-8 in the address", 400, dict(path="/ws?clientID=%ff%fe")),
    ("empty address", 400, dict(path="/ws?clientID=")),
    ("an address of 256 bytes", 400, dict(path="/ws?clientID=" + "a" * 256)),
    ("a group as clientID", 400, dict(path="/ws?clientID=%23team")),
    ("postmaster as clientID", 400, dict(path="/ws?clientID=postmaster")),
    ("a reserved clientID", 400, dict(path="/ws?clientID=%24x")),
    ("clientID twice", 400, dict(path="/ws?clientID=alice&clientID=bob")),
    ("a device too long", 400, dict(path="/ws?device=" + "d" * 300)),
    ("a bad since", 400, dict(path="/ws?since=not%0aaseq")),
    ("another path", 404, dict(path="/other")),
    ("a path beneath", 404, dict(path="/ws/")),
    ("POST", 405, dict(method="POST")),
    ("no upgrade", 426, dict(over={"Upgrade": None, "Connection": None})),
    ("another upgrade", 426, dict(over={"Upgrade": "h2c"})),
    ("a connection that does not upgrade", 426, dict(over={"Connection": "keep-alive"})),
    ("version 8", 426, dict(over={"Sec-WebSocket-Version": "8"})),
    ("no version", 426, dict(over={"Sec-WebSocket-Version": None})),
    ("version 013", 426, dict(over={"Sec-WebSocket-Version": "013"})),
])
def test_a_wrong_request_is_answered_with_its_status(post, name, status, text):
    path = text.pop("path", "/ws") if "path" in text else "/ws"
    answer = ask(post, good(post, path, **text))
    assert answer.status == status, (name, answer.rest)
    assert "close" in answer.headers["connection"].lower()
    body = answer.json()
    assert body["code"] and body["message"]
    if status == 426:
        assert answer.headers["sec-websocket-version"] == "13"
        assert answer.headers["upgrade"].lower() == "websocket"
    if status == 405:
        assert answer.headers["allow"] == "GET"


def test_head_is_answered_as_get_would_be_without_a_body(post):
    with Raw(post.port) as raw:
        raw.send(good(post, method="HEAD"))
        answer = raw.answer(to_head=True)
    assert answer.status == 405 and answer.headers["allow"] == "GET" and int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize("text", [
    b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET /ws\r\n\r\n", b"GET  /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ws HTTP/2.0\r\nHost: x\r\n\r\n", b"GET /ws HTTP/1.1 \r\nHost: x\r\n\r\n", b"\0\0\0\0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    b"G\xc3\xa9T /ws HTTP/1.1\r\n\r\n", b"GET http://localhost/ws HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET ftp://localhost/ws HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://u@localhost/ws HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ws\0 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /ws HTTP/1.1\nHost: x\n\n\r\n\r\n",
])
def test_what_is_no_request_is_never_let_in(post, text):
    with Raw(post.port) as raw:
        raw.send(text)
        raw.socket.shutdown(1)
        data = raw.ended()
        assert b" 101 " not in data
        if data:
            status = int(data.split(b" ")[1])
            assert status in (400, 404, 405, 426, 505), data


def test_the_absolute_form_of_a_target_and_an_empty_line_before_it_are_taken(post):
    for text in (good(post, path="http://localhost/ws?clientID=alice"), good(post, path="HTTPS://x.example:443"),
                 "\r\n" + good(post), "\r\n\r\n" + good(post)):
        assert ask(post, text).status == 101, text


def test_a_target_that_is_no_path_or_http_1_0_is_never_upgraded(post):
    for text in (good(post, version="HTTP/1.0"), good(post, path="//ws"), good(post, path="*")):
        assert ask(post, text).status in (400, 404, 426, 505)


def test_the_request_may_come_byte_by_byte_with_frames_behind_it(post):
    with Raw(post.port) as raw:
        data = good(post).encode() + frame(9, b"early")
        for at in range(len(data)):
            raw.send(data[at:at + 1])
        assert raw.answer().status == 101
        seen = [raw.frame() for _ in range(3)]  # welcome, replayed and the pong, in any order
        assert (True, 10, b"early") in seen, "frames sent with the request are kept"


def test_what_follows_a_refused_request_is_never_read(post):
    with Raw(post.port) as raw:
        raw.send(request("/other") + good(post) + frame(9, b"x").decode("latin-1"))
        assert raw.answer().status == 404  # `answer` also reads to the end of the stream


def test_a_connection_that_is_cut_in_the_middle_disturbs_nobody(post):
    text = good(post)
    for at in range(0, len(text), 7):
        with Raw(post.port) as raw:
            raw.send(text[:at])
    with Raw(post.port) as raw:
        raw.send(text)
        assert raw.answer().status == 101


def test_an_origin_that_is_not_on_the_list_is_refused(server):
    post = server(1, {"auth": {"origins": ["https://good.example"], "cookie": "session"}})
    for origin, status in [("https://good.example", 101), ("https://good.example.evil.example", 403),
                           ("http://good.example", 403), ("https://good.example:444", 403), ("null", 403),
                           ("https://evil.example", 403), (None, 101)]:
        answer = ask(post, request(token=post.token("alice"), over={"Origin": origin}))
        assert answer.status == status, origin


def test_a_token_from_a_cookie_counts_only_on_the_servers_own_pages(post):
    cookie = {"Cookie": f"a=b; session={post.token('alice')}; c=d"}
    for origin, status in [("http://localhost", 101), ("http://localhost:80", 101), ("https://evil.example", 403),
                           ("http://localhost.evil.example", 403), ("null", 403), (None, 403)]:
        answer = ask(post, request(over={**cookie, "Origin": origin}))
        assert answer.status in (status, 401 if status == 403 else status), (origin, answer.rest)
