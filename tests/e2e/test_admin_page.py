"""The blocks of docs/admin.md do what the page says, as they stand but for names and places."""

import json
import re
import subprocess

import yaml

import harness
from test_admin_tls import operator, post  # noqa: F401  a server whose clerk listens beside loopback

PAGE = (harness.ROOT / "docs/admin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.S | re.M)
COMMANDS = [text for language, text in BLOCKS if language == "sh"]


def run(server, text):
    """The page's command against this server; its answer."""
    for printed, here in {"/run/websocket-server-7502.admin": str(server.pid_file.with_suffix(".admin")),
                          "tls/ca.pem": str(server.tls.cert),
                          "https://post.example.org:7503": f"https://{server.host.address}:{server.far}",
                          "$TOKEN": operator(server)}.items():
        text = text.replace(printed, here)
    done = subprocess.run([*server.host.inside(), "sh", "-ec", text.replace("curl ", "curl --silent --show-error --fail ", 1)],
                          capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else None


def command(part):
    (found,) = [text for text in COMMANDS if part in text]
    return found


def test_every_block_is_tried_here():
    assert sorted(language for language, _ in BLOCKS) == ["json", "sh", "sh", "sh", "sh", "yaml"]
    assert all(text.startswith("curl ") for text in COMMANDS)


def test_the_commands_are_answered(post):  # noqa: F811
    assert run(post, command("/api/v1/nodes"))["workers"]
    sent = run(post, command("/api/v1/messages"))
    assert sent["outcome"] == "accepted"
    assert "restart" in json.dumps(run(post, command("/api/v1/reload")))
    kept = run(post, command("/api/v1/revocations"))
    assert kept is None or kept.get("reason", "laptop stolen") == "laptop stolen"


def test_the_configuration_is_valid_where_its_files_are(post, directory):  # noqa: F811
    (text,) = [text for language, text in BLOCKS if language == "json"]
    config = json.loads(text)
    config.update(sslCertPath=str(post.tls.cert), sslKeyPath=str(post.tls.key), auth={"keyDir": str(post.keys_directory)})
    path = directory / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    done = subprocess.run([harness.BINARY, "check-config", "--config", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lines_for_prometheus_name_a_job():
    (text,) = [text for language, text in BLOCKS if language == "yaml"]
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert job["job_name"] == "postoffice" and job["static_configs"][0]["targets"] and job["authorization"]["credentials_file"]
