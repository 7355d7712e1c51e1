"""The clerk: who may ask at admin.listen, health, messages, sessions, nodes (docs/admin.md)."""

import asyncio
import os
import re
import signal
import socket
import stat
import time

import admin
import clients
import harness
from admin import Admin, quoted
from harness import wait_until

MAIL = {"from": "erp", "to": ["alice"], "subject": "invoice", "content": clients.b64("hello"), "type": 1}


def mail(**over):
    return {**MAIL, **over}


# -- the door


def test_the_socket_is_beside_the_pid_file_and_for_its_owner_alone(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        assert clerk.get("/health/live").json() == {"status": "live"}
        assert stat.S_IMODE(clerk.path.stat().st_mode) == 0o600
    post.stop()
    assert not clerk.path.exists()


def test_no_clerk_runs_where_admin_listen_is_empty(server):
    post = server(1)
    assert len(post.processes()) == 2 and not post.pid_file.with_suffix(".admin").exists()


def test_the_service_port_serves_none_of_this(server):
    post = server(1, admin.config())
    for path in ("/health/ready", "/api/v1/nodes", "/api/v1/messages"):
        with clients.Raw(post.port) as raw:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.answer().status == 404


def test_at_an_address_a_token_of_an_administrator_is_asked_for(server):
    port = harness.free_port()
    post = server(1, admin.config(port))
    for token, status, code in [(None, 401, "unauthorized"), ("nonsense", 401, "unauthorized"),
                                (post.token("alice"), 403, "forbidden"),
                                (post.token("root", po={"admin": True}), 200, None)]:
        with Admin(post, port, token) as clerk:
            answer = clerk.get("/api/v1/nodes")
            assert answer.status == status, answer.text
            assert code is None or answer.code == code
            assert status != 401 or answer.headers["www-authenticate"].startswith("Bearer")
            assert clerk.get("/health/live").status == 200, "health needs no token"


def test_a_page_of_another_origin_is_refused(server):
    port = harness.free_port()
    post = server(1, admin.config(port))
    with Admin(post, port, post.token("root", po={"admin": True})) as clerk:
        for origin, status in [("http://evil.example", 403), ("null", 403), (f"http://127.0.0.1:{port}", 200)]:
            assert clerk.get("/api/v1/nodes", headers={"Origin": origin}).status == status, origin


def test_an_address_needs_a_port_and_away_from_loopback_a_certificate(directory):
    for item in ("0.0.0.0:7600", "192.0.2.1:7600", "127.0.0.1", "[::]:7600", "unix:relative"):
        path = directory / "config-bad.json"
        path.write_text('{"admin": {"listen": ["%s"]}}' % item)
        result = harness.command("check-config", "--config", path, check=False)
        assert result.returncode != 0 and "admin.listen" in result.stderr + result.stdout, item


def test_unknown_paths_methods_and_broken_requests_are_told(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        assert clerk.get("/").code == "not-found"
        assert clerk.get("/api/v1/messages/a").code == "not-found"
        assert clerk.get("/api/v1/messages").code == "method-not-allowed"
        assert clerk.delete("/api/v1/sessions/%zz").code == "not-found"
        assert clerk.delete("/api/v1/sessions/x").code == "bad-field"
        assert clerk.get("/api/v1/sessions?limit=x").code == "bad-field"
        assert clerk.get("/api/v1/sessions?address=%ff").code == "bad-field"
        assert clerk.ask("HEAD", "/health/live").text == ""
    for head, status in [("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/2.0\r\n\r\n", 505), ("GET /\r\n\r\n", 400),
                         ("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
                         ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
                         ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
                         ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
                         ("GET /x HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n", 400),
                         ("GET /x HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
                         ("GET /x HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417)]:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(30)
            raw.connect(str(clerk.path))
            raw.sendall(head.encode())
            assert raw.recv(65536).split()[1] == str(status).encode(), head


def test_requests_behind_one_another_are_answered_in_order(server):
    post = server(1, admin.config())
    with Admin(post) as clerk, socket.socket(socket.AF_UNIX) as raw:
        clerk.get("/health/live")
        raw.settimeout(30)
        raw.connect(str(clerk.path))
        raw.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b""
        while more := raw.recv(65536):
            text += more
        assert re.findall(rb"HTTP/1.1 (\d+)", text) == [b"200", b"404", b"200"]


def test_connections_past_their_number_wait_and_slow_ones_are_ended(server):
    post = server(1, admin.config(connections=4))
    with Admin(post) as clerk:
        clerk.get("/health/live")
        idle = []
        for _ in range(6):
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(60)
            raw.connect(str(clerk.path))
            raw.sendall(b"GET /health/live HTTP/1.1\r\n")  # a head that does not end
            idle.append(raw)
        late = Admin(post, timeout=60)
        assert late.get("/health/live").status == 200, "the slow ones have been ended, and the others were taken"
        for raw in idle:
            raw.close()
        late.connection.close()


def test_a_body_is_bounded(server):
    post = server(1, admin.config(bodyBytes=2000))
    with Admin(post) as clerk:
        assert clerk.post("/api/v1/messages", b"[" + b" " * 1998 + b"]").status == 400
        assert clerk.post("/api/v1/messages", b" " * 2001).status == 413


# -- health


def test_ready_says_why_it_is_not(server_with_own_redis, own_redis):
    post = server_with_own_redis(2, admin.config())
    with Admin(post) as clerk:
        wait_until(lambda: clerk.get("/health/ready").status == 200, "ready")
        assert clerk.get("/health/ready").json() == {"status": "ready", "workers": 2, "reasons": []}
        own_redis.stop()
        wait_until(lambda: clerk.get("/health/ready").status == 503, "not ready")
        assert clerk.get("/health/ready").json()["reasons"] == ["redis-away"]
        assert clerk.get("/health/live").status == 200


# -- messages


def test_a_message_by_http_is_delivered_as_any_other(server):
    post = server(2, admin.config())

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        with Admin(post) as clerk:
            answer = clerk.post("/api/v1/messages", mail(id="m1"))
            assert answer.status == 202 and answer.json() == {"id": "m1", "outcome": "accepted", "state": 1}
        message = await alice.message(id="m1")
        assert message["from"] == "erp" and message["content"] == MAIL["content"]
        await alice.close()

    clients.run(talk())


def test_a_repeated_key_is_one_message(server):
    post = server(1, admin.config())

    async def read():
        alice = await clients.PythonClient.open(post, "alice")
        got = [(await alice.message())["id"] for _ in range(4)]
        await alice.close()
        return got

    with Admin(post) as clerk:
        for _ in range(3):
            assert clerk.post("/api/v1/messages", mail(), headers={"Idempotency-Key": "order-7"}).json()["id"] == "order-7"
            batch = clerk.post("/api/v1/messages", [mail(), mail(), mail()], headers={"Idempotency-Key": "k"}).json()
            assert [row["id"] for row in batch["results"]] == ["k-0", "k-1", "k-2"]
        for key in ("", "x" * 59, "a b"):
            assert clerk.post("/api/v1/messages", mail(), headers={"Idempotency-Key": key}).code == "bad-field"
    assert clients.run(read()) == ["order-7", "k-0", "k-1", "k-2"]


def test_each_envelope_of_an_array_has_its_own_answer(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        rows = clerk.post("/api/v1/messages", [mail(id="a"), mail(id="b", to=[]), 7, mail(id="c", type=9), mail(id="d", to=["$x"]),
                                               mail(id="e", type=4, to="postmaster", subject="history"),
                                               mail(id="f", type=2), mail(id="no id"), mail(id="g")]).json()["results"]
    assert [(row.get("id"), row["outcome"], row.get("code")) for row in rows] == [
        ("a", "accepted", None), ("b", "rejected", "bad-field"), ("#2", "rejected", "bad-json"), ("c", "rejected", "bad-field"),
        ("d", "rejected", "forbidden-to"), ("e", "rejected", "bad-field"), ("f", "sent", None), ("no id", "rejected", "bad-field"), ("g", "accepted", None)]


def test_a_thousand_envelopes_come_in_order_and_one_more_is_refused(server):
    post = server(2, admin.config())

    async def read():
        alice = await clients.PythonClient.open(post, "alice")
        got = [(await alice.message())["id"] for _ in range(1000)]
        await alice.close()
        return got

    with Admin(post) as clerk:
        rows = clerk.post("/api/v1/messages", [mail(id=f"n{n}") for n in range(1000)]).json()["results"]
        assert {row["outcome"] for row in rows} == {"accepted"}
        assert clerk.post("/api/v1/messages", [mail()] * 1001).code == "bad-json"
        assert clerk.post("/api/v1/messages", []).code == "bad-json"
        assert clerk.post("/api/v1/messages", b"{").code == "bad-json"
        assert clerk.post("/api/v1/messages", b'{"subject": "\xff"}').code == "bad-json"
    assert clients.run(read()) == [f"n{n}" for n in range(1000)]


def test_a_refused_message_says_so_by_its_status(server_with_own_redis, own_redis):
    post = server_with_own_redis(1, {**admin.config(), "limits": {"messageBytes": 100000}})
    with Admin(post) as clerk:
        assert clerk.post("/api/v1/messages", mail(content=clients.b64("x" * 90000))).code == "too-large"
        assert clerk.post("/api/v1/messages", mail(**{"from": "postmaster"})).code == "forbidden-from"
        own_redis.stop()
        wait_until(lambda: clerk.post("/api/v1/messages", mail()).status == 503, "mail is rejected")
        answer = clerk.post("/api/v1/messages", mail(id="x"))
        assert answer.code == "storage-unavailable" and answer.json()["id"] == "x" and answer.headers["retry-after"] == "1"


def test_a_token_sends_for_those_it_may_speak_for_and_no_faster_than_they_may(server):
    port = harness.free_port()
    post = server(1, {**admin.config(port), "limits": {"messagesPerSecond": 5, "burst": 5}})
    with Admin(post, port, post.token("shop", po={"relay": ["erp"], "send": ["*"]})) as clerk:
        assert clerk.post("/api/v1/messages", mail()).status == 202
        assert clerk.post("/api/v1/messages", mail(**{"from": "shop"})).status == 202
        assert clerk.post("/api/v1/messages", mail(**{"from": "bob"})).code == "forbidden-from"
        rows = clerk.post("/api/v1/messages", [mail() for _ in range(20)]).json()["results"]
        assert "rate-limited" in {row.get("code") for row in rows}
        assert clerk.get("/api/v1/sessions").code == "forbidden"
    with Admin(post) as clerk:
        rows = clerk.post("/api/v1/messages", [mail() for _ in range(100)]).json()["results"]
        assert {row["outcome"] for row in rows} == {"accepted"}, "an operator has no limit"


def test_a_message_is_recalled(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        assert clerk.post("/api/v1/messages", mail(id="id1", **{"from": "/service/erp"}, to=["alice", "bob"])).status == 202
        answer = clerk.delete(f"/api/v1/messages/{quoted('/service/erp')}/id1")
        assert answer.status == 200 and sorted(answer.json()["recalled"]) == ["alice", "bob"]
        assert clerk.delete("/api/v1/messages/erp/none").code == "not-found"


# -- who did what


def test_every_call_that_changes_something_is_logged_with_who_what_and_on_what(server):
    port = harness.free_port()
    post = server(1, admin.config(port))
    with Admin(post, port, post.token("root", po={"admin": True})) as clerk:
        with clients.upgrade(post, "alice") as raw:
            assert '"welcome"' in raw.message()
            session = clerk.get("/api/v1/sessions").json()["sessions"][0]["id"]
            assert clerk.post("/api/v1/messages", mail(id="id2")).status == 202
            assert clerk.delete("/api/v1/messages/erp/id2").status == 200
            assert clerk.delete(f"/api/v1/sessions/{quoted(session)}").status == 204
        assert clerk.delete("/api/v1/addresses/alice/messages").status == 200
        assert clerk.ask("PUT", "/api/v1/revocations/sub:mallory").status == 204
        assert clerk.delete("/api/v1/revocations/sub:mallory").status == 204
        assert clerk.post("/api/v1/reload", b"").status == 200
    told = re.findall(r'event=admin_change (what=\S+) .*by="root"', post.log())
    assert sorted(told) == sorted(f"what={what}" for what in ("send", "recall", "session_end", "mailbox_purge", "revocation_put",
                                                             "revocation_delete", "reload"))
    assert re.search(r'event=admin_change what=recall on="erp id2" by="root"', post.log())


# -- sessions and nodes


def test_sessions_are_listed_wherever_they_are_and_one_is_ended(server):
    first, second = server(2, {**admin.config(), "node": {"id": "n1"}}), server(1, {"node": {"id": "n2"}})

    async def talk():
        here = [await clients.PythonClient.open(first, f"u{n}", "phone") for n in range(4)]
        there = await clients.PythonClient.open(second, "u1", "desk")
        with Admin(first) as clerk:
            def listed(query=""):
                answer = clerk.get(f"/api/v1/sessions{query}").json()
                return [] if answer["workersMissing"] else answer["sessions"]
            await clients.eventually(lambda: len(listed()) == 5, "all sessions are listed")
            rows = listed("?address=u1")
            assert sorted((row["node"], row["device"]) for row in rows) == [("n1", "phone"), ("n2", "desk")]
            assert {row["ip"] for row in rows} == {"127.0.0.1"}
            assert [row["address"] for row in listed("?node=n2")] == ["u1"]
            for row in rows:
                assert clerk.delete(f"/api/v1/sessions/{quoted(row['id'])}").status == 204
            assert (await here[1].closed())[1] == 4502
            assert (await there.closed())[1] == 4502
            assert clerk.delete(f"/api/v1/sessions/{quoted(rows[0]['id'])}").code == "not-found"
            assert "what=session_end" in first.log() and 'by="local"' in first.log()
            places = clerk.get("/api/v1/nodes").json()
            assert places["node"] == "n1" and len(places["workers"]) == 2 and {row["node"] for row in places["elsewhere"]} == {"n2"}
        for one in here[:1] + here[2:]:
            await one.close()

    clients.run(talk())


def test_a_listing_does_not_wait_for_the_next_tick(server):
    """200 listings take a second or less; with a tick of 250 ms for each they took 40 seconds."""
    post = server(1, admin.config())
    with Admin(post) as clerk:
        ended = time.monotonic() + 25
        for _ in range(200):
            assert clerk.get("/api/v1/sessions").status == 200
        assert time.monotonic() < ended


def test_many_sessions_come_in_pages(server):
    post = server(1, admin.config())

    async def talk():
        many = [await clients.PythonClient.open(post, f"p{n}") for n in range(25)]
        with Admin(post) as clerk:
            found, query = [], "?limit=10"
            while query:
                page = clerk.get(f"/api/v1/sessions{query}").json()
                found += [row["address"] for row in page["sessions"]]
                query = f"?limit=10&cursor={page['cursor']}" if "cursor" in page else None
            assert sorted(found) == sorted(f"p{n}" for n in range(25))
        await asyncio.gather(*(one.close() for one in many))

    clients.run(talk())


def test_a_stopped_worker_costs_a_listing_its_patience_and_nothing_else(server):
    post = server(2, {**admin.config(), "watchdog": {"seconds": 0}})
    stopped = next(iter(post.worker_pids().values()))
    os.kill(stopped, signal.SIGSTOP)
    try:
        with Admin(post) as clerk:
            wait_until(lambda: clerk.get("/api/v1/sessions").json()["workersMissing"] == 1, "the other one answers")
            wait_until(lambda: "view-stale" in clerk.get("/health/ready").json()["reasons"], "the view is stale")
    finally:
        os.kill(stopped, signal.SIGCONT)


# -- the process


def test_a_clerk_that_dies_or_hangs_is_replaced_and_nobody_who_chats_notices(server):
    post = server(1, {**admin.config(), "watchdog": {"seconds": 5}})

    async def talk():
        alice, bob = await clients.PythonClient.open(post, "alice"), await clients.PythonClient.open(post, "bob")
        for number in (signal.SIGKILL, signal.SIGSTOP):
            before = admin.clerk_pid(post)
            os.kill(before, number)
            await bob.send(["alice"], "hello")
            await alice.message(**{"from": "bob"})

            def replaced():
                try:
                    return admin.clerk_pid(post) != before
                except StopIteration:
                    return False
            await clients.eventually(replaced, "another clerk runs")
            with Admin(post) as clerk:
                wait_until(lambda: clerk.get("/health/ready").status == 200, "the clerk knows that all is well")
        assert post.total("sessions_closed") == 0
        await alice.close()
        await bob.close()

    clients.run(talk())
