#!/usr/bin/python3
"""What one hostile token costs everybody else: `make bench-fair`.

Each load of hostile.py in turn, then as many together as one address may have sessions, against a real server with the
default configuration and two workers, each time with a fresh Redis. Two innocent pairs exchange mail all the while: one on
the worker of the hostile session (where a load has one session), one on the other worker. Printed are p50 and p99 of their
mail, from `send` to `accepted` and to delivery, before the load and under it, and the ratio; the growth of the largest
worker and of Redis.

SECONDS=30 under load a row; ROWS=history_bursts,opens,together of them. A row that grows past BREAK_OFF_MIB is broken off.
"""

import asyncio
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness  # noqa: E402
import hostile  # noqa: E402
import psutil  # noqa: E402
import redis as redis_client  # noqa: E402
from clients import PythonClient, open_on  # noqa: E402

MIB = 1 << 20
WORKER_MIB = 64  # above idle
BREAK_OFF_MIB = 2048  # of one process: the machine must live on
PAUSE_S = 0.04  # between two mails of an innocent
GOALS = {"same": 5, "other": 2}  # p99 under load, in p99 before
ATTACKS = [*hostile.LOADS, "together"]
ROWS = [*hostile.CONTROLS, *ATTACKS]


def default_of(key):
    """The default of a number in the configuration; None when there is no such key."""
    text = harness.command("explain-config").stdout
    found = re.search(rf"^{re.escape(key)}\n(?: .*\n)*? +default +(\d+)", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def redis_budget_mib(seconds):
    """What an address may store in that time, by the keys that bound it; else a round figure. The rest is for the
    buffers of connections, and for what an entry costs beside its body.
    """
    burst, rate = default_of("limits.storedBytesBurst"), default_of("limits.storedBytesPerSecond")
    return 128 + (2 * (burst + rate * seconds) / MIB if burst and rate else 128)


# ------------------------------------------------------------------------------------------------------- the innocent


class Pair:
    """Mail from one to the other, at a steady pace whatever becomes of the mail before."""

    def __init__(self, sender, recipient):
        self.sender, self.recipient = sender, recipient
        self.sent, self.accepted, self.delivered, self.refused = {}, {}, {}, 0
        for client in (sender, recipient):
            client.arrived = self.arrived

    def arrived(self, message):
        now = time.monotonic()
        if message["subject"] == "accepted":
            self.accepted[message["inReplyTo"]] = now
        elif message["subject"] == "rejected":
            self.refused += 1
            self.sent.pop(message["inReplyTo"], None)
        elif message["type"] == 1:
            self.delivered[message["id"]] = now

    async def write(self, seconds, mark):
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end and self.sender.close_code is None:
            name = f"{mark}-{self.sender.address}-{number}"
            number += 1
            self.sent[name] = time.monotonic()
            await self.sender.send(self.recipient.address, "an innocent mail", type=1, id=name)
            await asyncio.sleep(PAUSE_S)
        grace = time.monotonic() + 5
        while time.monotonic() < grace and any(name not in self.delivered for name in self.sent):
            await asyncio.sleep(0.05)

    def figures(self, mark):
        """p50 and p99 in ms until accepted, and until delivered. Mail that never came counts until now."""
        now = time.monotonic()
        names = [name for name in self.sent if name.startswith(mark + "-")]
        result = []
        for times in (self.accepted, self.delivered):
            waits = sorted((times.get(name, now) - self.sent[name]) * 1000 for name in names) or [0]
            result += [waits[len(waits) // 2], waits[min(len(waits) - 1, len(waits) * 99 // 100)]]
        return result


# -------------------------------------------------------------------------------------------------------- the machine


class Usage:
    """What processes use of the cores, and how long they wait for one, from when this was made. The kernel keeps both; a
    process that wakes and finds both cores taken waits, whatever the server does.
    """

    def __init__(self, pids, redis):
        self.pids, self.redis = pids, redis
        redis.config_set("slowlog-log-slower-than", 1000)
        redis.slowlog_reset()
        self.began, self.first = time.monotonic(), self.read()

    def read(self):
        figures = {}
        for name, pid in self.pids.items():
            with contextlib.suppress(OSError):
                figures[name] = [int(word) for word in pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()]
        return figures

    def text(self):
        """Of each process: its part of a core, and the mean wait for a core; then what Redis was busy with longest."""
        elapsed, now = time.monotonic() - self.began, self.read()
        parts = []
        for name, first in self.first.items():
            run, wait, count = (a - b for a, b in zip(now.get(name, first), first))
            parts.append(f"{name} {run / elapsed / 1e7:.0f} % (waits {wait / max(count, 1) / 1e6:.2f} ms)")
        with contextlib.suppress(redis_client.RedisError):
            slow = self.redis.slowlog_get(128)
            longest = max((entry["duration"] for entry in slow), default=0)
            parts.append(f"Redis above 1 ms: {len(slow)}, longest {longest / 1000:.1f} ms")
            if os.environ.get("SLOWLOG"):
                for entry in sorted(slow, key=lambda entry: -entry["duration"])[:5]:
                    parts.append(f"\n        {entry['duration'] / 1000:.1f} ms {entry['command'][:300]!r}")
        return "   ".join(parts)


# ------------------------------------------------------------------------------------------------------------- memory


def private_mib(pid):
    """Memory of the process alone: neither files nor the shared table."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s+(\d+)", text)
    return int(found.group(1)) / 1024 if found else 0


class Watch(threading.Thread):
    """Keeps the highest memory of each worker and of Redis, and breaks a row off before the machine suffers. The idle memory
    of a worker is that of when the watch was made; that of Redis, which has a full mailbox then, of when it began.
    """

    def __init__(self, server, redis):
        super().__init__(daemon=True)
        self.redis, self.pids = redis, list(server.worker_pids().values())
        self.idle = {pid: private_mib(pid) for pid in self.pids}
        self.client = redis_client.Redis(unix_socket_path=str(redis.socket), socket_timeout=0.5)
        self.redis_idle = self.redis_rss_idle = 0
        self.worker_mib = self.redis_mib = 0
        self.broken_off = ""
        self.attackers = []
        self.ending = threading.Event()

    @staticmethod
    def used(client):
        return client.info("memory")["used_memory"] / MIB

    def run(self):
        while not self.ending.wait(0.05):
            for pid in self.pids:
                self.note("a worker", private_mib(pid), pid)
                self.worker_mib = max(self.worker_mib, private_mib(pid) - self.idle[pid])
            self.note("Redis", private_mib(self.redis.process.pid), self.redis.process.pid)
            try:
                self.redis_mib = max(self.redis_mib, self.used(self.client) - self.redis_idle)
            except redis_client.RedisError:
                self.redis_mib = max(self.redis_mib, private_mib(self.redis.process.pid) - self.redis_rss_idle)

    def begin(self):
        self.redis_idle, self.redis_rss_idle = self.used(self.redis.client()), private_mib(self.redis.process.pid)
        self.start()

    def note(self, who, mib, pid):
        if mib > BREAK_OFF_MIB and not self.broken_off:
            self.broken_off = f"{who} at {mib:.0f} MiB"
            for attacker in self.attackers:
                attacker.kill()
            psutil.Process(pid).kill()

    def end(self):
        self.ending.set()
        self.join()


# ------------------------------------------------------------------------------------------------------------- a row


class Row:
    """What a load did: figures of both pairs, growth, mail refused."""

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds
        self.figures = {}  # "same", "other": (before, under load)
        self.refused = 0
        self.worker_mib = self.redis_mib = 0
        self.broken_off = self.usage = ""

    def ratio(self, where, index=1):
        before, under = self.figures[where]
        return under[index] / max(before[index], 0.1)

    def holds(self):
        """Memory alone: times depend on what else the machine does."""
        return not self.broken_off and self.worker_mib <= WORKER_MIB and self.redis_mib <= redis_budget_mib(self.seconds)

    def show(self):
        print(f"{self.name:<20} workers +{self.worker_mib:6.1f} MiB (at most {WORKER_MIB})   Redis +{self.redis_mib:7.1f} MiB "
              f"(at most {redis_budget_mib(self.seconds):.0f})   mail refused {self.refused}"
              f"{'   BROKEN OFF: ' + self.broken_off if self.broken_off else ''}")
        for where, (before, under) in self.figures.items():
            cells = [f"{what} p50 {before[i]:7.1f} → {under[i]:8.1f}  p99 {before[i + 1]:7.1f} → {under[i + 1]:8.1f} ms"
                     f"  ×{self.ratio(where, i + 1):6.1f}" for i, what in ((0, "accepted"), (2, "delivered"))]
            met = "met" if max(self.ratio(where, 1), self.ratio(where, 3)) <= GOALS[where] else f"MISSED (at most ×{GOALS[where]})"
            print(f"    {where:<6} worker: {'   '.join(cells)}   {met}", flush=True)
        print(f"    cores: {self.usage}", flush=True)


def fill(server, address):
    """200 mails of 1 MB, of one thread, from many senders, as far as the server takes them."""
    body = hostile.base64.b64encode(b"x" * hostile.MILLION).decode()
    for number in range(20):
        target = hostile.Target(server.port, server.token(f"filler{number}"), f"filler{number}")
        line = hostile.begin(target)
        for _ in range(10):
            line.send(hostile.message(target, [address], content=body, type=1, subjectId="thread"))
        for _ in range(10):
            line.message()
        line.socket.close()


def attack(row, server, seconds):
    names = hostile.TOGETHER if row == "together" else [row]
    # Sessions of one address turn each other out, so the search for a worker would hinder the other loads.
    target = hostile.Target(server.port, server.token("mallory"), worker=None if row == "together" else 0)
    attackers = [subprocess.Popen([sys.executable, hostile.__file__, name, str(seconds + 10), target.text()],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                 for name in names]
    for attacker in attackers:
        assert attacker.stdout.readline() == b"ready\n", "a load did not begin"
    return attackers


async def measure(row, server, redis, result, quiet_s):
    pairs = {}
    for slot, where in enumerate(("same", "other")):
        pairs[where] = Pair(await open_on(server, slot, f"sender-{where}", PythonClient.open),
                            await open_on(server, slot, f"recipient-{where}", PythonClient.open))
    watch = Watch(server, redis)
    if row == "together" or row in hostile.FULL_MAILBOX:
        await asyncio.to_thread(fill, server, "mallory")
    watch.begin()  # before the first figures, so that both are disturbed alike
    await asyncio.gather(*(pair.write(quiet_s, "before") for pair in pairs.values()))
    workers = server.worker_pids()
    usage = Usage({**{f"worker {slot}": workers[slot] for slot in sorted(workers)}, "Redis": redis.process.pid,
                   "the pairs": os.getpid()}, redis.client())
    watch.attackers = await asyncio.to_thread(attack, row, server, result.seconds)
    try:
        await asyncio.gather(*(pair.write(result.seconds, "under") for pair in pairs.values()))
    finally:
        result.usage = usage.text()
        for attacker in watch.attackers:
            attacker.kill()
            attacker.wait()
        watch.end()
    for where, pair in pairs.items():
        result.figures[where] = (pair.figures("before"), pair.figures("under"))
        result.refused += pair.refused
        for client in (pair.sender, pair.recipient):
            client.socket.transport.abort()
    result.worker_mib, result.redis_mib, result.broken_off = watch.worker_mib, watch.redis_mib, watch.broken_off


def run_row(name, seconds, quiet_s, directory):
    """Plays one load; returns its Row. The directory is the caller's, and empty."""
    result = Row(name, seconds)
    redis = harness.Redis(directory)
    server = harness.Server(directory, redis, workers=2, config={
        "limits": None, "maxWebSocketConnections": None, "log": {"level": "error"}})
    try:
        server.start()
        asyncio.run(measure(name, server, redis, result, quiet_s))
    finally:
        server.stop()
        with_redis = redis.process
        if with_redis and with_redis.poll() is None:
            redis.stop()
    return result


def main():
    seconds = float(os.environ.get("SECONDS") or 30)
    names = (os.environ.get("ROWS") or ",".join(ROWS)).split(",")
    rows = []
    for name in names:
        directory = harness.make_directory()
        try:
            rows.append(run_row(name, seconds, max(2.0, seconds / 3), directory))
        finally:
            harness.remove_directory(directory)
        rows[-1].show()
    held = sum(row.holds() for row in rows)
    print(f"{held} of {len(rows)} rows keep to the memory; times are for the reader, as this machine may do other things")
    return 0 if held == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
