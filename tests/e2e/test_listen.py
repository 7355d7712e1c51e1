"""Where the server listens: a list of addresses, IPv6, and unix sockets with their files."""

import contextlib
import grp
import json
import os
import signal
import socket
import stat
import subprocess

import pytest

import clients
import harness
from clients import request
from tls import Tls


def open_socket(where):
    """A connection to ("ADDRESS", PORT) or to the path of a unix socket."""
    if isinstance(where, tuple):
        return socket.create_connection(where, timeout=harness.DEADLINE)
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(harness.DEADLINE)
    raw.connect(str(where))
    return raw


class At(clients.Raw):
    """A raw connection to any of the server's sockets."""

    def __init__(self, where):  # pylint: disable=super-init-not-called
        self.socket, self.input = open_socket(where), b""


def enter(post, where, address):
    """A session through this socket; it writes to itself."""
    raw = At(where)
    raw.send(request(f"/ws?clientID={address}", token=post.token(address)))
    answer = raw.answer()
    assert answer.status == 101, (where, answer.status)
    while json.loads(raw.message())["subject"] != "welcome":
        pass
    raw.send(clients.frame(1, json.dumps(clients.envelope(address, address, "hello", type=1))))
    while json.loads(raw.message())["from"] != address:
        pass
    return raw


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@ipv6
def test_each_address_of_the_list_is_served(server, directory):
    path, other = directory / "front.sock", harness.free_port()
    post = server(2, {"listen": ["127.0.0.1", f"127.0.0.2:{other}", f"[::1]:{other}", f"unix:{path}?mode=0666"]})
    places = [("127.0.0.1", post.port), ("127.0.0.2", other), ("::1", other), path]
    raws = [enter(post, where, f"a{number}") for number, where in enumerate(places)]
    assert post.sessions() == 4
    for where in (("127.0.0.1", other), ("::1", post.port), ("127.0.0.2", post.port)):
        with pytest.raises(ConnectionRefusedError):
            open_socket(where)
    for raw in raws:
        raw.socket.close()


