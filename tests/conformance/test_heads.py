"""The head of the upgrade request, over the real server: which heads are accepted, which are refused, with which status.

Sections: a number with 6455 is of RFC 6455, with 9110 of RFC 9110 (HTTP), with 9112 of RFC 9112 (HTTP/1.1), with 3986 of
RFC 3986 (URI). The number of another RFC names it: 6750 Bearer, 7692 compression, 6585 status codes, 6265 cookies.
"""

import itertools
import random

import pytest

import clients
import harness
import play
from clients import KEY, Raw, frame, request

WAYS = ["whole", "bytes", "cuts", "behind an empty line", "with bytes behind it"]
CUTS = 40 if not harness.SANITIZED else 8
EVERY = 160 if not harness.SANITIZED else 0  # a head up to this length is cut at every boundary
BYTES = 1500  # a longer head is sent in writes of 97 bytes


class Head:
    """status: of the answer. text: the head; {token} stands for a good token of an address of its own.
    headers: what the answer must have, beside what every answer has; None: what it must not have."""

    def __init__(self, status, section, name, text, **headers):
        self.status, self.section, self.name = status, section, name
        self.text = text if isinstance(text, bytes) else text.encode("latin-1")
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def __str__(self):
        return f"{self.section}: {self.name}"


def good(path="/ws", **options):
    return request(path, token="{token}", **options)


def with_line(*lines):
    return good(more=lines)


def with_header(name, value):
    return good(over={name: value})


def many(count, first="/ws"):
    """A good head with so many header lines, of which 6 are the request's own."""
    return good(first, more=[f"X-{n}: {n}" for n in range(count - 6)])


LIMIT = 8192  # limits.headerBytes


def filled(length):
    """A good head of so many bytes; the token, which is longer than its placeholder, is not in it."""
    head = request("/ws?clientID={token}", more=["X-Fill: "])
    return head[:-4] + "x" * (length - len(head)) + "\r\n\r\n"


