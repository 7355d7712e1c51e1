#!/usr/bin/python3
"""Mails accepted a second: `make bench-mail`.

The real server with a private Redis (durability memory) and one load program (bench_mail.c) with SENDERS
sessions that each keep IN_FLIGHT mails on their way, of 300 bytes of content to one recipient; turn about
with redis-benchmark, which does the XADD of such a mail, byte for byte, on the same Redis, with as many
connections and as many commands in flight. Medians of the rounds and of their ratios; CPU a mail does not
depend on what else the machine does as much as the rates do.
"""

import os
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
import psutil  # noqa: E402

CLIENT = sys.argv[1]
ROUNDS = int(os.environ.get("ROUNDS") or 5)
MS = int(os.environ.get("MS") or 2000)
SENDERS = int(os.environ.get("SENDERS") or 50)
WORKERS = int(os.environ.get("WORKERS") or 1)
MANY = 1000
# Mails in flight of a sender; whether it writes to one correspondent of its own or to any of MANY; whether the
# recipients are connected.
CASES = [(16, "own", False), (16, "own", True), (16, "any", False), (16, "any", True), (1, "own", False),
         (1, "any", False)]
GOAL = 0.5


def redis_cpu(client):
    cpu = client.info("cpu")
    return cpu["used_cpu_user_main_thread"] + cpu["used_cpu_sys_main_thread"]


def server_cpu(server):
    """Of the workers alone."""
    times = [psutil.Process(pid).cpu_times() for pid in server.worker_pids().values()]
    return sum(each.user + each.system for each in times)


def clean(client, prefix):
    """Away with the mailboxes of one run: Redis stays small, and the next run begins as this one did."""
    keys = list(client.scan_iter(match=f"{prefix}*", count=10000))
    for i in range(0, len(keys), 1000):
        client.unlink(*keys[i:i + 1000])


def one_entry(client, prefix):
    """Name, value, name, value … of a mail as the server has stored it, its id made random."""
    key = next(client.scan_iter(match=f"po:{{{prefix}*}}:box", count=10000))
    fields = client.xrange(key, count=1)[0][1]
    mail_id = fields[b"i"].decode()
    fields[b"i"] = (mail_id[:-12] + "__rand_int__").encode()
    return [piece for pair in fields.items() for piece in pair]


def recipients(whom):
    return SENDERS if whom == "own" else MANY


def serve_mails(server, client, prefix, in_flight, whom, connected):
    """Accepted a second, CPU seconds of the workers and of Redis a mail, an entry as it was stored."""
    load = subprocess.Popen(
        [CLIENT, str(server.port), str(server.keys_directory / "outside.secret"), str(SENDERS), str(in_flight),
         str(MS), str(recipients(whom)), prefix, "connected" if connected else "away", whom], stdout=subprocess.PIPE, text=True)
    assert load.stdout.readline() == "measuring\n", "the load program failed"
    before = server_cpu(server), redis_cpu(client)
    count, seconds = load.stdout.readline().split()
    after = server_cpu(server), redis_cpu(client)
    assert load.wait(90) == 0, "the load program failed"
    entry = one_entry(client, prefix)
    clean(client, f"po:{{{prefix}")
    return int(count) / float(seconds), *((b - a) / int(count) for a, b in zip(before, after)), entry


def bare_xadd(redis, client, entry, in_flight, whom):
    """XADDs a second by redis-benchmark, and Redis's CPU seconds each."""
    count = max(20000, 100 * MS) if in_flight > 1 else max(10000, 40 * MS)
    before = redis_cpu(client)
    result = subprocess.run(
        ["redis-benchmark", "-s", str(redis.socket), "--csv", "-c", str(SENDERS), "-P", str(in_flight), "-n", str(count),
         "-r", str(recipients(whom)), "XADD", "po:{bare__rand_int__}:box", "*", *entry],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True, timeout=120)
    cpu = (redis_cpu(client) - before) / count
    clean(client, "po:{bare")
    return float(result.stdout.decode(errors="replace").splitlines()[-1].split('","')[-7]), cpu


def show(case, rows):
    """rows: (accepted/s, server CPU, Redis CPU, XADD/s, XADD CPU) a round."""
    accepted, server, redis, xadd, bare = (statistics.median(column) for column in zip(*rows))
    ratios = sorted(row[0] / row[3] for row in rows)
    ratio = statistics.median(ratios)
    whom = "one each" if case[1] == "own" else "any     "
    print(f"{case[0]:>3} in flight, {whom}, {'connected' if case[2] else 'away     '} | {accepted:9,.0f}/s  "
          f"{server * 1e6:5.2f} us  {redis * 1e6:5.2f} us | {xadd:9,.0f}/s  {bare * 1e6:5.2f} us | "
          f"{ratio:.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)
    return ratio


def measure(server, redis):
    client = redis.client()
    rows = {case: [] for case in CASES}
    for number in range(ROUNDS):
        for case in CASES:
            *ours, entry = serve_mails(server, client, f"r{number}-{CASES.index(case)}-", *case)
            rows[case].append([*ours, *bare_xadd(redis, client, entry, *case[:2])])
    print(f"{SENDERS} senders, {WORKERS} worker(s), {SENDERS} or {MANY} mailboxes, {ROUNDS} rounds of {MS / 1000:.1f} s; medians; "
          f"an entry of {sum(map(len, entry))} bytes")
    print("recipients                        |  accepted    CPU: workers  Redis |   redis-benchmark XADD | ratio")
    return [show(case, rows[case]) for case in CASES]


def main():
    directory = harness.make_directory()
    redis = harness.Redis(directory)
    server = harness.Server(directory, redis, workers=WORKERS, config={
        "limits": {"connectionsPerIP": 0}, "log": {"level": "info"}})
    try:
        server.start()
        ratios = measure(server, redis)
    finally:
        server.stop()
        redis.stop()
        harness.remove_directory(directory)
    print(f"the goal with 16 in flight to one recipient each, away, is {GOAL}: {'met' if ratios[0] >= GOAL else 'NOT MET'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
