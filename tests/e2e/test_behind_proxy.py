"""Who the client is when a proxy stands between: the headers of trusted proxies, and PROXY headers."""

import json
import re
import socket
import ssl
import struct

import pytest

import clients
import harness
from clients import Raw, request
from tls import Tls

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXIES = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"]


def version_2(command, family, addresses, tlvs=b""):
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(addresses + tlvs)) + addresses + tlvs


def from_v4(source):
    return version_2(1, 0x11, socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 1234, 443))


def from_v6(source):
    return version_2(1, 0x21, socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "::1")
                     + struct.pack("!HH", 1234, 443))


def enter(post, headers=(), source=None, before=b"", address="alice", status=101, over=None):
    """A request with these header lines; returns the open connection of an accepted one, else the refusal."""
    raw = Raw(post.port, source)
    raw.send(before + request(f"/ws?device=D{clients.next_number()}", token=post.token(address), more=headers,
                              over=over).encode())
    answer = raw.answer()
    assert answer.status == status, (answer.status, answer.rest, headers)
    return raw if status == 101 else answer


def close(*raws):
    for raw in raws:
        raw.socket.close()


def peer_of_last(post):
    """The address that the log names for the last request."""
    return re.findall(r"event=handshake_(?:accepted|refused) .*peer=(\S+)", post.log())[-1]


# ------------------------------------------------------------------------------------------------------------ headers

