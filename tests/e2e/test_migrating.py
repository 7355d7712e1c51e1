"""The programs of docs/migrating.md, taken from the page, do before and after what the page says."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import admin
import clients
import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/migrating.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```\n", PAGE, re.S))
COMMANDS = dict(re.findall(r"<!-- run: (\S+) -->\n```sh\n(.*?)```\n", PAGE, re.S))
LATE = "written while bob was away"


class Program:
    """A program of the page that runs until it is stopped."""

    def __init__(self, folder, name, *arguments):
        self.output = folder / f"{name}.out"
        with open(self.output, "wb") as out:
            self.process = subprocess.Popen(command(folder, name, *arguments), stdout=out, stderr=subprocess.STDOUT,
                                            env=environment())

    def said(self):
        return self.output.read_text(encoding="utf-8")

    def wait_for(self, line):
        def is_there():
            assert self.process.poll() is None or line in self.said(), self.said()
            return line in self.said()

        harness.wait_until(is_there, f"the program prints {line!r}")

    def stop(self):
        self.process.kill()
        self.process.wait()


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT / "clients/python/src"), "PYTHONUNBUFFERED": "1"}


def command(folder, name, *arguments):
    path = folder / name
    path.write_text(FILES[name], encoding="utf-8")
    return [sys.executable if name.endswith(".py") else "sh", str(path), *map(str, arguments)]


def run_to_its_end(folder, name, *arguments):
    done = subprocess.run(command(folder, name, *arguments), env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def program(tmp_path):
    running = []

    def start(name, *arguments):
        running.append(Program(tmp_path, name, *arguments))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def until_it_writes(folder, name, *arguments):
    """A server that has just been started does not listen yet."""
    def writes():
        return subprocess.run(command(folder, name, *arguments), env=environment(), capture_output=True, timeout=60,
                              check=False).returncode == 0

    harness.wait_until(writes, f"{name} reaches its server", pause=0.2)


def test_before_a_server_of_ones_own_forgets_who_is_away(program, redis, tmp_path):
    port = harness.free_port()
    url = f"ws://localhost:{port}"
    program("own_server.py", port, redis.socket)
    until_it_writes(tmp_path, "own_writer.py", url, "alice", "bob", LATE)
    bob = program("own_reader.py", url, "bob")
    bob.wait_for("ready")
    run_to_its_end(tmp_path, "own_writer.py", url, "alice", "bob", "hello")
    bob.wait_for("alice: hello")
    assert LATE not in bob.said()


def test_before_socket_io_forgets_who_is_away(program, tmp_path):
    pytest.importorskip("socketio", reason="python3-socketio is not installed (scripts/setup --clients)")
    port = harness.free_port()
    url = f"http://localhost:{port}"
    program("sio_server.py", port)
    until_it_writes(tmp_path, "sio_writer.py", url, "alice", "bob", LATE)
    bob = program("sio_reader.py", url, "bob")
    bob.wait_for("ready")
    run_to_its_end(tmp_path, "sio_writer.py", url, "alice", "bob", "hello")
    bob.wait_for("alice: hello")
    assert LATE not in bob.said()


def test_after_nothing_is_forgotten(program, server, tmp_path):
    post = server()
    url, alice = f"ws://127.0.0.1:{post.port}/ws", post.token("alice")
    run_to_its_end(tmp_path, "writer.py", url, alice, "bob", LATE)
    bob = program("reader.py", url, post.token("bob"))
    bob.wait_for(f"alice: {LATE}")
    run_to_its_end(tmp_path, "writer.py", url, alice, "bob", "hello")
    bob.wait_for("alice: hello")


def test_after_centrifugo_a_backend_sends_by_http(program, server, tmp_path):
    port = harness.free_port()
    post = server(1, admin.config(port))
    admin.Admin(post).get("/health/live")
    bob = program("reader.py", f"ws://127.0.0.1:{post.port}/ws", post.token("bob"))
    run_to_its_end(tmp_path, "publish.sh", f"http://127.0.0.1:{port}", post.token("backend"), "bob", "Grüße")
    bob.wait_for("backend: Grüße")


def test_before_centrifugo_publishes_to_who_is_there(program, tmp_path):
    centrifugo = shutil.which("centrifugo")
    if not centrifugo:
        pytest.skip("no centrifugo here")
    port = harness.free_port()
    config = tmp_path / "centrifugo.json"
    config.write_text(json.dumps({
        "http_server": {"port": port, "address": "127.0.0.1"}, "http_api": {"key": "k"},
        "client": {"allow_anonymous_connect_without_token": True},
        "channel": {"without_namespace": {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}}}), encoding="utf-8")
    with subprocess.Popen([centrifugo, "--config", str(config)]) as running:
        try:
            until_it_writes(tmp_path, "centrifugo_publish.sh", f"http://127.0.0.1:{port}", "k", "bob", LATE)
            bob = program("centrifugo_reader.py", f"ws://127.0.0.1:{port}/connection/websocket", "", "bob")
            bob.wait_for("ready")
            run_to_its_end(tmp_path, "centrifugo_publish.sh", f"http://127.0.0.1:{port}", "k", "bob", "hello")
            bob.wait_for("hello")
        finally:
            running.terminate()


def test_a_client_of_the_go_server_is_served_as_it_is(server, tmp_path):
    post = server(1, {"auth": {"required": False}})
    url = f"ws://127.0.0.1:{post.port}"
    assert run_to_its_end(tmp_path, "go_client.py", url, "alice", "alice", "to myself") == "alice: to myself\n"


def test_the_configuration_of_the_go_server_needs_a_key_and_nothing_else(tmp_path):
    binary = harness.BINARY
    (tmp_path / "config.json").write_text(FILES["go_config.json"], encoding="utf-8")
    check = [binary, "check-config", "--config", "config.json"]
    before = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "will not start until" in before and "keygen" in before
    (tmp_path / "websocket-server").symlink_to(binary)
    lines = COMMANDS["go_key"].replace("websocket-server ", "./websocket-server ")
    token = subprocess.run(["sh", "-ec", lines], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()[-1]
    assert token.count(".") >= 2
    after = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "valid" in after and "will not start" not in after


def test_every_program_of_the_page_is_tried():
    source = pathlib.Path(__file__).read_text(encoding="utf-8")
    assert FILES and COMMANDS
    assert not [name for name in [*FILES, *COMMANDS] if f'"{name}"' not in source]
    for name, text in FILES.items():
        if name.endswith(".py"):
            compile(text, name, "exec")
