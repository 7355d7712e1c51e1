"""`path`: which paths are served; `healthPath`: what a load balancer asks."""

import contextlib
import email.utils
import json
import re
import signal
import socket
import subprocess
import time

import clients
import harness
from clients import Raw, request


def ask(port, text, source=None):
    with Raw(port, source) as raw:
        raw.send(text)
        return raw.answer()


def check(port, method="GET", path="/healthz", version="1.1", more=""):
    return ask(port, f"{method} {path} HTTP/{version}\r\nHost: x\r\n{more}\r\n")


def test_the_listed_paths_are_served_and_no_other(server):
    post = server(1, {"path": ["/live", "/app/*", "/v2*"]})
    for path, status in [("/live", 101), ("/app/", 101), ("/app/1/ws", 101), ("/v2", 101), ("/v2/x", 101),
                         ("/", 404), ("/ws", 404), ("/live/", 404), ("/app", 404), ("/LIVE", 404), ("/v1", 404)]:
        assert ask(post.port, request(path, token=post.token("alice"))).status == status, path
        assert ask(post.port, request(f"{path}?x=/live", token=post.token("alice"))).status == status, path
    assert ask(post.port, request("/live", token=post.token("alice")).replace(
        "GET /live", "GET http://host.example/live")).status == 101
    answer = ask(post.port, request("/ws", token=post.token("alice")))
    assert answer.json()["code"] == "not-found"
    post.reload(path="/ws")
    assert ask(post.port, request("/ws", token=post.token("alice"))).status == 101
    assert ask(post.port, request("/live", token=post.token("alice"))).status == 404


def test_a_health_check_says_that_the_server_serves(server):
    post = server(2)
    for _ in range(10):
        answer = check(post.port)
        assert answer.status == 200 and answer.json() == {"status": "serving"}
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["connection"] == "close" and answer.headers["cache-control"] == "no-store"
    assert check(post.port, path="/healthz?from=balancer").status == 200
    assert ask(post.port, "GET /healthz HTTP/1.0\r\n\r\n").status == 200, "as HAProxy's option httpchk asks"
    assert post.total("health_checks") == 12
    assert post.total("sessions_opened") == 0 and post.sessions() == 0
    assert sum(post.total(f"handshake_{status}") for status in (400, 404, 426, 503)) == 0
    for method, path, status in [("POST", "/healthz", 405), ("GET", "/healthz/", 404), ("GET", "/Healthz", 404)]:
        assert check(post.port, method, path).status == status, (method, path)


def test_a_head_request_has_the_same_head_and_no_body(server):
    post = server(1)
    with Raw(post.port) as raw:
        raw.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        head = raw.ended()
    with Raw(post.port) as raw:
        raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        whole = raw.ended()
    dates = rb"Date: [^\r]*"  # the two may be of different seconds
    assert re.sub(dates, b"", whole) == re.sub(dates, b"", head) + b'{"status":"serving"}'
    assert head.endswith(b"\r\n\r\n") and b"Content-Length: 20\r\n" in head


def test_every_answer_of_http_says_when_it_was_given(server):
    """RFC 9110 6.6.1; of 101 it asks nothing."""
    post = server(1)
    for path, status in [("/healthz", 200), ("/other", 404), ("/", 426)]:
        for method in ("GET", "HEAD"):
            with Raw(post.port) as raw:
                raw.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")
                head = raw.ended().split(b"\r\n\r\n")[0].decode()
            assert head.startswith(f"HTTP/1.1 {405 if method == 'HEAD' and status != 200 else status} "), head
            date = re.search(r"\r\nDate: (\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT)", head)
            assert date and abs(email.utils.parsedate_to_datetime(date[1]).timestamp() - time.time()) < 60, head


def test_the_path_can_be_moved_and_switched_off(server):
    post = server(1, {"healthPath": "/up"})
    assert check(post.port, path="/up").status == 200 and check(post.port).status == 404
    post.reload(healthPath="")
    assert check(post.port, path="/up").status == 404 and check(post.port).status == 404
    post.reload(healthPath="/healthz", path=["/*"])
    assert check(post.port).status == 200, "a prefix hides no health check"