# Header lines of a request that came from 127.0.0.1, a trusted proxy, and the address that counts.
HEADERS = [
    ([], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
    (["X-Forwarded-For: 192.0.2.9, 192.0.2.1"], "192.0.2.1"),  # what the client wrote itself stands on the left
    (["X-Forwarded-For: 192.0.2.1, 10.1.2.3"], "192.0.2.1"),  # the second proxy is trusted, too
    (["X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.1"], "192.0.2.1"),
    (["X-Forwarded-For: 10.0.0.2, 10.0.0.1"], "10.0.0.2"),  # a client among the proxies
    (["X-Forwarded-For: 2001:db8::7, [2001:db8:1::1]:443"], "2001:db8::7"),
    (["X-Forwarded-For: 192.0.2.1:5555"], "192.0.2.1"),
    (["Forwarded: for=192.0.2.1;proto=https;by=10.0.0.1"], "192.0.2.1"),
    (['Forwarded: for=192.0.2.9, for="[2001:db8::7]:4711", for=10.0.0.1'], "2001:db8::7"),
    (["Forwarded: for=unknown"], "127.0.0.1"),
    (["Forwarded: for=192.0.2.9, for=_hidden"], "127.0.0.1"),
    (["Forwarded: for=192.0.2.9, for=unknown, for=10.0.0.1"], "10.0.0.1"),
    (["Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
]
# The same, malformed: the last hop that is known counts.
BAD_HEADERS = [
    (["X-Forwarded-For: somebody"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.1, 192.0.2.300"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.1, x, 10.0.0.1"], "10.0.0.1"),
    (['Forwarded: for="192.0.2.1'], "127.0.0.1"),
    (["Forwarded: for=2001:db8::7"], "127.0.0.1"),
    (['Forwarded: for=192.0.2.9;x=", for="[2001:db8::7]"'], "127.0.0.1"),
    (["Forwarded: for=192.0.2.9", "X-Forwarded-For: 192.0.2.1"], "127.0.0.1"),  # one of them is the client's own
]


@pytest.fixture(scope="module")
def behind(redis):
    directory = harness.make_directory()
    post = harness.Server(directory, redis, 1, {"trustedProxies": PROXIES}).start()
    yield post
    post.stop()
    post.judge()
    harness.remove_directory(directory)


@pytest.mark.parametrize("headers,client", HEADERS)
def test_the_last_hop_that_is_not_trusted_is_the_client(behind, headers, client):
    before = behind.total("forwarded_bad")
    close(enter(behind, headers))
    assert peer_of_last(behind) == client
    assert behind.total("forwarded_bad") == before


@pytest.mark.parametrize("headers,client", BAD_HEADERS)
def test_a_malformed_header_is_counted_and_the_last_known_hop_is_the_client(behind, headers, client):
    before = behind.total("forwarded_bad")
    close(enter(behind, headers))
    assert peer_of_last(behind) == client
    assert behind.total("forwarded_bad") == before + 1
    assert "event=forwarded_bad" in behind.log()


@pytest.mark.parametrize("headers,client", HEADERS + BAD_HEADERS)
def test_nobody_else_is_believed(behind, headers, client):
    before = behind.total("forwarded_bad")
    close(enter(behind, headers, source="127.0.0.2"))
    assert peer_of_last(behind) == "127.0.0.2", client
    assert behind.total("forwarded_bad") == before


def test_the_limit_of_an_address_counts_clients_and_not_the_proxy(server):
    post = server(2, {"trustedProxies": ["127.0.0.1"], "limits": {"connectionsPerIP": 2}})
    inside = [enter(post, [f"X-Forwarded-For: 192.0.2.{number // 2}"]) for number in range(8)]
    for number in range(4):
        refused = enter(post, [f"X-Forwarded-For: 9.9.9.9, 192.0.2.{number}"], status=503)
        assert refused.json()["code"] == "too-many-connections"
    close(*inside[:2])
    harness.wait_until(lambda: post.sessions() == 6, "two have gone")
    inside[:2] = [enter(post, ["X-Forwarded-For: 192.0.2.0"]) for _ in range(2)]
    enter(post, ["X-Forwarded-For: 192.0.2.0"], status=503)
    close(*inside)


def test_a_client_that_invents_addresses_evades_no_limit(server):
    """It comes by itself, not through the proxy; and through the proxy, which appends the true address."""
    post = server(2, {"trustedProxies": ["127.0.0.1"], "limits": {"connectionsPerIP": 3}})
    direct = [enter(post, [f"X-Forwarded-For: 192.0.2.{number}"], source="127.0.0.2") for number in range(3)]
    enter(post, ["X-Forwarded-For: 192.0.2.200"], source="127.0.0.2", status=503)
    proxied = [enter(post, [f"X-Forwarded-For: 192.0.2.{number}, 198.51.100.1"]) for number in range(3)]
    enter(post, ["X-Forwarded-For: 192.0.2.200, 198.51.100.1"], status=503)
    forged = [enter(post, [f"Forwarded: for=192.0.2.{number}", "X-Forwarded-For: 198.51.100.2"]) for number in range(3)]
    enter(post, ["Forwarded: for=192.0.2.200", "X-Forwarded-For: 198.51.100.2"], status=503)
    close(*direct, *proxied, *forged)


def test_the_list_of_proxies_changes_with_a_reload(server):
    post = server(1)
    close(enter(post, ["X-Forwarded-For: 192.0.2.1"]))
    assert peer_of_last(post) == "127.0.0.1"
    post.reload(trustedProxies="127.0.0.0/8")
    close(enter(post, ["X-Forwarded-For: 192.0.2.1"]))
    assert peer_of_last(post) == "192.0.2.1"


# Origin, header lines, and whether the page is of the request's own host.
OWN_HOST = [
    ("https://post.example", ["X-Forwarded-Host: post.example", "X-Forwarded-Proto: https"], True),
    ("https://post.example", ["X-Forwarded-Host: post.example:443", "X-Forwarded-Proto: wss"], True),
    ("https://post.example", ["X-Forwarded-Host: post.example"], True),
    ("http://post.example", ["X-Forwarded-Host: post.example", "X-Forwarded-Proto: https"], False),
    ("https://post.example", ["X-Forwarded-Host: post.example", "X-Forwarded-Proto: http"], False),
    ("https://evil.example", ["X-Forwarded-Host: evil.example, post.example"], False),
    ("https://post.example", ["X-Forwarded-Host: other.example"], False),
    ("https://post.example", ['Forwarded: for=192.0.2.1;host="post.example";proto=https'], True),
    ("https://post.example", ["Forwarded: for=192.0.2.1;host=post.example", "X-Forwarded-Host: other.example"], True),
    ("https://evil.example", ["Forwarded: for=9.9.9.9;host=evil.example, for=192.0.2.1;host=post.example"], False),
    ("http://localhost", ["X-Forwarded-For: 192.0.2.1"], True),
    ("https://post.example", [], False),
]


def test_an_origin_is_compared_with_the_host_that_the_proxy_names(server):
    post = server(1, {"auth": {"cookie": "session"}, "trustedProxies": ["127.0.0.1"]})
    for source in ("127.0.0.1", "127.0.0.2"):  # the second one is not trusted
        for origin, headers, own in OWN_HOST:
            own = own if source == "127.0.0.1" else origin == "http://localhost"
            with Raw(post.port, source) as raw:
                raw.send(request(over={"Origin": origin, "Cookie": f"session={post.token('alice')}"}, more=headers))
                assert raw.answer().status == (101 if own else 403), (origin, headers, source)


def test_on_a_unix_socket_the_proxy_is_trusted_when_unix_is(server, directory):
    path = directory / "front.sock"
    post = server(1, {"listen": ["127.0.0.1", f"unix:{path}?mode=0666"], "limits": {"connectionsPerIP": 1}})

    def knock():
        raw = Raw.__new__(Raw)
        raw.socket, raw.input = socket.socket(socket.AF_UNIX), b""
        raw.socket.settimeout(harness.DEADLINE)
        raw.socket.connect(str(path))
        raw.send(request(f"/?device=D{clients.next_number()}", token=post.token("alice"),
                         more=["X-Forwarded-For: 192.0.2.1"]))
        return raw, raw.answer().status

    first = [knock() for _ in range(2)]
    assert [status for _, status in first] == [101, 101], "peers on a unix socket have no address to be counted by"
    assert peer_of_last(post) == "unix"
    close(*(raw for raw, _ in first))
    post.reload(trustedProxies=["unix"])
    second = [knock() for _ in range(2)]
    assert [status for _, status in second] == [101, 503]
    assert peer_of_last(post) == "192.0.2.1"
    close(*(raw for raw, _ in second))


# ------------------------------------------------------------------------------------------------------ PROXY headers

GOOD = [
    (b"PROXY TCP4 192.0.2.1 127.0.0.1 1234 443\r\n", "192.0.2.1"),
    (b"PROXY TCP6 2001:db8::7 ::1 1234 443\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (from_v4("192.0.2.1"), "192.0.2.1"),
    (from_v6("2001:db8::7"), "2001:db8::7"),
    (version_2(0, 0, b""), "127.0.0.1"),  # LOCAL
    (version_2(1, 0x11, bytes(8) + bytes(4), b"\x05\x00\x04\x01\x02\x03\x04" + b"\xe2" + struct.pack("!H", 900) + bytes(900)),
     "0.0.0.0"),
]
BAD = [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PROXY TCP4 x y 1 2\r\n",
       b"PROXY " + b"x" * 200, SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12), version_2(1, 0x11, bytes(11)),
       version_2(1, 0x11, bytes(12), b"\x03\x00\x04\x00\x00\x00\x00"), SIGNATURE + b"\x21\x11\xff\xff"]


@pytest.fixture(scope="module")
def proxied(redis):
    directory = harness.make_directory()
    config = {"trustedProxies": PROXIES, "proxyProtocol": "required", "limits": {"handshakeSeconds": 2}}
    post = harness.Server(directory, redis, 1, config).start()
    yield post
    post.stop()
    post.judge()
    harness.remove_directory(directory)


@pytest.mark.parametrize("header,client", GOOD)
def test_a_proxy_header_names_the_client(proxied, header, client):
    close(enter(proxied, before=header))
    assert peer_of_last(proxied) == client


@pytest.mark.parametrize("header,client", GOOD[:1] + GOOD[3:4])
def test_a_proxy_header_may_come_in_pieces(proxied, header, client):
    whole = header + request(f"/ws?device=D{clients.next_number()}", token=proxied.token("alice")).encode()
    with Raw(proxied.port) as raw:
        for index in range(len(header) + 20):
            raw.send(whole[index:index + 1])
        raw.send(whole[len(header) + 20:])
        assert raw.answer().status == 101
    assert peer_of_last(proxied) == client


def test_frames_behind_header_and_request_are_heard(proxied):
    text = json.dumps(clients.envelope("alice", "alice", "hello"))
    with Raw(proxied.port) as raw:
        raw.send(from_v4("192.0.2.1") + request(token=proxied.token("alice")).encode() + clients.frame(1, text))
        assert raw.answer().status == 101
        while json.loads(raw.message())["from"] != "alice":
            pass


@pytest.mark.parametrize("junk", BAD)
def test_junk_instead_of_the_header_closes_the_connection_without_an_answer(proxied, junk):
    before = proxied.total("proxy_bad")
    with Raw(proxied.port) as raw:
        raw.send(junk)
        assert raw.ended() == b""
    assert proxied.total("proxy_bad") == before + 1
    assert "event=proxy_bad" in proxied.log()


@pytest.mark.parametrize("start", [b"", b"PROXY TCP4 192", SIGNATURE])
def test_a_header_that_does_not_come_in_time_closes_the_connection(proxied, start):
    with Raw(proxied.port) as raw:
        raw.send(start)
        assert raw.ended() == b""


def test_a_peer_that_is_not_trusted_is_closed_at_once(proxied):
    before = proxied.total("proxy_untrusted")
    for header in (b"", from_v4("192.0.2.1")):
        with Raw(proxied.port, "127.0.0.2") as raw:
            if header:
                try:
                    raw.send(header)
                except ConnectionError:
                    pass
            assert raw.ended() == b""
    assert proxied.total("proxy_untrusted") == before + 2
    assert "event=proxy_untrusted" in proxied.log()


def test_headers_of_a_client_behind_a_proxy_header_are_not_believed(proxied):
    close(enter(proxied, ["X-Forwarded-For: 203.0.113.1"], before=from_v4("192.0.2.1")))
    assert peer_of_last(proxied) == "192.0.2.1"
    close(enter(proxied, ["X-Forwarded-For: 203.0.113.1"], before=from_v4("10.0.0.1")))  # a proxy before the proxy
    assert peer_of_last(proxied) == "203.0.113.1"


def test_a_health_check_of_the_proxy_is_answered(proxied):
    for header in (version_2(0, 0, b""), b"PROXY UNKNOWN\r\n"):
        with Raw(proxied.port) as raw:
            raw.send(header + b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = raw.answer()
        assert answer.status == 200 and answer.json() == {"status": "serving"}


def test_the_limit_of_an_address_counts_clients_that_proxy_headers_name(server):
    post = server(2, {"trustedProxies": ["127.0.0.1"], "proxyProtocol": "required", "limits": {"connectionsPerIP": 2}})
    inside = [enter(post, before=from_v4(f"192.0.2.{number // 2}")) for number in range(8)]
    for number in range(4):
        enter(post, before=from_v4(f"192.0.2.{number}"), status=503)
    inside += [enter(post, before=from_v6(f"2001:db8::{number}")) for number in range(2)]
    enter(post, before=from_v6("2001:db8::3"), status=503)  # a /64 counts as one
    close(*inside)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_proxy_header_comes_before_tls(server, directory, size):
    """The header and the client's hello in pieces of that size: the header is taken to the byte."""
    tls = Tls(directory)
    post = server(1, {"trustedProxies": ["127.0.0.1"], "proxyProtocol": "required", **tls.config()})
    raw = Raw(tls.port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = tls.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        secure.do_handshake()
    data = from_v4("203.0.113.9") + outgoing.read()
    for at in range(0, len(data), size):
        raw.socket.sendall(data[at:at + size])
    while True:
        try:
            secure.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.socket.sendall(outgoing.read())
            incoming.write(raw.socket.recv(1 << 16))
    secure.write(request("/ws?clientID=alice", token=post.token("alice")).encode())
    raw.socket.sendall(outgoing.read())
    answer = b""
    while b"\r\n\r\n" not in answer:
        try:
            answer += secure.read(1 << 16)
        except ssl.SSLWantReadError:
            incoming.write(raw.socket.recv(1 << 16))
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert peer_of_last(post) == "203.0.113.9"
    raw.socket.close()


def test_the_proxy_protocol_is_switched_by_a_reload(server):
    post = server(1, {"trustedProxies": ["127.0.0.1"]})
    close(enter(post))
    with Raw(post.port) as raw:
        raw.send(b"PROXY UNKNOWN\r\n" + request().encode())
        assert raw.answer().status == 400, "without proxyProtocol a PROXY header is no request"
    post.reload(proxyProtocol="required")
    close(enter(post, before=from_v4("192.0.2.1")))


def test_slow_proxy_headers_keep_nobody_out(server):
    post = server(1, {"trustedProxies": ["127.0.0.1"], "proxyProtocol": "required", "limits": {"pendingHandshakes": 50}})
    slow = [Raw(post.port) for _ in range(200)]
    for raw in slow:
        raw.send(b"PROXY ")
    close(enter(post, before=from_v4("192.0.2.1")))
    assert post.total("handshakes_displaced") >= 149
    close(*slow)
