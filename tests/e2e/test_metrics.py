"""GET /metrics: every counter has a name, the text is what Prometheus reads, and the numbers are true."""

import os
import re
import shutil
import signal
import subprocess

import admin
import clients
import harness
import pytest
from admin import Admin
from metrics_text import ENDINGS, Histogram, families, samples
from test_admin import mail
from tls import Tls

def test_what_happens_is_counted(server):
    post = server(2, admin.config())

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        bob = await clients.PythonClient.open(post, "bob")
        await alice.send(["bob"], "hello", type=1)
        await bob.message(**{"from": "alice"})
        await alice.said("accepted")
        await alice.send(["$bob"], "hello", type=1)
        await alice.said("rejected")
        with Admin(post) as clerk:
            assert clerk.post("/api/v1/messages", mail(to=["bob"])).status == 202
            answer = clerk.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        now = samples(answer.text)
        assert now["postoffice_messages_accepted_total", ""] == 2
        assert now["postoffice_messages_rejected_total", "forbidden-to"] == 1
        assert now["postoffice_handshakes_total", "opened"] == 2
        assert sum(value for (name, _), value in now.items() if name == "postoffice_sessions") == 2
        assert now["postoffice_workers", "serving"] == 2
        assert {value for (name, _), value in now.items() if name == "postoffice_worker_redis_up"} == {1}
        await alice.close()
        await bob.close()

    clients.run(talk())


