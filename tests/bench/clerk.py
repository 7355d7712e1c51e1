#!/usr/bin/python3
"""What the clerk's work costs the mail: `make bench-admin`.

The mails of `make bench-mail`, in rounds of three kinds by turns: undisturbed; under RATE calls a second to the clerk and a scrape a second;
and, as a control, with the same load talking to a stand-in that answers at once. On a machine with two cores worker, Redis and load
program of the mails fill both, so whatever else runs takes from the mail: the control shows what the load generator alone takes, and
the CPU time of each process shows whose time is gone. What the clerk costs a worker and Redis beyond time of the machine shows in
their CPU time a mail, which does not depend on who else runs.
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

    def end(self):
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return [int(word) for word in said.split()]


def cpu(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def disturbed(kind, server, act):
    """Runs act under this kind of load. Returns act's result, and CPU seconds a second of load and of who answers, calls a second
    that were answered."""
    if kind == "undisturbed":
        return act(), (0, 0, 0)
    path = server.pid_file.with_suffix(".dummy" if kind == "control" else ".admin")
    stand_in = Helper(path, RATE, "dummy") if kind == "control" else None
    load = Helper(path, RATE)
    pids = load.pid, stand_in.pid if stand_in else clerk_pid(server)
    before, began = [cpu(pid) for pid in pids], time.monotonic()
    result = act()
    seconds = time.monotonic() - began
    shares = [(cpu(pid) - was) / seconds for pid, was in zip(pids, before)]
    good, bad, late = load.end()
    if stand_in:
        stand_in.end()
        path.unlink()
    assert bad == 0, f"{bad} calls were answered otherwise than with 2xx"
    return result, (*shares, good / (good + late) * RATE)


def show(case, rows):
    print(f"{case[0]} in flight, one recipient each, {'connected' if case[2] else 'away'}")
    plain = [row[0] for row in rows["undisturbed"]]
    for kind in KINDS:
        accepted, worker, redis, load, other, rate = (statistics.median(column) for column in zip(*rows[kind]))
        ratios = sorted(row[0] / before for row, before in zip(rows[kind], plain))
        print(f"  {kind:11} | {accepted:9,.0f}/s  {worker * 1e6:5.2f} us  {redis * 1e6:5.2f} us | {load:6.1%}  {other:6.1%}  "
              f"{rate:5.0f}/s | {statistics.median(ratios):.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})", flush=True)
    by_clerk = statistics.median(a[0] / b[0] for a, b in zip(rows["clerk"], rows["control"]))
    costs = [statistics.median(row[i] for row in rows["clerk"]) / statistics.median(row[i] for row in rows["undisturbed"])
             for i in (1, 2)]
    print(f"  clerk to control {by_clerk:.3f}; CPU a mail, clerk to undisturbed: worker {costs[0]:.3f}, Redis {costs[1]:.3f}")
    return statistics.median(a[0] / b for a, b in zip(rows["clerk"], plain))


def main():
    directory = harness.make_directory()
    redis = harness.Redis(directory)
    server = harness.Server(directory, redis, workers=mail.WORKERS, config={
        "limits": {"connectionsPerIP": 0}, "log": {"level": "info"}, "admin": {"listen": ["unix:"]}})
    rows = {case: {kind: [] for kind in KINDS} for case in CASES}
    try:
        server.start()
        harness.wait_until(server.pid_file.with_suffix(".admin").exists, "the clerk is there")
        client = redis.client()
        for number in range(mail.ROUNDS):
            for case in CASES:
                for kind in KINDS[number % 3:] + KINDS[:number % 3]:
                    prefix = f"r{number}-{CASES.index(case)}-{kind}-"
                    (accepted, worker, store, _), load = disturbed(
                        kind, server, lambda: mail.serve_mails(server, client, prefix, *case))
                    mail.clean(client, "po:{api-")
                    rows[case][kind].append([accepted, worker, store, *load])
    finally:
        server.stop()
        redis.stop()
        harness.remove_directory(directory)
    print(f"{mail.SENDERS} senders, {mail.WORKERS} worker(s), {os.cpu_count()} cores, {RATE} calls and a scrape a second, {mail.ROUNDS} rounds "
          f"of {mail.MS / 1000:.1f} s; medians")
    print("                |  accepted    CPU: workers  Redis | core:  load   clerk   calls | ratio to undisturbed")
    ratios = [show(case, rows[case]) for case in CASES]
    print(f"the goal is {GOAL} of the undisturbed rate: {'met' if min(ratios) >= GOAL else 'NOT MET'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
