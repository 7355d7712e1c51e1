"""The master is killed: its workers leave, and a new server can start at once."""

import os
import signal

import psutil
import pytest

import clients
import harness


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_leave_and_the_port_is_free(server, workers):
    post = server(workers, {"shutdown": {"seconds": 2}})
    sessions = [clients.upgrade(post, f"a{n}") for n in range(8)]
    family = post.processes()[1:]
    assert len(family) == workers
    os.kill(post.process.pid, signal.SIGKILL)
    post.process.wait()
    post.expected_status = -signal.SIGKILL
    for raw in sessions:
        assert raw.close_code() in (1001, 1012, 4000), "sessions are told"
        raw.socket.close()
    gone, alive = psutil.wait_procs(family, timeout=harness.DEADLINE)
    assert not alive, alive
    post.start()
    with clients.Raw(post.port) as raw:
        raw.send(clients.request("/ws", token=post.token("alice")))
        assert raw.answer().status == 101
    post.expected_status = 0
