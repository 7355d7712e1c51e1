"""The clerk between slow ends: readers that take nothing, a Redis that answers late or not at all, bodies as large as they may be."""

import concurrent.futures
import contextlib
import http.client
import select
import socket

import psutil

import admin
import clients
import harness
from admin import Admin
from harness import wait_until
from redis_proxy import Proxy

MIB = 1 << 20


def mails(count, size, to="bulk", name="mail"):
    content = clients.b64("x" * (size * 3 // 4))
    return [{"from": "erp", "to": [to], "id": f"{name}-{number}", "subject": "", "type": 1, "content": content} for number in range(count)]


def clerk_rss(post):
    return psutil.Process(admin.clerk_pid(post)).memory_info().rss


def outcomes(answer):
    assert answer.status == 200, answer.text
    return [each["outcome"] for each in answer.json()["results"]]


def mailbox_ids(clerk, address):
    found, after = [], ""
    while after is not None:
        page = clerk.get(f"/api/v1/addresses/{address}/messages?limit=200{after}").json()
        found += [each["id"] for each in page["messages"]]
        after = f"&after={page['cursor']}" if "cursor" in page else None
    return found


# ------------------------------------------------------------------------------------------------------------ readers

def ask_without_reading(path, target, times):
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(str(path))
    raw.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * times)
    return raw


def is_cut(raw):
    """Has the server closed? Asked without reading."""
    ways = select.poll()
    ways.register(raw, select.POLLRDHUP)
    return bool(ways.poll(0))


def test_large_answers_that_nobody_reads_are_bounded_and_in_the_end_cut(server):
    """Answers of 1 MB to 40 readers that take nothing, each with nine more behind: four times bodyBytes and 16 MiB may wait."""
    post = server(1, admin.config(bodyBytes=2 * MIB))
    with Admin(post) as clerk:
        assert outcomes(clerk.post("/api/v1/messages", mails(1, 1_000_000))) == ["accepted"]
        page = "/api/v1/addresses/bulk/messages"
        assert len(clerk.get(page).text) > 1_000_000
        before = clerk_rss(post)
        silent = [ask_without_reading(clerk.path, page, 10) for _ in range(40)]
        try:
            wait_until(lambda: (answer := clerk.get(page)).status == 503 and answer.code == "busy", "their room is taken")
            assert clerk.get("/health/live").status == 200
            assert clerk.get("/metrics").status == 200, "small answers find room"
            assert clerk_rss(post) - before < 2 * (8 + 16) * MIB
            wait_until(lambda: all(is_cut(raw) for raw in silent), "readers that take nothing are cut")
            clerk.connection.close()  # it was silent as long
            assert clerk.get(page).status == 200
        finally:
            for raw in silent:
                raw.close()


def test_requests_that_come_faster_than_they_are_answered_wait_in_the_socket(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        raw = ask_without_reading(clerk.path, "/health/live", 1)
        raw.setblocking(False)
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        sent = heard = 0
        while heard < 2000:
            with contextlib.suppress(BlockingIOError):
                at = sent % len(request)
                sent += raw.send(request[at:] + 1000 * request)
            with contextlib.suppress(BlockingIOError):
                heard += raw.recv(65536).count(b"HTTP/1.1 200 ")
        raw.close()
        assert sent < 2000 * len(request) + 2 * MIB


# ------------------------------------------------------------------------------------------------------------ Redis

def test_a_slow_redis_makes_answers_slow_and_loses_none(server, directory, redis):
    proxy = Proxy(directory / "slow.sock", redis.socket)
    post = server(1, admin.config(), redis=proxy)
    try:
        with Admin(post) as clerk, concurrent.futures.ThreadPoolExecutor(12) as pool:
            proxy.delay_s = 0.05

            def lone(number):
                with Admin(post) as own:
                    return own.post("/api/v1/messages", mails(number + 1, 10, "slow", "lone")[number]).status

            singles = [pool.submit(lone, number) for number in range(10)]
            batch = pool.submit(lambda: outcomes(clerk.post("/api/v1/messages", mails(1000, 100, "slow"))))
            with Admin(post) as other:
                while not batch.done():
                    assert other.get("/health/live").status == 200
            assert batch.result() == ["accepted"] * 1000
            assert [each.result() for each in singles] == [202] * 10
            proxy.delay_s = 0
            found = mailbox_ids(clerk, "slow")
            assert [each for each in found if each.startswith("mail")] == [f"mail-{number}" for number in range(1000)]
            assert sorted(each for each in found if each.startswith("lone")) == [f"lone-{number}" for number in range(10)]
    finally:
        proxy.stop()


def test_a_redis_that_hangs_is_told_and_a_repetition_stores_nothing_twice(server_with_own_redis, own_redis):
    post = server_with_own_redis(1, harness.merge(admin.config(), {"redis": {"commandTimeoutMs": 500}}))
    batch = mails(1000, 2000, "late")
    with Admin(post, timeout=90) as clerk, Admin(post) as other, concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert clerk.get("/health/ready").status == 200
        own_redis.pause()
        asked = pool.submit(clerk.post, "/api/v1/messages", batch)
        assert other.get("/api/v1/addresses/late").status == 503
        wait_until(lambda: "redis-away" in other.get("/health/ready").text, "the clerk sees it")
        answer = other.post("/api/v1/messages", mails(1, 10, "late", "lone")[0])
        assert (answer.status, answer.code) == (503, "storage-unavailable")
        assert other.get("/metrics").status == 200
        own_redis.resume()
        first = outcomes(asked.result())
        assert set(first) <= {"accepted", "rejected", "unknown"} and len(first) == 1000
        wait_until(lambda: other.get("/health/ready").status == 200, "Redis is back")
        assert outcomes(clerk.post("/api/v1/messages", batch)) == ["accepted"] * 1000
        found = [each for each in mailbox_ids(clerk, "late") if each.startswith("mail")]
        assert sorted(found) == sorted(each["id"] for each in batch), "each once"


def test_pages_of_a_redis_that_hangs_are_given_up_and_their_places_are_free_again(server_with_own_redis, own_redis):
    post = server_with_own_redis(1, harness.merge(admin.config(), {"redis": {"commandTimeoutMs": 500}}))
    with Admin(post) as clerk:
        assert outcomes(clerk.post("/api/v1/messages", mails(20, 50000, "pages"))) == ["accepted"] * 20
        own_redis.pause()
        held = [ask_without_reading(clerk.path, "/api/v1/addresses/pages/messages", 3) for _ in range(50)]
        for raw in held:
            raw.settimeout(harness.DEADLINE)
            assert raw.recv(12) == b"HTTP/1.1 503"
        assert clerk.get("/health/live").status == 200
        own_redis.resume()
        for raw in held:
            raw.close()
        wait_until(lambda: clerk.get("/health/ready").status == 200, "Redis is back")
        wait_until(lambda: clerk.get("/api/v1/addresses/pages/messages").status == 200, "a page comes")
        assert mailbox_ids(clerk, "pages") == [f"mail-{number}" for number in range(20)]


# ------------------------------------------------------------------------------------------------------------ bodies

def test_a_thousand_messages_in_the_largest_body_are_stored_in_order(server):
    post = server(1, admin.config())
    with Admin(post, timeout=90) as clerk:
        batch = mails(1000, 16000, "many")
        assert 15 * MIB < len(str(batch)) < 16 * MIB
        before = clerk_rss(post)
        assert outcomes(clerk.post("/api/v1/messages", batch)) == ["accepted"] * 1000
        assert mailbox_ids(clerk, "many") == [each["id"] for each in batch]
        assert clerk_rss(post) - before < 160 * MIB


def test_messages_of_the_largest_size_come_as_many_as_a_body_holds(server):
    """Fifteen of 1 MB in an array, from four backends at once; the fifth is told to wait."""
    post = server(1, harness.merge(admin.config(), {"limits": {"storedBytesBurst": 1 << 30, "storedBytesPerSecond": 0}}))

    def send(number):
        with Admin(post, timeout=90) as clerk:
            for _ in range(200):
                with contextlib.suppress(ConnectionError, http.client.HTTPException):
                    answer = clerk.post("/api/v1/messages", mails(15, 1_040_000, f"large-{number}"))
                    if answer.status != 503:
                        return outcomes(answer)
                    assert answer.code == "busy"
                clerk.connection.close()
            return None

    with concurrent.futures.ThreadPoolExecutor(5) as pool, Admin(post) as clerk:
        asked = [pool.submit(send, number) for number in range(5)]
        assert clerk.get("/health/live").status == 200
        assert [each.result() for each in asked] == [["accepted"] * 15] * 5
        for number in range(5):
            assert mailbox_ids(clerk, f"large-{number}") == [f"mail-{each}" for each in range(15)]


def test_one_message_too_large_is_refused_and_the_others_of_its_array_are_stored(server):
    post = server(1, harness.merge(admin.config(), {"limits": {"messageBytes": 64 << 10}}))
    with Admin(post) as clerk:
        batch = mails(1, 1000, "mixed", "a") + mails(1, 70000, "mixed", "b") + mails(1, 1000, "mixed", "c")
        results = clerk.post("/api/v1/messages", batch).json()["results"]
        assert [(each["outcome"], each.get("code")) for each in results] == \
            [("accepted", None), ("rejected", "too-large"), ("accepted", None)]
        assert mailbox_ids(clerk, "mixed") == ["a-0", "c-0"]
