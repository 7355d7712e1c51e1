"""A real Prometheus scrapes the clerk: every query of the dashboard (docs/grafana/postoffice.json) has data, and the
alerts (docs/alerts.yml) hold by their tests. Skipped where Debian's package prometheus is missing."""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import admin
import clients
import harness
import pytest
from admin import Admin
from harness import wait_until
from test_admin import mail

DOCS = harness.ROOT / "docs"

pytestmark = pytest.mark.skipif(not shutil.which("prometheus") or not shutil.which("promtool"),
                                reason="prometheus is missing (scripts/setup --monitoring)")


def promtool(*arguments):
    result = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_is_a_rule_and_has_a_test_that_holds():
    promtool("check", "rules", DOCS / "alerts.yml")
    promtool("test", "rules", DOCS / "alerts_test.yml")
    alerts = set(re.findall(r"- alert: (\w+)", (DOCS / "alerts.yml").read_text()))
    assert alerts == set(re.findall(r"alertname: (\w+)", (DOCS / "alerts_test.yml").read_text()))


def queries():
    """(title, PromQL) of each panel."""
    board = json.loads((DOCS / "grafana" / "postoffice.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")


def test_dashboard_and_alerts_name_metrics_that_exist():
    known = set(re.findall(r"^\| `(postoffice_\w+?)(?:_total)?`", (DOCS / "metrics.md").read_text(), re.MULTILINE))
    text = (DOCS / "alerts.yml").read_text() + " ".join(query for _, query in queries())
    used = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\bpostoffice_\w+", text)}
    assert used and used <= known, used - known


@contextlib.contextmanager
def prometheus(directory, target, token):
    port = harness.free_port()
    (directory / "token").write_text(token)
    (directory / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s"}, "rule_files": [str(DOCS / "alerts.yml")],
        "scrape_configs": [{"job_name": "postoffice", "authorization": {"credentials_file": str(directory / "token")},
                            "static_configs": [{"targets": [target]}]}]}))
    promtool("check", "config", directory / "prometheus.yml")
    with open(directory / "prometheus.log", "wb") as log:
        process = subprocess.Popen(["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/tsdb",
                                    f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(harness.DEADLINE)


def ask(port, query):
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)["data"]["result"]
    return []


def test_every_query_of_the_dashboard_returns_data(server, directory):
    port = harness.free_port()
    post = server(2, admin.config(port))

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        bob = await clients.PythonClient.open(post, "bob")
        with Admin(post) as clerk:
            assert clerk.post("/api/v1/messages", mail(to=["bob"])).status == 202
        await bob.message(**{"from": "erp"})
        await alice.send(["bob"], "hello", type=1)
        await bob.message(**{"from": "alice"})
        await alice.close()
        await bob.close()

    token = post.token("prometheus", po={"admin": True})
    with prometheus(pathlib.Path(directory), f"127.0.0.1:{port}", token) as prom:
        wait_until(lambda: ask(prom, 'up{job="postoffice"} == 1'), "the first scrape", 60)
        clients.run(talk())
        for title, query in queries():
            wait_until(lambda query=query: ask(prom, query), f"data for {title}: {query}", 60)
