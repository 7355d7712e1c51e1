"""admin.listen at an address that is not loopback: TLS, a token, and strangers that keep nobody out (docs/admin.md)."""

import json
import re
import ssl
import subprocess

import pytest

import admin
import clients
import harness
import hosts
from admin import Admin
from harness import wait_until
from tls import Tls, blind_context

CONNECTIONS = 8


@pytest.fixture(scope="module")
def post(redis):
    reason = hosts.why_not()
    if reason:
        pytest.skip(reason)
    directory = harness.make_directory()
    host = hosts.Alone()
    tls = Tls(directory, "localhost", host.address)
    port = harness.free_port()
    config = {"sslCertPath": str(tls.cert), "sslKeyPath": str(tls.key), "limits": {"handshakeSeconds": 2, "messageBytes": 1 << 20},
              "admin": {"listen": ["unix:", f"{host.address}:{port}"], "connections": CONNECTIONS}}
    server = harness.Server(directory, redis, 1, config, host=host).start()
    server.tls, server.far = tls, port
    yield server
    server.stop()
    server.judge()
    host.close()
    harness.remove_directory(directory)


def operator(post, **claims):
    return post.token("root", po={"admin": True, **claims})


def far(post, token=None):
    return Admin(post, post.far, token, context=post.tls.context())


def curl(post, path, *options, scheme="https"):
    """The exit status of curl, the status of the answer, and its body."""
    result = subprocess.run(
        [*post.host.inside(), "curl", "--silent", "--cacert", post.tls.cert, "--max-time", "20", "--write-out", "\n%{http_code}",
         *options, f"{scheme}://{post.host.address}:{post.far}{path}"],
        capture_output=True, text=True, check=False, timeout=harness.DEADLINE)
    body, _, status = result.stdout.rpartition("\n")
    return result.returncode, int(status), body


# ------------------------------------------------------------------------------------------------------------ who may ask

def test_curl_with_the_token_of_an_administrator_is_answered(post):
    done, status, body = curl(post, "/api/v1/nodes", "-H", f"Authorization: Bearer {operator(post)}")
    assert (done, status) == (0, 200) and json.loads(body)["workers"]


@pytest.mark.parametrize("headers, status", [
    ([], 401), (["Authorization: Bearer nonsense"], 401), (["Authorization: Bearer {user}"], 403),
    (["Authorization: Bearer {admin}", "Origin: https://evil.example"], 403),
    (["Authorization: Bearer {admin}", "Origin: https://{here}"], 200)])
def test_a_token_that_is_no_administrators_and_another_origin_are_refused(post, headers, status):
    given = {"user": post.token("alice"), "admin": operator(post), "here": f"{post.host.address}:{post.far}"}
    options = [part for header in headers for part in ("-H", header.format(**given))]
    assert curl(post, "/api/v1/nodes", *options)[:2] == (0, status)
    assert curl(post, "/metrics", *options)[:2] == (0, status)


def test_health_needs_no_token(post):
    assert curl(post, "/health/live")[:2] == (0, 200)


def test_plain_http_is_told_and_gets_nothing_else(post):
    done, status, body = curl(post, "/health/live", "-H", f"Authorization: Bearer {operator(post)}", scheme="http")
    assert (done, status) == (0, 400) and "https://" in body and "live" not in body


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_versions_of_tls_are_refused(post, version):
    done, status, _ = curl(post, "/health/live", "--tlsv1.0", "--tls-max", version, "--ciphers", "ALL:@SECLEVEL=0")
    assert (done, status) == (35, 0)


def test_a_client_that_does_not_know_the_issuer_goes(post):
    assert curl(post, "/health/live", "--cacert", "/etc/ssl/certs/ca-certificates.crt")[0] != 0


def test_without_a_certificate_such_an_address_is_refused(directory):
    path = directory / "config-bad.json"
    path.write_text('{"admin": {"listen": ["unix:", "192.0.2.1:7600"]}}')
    result = harness.command("check-config", "--config", path, check=False)
    said = result.stdout + result.stderr
    assert result.returncode != 0 and "admin.listen" in said and "sslCertPath" in said and "not loopback" in said


# ------------------------------------------------------------------------------------------------------------ bytes

def test_large_bodies_and_answers_pass(post):
    content = clients.b64("x" * 60000)
    mail = [{"from": "erp", "to": ["bulk"], "id": f"bulk-{number}", "subject": "", "content": content, "type": 1} for number in range(100)]
    with far(post, operator(post)) as clerk:
        results = clerk.post("/api/v1/messages", mail).json()["results"]
        assert [each["outcome"] for each in results] == ["accepted"] * 100
        found, cursor = [], ""
        while cursor is not None:
            page = clerk.get(f"/api/v1/addresses/bulk/messages?limit=200{cursor}").json()
            found += [each["id"] for each in page["messages"]]
            cursor = f"&after={page['cursor']}" if "cursor" in page else None
        assert found == [each["id"] for each in mail]


