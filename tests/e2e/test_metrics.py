"""GET /metrics: every counter has a name, the text is what Prometheus reads, and the numbers are true."""

import re
import shutil
import subprocess

import admin
import clients
import pytest
from admin import Admin
from test_admin import mail

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([a-z]+)="((?:[^"\\]|\\.)*)"\})? (\S+)$')


def samples(text):
    """{(name, label's value): number}"""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match, line
        key = (match[1], match[3] or "")
        assert key not in found, f"{key} comes twice"
        found[key] = float(match[4])
    return found


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
    gauges = {"rate_in", "rate_out", "workers_elsewhere", "deflate_takeover"}
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


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here (Debian's package prometheus)")
def test_promtool_has_nothing_to_say(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        text = clerk.get("/metrics").text
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0 and not result.stderr and not result.stdout, result.stderr + result.stdout
