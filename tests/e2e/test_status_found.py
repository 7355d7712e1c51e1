"""`status` and `reload` without an option find what runs, whatever folder one stands in.

Each test has a network namespace of its own: servers of other tests are not seen there.
"""

import json
import os
import random
import re
import socket
import subprocess

import pytest

import harness
import hosts

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


class Island:
    """A network namespace with a loopback alone."""

    def __init__(self):
        self.name = f"po-alone-{random.getrandbits(32):x}"
        hosts.ip("netns", "add", self.name)
        hosts.ip("-n", self.name, "link", "set", "lo", "up")

    def inside(self):
        return ["ip", "netns", "exec", self.name]

    def run(self, *arguments, before=(), cwd="/"):
        return subprocess.run([*self.inside(), *before, harness.BINARY, *map(str, arguments)], capture_output=True,
                              text=True, timeout=harness.DEADLINE, cwd=cwd, env=harness.environment(), check=False)


class Unprivileged:
    """The same for a server that nobody runs."""

    def __init__(self, island):
        self.island = island

    def inside(self):
        return [*self.island.inside(), *NOBODY]


@pytest.fixture
def island():
    reason = hosts.why_not()
    if reason:
        pytest.skip(reason)
    made = Island()
    yield made
    hosts.ip("netns", "del", made.name)


def test_the_server_that_runs_is_found_and_says_what_it_is(server, island):
    post = server(1, host=island)
    version = harness.command("version").stdout.split()[-1]
    result = island.run("status")
    assert result.returncode == 0, result.stderr
    for words in (f"websocket-server {version}, since 20", f"configuration {post.config_file}\n",
                  f"listens on 127.0.0.1, port {post.port}\n", f"master pid {post.process.pid}"):
        assert words in result.stdout, words
    result = island.run("status", "--json")
    assert not result.stderr
    found = json.loads(result.stdout)
    assert (found["version"], found["configFile"], found["listen"], found["socketPort"], found["sslPort"]) == \
        (version, str(post.config_file), ["127.0.0.1"], post.port, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["startedAt"])
    assert found["reload"] == {"outcome": "none", "needsRestart": []}


def test_of_several_each_is_named_and_one_can_be_chosen(server, island):
    posts = [server(1, host=island), server(1, host=island)]
    for command in ("status", "reload"):
        result = island.run(command)
        assert result.returncode == 2 and not result.stdout
        for post in posts:
            line = next(line for line in result.stderr.splitlines() if f"--pid {post.process.pid} " in line)
            assert f"port {post.port}," in line and str(post.config_file) in line
    assert f"port {posts[1].port}\n" in island.run("status", "--pid", posts[1].process.pid).stdout
    assert f"port {posts[1].port}\n" in island.run("status", "--config", posts[1].config_file).stdout


def test_where_none_runs_the_status_is_3(server, island):
    for command in ("status", "reload"):
        result = island.run(command)
        assert result.returncode == 3 and "not running" in result.stderr
    post = server(1, host=island)
    post.stop()
    assert island.run("status").returncode == 3, "nothing is left behind"


def test_a_configuration_finds_its_server_though_the_pid_file_is_relative(server, island):
    post = server(1, start=False, host=island)
    post.write_config({"pidFile": "server.pid"})
    post.start()
    result = island.run("status", "--config", post.config_file)
    assert result.returncode == 0 and f"master pid {post.process.pid}" in result.stdout, result.stderr


def test_a_user_is_told_of_roots_server_and_root_of_a_users(server, island):
    post = server(1, host=island)
    result = island.run("status", before=NOBODY)
    assert result.returncode == 1 and f"(pid {post.process.pid})" in result.stderr and "sudo" in result.stderr
    result = island.run("status", "--pid", post.process.pid, before=NOBODY)
    assert result.returncode == 1 and not result.stdout, "its memory is not shown either"
    post.stop()

    private = server(1, start=False, host=Unprivileged(island))
    subprocess.run(["chown", "-R", "65534:65534", private.directory], check=True)
    private.log_file.touch()
    private.start()
    for before in ((), NOBODY):
        result = island.run("status", before=before)
        assert result.returncode == 0 and f"master pid {private.process.pid}" in result.stdout, result.stderr
        result = island.run("reload", before=before)
        assert result.returncode == 0 and "read again" in result.stdout, result.stderr


def test_who_takes_the_name_of_a_server_is_not_taken_for_it(server, island):
    post = server(1, host=island)
    with hosts.inside(island.name):
        fake = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        odd = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with fake, odd:
        fake.bind(f"\0postoffice-status-{os.getppid()}")
        fake.listen()
        odd.bind("\0a\n@postoffice-status-99999999999999999999999\n")
        odd.listen()
        result = island.run("status")
        assert result.returncode == 0 and f"master pid {post.process.pid}" in result.stdout, result.stderr