def test_ssl_port_is_open_once_on_each_address_of_the_list(server, directory):
    other, tls = harness.free_port(), Tls(directory)
    post = server(1, {"listen": ["127.0.0.1", f"127.0.0.1:{other}", f"127.0.0.2:{other}", f"unix:{directory}/s"],
                      **tls.config()})
    for where in ("127.0.0.1", "127.0.0.2"):
        with tls.context().wrap_socket(open_socket((where, tls.port)), server_hostname="localhost") as raw:
            raw.sendall(request("/ws?clientID=alice", token=post.token("alice")).encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 101 ")
    enter(post, ("127.0.0.2", other), "bob").socket.close()


def test_ssl_port_is_no_port_of_the_list(directory):
    tls, file = Tls(directory), directory / "taken.json"
    file.write_text(json.dumps({"listen": [f"127.0.0.1:{tls.port}"], **tls.config()}), encoding="utf-8")
    result = harness.command("check-config", "--config", file, check=False)
    assert result.returncode != 0
    assert f"sslPort: found {tls.port}, which socketPort or listen has, allowed another port" in result.stderr


@ipv6
def test_ipv4_and_ipv6_of_all_addresses_stand_side_by_side_on_one_port(server):
    port = harness.free_port()
    post = server(1, {"listen": [f"0.0.0.0:{port}", f"[::]:{port}"]})
    for where in (("127.0.0.1", port), ("::1", port)):
        enter(post, where, "alice").socket.close()


@ipv6
def test_ipv6_of_all_addresses_takes_ipv4_too_when_it_stands_alone(server):
    post = server(1, {"listen": "::"})
    for where in (("127.0.0.1", post.port), ("::1", post.port)):
        enter(post, where, "alice").socket.close()


def test_a_unix_socket_has_the_mode_and_the_group_of_its_item(server, directory):
    group = grp.getgrall()[-1] if os.geteuid() == 0 else grp.getgrgid(os.getegid())
    paths = [directory / name for name in ("a.sock", "b.sock")]
    post = server(1, {"listen": [f"unix:{paths[0]}?mode=0640&group={group.gr_name}", f"unix:{paths[1]}"]})
    found = [os.stat(path) for path in paths]
    assert [stat.S_IMODE(one.st_mode) for one in found] == [0o640, 0o660]
    assert [one.st_gid for one in found] == [group.gr_gid, os.getegid()]
    assert all(stat.S_ISSOCK(one.st_mode) for one in found)
    enter(post, paths[1], "alice").socket.close()
    assert post.stop() == 0
    assert not paths[0].exists() and not paths[1].exists(), "an orderly end removes the files"


def test_the_socket_of_a_dead_server_is_replaced_and_that_of_a_live_one_refused(server, directory):
    path = directory / "front.sock"
    config = {"listen": [f"unix:{path}"]}
    first = server(1, config)
    second = server(1, config, start=False)
    refused = harness.command("serve", "--config", second.config_file, check=False, cwd=second.directory)
    assert refused.returncode == 1 and f"listen unix:{path}: a server already listens there" in refused.stderr
    enter(first, path, "alice").socket.close()
    for process in first.processes():
        process.kill()
    first.process.wait(harness.DEADLINE)
    first.expected_status = -signal.SIGKILL
    assert stat.S_ISSOCK(os.stat(path).st_mode), "nobody removed it"
    second.start()
    enter(second, path, "alice").socket.close()


def test_another_file_in_the_place_of_a_socket_stays(server, directory):
    path = directory / "front.sock"
    path.write_text("mine")
    post = server(1, {"listen": f"unix:{path}"}, start=False)
    refused = harness.command("serve", "--config", post.config_file, check=False, cwd=post.directory)
    assert refused.returncode == 1 and "there is something else in its place" in refused.stderr
    assert path.read_text() == "mine"


def test_a_socket_file_that_another_server_has_made_is_not_removed(server, directory):
    path = directory / "front.sock"
    post = server(1, {"listen": f"unix:{path}"})
    path.unlink()
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    assert post.stop() == 0
    assert path.exists()
    other.close()


def test_a_failed_start_leaves_no_socket_file(server, directory):
    path = directory / "front.sock"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        post = server(1, {"listen": [f"unix:{path}", f"127.0.0.1:{taken.getsockname()[1]}"]}, start=False)
        refused = harness.command("serve", "--config", post.config_file, check=False, cwd=post.directory)
    assert refused.returncode == 1 and "listen 127.0.0.1 port" in refused.stderr
    assert not path.exists()


def test_sessions_on_a_unix_socket_survive_what_those_on_a_port_survive(server, directory):
    """A reload that swaps the workers tells them to reconnect, and the socket never goes away; `listen` needs a
    restart."""
    path = directory / "front.sock"
    post = server(2, {"listen": [f"unix:{path}"]})
    before = os.stat(path).st_ino
    raw = enter(post, path, "alice")
    pids = set(post.worker_pids().values())
    post.reload(redis={"reconnectMinMs": 400}, listen=["127.0.0.1"])
    harness.wait_until(lambda: b"goodbye" in raw.input or not raw.fill(), "the session is told to reconnect")
    harness.wait_until(lambda: len(post.worker_pids()) == 2 and not pids & set(post.worker_pids().values()),
                       "new workers serve")
    assert "needs_restart=listen" in post.log()
    assert os.stat(path).st_ino == before
    enter(post, path, "alice").socket.close()
    raw.socket.close()


def test_a_list_in_the_environment_has_commas(server, directory):
    path = directory / "front.sock"
    port = harness.free_port()
    post = server(1, env={"POSTOFFICE_LISTEN": f"127.0.0.1:{port}, unix:{path}"})
    for where in (("127.0.0.1", port), path):
        enter(post, where, "alice").socket.close()


def test_no_worker_can_accept_on_a_socket_that_it_was_not_given(server, directory):
    """Each worker holds exactly the listed sockets."""
    path = directory / "front.sock"
    post = server(2, {"listen": ["127.0.0.1", f"unix:{path}"]})
    for pid in post.worker_pids().values():
        listening = subprocess.run(["ss", "-Hlnp"], capture_output=True, text=True, check=True).stdout.splitlines()
        mine = [line for line in listening if f"pid={pid}," in line]
        assert len(mine) == 2, mine
