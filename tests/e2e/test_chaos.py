"""What was accepted reached every device, in order, though a worker was killed every second, clients vanished, and Redis
was restarted twice: tests/chaos/load.py is the people, tests/chaos/check_journals.py the judge, and this file kills.

POSTOFFICE_CHAOS_SECONDS (60; 15 under a sanitizer) and POSTOFFICE_CHAOS_NODES (2; the workers are 8 in all).
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

import harness

CHAOS = harness.ROOT / "tests" / "chaos"
SECONDS = int(os.environ.get("POSTOFFICE_CHAOS_SECONDS", "15" if harness.SANITIZED else "60"))
NODES = int(os.environ.get("POSTOFFICE_CHAOS_NODES", "2"))
WORKERS = 8
PEOPLE = 40 if harness.SANITIZED else 200
DEVICES = ["APP", "TAB", "QQ"]
PATIENCE_S = 240 if harness.SANITIZED else 90
CONFIG = {
    "redis": {"reconnectMinMs": 20, "reconnectMaxMs": 300, "commandTimeoutMs": 2000},
    "mailbox": {"maxMessages": 1000000, "durability": "fsync"},
    "log": {"level": "info"},
}


class Events:
    """The journal of who kills."""

    def __init__(self, path):
        self.path = path
        self.path.touch()

    def write(self, what, *rest):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(["event", time.monotonic(), what, *rest]) + "\n")


@pytest.fixture
def nodes(server_with_own_redis, own_redis):
    """Servers that share one Redis, which writes down everything before it answers, and one key."""
    own_redis.stop()
    own_redis.durable = True
    own_redis.start()
    posts = [server_with_own_redis(WORKERS // NODES, {**CONFIG, "node": {"id": f"node{number}"}}, start=False)
             for number in range(NODES)]
    for post in posts:
        post.keys.secret = posts[0].keys.secret
        post.keys.add_secret("outside", posts[0].keys.secret)
        post.start()
    return posts


def plan_of(posts, seconds, **over):
    chance = random.Random(1)
    people = [{"address": f"p{number}", "devices": DEVICES[:1 + number % 3], "library": number % 10 == 0,
               "token": posts[0].token(f"p{number}")} for number in range(PEOPLE)]
    return {"ports": [post.port for post in posts], "people": people, "seconds": seconds, "seed": chance.random(),
            "window": 4, "lifeSeconds": 6, "awaySeconds": 0.3, "patienceSeconds": PATIENCE_S, "acks": True, **over}


def restart_redis(redis, how, events):
    events.write("redis-down", how)
    getattr(redis, how)()
    redis.start()
    events.write("redis-up")


def make_trouble(posts, redis, seconds, events, load):
    """Kills a worker every second, and in each third but the last Redis; until the load stops sending."""
    chance = random.Random(2)
    begun, kills = time.monotonic(), 0
    restarts = [(seconds / 3, "stop"), (seconds * 2 / 3, "kill")]
    for number in range(1, seconds):
        time.sleep(max(0, begun + number - time.monotonic()))  # the rate of killing; nothing waits for it
        assert load.poll() is None, "the load ended early"
        if restarts and number >= restarts[0][0]:
            restart_redis(redis, restarts.pop(0)[1], events)
        post = chance.choice(posts)
        workers = sorted(post.worker_pids().items())
        if workers:
            slot, pid = chance.choice(workers)
            with contextlib.suppress(ProcessLookupError):  # it is that of a moment ago
                os.kill(pid, signal.SIGKILL)
                events.write("worker-killed", post.config["node"]["id"], slot, pid)
                kills += 1
    assert not restarts and kills > seconds / 2
    return kills


def run_chaos(directory, posts, redis, seconds, *check_options, **plan):
    plan_file, journal, events = directory / "plan.json", directory / "load.jsonl", Events(directory / "events.jsonl")
    plan_file.write_text(json.dumps(plan_of(posts, seconds, **plan)))
    load = subprocess.Popen([sys.executable, CHAOS / "load.py", plan_file, journal])
    try:
        kills = make_trouble(posts, redis, seconds, events, load)
        status = load.wait(seconds + 4 * PATIENCE_S)
    finally:
        load.kill()
        load.wait()
    checked = subprocess.run([sys.executable, CHAOS / "check_journals.py", *check_options, journal, events.path],
                             capture_output=True, text=True, check=False)
    print(checked.stdout, checked.stderr)
    assert checked.returncode == 0, checked.stdout[-4000:] + checked.stderr[-2000:]
    assert status == 0, "the load did not come to its end"
    # Fewer when one was killed that was dead already and not reaped yet.
    assert kills / 2 < sum(post.status()["restarts"] for post in posts) <= kills, "a worker died by itself"


def test_nothing_accepted_is_lost_whatever_dies(directory, nodes, own_redis):
    run_chaos(directory, nodes, own_redis, SECONDS)


def test_without_any_acknowledgement_the_whole_backlog_comes_once_and_in_order(directory, nodes, own_redis):
    run_chaos(directory, nodes, own_redis, max(10, SECONDS // 3), "--backlog", acks=False)