def test_every_counter_of_status_is_a_metric(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        text = clerk.get("/metrics").text
    counted = sum(1 for name, _ in samples(text) if name.endswith("_total")) - 1  # the restarts are the master's
    gauges = {"rate_in", "rate_out", "workers_elsewhere", "deflate_takeover", "group_rows", "service_held",
              "redis_connections", "revocations", "revocations_kept", "queued_bytes"}
    assert counted == len(set(post.status()["totals"]) - gauges)


def test_each_family_says_what_it_is(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        plain, open_text = clerk.get("/metrics").text, clerk.get("/metrics", headers={
            "Accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}).text
    assert open_text.endswith("# EOF\n") and "# EOF" not in plain
    for text in (plain, open_text):
        helped = re.findall(r"^# HELP (\S+) \S.*\.$", text, re.MULTILINE)
        typed = re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", text, re.MULTILINE)
        assert helped == typed and len(set(helped)) == len(helped)
    assert {name.removesuffix("_total") for name in re.findall(r"^# TYPE (\S+)", plain, re.MULTILINE)} == \
        set(re.findall(r"^# TYPE (\S+)", open_text, re.MULTILINE))


HISTOGRAMS = ("redis_round_trip", "accept", "delivery", "tls_handshake")


def scrape(clerk, is_open=False):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"} if is_open else {}
    return clerk.get("/metrics", headers=accept).text


def test_times_are_in_histograms(server):
    post = server(2, admin.config())

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        bob = await clients.PythonClient.open(post, "bob")
        for number in range(20):
            await alice.send(["bob"], "hello", type=1, id=f"m{number}")
            await alice.said("accepted")
            await bob.message(**{"from": "alice"})
        with Admin(post) as clerk:
            # What a worker sends may arrive before the worker comes to count it.
            await clients.eventually(lambda: all(Histogram(scrape(clerk), f"postoffice_{name}_seconds").count == 20
                                                 for name in ("accept", "delivery")), "all are timed")
            plain, open_text = scrape(clerk), scrape(clerk, is_open=True)
        for text in (plain, open_text):
            accept, delivery = (Histogram(text, f"postoffice_{name}_seconds") for name in ("accept", "delivery"))
            assert accept.count == 20 == samples(text)["postoffice_messages_accepted_total", ""]
            assert delivery.count == 20
            trips = Histogram(text, "postoffice_redis_round_trip_seconds")
            assert trips.count >= 20 and trips.sum > 0
            assert Histogram(text, "postoffice_tls_handshake_seconds").count == 0
            for slot in "01":
                assert Histogram(text, "postoffice_loop_lag_seconds", slot).count >= 0
            assert accept.bounds[0] == 2 ** -14 and accept.bounds[-2] == 16 and len(accept.bounds) == 20
        assert "1" in Histogram(plain, "postoffice_accept_seconds").texts
        assert "1.0" in Histogram(open_text, "postoffice_accept_seconds").texts  # OpenMetrics 1.0, 4.1.1
        await alice.close()
        await bob.close()

    clients.run(talk())


def test_histograms_and_counters_never_go_back_when_a_worker_is_killed(server):
    post = server(1, admin.config())

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        await alice.send(["alice"], "hello", type=1)
        await alice.said("accepted")
        with Admin(post) as clerk:
            before = scrape(clerk)
            victim = post.worker_pids()[0]
            os.kill(victim, signal.SIGKILL)
            harness.wait_until(lambda: post.has_replaced(0, victim), "another worker serves")
            after = scrape(clerk)
        for name in HISTOGRAMS:
            old, new = (Histogram(text, f"postoffice_{name}_seconds") for text in (before, after))
            assert all(more >= less for less, more in zip(old.buckets, new.buckets)), name
            assert new.sum >= old.sum
        assert Histogram(after, "postoffice_accept_seconds").count == 1
        old, new = samples(before), samples(after)
        assert [key for key in old if key[0].endswith("_total") and new[key] < old[key]] == []

    clients.run(talk())


def test_a_gauge_of_a_worker_dies_with_it():
    """In the list the gauges stand last: what stands before them is added to the counts of the dead."""
    lines = re.findall(r"^    X\((\w+)\) +(?:/\* (gauge)?)?", (harness.ROOT / "shm" / "stats.h").read_text(), re.MULTILINE)
    first = [name for name, _ in lines].index("rate_in")
    assert [name for name, gauge in lines[:first] if gauge] == [] == [name for name, gauge in lines[first:] if not gauge]


def test_closes_are_counted_by_code_and_deliveries_by_way(server):
    post = server(2, admin.config())

    async def talk():
        bob = await clients.PythonClient.open(post, "bob")
        await bob.close()
        alice = await clients.PythonClient.open(post, "alice")
        await alice.send(["bob"], "later", type=1)
        await alice.said("accepted")
        bob = await clients.PythonClient.open(post, "bob")
        await bob.message(**{"from": "alice"})
        await alice.send(["bob"], "now", type=1)
        await alice.said("accepted")
        await bob.message(**{"from": "alice"})
        with Admin(post) as clerk:
            row = next(row for row in clerk.get("/api/v1/sessions?address=alice").json()["sessions"])
            assert clerk.delete("/api/v1/sessions/" + admin.quoted(row["id"])).status in (202, 204)
            await alice.closed()
            now = samples(scrape(clerk))
        assert now["postoffice_deliveries_total", "mailbox"] == 1
        own, relayed = (now["postoffice_deliveries_total", way] for way in ("own", "relayed"))
        assert own + relayed == 1
        assert relayed == now["postoffice_recipients_handed_on_total", "worker"]
        assert now["postoffice_recipients_handed_on_total", "node"] == 0
        assert now["postoffice_closes_total", "4502"] == 1 == now["postoffice_sessions_ended_total", "operator"]
        assert now["postoffice_closes_total", "peer"] == 1
        assert sum(value for (name, _), value in now.items() if name == "postoffice_closes_total") == 2
        await bob.close()

    clients.run(talk())


def test_each_close_code_of_the_server_has_a_counter(server):
    codes = re.findall(r"^    WS_CLOSE_\w+ = (\d+)", (harness.ROOT / "common" / "close_code.h").read_text(), re.MULTILINE)
    post = server(1, admin.config())
    with Admin(post) as clerk:
        counted = {value for name, value in samples(scrape(clerk)) if name == "postoffice_closes_total"}
    assert counted == set(codes) - {"1005"} | {"peer", "other"}  # 1005 is never sent


def test_what_redis_holds_is_asked_by_the_clerk_alone(server):
    post = server(1, admin.config())
    store = post.redis.client()
    store.set("not-ours", 1)

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        await alice.send(["alice"], "hello", type=1)
        await alice.said("accepted")
        with Admin(post) as clerk:
            def known():
                now = samples(scrape(clerk))
                return now if ("postoffice_redis_keys", "") in now and ("postoffice_redis_view_age_seconds", "memory") in now else None

            now = harness.wait_until(known, "the clerk knows Redis")
            assert now["postoffice_redis_used_memory_bytes", ""] > 100_000
            assert ("postoffice_redis_memory_limit_bytes", "") not in now
            assert 0 <= now["postoffice_redis_view_age_seconds", "memory"] < 30
            assert now["postoffice_redis_keys", ""] < now["postoffice_redis_database_keys", ""]
            asked = store.info("commandstats")
            for _ in range(20):
                scrape(clerk)
            again = store.info("commandstats")
            for name in ("cmdstat_info", "cmdstat_dbsize", "cmdstat_scan"):
                assert again[name]["calls"] - asked[name]["calls"] <= 3, name  # 20, if scrapes asked
        await alice.close()

    clients.run(talk())


def test_a_stopped_redis_delays_no_scrape(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        harness.wait_until(lambda: ("postoffice_redis_view_age_seconds", "memory") in samples(scrape(clerk)), "the clerk knows Redis")
        post.redis.pause()
        try:
            for _ in range(3):
                assert ("postoffice_redis_used_memory_bytes", "") in samples(scrape(clerk))
        finally:
            post.redis.resume()


def test_tls_handshakes_are_timed(server, directory):
    tls = Tls(directory)
    post = server(1, harness.merge(tls.config(), admin.config()))

    async def talk():
        for number in range(3):
            secure = await clients.PythonClient.open(post, f"s{number}", tls=tls)
            await secure.close()
        with Admin(post) as clerk:
            text = scrape(clerk)
        shaken = Histogram(text, "postoffice_tls_handshake_seconds")
        assert shaken.count == 3 == samples(text)["postoffice_tls_handshakes_total", "finished"]
        assert 0 < shaken.sum < 3 * harness.DEADLINE

    clients.run(talk())


def test_what_a_service_has_not_acknowledged_is_a_gauge_that_comes_back_to_zero(server):
    post = server(1, harness.merge({"serviceAddresses": ["/service/*"]}, admin.config()))

    async def talk():
        bot = await clients.PythonClient.open(post, "/service/echo")
        alice = await clients.PythonClient.open(post, "alice")
        with Admin(post) as clerk:
            def held():
                return sum(value for (name, _), value in samples(scrape(clerk)).items()
                           if name == "postoffice_service_unacknowledged")

            given = []
            for _ in range(3):
                await alice.send(["/service/echo"], "work", type=1)
                given.append(await bot.message(**{"from": "alice"}))
            assert held() == 3
            await bot.order("ack", references=given[0]["seq"])
            await clients.eventually(lambda: held() == 2, "one is acknowledged")
            await bot.close()
            await clients.eventually(lambda: held() == 0, "the session has left")
        await alice.close()

    clients.run(talk())


def test_tables_rings_and_connections_show_their_fill_beside_their_room(server):
    post = server(2, admin.config())

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        await alice.order("subscribe", tags=["#team"])
        with Admin(post) as clerk:
            def look():
                now = samples(scrape(clerk))
                rows = sum(value for (name, _), value in now.items() if name == "postoffice_group_rows")
                links = {value for (name, _), value in now.items() if name == "postoffice_redis_connections"}
                return now if rows == 1 and links == {2} else None  # commands, inbox

            now = harness.wait_until(look, "a beat has shown the group, and two connections of each process")
            assert now["postoffice_group_rows_limit", ""] > 1
            assert {slot for name, slot in now if name == "postoffice_ring_used_bytes"} == \
                {slot for name, slot in now if name == "postoffice_redis_connections"}
            assert now["postoffice_ring_limit_bytes", ""] >= 256 * 1024
            for (name, _), value in now.items():
                if name == "postoffice_ring_used_bytes":
                    assert 0 <= value <= now["postoffice_ring_limit_bytes", ""]
        await alice.close()

    clients.run(talk())


def test_the_page_of_metrics_is_what_the_program_prints():
    page = (harness.ROOT / "docs" / "metrics.md").read_text()
    assert harness.command("explain-metrics").stdout == page


def test_every_family_of_a_scrape_is_in_the_page_and_says_the_same(server):
    page = (harness.ROOT / "docs" / "metrics.md").read_text()
    listed = dict(re.findall(r"^\| `(postoffice_\w+)` \| [^|]* \| (.*) \| [^|]* \|$", page, re.MULTILINE))
    post = server(1, admin.config())
    with Admin(post) as clerk:
        text = scrape(clerk)
    assert set(families(text)) == set(listed)
    helped = dict(re.findall(r"^# HELP (\S+) (.*)\.$", text, re.MULTILINE))
    assert helped == listed
    for name, _ in samples(text):
        family = name if name in listed else next(name.removesuffix(end) for end in ENDINGS if name.endswith(end))
        assert family in listed
    for name, kind in families(text).items():
        assert name.endswith("_total") == (kind == "counter")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here (Debian's package prometheus)")
def test_promtool_has_nothing_to_say(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        text = clerk.get("/metrics").text
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0 and not result.stderr and not result.stdout, result.stderr + result.stdout


def test_what_waits_for_readers_and_what_was_replayed_is_shown(server):
    post = server(1, admin.config())
    body = "x" * 100_000

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        for number in range(16):
            await alice.send(["bob"], body, type=1, id=f"m{number}")
            await alice.said("accepted")
        with Admin(post) as clerk:
            value = lambda name: samples(scrape(clerk))[name, ""]  # noqa: E731
            before = value("postoffice_replays_total")
            assert value("postoffice_queued_bytes") == 0
            with clients.Raw(post.port) as bob:
                bob.send(clients.request("/ws?clientID=bob", token=post.token("bob")))
                await clients.eventually(lambda: value("postoffice_queued_bytes") > 32 << 10, "mail waits for bob, who reads nothing")
            await clients.eventually(lambda: value("postoffice_queued_bytes") == 0, "nothing waits for who has gone")
            bob = await clients.PythonClient.open(post, "bob")
            await clients.eventually(lambda: value("postoffice_replays_total") == before + 1, "one more replay")
            await bob.close()
        await alice.close()

    clients.run(talk())
