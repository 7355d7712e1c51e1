#!/usr/bin/python3
"""What stored mail costs Redis: `make bench-redis`.

One worker and a private Redis that appends each write to its file. Mail of one size at a time, each to one recipient or to
many; then memory of Redis (used_memory, which `maxmemory` bounds), MEMORY USAGE of the keys by kind, and the append-only
file, each for a mail and for a recipient; and the CPU time of Redis and of the worker for a recipient (the sender has 20
mails in flight, the recipients are away). The last rows are of users: who have connected, acknowledged and gone, and who
are connected. `content` is base64 in Redis as it was on the wire, so its bytes count by 4/3.
"""

import asyncio
import collections
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import clients  # noqa: E402
import harness  # noqa: E402
import psutil  # noqa: E402

# (bytes of content, mails, recipients of each)
ROWS = [(100, 4000, 1), (1024, 4000, 1), (8192, 500, 1), (1 << 20, 20, 1),
        (100, 200, 100), (1024, 200, 100), (8192, 50, 100), (1 << 20, 5, 100)]
USERS = 500
CONFIG = {"limits": {"storedBytesPerSecond": 0, "newMailboxesPerMinute": 0, "messageBytes": 4 << 20, "connectionsPerIP": 0}}


class AppendOnly(harness.Redis):
    """Redis with an append-only file that is never rewritten, so that its growth can be read."""

    def command(self):
        return [*super().command(), "--auto-aof-rewrite-percentage", "0"]

    def __init__(self, directory):
        self.durable = True
        self.directory, self.process = pathlib.Path(directory), None
        self.socket = self.directory / "redis.sock"
        self.start()


def sizes(store):
    """Memory and file of Redis now, and MEMORY USAGE of the keys of each kind."""
    kinds = collections.Counter()
    for key in store.scan_iter(count=1000):
        kind = key.rsplit(b"}", 1)[-1].decode() if b"}" in key else ":body" if b"body:" in key else "whole server"
        kinds[kind] += store.memory_usage(key, samples=0) or 0
    info = store.info()
    return info["used_memory"], info["aof_current_size"], kinds


def cpu_us(server, store):
    """CPU time so far: of the main thread of Redis, and of the worker."""
    redis = store.info("cpu")
    times = [psutil.Process(pid).cpu_times() for pid in server.worker_pids().values()]
    return (1e6 * (redis["used_cpu_user_main_thread"] + redis["used_cpu_sys_main_thread"]),
            1e6 * sum(each.user + each.system for each in times))


async def mail(server, size, mails, recipients):
    """Sends the mails, 20 at a time, from one sender to recipients nobody else writes to."""
    sender = await clients.PythonClient.open(server, "sender")
    content = bytes(range(256)) * (size // 256 + 1)
    for number in range(mails):
        to = [f"reader-{recipients}-{n:05}" for n in range(recipients)]
        await sender.send(to, content[:size], type=1, id=f"{number:08x}-0000-4000-8000-{size:012x}",
                          subject="forty bytes of subject, as people write")
        if number % 20 == 19 or number == mails - 1:
            for _ in range(number % 20 + 1):
                await sender.said("accepted")


async def users(server, count):
    """So many users connect, acknowledge a mail of their own, and stay."""
    opened = []
    for number in range(count):
        user = await clients.PythonClient.open(server, f"user-{number:06}", device="PHONE")
        await user.send(user.address, "x", type=1)
        mine = await user.message(type=1)
        await user.order("ack", references=mine["seq"])
        opened.append(user)
    return opened


def show(store, name, before, divisor, mails):
    """A row: memory by divisor (and by mails), file by divisor, and the kinds of keys that grew."""
    memory, file, kinds = sizes(store)
    each = " ".join(f"{kind}={(kinds[kind] - before[2][kind]) / divisor:.0f}" for kind in sorted(kinds)
                    if kinds[kind] - before[2][kind] > divisor)
    print(f"{name:<40}{(memory - before[0]) / divisor:10.0f}{(memory - before[0]) / mails:12.0f}"
          f"{(file - before[1]) / divisor:10.0f}   {each}", flush=True)


async def measure_users(server, store):
    before = sizes(store)
    opened = await users(server, USERS)
    show(store, f"{USERS} users, connected, a mail each", before, USERS, USERS)
    for user in opened:
        await user.close()
    show(store, f"{USERS} users, gone, a mail each", before, USERS, USERS)


def main():
    directory = harness.make_directory()
    redis = AppendOnly(directory)
    server = harness.Server(directory, redis, 1, CONFIG)
    server.write_config({"log": {"level": "info"}})
    store = redis.client()
    try:
        print(f"{'':<40}{'memory':>10}{'memory':>12}{'file':>10}\n{'content, mails, recipients':<40}"
              f"{'/recipient':>10}{'/mail':>12}{'/recip.':>10}   MEMORY USAGE of keys, a recipient")
        server.start()
        for size, mails, recipients in ROWS:
            store.flushall()
            store.bgrewriteaof()
            harness.wait_until(lambda: not store.info()["aof_rewrite_in_progress"], "the file is rewritten", 120)
            server.stop()
            server.start()
            before, began = sizes(store), cpu_us(server, store)
            clients.run(mail(server, size, mails, recipients), 600)
            redis_us, worker_us = [(now - then) / mails / recipients
                                   for now, then in zip(cpu_us(server, store), began)]
            print(f"{'':<40}CPU a recipient: Redis {redis_us:.1f} us, worker {worker_us:.1f} us")
            show(store, f"{size}, {mails}, {recipients}", before, mails * recipients, mails)
        store.flushall()
        server.stop()
        server.start()
        clients.run(measure_users(server, store), 600)
    finally:
        server.stop()
        redis.stop()
        harness.remove_directory(directory)


main()
