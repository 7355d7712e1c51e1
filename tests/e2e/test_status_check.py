"""`status --check`: can clients be served, as an exit status (docs/operations.md)."""

import os
import signal

import admin
from clients import Raw, request
from harness import command, wait_until


def check(post, *more):
    result = command("status", "--check", *more, "--pid-file", post.pid_file, check=False)
    assert not result.stderr
    return result.returncode, result.stdout


def test_a_server_is_ready_with_and_without_a_clerk(server):
    for post in (server(2), server(1, admin.config())):
        wait_until(lambda: check(post) == (0, "ready\n"), "ready")
        assert check(post, "--json") == (0, '{"status":"ready","workers":%d,"reasons":[]}\n' % post.workers)


def test_redis_away_is_said_as_health_says_it(server_with_own_redis, own_redis):
    post = server_with_own_redis(1, admin.config())
    with admin.Admin(post) as clerk:
        wait_until(lambda: check(post)[0] == 0, "ready")
        own_redis.stop()
        wait_until(lambda: check(post) == (1, "redis-away\n"), "Redis is away")
        status, text = check(post, "--json")
        assert status == 1 and text == clerk.get("/health/ready").text


def test_a_stopped_worker_is_said(server):
    post = server(2, {"watchdog": {"seconds": 0}})
    stopped = next(iter(post.worker_pids().values()))
    os.kill(stopped, signal.SIGSTOP)
    try:
        wait_until(lambda: check(post) == (1, "view-stale\n"), "the view is stale")
    finally:
        os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: check(post) == (0, "ready\n"), "ready again")


def test_a_server_that_stops_is_draining_and_then_not_running(server):
    post = server(1, {"shutdown": {"seconds": 20}})
    stubborn = Raw(post.port)
    stubborn.send(request(token=post.token("alice")))
    assert stubborn.answer().status == 101  # and never answers the close frame
    post.process.send_signal(signal.SIGTERM)
    wait_until(lambda: check(post) == (1, "draining\n"), "the server drains")
    stubborn.socket.close()
    assert post.stop() == 0
    assert command("status", "--check", "--pid-file", post.pid_file, check=False).returncode == 3