def test_many_requests_in_one_write_are_each_answered(post):
    """More than a read's room in one segment: what TLS has read ahead no event of the socket announces."""
    request = f"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Filler: {'f' * 500}\r\n\r\n".encode() * 200
    with far(post) as clerk:
        clerk.connection.connect()
        sock = clerk.connection.sock
        sock.sendall(request)
        text = b""
        while text.count(b'"live"') < 200:
            piece = sock.recv(65536)
            assert piece, text[-300:]
            text += piece
        assert text.count(b"HTTP/1.1 200") == 200


def test_a_request_may_come_byte_by_byte(post):
    with post.host.dial(post.far) as plain:
        plain.setsockopt(6, 1, 1)  # TCP_NODELAY
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = post.tls.context().wrap_bio(incoming, outgoing, server_hostname=post.host.address)

        def step(act):
            while True:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        plain.sendall(bytes([byte]))
                    incoming.write(plain.recv(65536))

        step(secure.do_handshake)
        for byte in b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n":
            secure.write(bytes([byte]))
        assert step(lambda: secure.read(65536)).startswith(b"HTTP/1.1 200 ")


def test_the_body_of_a_stranger_is_not_awaited(post):
    for expect in ("", "Expect: 100-continue\r\n"):
        with far(post) as clerk:
            clerk.connection.connect()
            sock = clerk.connection.sock
            sock.sendall(f"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\n{expect}Content-Length: 1000000\r\n\r\n".encode())
            assert sock.recv(4096).startswith(b"HTTP/1.1 401 ")
    with far(post, operator(post)) as clerk:
        mail = {"from": "erp", "to": ["alice"], "subject": "", "content": "", "type": 1}
        assert clerk.post("/api/v1/messages", mail, headers={"Expect": "100-continue"}).status == 202


# ------------------------------------------------------------------------------------------------------------ strangers

def test_slow_handshakes_keep_nobody_out_and_end(post):
    displaced, late = post.total("admin_displaced"), post.total("tls_failed_late")
    with far(post, operator(post)) as known:
        assert known.get("/api/v1/nodes").status == 200
        strangers = [post.host.dial(post.far) for _ in range(3 * CONNECTIONS)]
        try:
            with far(post, operator(post)) as another:
                assert another.get("/api/v1/nodes").status == 200
                assert known.get("/api/v1/nodes").status == 200
            with Admin(post) as local:
                assert local.get("/api/v1/nodes").status == 200
            assert post.total("admin_displaced") >= displaced + 2 * CONNECTIONS
            wait_until(lambda: post.total("tls_failed_late") > late, "a handshake that does not come ends the connection")
            for stranger in strangers:
                assert stranger.recv(100) == b""
        finally:
            for stranger in strangers:
                stranger.close()
        assert known.get("/api/v1/nodes").status == 200, "whoever has shown a token gave way to nobody"


def test_where_all_have_shown_tokens_the_next_waits(post):
    held = [far(post, operator(post)) for _ in range(CONNECTIONS)]
    for clerk in held:
        assert clerk.get("/api/v1/nodes").status == 200
    with far(post, operator(post)) as waiting:
        waiting.connection.timeout = harness.DEADLINE
        plain = post.host.dial(post.far)
        held.pop().connection.close()
        waiting.connection.sock = waiting.connection.context.wrap_socket(plain, server_hostname=post.host.address)
        assert waiting.get("/api/v1/nodes").status == 200
    for clerk in held:
        assert clerk.get("/api/v1/nodes").status == 200
        clerk.connection.close()


def test_unfinished_junk_and_cut_handshakes_leave_nothing_behind(post):
    before = {name: post.total(name) for name in ("tls_failed_not_tls", "tls_failed_cut", "tls_failed_no_common")}
    for _ in range(20):
        with post.host.dial(post.far) as stranger:
            stranger.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
            assert len(stranger.recv(100)) < 50
        with post.host.dial(post.far) as stranger:
            stranger.sendall(b"\x16\x03\x01")
        with post.host.dial(post.far) as stranger, pytest.raises(ssl.SSLError):
            blind_context(ssl.TLSVersion.TLSv1_1).wrap_socket(stranger)
    wait_until(lambda: all(post.total(name) == count + 20 for name, count in before.items()), "each is counted")
    assert curl(post, "/health/live")[:2] == (0, 200)


# ------------------------------------------------------------------------------------------------------------ reload

def test_a_reload_exchanges_the_certificate_and_ends_no_connection(post):
    def serial():
        with post.host.dial(post.far) as plain, blind_context().wrap_socket(plain, server_hostname="localhost") as secure:
            return secure.getpeercert(binary_form=True)

    with far(post, operator(post)) as known:
        assert known.get("/api/v1/nodes").status == 200
        before = serial()
        post.tls.pair("main", "localhost", post.host.address)
        post.reload()
        wait_until(lambda: serial() != before, "new connections get the new certificate")
        assert known.get("/api/v1/nodes").status == 200
        names = [each["names"] for each in post.status()["certificates"]]
        assert names == [["localhost", post.host.address]]
    with far(post, operator(post)) as later:
        assert later.get("/api/v1/nodes").status == 200


def test_the_log_says_nothing_of_tokens_and_keys(post):
    assert not re.search(r"Bearer|PRIVATE KEY", post.log())