def test_a_health_check_costs_no_seat(server):
    post = server(1, {"maxWebSocketConnections": 1, "limits": {"connectionsPerIP": 1}})
    with Raw(post.port) as inside:
        inside.send(request(token=post.token("alice")))
        assert inside.answer().status == 101
        assert ask(post.port, request(token=post.token("bob"))).status == 503, "the house is full"
        for _ in range(20):
            assert check(post.port).status == 200
    harness.wait_until(lambda: post.sessions() == 0, "the session has ended")
    lingering = [Raw(post.port) for _ in range(5)]  # checks that read no answer and do not close
    for raw in lingering:
        raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    harness.wait_until(lambda: post.total("health_checks") == 25, "they are answered")
    with Raw(post.port) as next_one:
        next_one.send(request(token=post.token("alice")))
        assert next_one.answer().status == 101
    for raw in lingering:
        raw.socket.close()


def test_without_storage_the_check_says_so_and_the_server_still_serves(server, own_redis):
    post = server(1, redis=own_redis)
    assert check(post.port).json() == {"status": "serving"}
    own_redis.kill()
    harness.wait_until(lambda: check(post.port).json() == {"status": "serving", "redis": "away"}, "Redis is away")
    assert check(post.port).status == 200
    own_redis.start()
    harness.wait_until(lambda: check(post.port).json() == {"status": "serving"}, "Redis is back")


def test_without_a_configured_redis_nothing_is_away(server):
    assert check(server(1, redis=None).port).json() == {"status": "serving"}


def launch(post):
    """Starts the server without waiting until it serves."""
    with open(post.log_file, "ab") as log:
        post.process = subprocess.Popen([harness.BINARY, "serve", "--config", str(post.config_file)], env=post.env,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=post.directory)


def test_a_server_that_starts_says_so_and_keeps_requests_until_it_serves(server, own_redis):
    post = server(1, redis=own_redis, start=False)
    own_redis.pause()  # the worker waits a second for it before it serves without
    launch(post)
    raw = None
    while raw is None:
        with contextlib.suppress(ConnectionRefusedError):
            raw = Raw(post.port)
    raw.send(request(token=post.token("alice")))
    answer = check(post.port)
    assert answer.status == 503 and answer.json() == {"status": "starting"}, answer.rest
    assert answer.headers["retry-after"] == "1"
    own_redis.resume()
    assert raw.answer().status == 101, "the request waited"
    harness.wait_until(lambda: check(post.port).status == 200, "it serves")
    raw.socket.close()


def test_a_server_that_drains_says_so(server):
    post = server(2, {"shutdown": {"seconds": 600}})
    stubborn = Raw(post.port)
    stubborn.send(request(token=post.token("alice")))
    assert stubborn.answer().status == 101  # and never answers the close frame
    post.process.send_signal(signal.SIGTERM)
    # A connection that is open when the draining begins is refused without a look at its request.
    answer = harness.wait_until(lambda: next((one for one in [check(post.port)] if one.json().get("status") == "draining"),
                                             None), "the check fails")
    assert answer.status == 503 and answer.headers["retry-after"] == "1"
    refused = ask(post.port, request(token=post.token("bob")))
    assert refused.status == 503 and refused.json()["code"] == "draining" and "retry-after" in refused.headers
    idle = socket.create_connection(("127.0.0.1", post.port))  # somebody new holds up no end
    stubborn.socket.close()
    assert post.stop() == 0
    idle.close()


def test_a_flood_of_checks_is_bounded_and_keeps_nobody_out(server):
    """Clients that read nothing and never close: as many linger as limits.pendingHandshakes, for 2 s at most."""
    post = server(1, {"limits": {"pendingHandshakes": 50}})
    flood = []
    for number in range(300):
        flood.append(Raw(post.port))
        flood[-1].send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        if number % 50 == 0:
            clients.upgrade(post, f"user{number}").socket.close()
    harness.wait_until(lambda: post.total("health_checks") == 300, "all are answered")
    pending = json.loads(harness.command("status", "--json", "--pid-file", post.pid_file).stdout)["workers"][0]["pending"]
    assert pending <= 52
    harness.wait_until(lambda: post.status()["workers"][0]["pending"] == 0, "the last ones are gone")
    for raw in flood:
        raw.socket.close()