ACCEPTED = [
    Head(101, "9112 3.2.1", "/", good("/")),
    Head(101, "9112 3.2.1", "/ws", good("/ws")),
    Head(101, "9112 3.2.1", "an empty query", good("/ws?")),
    Head(101, "3986 3.4", "an unknown parameter", good("/ws?unknown=1")),
    Head(101, "3986 3.4", "empty parameters", good("/ws?&&device=D&")),
    Head(101, "3986 3.4", "a question mark in the query", good("/ws?x=a?b")),
    Head(101, "3986 2.1", "percent sequences in a name and a value", good("/ws?%64evice=%54AB")),
    Head(101, "3986 2.1", "a device in UTF-8", good("/ws?device=%e4%b8%ad")),
    Head(101, "3986 2.1", "a plus sign and %2B in a device", good("/ws?device=a+%2B")),
    Head(101, "3986 2.2", "characters that browsers leave bare in a query", good("/ws?x={|}^`\\[]")),
    Head(101, "9112 3.2.2", "absolute form", good("http://localhost/ws")),
    Head(101, "9112 3.2.2", "absolute form, upper case, with a port", good("HTTPS://x.example:443/ws")),
    Head(101, "9112 3.2.2", "absolute form without a path", good("http://localhost")),
    Head(101, "9112 3.2.2", "absolute form without a path, with a query", good("http://localhost?device=D")),
    Head(101, "9112 3.2.2", "absolute form of another host than Host", good("http://other.example/ws")),
    Head(101, "9112 3.2.2", "absolute form of an IPv6 address", good("http://[::1]:7502/ws")),
    Head(101, "9112 2.3", "HTTP/1.2", good(version="HTTP/1.2")),
    Head(101, "9112 2.3", "HTTP/1.9", good(version="HTTP/1.9")),
    *[Head(101, "9110 7.2", f"Host: {host}", with_header("Host", host))
      for host in ("localhost:7502", "localhost:", "LOCALHOST", "127.0.0.1:80", "[::1]", "[::1]:7502", "[::ffff:127.0.0.1]",
                   "a.b-c_d.example.", "ex%61mple", "a:65535")],
    Head(101, "9112 5", "no space behind the colons", good().replace(": ", ":")),
    Head(101, "9112 5", "tabs and spaces around values", good().replace(": ", ": \t ").replace("\r\n", " \t\r\n", 2)
         .replace("HTTP/1.1 \t\r\n", "HTTP/1.1\r\n")),
    Head(101, "9110 5.1", "header names in lower case", good().replace("Upgrade:", "upgrade:").replace("Sec-WebSocket",
                                                                                                     "sec-websocket")),
    Head(101, "9110 5.1", "header names in upper case", good().replace("Host:", "HOST:").replace("Connection:",
                                                                                                "CONNECTION:")),
    Head(101, "9110 5.5", "bytes above 127 in a value", with_line("X-Name: caf\xe9 \xff\x80")),
    Head(101, "9110 5.5", "an empty value", with_line("X-Empty:")),
    Head(101, "9110 5.6.2", "every character of a token in a name", with_line("X!#$%&'*+-.^_`|~09: x")),
    Head(101, "9110 5.4", "64 header lines", many(64)),
    Head(101, "9110 7.6.1", "Connection: keep-alive, Upgrade", with_header("Connection", "keep-alive, Upgrade")),
    Head(101, "9110 7.6.1", "Connection: UPGRADE", with_header("Connection", "UPGRADE")),
    Head(101, "9110 5.6.1", "empty elements in Connection", with_header("Connection", ",, upgrade ,\t,")),
    Head(101, "9110 5.3", "Connection in two lines", good(over={"Connection": "keep-alive"}, more=["Connection: upgrade"])),
    Head(101, "9110 7.6.1", "Connection: close, Upgrade", with_header("Connection", "close, Upgrade")),
    Head(101, "9110 7.6.1", "Connection names other headers", good(over={"Connection": "Upgrade, X-Hop"}, more=["X-Hop: 1"])),
    Head(101, "9110 7.8", "Upgrade: WebSocket", with_header("Upgrade", "WebSocket")),
    Head(101, "9110 7.8", "Upgrade: h2c, websocket", with_header("Upgrade", "h2c, websocket")),
    Head(101, "9110 5.3", "Upgrade in two lines", good(over={"Upgrade": "h2c"}, more=["Upgrade: websocket"])),
    Head(101, "9110 8.6", "Content-Length: 0", with_line("Content-Length: 0")),
    Head(101, "9110 10.1.4", "TE and Trailer", with_line("TE: trailers", "Trailer: X-Sum")),
    Head(101, "9110 7.6.3", "what proxies add", with_line("Via: 1.1 proxy", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=_x",
                                                        "X-Forwarded-Proto: https")),
    Head(101, "6455 4.2.1", "a key of zeros", with_header("Sec-WebSocket-Key", "A" * 22 + "==")),
    Head(101, "6455 4.2.1", "a key with both odd characters of base64", with_header("Sec-WebSocket-Key", "+/" * 11 + "==")
         .replace("+/" * 11 + "==", "+/" * 10 + "+w==")),
    Head(101, "6455 11.3.4", "subprotocols that are not known", with_line("Sec-WebSocket-Protocol: chat, superchat")),
    Head(101, "6455 4.2.2", "postoffice.v1", with_line("Sec-WebSocket-Protocol: postoffice.v1"),
         sec_websocket_protocol="postoffice.v1"),
    Head(101, "6455 11.3.4", "subprotocols in two lines", with_line("Sec-WebSocket-Protocol: chat",
                                                                   "Sec-WebSocket-Protocol: postoffice.v1"),
         sec_websocket_protocol="postoffice.v1"),
    Head(101, "6455 11.3.4", "the same subprotocol in two lines", with_line("Sec-WebSocket-Protocol: postoffice.v1",
                                                                           "Sec-WebSocket-Protocol: postoffice.v1"),
         sec_websocket_protocol="postoffice.v1"),
    Head(101, "9110 5.6.1", "empty elements among subprotocols", with_line("Sec-WebSocket-Protocol: ,, postoffice.v1 ,"),
         sec_websocket_protocol="postoffice.v1"),
    Head(101, "9110 11.6.2", "the token as a subprotocol",
         request(over={"Sec-WebSocket-Protocol": "postoffice.v1, bearer.{token}"}), sec_websocket_protocol="postoffice.v1"),
    Head(101, "9110 11.6.2", "the token in the query", request("/ws?token={token}")),
    Head(101, "9110 11.1", "the scheme of Authorization in lower case",
         request(over={"Authorization": "bearer  {token}"})),
    Head(101, "6455 9.1", "extensions that are not known, in two lines",
         with_line("Sec-WebSocket-Extensions: x-foo; bar=\"1,2\"", "Sec-WebSocket-Extensions: x-baz")),
    Head(101, "7692 7.1", "an offer of compression", with_line("Sec-WebSocket-Extensions: permessage-deflate"),
         sec_websocket_extensions="permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    Head(101, "7692 7.1", "an offer of compression that cannot be taken, and one in another line",
         with_line("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8",
                   "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10"),
         sec_websocket_extensions="permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                                  "server_max_window_bits=10"),
    *[Head(101, "7692 7.1", f"an offer that is declined: {offer or 'empty'}", with_line(f"Sec-WebSocket-Extensions: {offer}"),
           sec_websocket_extensions=None)
      for offer in ("permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits",
                    "permessage-deflate; client_max_window_bits=\"\"", "permessage-deflate; constructor",
                    "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "permessage-deflate;", ";", "",
                    ",".join(["permessage-deflate; x"] * 200))],
    Head(101, "6455 4.1", "an Origin", with_line("Origin: https://anywhere.example")),
    Head(101, "6265 5.4", "cookies in two lines", with_line("Cookie: a=b", "Cookie: c=d; e=\"f\"")),
    Head(101, "9110 5.4", "a head of 6,000 bytes", with_line("X-Long: " + "x" * 5500)),
]

REFUSED = [
    # the request line
    *[Head(405, "9110 15.5.6", f"{method}", good(method=method), allow="GET")
      for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "Get", "GETT", "G", "M-SEARCH")],
    Head(405, "9112 3.2.4", "OPTIONS *", good("*", method="OPTIONS"), allow="GET"),
    Head(405, "9112 3.2.3", "CONNECT localhost:443", good("localhost:443", method="CONNECT"), allow="GET"),
    Head(405, "9110 15.5.6", "POST with a body", good(method="POST", over={"Content-Length": "5"}) + "hello", allow="GET"),
    Head(400, "9112 3.2.4", "GET *", good("*")),
    Head(400, "9112 3.2.3", "GET with the authority form", good("localhost:443")),
    Head(400, "9112 3.2", "a target without a slash", good("ws")),
    Head(400, "9112 3.2.2", "another scheme", good("ftp://localhost/ws")),
    Head(400, "9112 3.2.2", "the scheme ws", good("ws://localhost/ws")),
    Head(400, "9112 3.2.2", "absolute form without a host", good("http:///ws")),
    Head(400, "9112 3.2.2", "absolute form with one slash", good("http:/ws")),
    Head(400, "9110 4.2.4", "absolute form with userinfo", good("http://user:pass@localhost/ws")),
    Head(400, "9112 3.2.2", "absolute form with a bad port", good("http://localhost:http/ws")),
    Head(404, "9112 3.2.2", "absolute form of another path", good("http://localhost/other")),
    Head(404, "9110 15.5.5", "another path", good("/other")),
    Head(404, "9110 15.5.5", "a path beneath", good("/ws/")),
    Head(404, "9110 15.5.5", "two slashes", good("//ws")),
    Head(404, "9110 15.5.5", "dot segments", good("/x/../ws")),
    Head(404, "3986 6.2.2.2", "a path that is compared undecoded", good("/%77s")),
    Head(404, "9110 15.5.5", "another case", good("/WS")),
    Head(400, "3986 2.1", "a broken percent sequence in the path", good("/ws%zz")),
    Head(400, "3986 2.1", "a cut percent sequence in the path", good("/ws%7")),
    Head(400, "3986 2.1", "%00 in the path", good("/ws%00")),
    Head(400, "9112 3.2", "a fragment", good("/ws#x")),
    Head(400, "9112 3", "two spaces before the target", good().replace("GET ", "GET  ")),
    Head(400, "9112 3", "two spaces behind the target", good().replace("/ws ", "/ws  ")),
    Head(400, "9112 3", "a tab for a space", good().replace("GET ", "GET\t")),
    Head(400, "9112 3", "a space in the target", good("/w s")),
    Head(400, "9112 3", "a space behind the version", good(version="HTTP/1.1 ")),
    Head(400, "9112 2.2", "white space before the request line", " " + good()),
    Head(400, "9112 2.2", "white space behind an empty line", "\r\n " + good()),
    Head(400, "9112 2.2", "white space between the request line and the first header", good().replace("\r\n", "\r\n ", 1)),
    Head(400, "9112 3.2", "a byte above 127 in the target", good("/ws?x=\xe9")),
    Head(400, "9112 3.2", "a control character in the target", good("/ws?x=\x01")),
    Head(400, "9112 3.2", "a NUL in the target", good("/ws\0")),
    Head(400, "9112 3.2", "a DEL in the target", good("/ws?x=\x7f")),
    Head(400, "9110 5.6.2", "a method that is no token", good(method="G(T")),
    Head(400, "9110 5.6.2", "an empty method", good(method="")),
    Head(400, "6455 4.2.1", "HTTP/1.0", good(version="HTTP/1.0")),
    Head(505, "9110 15.6.6", "HTTP/2.0", good(version="HTTP/2.0")),
    Head(505, "9110 15.6.6", "HTTP/0.9", good(version="HTTP/0.9")),
    Head(505, "9110 15.6.6", "HTTP/3.0", good(version="HTTP/3.0")),
    Head(505, "9113 3.4", "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Head(400, "9112 2.3", "http/1.1", good(version="http/1.1")),
    Head(400, "9112 2.3", "HTTP/1.11", good(version="HTTP/1.11")),
    Head(400, "9112 2.3", "HTTP/1", good(version="HTTP/1")),
    Head(400, "9112 2.3", "HTTP/1,1", good(version="HTTP/1,1")),
    Head(400, "9112 2.3", "another protocol", good(version="RTSP/1.0")),
    Head(400, "9112 3", "HTTP/0.9 without a version", "GET /ws\r\n"),
    Head(400, "9112 3", "a method alone", "GET\r\n\r\n"),
    Head(400, "9112 3", "the hello of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    Head(400, "9112 3", "the banner of SSH", "SSH-2.0-OpenSSH_9.2\r\n"),
    Head(400, "9112 3", "the banner of a PROXY protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + good()),
    Head(400, "9112 3", "a frame where a request should be", frame(1, "hello")),
    # lines
    Head(400, "9112 2.2", "LF alone behind the request line", good().replace("\r\n", "\n", 1)),
    Head(400, "9112 2.2", "LF alone behind a header", good().replace("localhost\r\n", "localhost\n")),
    Head(400, "9112 2.2", "LF alone everywhere", good().replace("\r\n", "\n")),
    Head(400, "9112 2.2", "LF alone at the end", good()[:-2] + "\n"),
    Head(400, "9112 2.2", "an empty line of LF alone before the request", "\n" + good()),
    Head(400, "9112 2.2", "CR alone before the request", "\r" + good()),
    Head(400, "9112 2.2", "CR alone in a value", with_line("X-A: b\rc")),
    Head(400, "9112 2.2", "CR alone behind the request line", good().replace("\r\n", "\r", 1)),
    Head(400, "9112 2.2", "CR CR LF", good().replace("localhost\r\n", "localhost\r\r\n")),
    Head(400, "9112 5.2", "a folded header", with_line("X-A: b", " folded")),
    Head(400, "9112 5.2", "a header folded by a tab", with_line("X-A: b", "\tfolded")),
    Head(400, "9112 5.2", "a folded Upgrade", good().replace("Upgrade: websocket", "Upgrade:\r\n websocket")),
    Head(400, "9112 5.1", "a space before the colon", with_line("X-A : b")),
    Head(400, "9112 5.1", "a tab before the colon", with_line("X-A\t: b")),
    Head(400, "9112 5.1", "a space before the colon of Host", good().replace("Host:", "Host :")),
    Head(400, "9112 5", "a header without a name", with_line(": b")),
    Head(400, "9112 5", "a line without a colon", with_line("nonsense")),
    Head(400, "9112 5", "a header name in two words", with_line("X A: b")),
    Head(400, "9110 5.6.2", "a header name with a byte above 127", with_line("X\xe9: b")),
    Head(400, "9110 5.6.2", "a header name with a slash", with_line("X/A: b")),
    *[Head(400, "9110 5.5", f"the control character {code:#04x} in a value", with_line(f"X-A: b{chr(code)}c"))
      for code in (0, 1, 7, 8, 11, 12, 14, 27, 31, 127)],
    Head(400, "9110 5.5", "a NUL in a name", with_line("X\0A: b")),
    Head(400, "9110 5.5", "a NUL behind a name", with_line("Host\0: b")),
    # limits
    Head(431, "6585 5", "65 header lines", many(65)),
    Head(431, "6585 5", "1,000 header lines", many(1000)),
    Head(431, "6585 5", "a head over limits.headerBytes", filled(LIMIT + 500)),
    Head(431, "6585 5", "a header line of 1 MB", with_line("X-Long: " + "x" * 1_000_000)),
    Head(431, "6585 5", "a header name of 9,000 bytes", with_line("X" * 9000 + ": x")),
    Head(414, "9112 3", "a target of 9,000 bytes", good("/ws?x=" + "y" * 9000)),
    Head(414, "9112 3", "a path of 1 MB", good("/" + "y" * 1_000_000)),
    Head(431, "9112 3", "a method of 9,000 bytes", good(method="G" * 9000)),
    Head(431, "9112 2.2", "9,000 empty lines", "\r\n" * 9000 + good()),
    # Host
    Head(400, "9112 3.2", "no Host", good(over={"Host": None})),
    Head(400, "9112 3.2", "no Host with the absolute form", good("http://localhost/ws", over={"Host": None})),
    Head(400, "9112 3.2", "two Hosts", with_line("Host: other.example")),
    Head(400, "9112 3.2", "the same Host twice", with_line("host: localhost")),
    *[Head(400, "9110 7.2", f"Host: {host or 'empty'}", with_header("Host", host))
      for host in ("", "user@localhost", "localhost:http", "localhost:80:80", "localhost:65536", "localhost:-1", ":80", "::1",
                   "[::1", "[::1]x", "[]", "a, b", "a b", "localhost/ws", "http://localhost", "a%zz", "a<b", "\"a\"", "a\\b",
                   "caf\xe9", "localhost:99999999999999999999", "a?b", "a#b")],
    # bodies, and what a proxy may take for one
    *[Head(400, "9112 6", f"Content-Length: {value or 'empty'}", with_line(f"Content-Length: {value}"))
      for value in ("5", "-1", "+0", "0x0", "00", "0, 0", "0,5", "1" * 30, "18446744073709551616", "", "a", "0 0", "0.0")],
    Head(400, "9112 6.3", "two equal lengths", with_line("Content-Length: 0", "Content-Length: 0")),
    Head(400, "9112 6.3", "two lengths", with_line("Content-Length: 0", "Content-Length: 5")),
    *[Head(400, "9112 6.1", f"Transfer-Encoding: {value or 'empty'}", with_line(f"Transfer-Encoding: {value}"))
      for value in ("chunked", "identity", "gzip, chunked", "xchunked", "\tchunked", "", "Chunked",
                    "chunked, identity")],
    Head(400, "9112 6.1", "chunks and a length", with_line("Transfer-Encoding: chunked", "Content-Length: 0")),
    Head(400, "9112 6.1", "chunks with a body behind the head", with_line("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n"),
    Head(400, "9112 6.1", "a length with a body that is a request", with_line("Content-Length: 40") + good()),
    Head(417, "9110 10.1.1", "Expect: 100-continue", with_line("Expect: 100-continue")),
    Head(417, "9110 10.1.1", "an unknown expectation", with_line("Expect: the unexpected")),
    # the upgrade
    *[Head(426, "9110 7.8", name, good(over=over), upgrade="websocket", sec_websocket_version="13") for name, over in [
        ("no Upgrade", {"Upgrade": None}), ("neither Upgrade nor Connection", {"Upgrade": None, "Connection": None}),
        ("Upgrade: h2c", {"Upgrade": "h2c"}), ("Upgrade: websockets", {"Upgrade": "websockets"}),
        ("Upgrade: websocket/13", {"Upgrade": "websocket/13"}), ("Upgrade: web socket", {"Upgrade": "web socket"}),
        ("an empty Upgrade", {"Upgrade": ""}), ("Upgrade: TLS/1.2", {"Upgrade": "TLS/1.2"}),
        ("no Connection", {"Connection": None}), ("Connection: keep-alive", {"Connection": "keep-alive"}),
        ("Connection: close", {"Connection": "close"}), ("Connection: upgraded", {"Connection": "upgraded"}),
        ("Connection: up grade", {"Connection": "up grade"}), ("Connection: keep-alive;Upgrade",
                                                               {"Connection": "keep-alive;Upgrade"}),
        ("an empty Connection", {"Connection": ""})]],
    *[Head(426, "6455 4.2.2", f"Sec-WebSocket-Version: {value or 'empty'}", with_header("Sec-WebSocket-Version", value),
           upgrade="websocket", sec_websocket_version="13")
      for value in ("8", "0", "7", "12", "14", "013", "13, 8", "8, 13", "13,13", "13.0", "+13", "0x0d", "", "thirteen", "213")],
    Head(426, "6455 4.2.2", "no Sec-WebSocket-Version", good(over={"Sec-WebSocket-Version": None}),
         sec_websocket_version="13"),
    Head(426, "6455 11.3.5", "the version twice", with_line("Sec-WebSocket-Version: 13"), sec_websocket_version="13"),
    Head(426, "6455 11.3.5", "two versions", with_line("Sec-WebSocket-Version: 8"), sec_websocket_version="13"),
    Head(426, "6455 4.2.2", "the handshake of draft 76", good(over={
        "Sec-WebSocket-Key": None, "Sec-WebSocket-Version": None, "Sec-WebSocket-Key1": "4 @1  46546xW%0l 1 5",
        "Sec-WebSocket-Key2": "12998 5 Y3 1  .P00"}) + "^n:ds[4U", sec_websocket_version="13"),
    Head(400, "6455 4.2.1", "no Sec-WebSocket-Key", good(over={"Sec-WebSocket-Key": None})),
    Head(400, "6455 11.3.1", "the key twice", with_line(f"Sec-WebSocket-Key: {KEY}")),
    Head(400, "6455 11.3.1", "two keys", with_line("Sec-WebSocket-Key: " + "A" * 22 + "==")),
    *[Head(400, "6455 4.2.1", f"a key that is {name}", with_header("Sec-WebSocket-Key", key)) for name, key in [
        ("empty", ""), ("short", "c2hvcnQ="), ("15 bytes", "A" * 20), ("17 bytes", "A" * 23 + "="), ("18 bytes", "A" * 24),
        ("without padding", KEY[:22]), ("padded once", KEY[:23]), ("padded three times", KEY + "="),
        ("of base64url", "-_" * 11 + "=="), ("no base64", KEY[:10] + "!" + KEY[11:]), ("cut by a space", KEY[:11] + " " + KEY[12:]),
        ("not canonical", KEY[:21] + "R=="), ("in quotes", f'"{KEY}"'), ("a list", f"{KEY}, {KEY}"), ("4,000 bytes", "A" * 4000)]],
    *[Head(400, "6455 4.1", name, with_line(*[f"Sec-WebSocket-Protocol: {value}" for value in values])) for name, values in [
        ("a subprotocol that is no token", ["a b"]), ("a subprotocol in quotes", ['"postoffice.v1"']),
        ("a subprotocol with a byte above 127", ["caf\xe9"]), ("bearer.T alone", ["bearer.T"]), ("bearer. alone", ["bearer."]),
        ("two bearers", ["postoffice.v1, bearer.a, bearer.b"]),
        ("two bearers in two lines", ["postoffice.v1, bearer.a", "bearer.b"])]],
    Head(400, "6455 11.3.6", "two Origins", with_line("Origin: https://a.example", "Origin: https://b.example")),
    Head(400, "9110 11.6.2", "two Authorizations", with_line("Authorization: Bearer other")),
    # the query
    *[Head(400, "3986 2.1", f"the query {query}", good("/ws?" + query))
      for query in ("clientID=%zz", "clientID=%4", "clientID=%", "x=%", "%zz=1", "clientID=a%00b", "x=%00", "clientID=%ff%fe",
                    "clientID=%c0%af", "clientID=%ed%a0%80", "clientID=%f4%90%80%80", "device=%e4%b8")],
    *[Head(400, "protocol 1", f"the query {query}", good("/ws?" + query))
      for query in ("clientID=", "clientID=a%0ab", "clientID=%20a", "clientID=a%20", "clientID=a%7f", "clientID=%c2%85", "clientID=%23all",
                    "clientID=postmaster", "clientID=%24x", "clientID=a&clientID=b", "clientID=a&client%49D=b",
                    "device=a&device=b", "device=a%0db", "since=", "since=x", "since=1-", "since=-1", "since=NOW",
                    "since=18446744073709551616", "token=a&token=b", "clientID=" + "a" * 256, "device=" + "d" * 65)],
    # the token
    Head(401, "6750 3.1", "no token", request()),
    Head(401, "6750 3.1", "a token that is none", request(token="nonsense")),
    Head(401, "6750 3.1", "Authorization of another scheme", request(over={"Authorization": "Basic YTpi"})),
    Head(403, "6750 3.1", "a clientID that the token does not cover", good("/ws?clientID=somebody-else")),
]

TABLE = ACCEPTED + REFUSED
NAMES = [str(head) for head in TABLE]
assert len(set(NAMES)) == len(NAMES), sorted(name for name in NAMES if NAMES.count(name) > 1)
assert len(TABLE) >= 120

numbers = itertools.count(1)


class Door(play.SessionTarget):
    """A server at which a head may fail."""

    def fill_in(self, head):
        return head.text.replace(b"{token}", self.post.token(f"head{next(numbers)}").encode())


@pytest.fixture(scope="module")
def door(post):
    target = Door(post)
    yield target
    target.end()


def places(head, length):
    """Where a head is cut in two; the token of each connection is another, of the same length."""
    every = range(1, length)
    return every if length <= max(EVERY, CUTS) else sorted(random.Random(str(head)).sample(every, CUTS))


def cut(text, place):
    return [text[:place], text[place:]]


def stepwise(text):
    """One byte a write, and 97 of a long head, up to where every such head has been refused."""
    if len(text) <= BYTES:
        return [text[at:at + 1] for at in range(len(text))]
    return [text[at:at + 97] for at in range(0, min(len(text), 4 * LIMIT), 97)]


def judge(head, connection):
    to_head = head.text.startswith(b"HEAD")
    answer = connection.answer(to_head)
    assert answer.status == head.status, (str(head), answer.rest)
    for name, value in head.headers.items():
        assert answer.headers.get(name) == value, name
    if head.status == 101:
        assert answer.headers["upgrade"].lower() == "websocket" and answer.headers["connection"].lower() == "upgrade"
        connection.send(frame(9, b"still here"))
        assert connection.control() == (10, b"still here")
        return
    assert "close" in answer.headers["connection"].lower()
    assert answer.headers["date"].endswith(" GMT")
    if not to_head:
        body = answer.json()
        assert body["code"] and body["message"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("head", TABLE, ids=NAMES)
def test_head(door, head, way):
    if way == "behind an empty line":
        plans = [[b"\r\n" + door.fill_in(head)]]
    elif way == "with bytes behind it":
        early = frame(9, b"early") if head.status == 101 else (good() + frame(9, b"early").decode("latin-1")).encode("latin-1")
        plans = [[door.fill_in(head) + early]]
    elif way == "cuts":
        plans = [cut(door.fill_in(head), place) for place in places(head, len(door.fill_in(head)))]
    else:
        plans = [stepwise(door.fill_in(head)) if way == "bytes" else [door.fill_in(head)]]
    connections = [Raw(door.port) for _ in plans]
    door.has_read()
    for group in itertools.zip_longest(*plans):
        for connection, data in zip(connections, group):
            if data is not None:
                play.send_or_closed(connection, data)
        if len(plans[0]) > 1:
            door.has_read()
    for connection in connections:
        if way == "with bytes behind it" and head.status == 101:
            early_ping_comes_back(head, connection)
        else:
            judge(head, connection)
        connection.socket.close()


def early_ping_comes_back(head, connection):
    assert connection.answer().status == 101
    assert connection.control() == (10, b"early")
