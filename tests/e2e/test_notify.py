"""Type=notify: what a service manager hears on the datagram socket that NOTIFY_SOCKET names (sd_notify(3))."""

import contextlib
import json
import os
import signal
import socket
import time

import pytest

import harness


class Manager:
    """The end of a service manager: a datagram socket, and the messages that came to it."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(harness.DEADLINE)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(name.replace("@", "\0", 1))
        if not name.startswith("@"):
            os.chmod(name, 0o777)
        self.senders = set()
        self.others = []  # messages that take() passed over

    def take(self, assignment):
        """The next message that has the assignment, as a dictionary; messages before it go to `others`."""
        while True:
            data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
            self.senders.add(int.from_bytes(ancillary[0][2][:4], "little"))
            lines = data.decode().split("\n")
            if assignment in lines:
                return dict(line.split("=", 1) for line in lines)
            self.others.append(lines)

    def close(self):
        self.socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request, directory):
    end = Manager(str(directory / "notify.sock") if request.param == "path" else f"@postoffice-test-{os.getpid()}")
    yield end
    end.close()


def environment(manager, **more):
    return {"NOTIFY_SOCKET": manager.name, **more}


def test_the_master_alone_says_ready_reloading_and_stopping(server, manager):
    post = server(2, env=environment(manager))
    assert manager.take("READY=1")["STATUS"] == "serving with 2 of 2 workers"

    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    post.reload(limits={"recipients": 7})
    told = int(manager.take("RELOADING=1")["MONOTONIC_USEC"])
    assert before <= told <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert manager.take("READY=1")["STATUS"] == "serving with 2 of 2 workers"

    post.config_file.write_text('{"noSuchKey": 1}')
    post.process.send_signal(signal.SIGHUP)
    manager.take("RELOADING=1")
    assert "refused" in manager.take("READY=1")["STATUS"], "a refused reload ends too, and says so"

    post.process.terminate()
    patience = int(manager.take("STOPPING=1")["EXTEND_TIMEOUT_USEC"])
    assert patience > 10_000_000, "the manager waits longer than shutdown.seconds"
    post.process.wait(harness.DEADLINE)
    assert manager.senders == {post.process.pid}


def test_what_waits_for_a_restart_stays_in_the_status(server, manager):
    post = server(2, env=environment(manager))
    manager.take("READY=1")
    connections = json.loads(post.config_file.read_text())["maxWebSocketConnections"]
    waiting = "serving with 2 of 2 workers; waits for a restart: socketPort,maxWebSocketConnections"
    post.reload(socketPort=post.port + 1, maxWebSocketConnections=77)
    manager.take("RELOADING=1")
    assert manager.take("READY=1")["STATUS"] == waiting
    os.kill(next(iter(post.worker_pids().values())), signal.SIGKILL)
    manager.take(f"STATUS={waiting}")

    good = post.config_file.read_text()
    post.config_file.write_text('{"noSuchKey": 1}')
    post.process.send_signal(signal.SIGHUP)
    manager.take("RELOADING=1")
    assert manager.take("READY=1")["STATUS"] == f"the last reload was refused; {waiting}"
    post.config_file.write_text(good)
    post.reload(socketPort=post.port, maxWebSocketConnections=connections)
    manager.take("RELOADING=1")
    assert manager.take("READY=1")["STATUS"] == "serving with 2 of 2 workers"


def test_a_lost_worker_shows_in_the_status(server, manager):
    post = server(2, env=environment(manager))
    manager.take("READY=1")
    os.kill(next(iter(post.worker_pids().values())), signal.SIGKILL)
    manager.take("STATUS=serving with 1 of 2 workers")
    manager.take("STATUS=serving with 2 of 2 workers")


def test_signs_of_life_come_while_the_watchdog_wants_them(server, manager):
    server(1, env=environment(manager, WATCHDOG_USEC="400000"))
    for _ in range(5):
        manager.take("WATCHDOG=1")


def test_a_watchdog_of_another_process_gets_no_sign_of_life(server, manager):
    post = server(1, env=environment(manager, WATCHDOG_USEC="100000", WATCHDOG_PID="1"))
    manager.take("READY=1")
    post.reload(limits={"recipients": 7})
    manager.take("RELOADING=1")
    assert not [lines for lines in manager.others if "WATCHDOG=1" in lines]


@pytest.mark.parametrize("name", ["relative", "@", "/" + "x" * 200, "/nowhere/at/all.sock"])
def test_a_socket_that_cannot_be_used_is_logged_and_stops_nothing(server, name):
    post = server(1, env={"NOTIFY_SOCKET": name})
    assert "event=notify_impossible" in post.log() or "event=notify_failed" in post.log()
    post.reload(limits={"recipients": 7})


def test_a_manager_that_does_not_read_delays_nothing(server, directory):
    manager = Manager(str(directory / "full.sock"))
    with contextlib.closing(manager), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                flood.sendto(b"x" * 1000, manager.name)
        post = server(1, env=environment(manager))
        for number in range(20):
            post.reload(limits={"recipients": 7 + number})
