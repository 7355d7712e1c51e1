"""Accepted messages reach every device, in order, though a worker is killed every second, clients vanish, Redis is
restarted twice, and a host and a master die. tests/chaos/load.py plays the people, tests/chaos/check_journals.py
judges, and this file kills.

POSTOFFICE_CHAOS_SECONDS (60; 15 under a sanitizer) and POSTOFFICE_CHAOS_NODES (2; the workers are 8 in all).
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

import harness
import schema

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
    """The journal of the killer."""

    def __init__(self, path):
        self.path = path
        self.path.touch()

    def write(self, what, *rest):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(["event", time.monotonic(), what, *rest]) + "\n")


@pytest.fixture
def nodes(server_with_own_redis, own_redis):
    """Servers that share one key and one Redis with appendfsync always."""
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


def kill_worker(post, chance, events):
    """Kills one worker by SIGKILL; returns how many were killed (0 or 1)."""
    workers = sorted(post.worker_pids().items())
    if not workers:
        return 0
    slot, pid = chance.choice(workers)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # the process has just ended
        return 0
    events.write("worker-killed", post.config["node"]["id"], slot, pid)
    return 1


class HostTrouble:
    """In the middle of the first half a host dies with all its processes; in the middle of the second half a master
    dies, and its workers leave. Both come back after two seconds."""

    def __init__(self, posts, seconds, events):
        self.events = events
        self.plan = [(seconds * 5 / 12, posts[-1], "host-killed"), (seconds * 10 / 12, posts[0], "master-killed")]
        self.away = []  # (when it comes back, post)
        self.restarts = 0  # restarts of workers by masters that have died

    def step(self, number):
        while self.plan and number >= self.plan[0][0]:
            self.kill(number, *self.plan.pop(0)[1:])
        while self.away and number >= self.away[0][0]:
            self.bring_back()

    def kill(self, number, post, what):
        self.restarts += post.status()["restarts"]
        family = post.processes()
        slots = post.worker_pids()
        for process in family if what == "host-killed" else family[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):  # another trouble of this moment was quicker
                process.kill()
        post.process.wait(harness.DEADLINE)
        post.expected_status = -signal.SIGKILL
        self.events.write(what, post.config["node"]["id"])
        if post.redis is None:  # its own Redis ends with it
            self.events.write("redis-down", what)
        for slot, pid in slots.items():
            self.events.write("worker-killed", post.config["node"]["id"], slot, pid)
        assert not psutil.wait_procs(family, timeout=harness.DEADLINE)[1], "they stay without their master"
        self.away.append((number + 2, post))

    def bring_back(self):
        _, post = self.away.pop(0)
        post.start()
        post.expected_status = 0
        if post.redis is None:
            self.events.write("redis-up")

    def is_away(self, post):
        return any(post is one for _, one in self.away)


def make_trouble(posts, redis, seconds, events, load):
    """Kills a worker every second, Redis in each third but the last, and hosts, until the load stops sending. Returns
    how many workers were killed, and how many were started again by masters that have died."""
    chance = random.Random(2)
    begun, kills = time.monotonic(), 0
    restarts = [(seconds / 3, "stop"), (seconds * 2 / 3, "kill")]
    hosts = HostTrouble(posts, seconds, events)
    for number in range(1, seconds):
        time.sleep(max(0, begun + number - time.monotonic()))  # the rate of killing; the sleep orders no events
        assert load.poll() is None, "the load ended early"
        if restarts and number >= restarts[0][0]:
            restart_redis(redis, restarts.pop(0)[1], events)
        hosts.step(number)
        post = chance.choice(posts)
        if not hosts.is_away(post):
            kills += kill_worker(post, chance, events)
    while hosts.away:
        hosts.bring_back()
    assert not restarts and not hosts.plan and kills > seconds / 2
    return kills, hosts.restarts


def run_chaos(directory, posts, redis, seconds, *check_options, **plan):
    plan_file, journal, events = directory / "plan.json", directory / "load.jsonl", Events(directory / "events.jsonl")
    plan_file.write_text(json.dumps(plan_of(posts, seconds, **plan)))
    load = subprocess.Popen([sys.executable, CHAOS / "load.py", plan_file, journal])
    try:
        kills, restarts = make_trouble(posts, redis, seconds, events, load)
        status = load.wait(seconds + 4 * PATIENCE_S)
    finally:
        load.kill()
        load.wait()
    checked = subprocess.run([sys.executable, CHAOS / "check_journals.py", *check_options, journal, events.path],
                             capture_output=True, text=True, check=False)
    print(checked.stdout, checked.stderr)
    for line in (directory / "load.jsonl.shapes").read_text().splitlines():
        schema.judge(*json.loads(line), "the load")
    assert checked.returncode == 0, checked.stdout[-4000:] + checked.stderr[-2000:]
    assert status == 0, "the load did not come to its end"
    # Fewer restarts: a kill may hit a dead worker that is not reaped yet, or a worker whose master dies before reaping.
    restarts += sum(post.status()["restarts"] for post in posts)
    assert kills / 2 < restarts <= kills, "a worker died by itself"


def test_nothing_accepted_is_lost_whatever_dies(directory, nodes, own_redis):
    run_chaos(directory, nodes, own_redis, SECONDS)


class EmbeddedRedis:
    """The Redis of a server's embedded storage, with the two calls that the killer makes."""

    def __init__(self, post):
        self.post = post
        self.killed = 0

    def kill(self):
        harness.wait_until(lambda: self.post.status()["storage"]["state"] == "ready", "the storage is ready")
        self.killed = self.post.status()["storage"]["pid"]
        os.kill(self.killed, signal.SIGKILL)

    stop = kill

    def start(self):
        """Nothing to do: the master starts another one."""
        harness.wait_until(lambda: self.post.status()["storage"]["pid"] not in (0, self.killed) and
                           self.post.status()["storage"]["state"] == "ready", "another Redis serves")


def test_embedded_storage_loses_nothing_when_its_redis_and_its_master_die(directory, embedded):
    """One node with a Redis of its own, which is killed twice; the master is killed twice too."""
    post = embedded(4, {**CONFIG, "node": {"id": "node0"}})
    run_chaos(directory, [post], EmbeddedRedis(post), max(12, SECONDS // 5))
    assert len(re.findall(r"event=storage_exited .*signal=9 asked=no", post.log())) == 2


def test_without_any_acknowledgement_the_whole_backlog_comes_once_and_in_order(directory, nodes, own_redis):
    run_chaos(directory, nodes, own_redis, max(10, SECONDS // 3), "--backlog", acks=False)
