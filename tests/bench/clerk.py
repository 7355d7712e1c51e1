#!/usr/bin/python3
"""What the clerk's work costs the mail: `make bench-admin`.

The mails of `make bench-mail` without a pause, and in it ROUNDS times three steps of MS, in changing order: undisturbed; under RATE calls
a second to the clerk and a scrape a second; and, as a control, with the same load talking to a stand-in that answers at once. On a
machine with two cores worker, Redis and load program of the mails fill both, so whatever else runs takes from the mail: the control
shows what the load generator alone takes, and the CPU time of each process shows whose time is gone. What the clerk costs a worker and
Redis beyond time of the machine shows in their CPU time a mail, which depends less on who else runs.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import mail  # noqa: E402

import harness  # noqa: E402
import psutil  # noqa: E402
from admin import clerk_pid  # noqa: E402

RATE = int(os.environ.get("RATE") or 500)
ROUNDS = int(os.environ.get("ROUNDS") or 20)
MS = int(os.environ.get("MS") or 1000)
CASES = [(16, "own", False), (16, "own", True)]
KINDS = ("undisturbed", "control", "clerk")
LOAD = pathlib.Path(__file__).with_name("clerk_load.py")
GOAL = 0.97


class Helper:
    """A process of clerk_load.py, until `end`."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([sys.executable, str(LOAD), *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.pid = self.process.pid

    def say(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def end(self):
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return [int(word) for word in said.split()]


def cpu(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


class Load:
    """What disturbs: the generator at the clerk, and its twin at the stand-in."""

    def __init__(self, server):
        path = server.pid_file.with_suffix(".stand-in")
        self.stand_in = Helper(path, RATE, "dummy")
        self.clerk_pid = clerk_pid(server)
        self.loads = {"control": Helper(path, RATE), "clerk": Helper(server.pid_file.with_suffix(".admin"), RATE)}
        self.path = path

    def switch(self, before, kind):
        if before in self.loads:
            self.loads[before].say("stop")
        if kind in self.loads:
            self.loads[kind].say("go")

    def cpu(self):
        """CPU seconds so far: of both generators, and of those who answer."""
        return sum(cpu(load.pid) for load in self.loads.values()), cpu(self.stand_in.pid) + cpu(self.clerk_pid)

    def end(self):
        """Calls to the clerk that were answered, and those not made in time."""
        good, bad, late, _ = self.loads["clerk"].end()
        assert bad == 0, f"{bad} calls were answered otherwise than with 2xx"
        self.loads["control"].end()
        self.stand_in.end()
        self.path.unlink()
        return good, late


def play(server, client, load, case):
    """Rows by kind, each (accepted, seconds, CPU seconds of worker, Redis, generator, clerk or stand-in)."""
    order = [KINDS[(number + step) % 3] for number in range(ROUNDS) for step in range(3)]
    senders = subprocess.Popen(
        [mail.CLIENT, str(server.port), str(server.keys_directory / "outside.secret"), str(mail.SENDERS), str(case[0]),
         str(MS * len(order)), str(mail.SENDERS), "bench-", "connected" if case[2] else "away", case[1], str(MS)],
        stdout=subprocess.PIPE, text=True)
    rows = {kind: [] for kind in KINDS}
    assert senders.stdout.readline() == "measuring\n", "the load program failed"

    def reading():
        return mail.server_cpu(server), mail.redis_cpu(client), *load.cpu()

    kind, before, last = None, (0, 0.0), None
    for next_kind in [*order, None]:
        if kind:
            count, seconds = senders.stdout.readline().split()
            now = int(count), float(seconds)
            spent = reading()
            rows[kind].append([b - a for a, b in zip((*before, *last), (*now, *spent))])
            before, last = now, spent
        else:
            last = reading()
        load.switch(kind, next_kind)
        kind = next_kind
    assert senders.wait(90) == 0, "the load program failed"
    mail.clean(client, "po:{bench-")
    mail.clean(client, "po:{api-")
    return rows


def show(case, rows):
    """Returns the ratio of the goal."""
    print(f"{case[0]} in flight, one recipient each, {'connected' if case[2] else 'away'}")
    rates = {kind: [row[0] / row[1] for row in rows[kind]] for kind in KINDS}
    costs = {}
    for kind in KINDS:
        accepted, seconds, worker, redis, load, other = (sum(column) for column in zip(*rows[kind]))
        costs[kind] = accepted / seconds, worker / accepted * 1e6, redis / accepted * 1e6
        ratios = sorted(ours / plain for ours, plain in zip(rates[kind], rates["undisturbed"]))
        print(f"  {kind:11} | {costs[kind][0]:9,.0f}/s  {costs[kind][1]:5.2f} us  {costs[kind][2]:5.2f} us | {load / seconds:6.1%}  "
              f"{other / seconds:6.1%} | {costs[kind][0] / costs['undisturbed'][0]:.3f}  {statistics.median(ratios):.3f}  "
              f"({ratios[len(ratios) // 4]:.3f} to {ratios[len(ratios) * 3 // 4]:.3f})", flush=True)
    print(f"  clerk to control: rate {costs['clerk'][0] / costs['control'][0]:.3f}, CPU a mail of the worker "
          f"{costs['clerk'][1] / costs['control'][1]:.3f}, of Redis {costs['clerk'][2] / costs['control'][2]:.3f}")
    return costs["clerk"][0] / costs["undisturbed"][0]


def main():
    directory = harness.make_directory()
    redis = harness.Redis(directory)
    server = harness.Server(directory, redis, workers=mail.WORKERS, config={
        "limits": {"connectionsPerIP": 0, "pingSeconds": 3600}, "log": {"level": "info"}, "admin": {"listen": ["unix:"]},
        "mailbox": {"maxMessages": 1000}})  # full mailboxes: every step has the same work
    try:
        server.start()
        harness.wait_until(server.pid_file.with_suffix(".admin").exists, "the clerk is there")
        load, client = Load(server), redis.client()
        rows = [play(server, client, load, case) for case in CASES]
        good, late = load.end()
    finally:
        server.stop()
        redis.stop()
        harness.remove_directory(directory)
    print(f"{mail.SENDERS} senders, {mail.WORKERS} worker(s), {os.cpu_count()} cores; {ROUNDS} rounds of three steps of {MS / 1000:.1f} s; {RATE} "
          f"calls and a scrape a second: {good} answered, {late} not made in time")
    print("                |  accepted    CPU: worker   Redis | core:  load   clerk | ratio to undisturbed: sums, median of rounds (quartiles)")
    ratios = [show(case, each) for case, each in zip(CASES, rows)]
    print(f"the goal is {GOAL} of the undisturbed rate: {'met' if min(ratios) >= GOAL else 'NOT MET'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
