#!/usr/bin/python3
"""What a storm of reconnects costs the sessions that talk: `make bench-storm`.

20 sessions send a signal to themselves every 20 ms over TLS, on a server with one worker. Then STORM (5,000) sessions connect
from 50 processes at once: in plain text, over TLS with an EC certificate, over TLS with RSA (ROWS=plain,ec,rsa). Printed are p50 and p99 of the
talkers before and during the storm, their ratio (the goal: p99 at most twice), and how long the storm took.

The worker has core 0 for itself; talkers, storm and Redis share core 1, the storm only when that core has nothing else to do
(SCHED_IDLE). Started as root, worker, talkers and Redis go before everything else on the machine (nice -20). How long worker and talkers were ready and did not run, for want of a core, is printed: on a machine that does
other work the figures say little.
"""

import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from tls import Tls  # noqa: E402

IDLE, TALK = sys.argv[1:3]
STORM = int(os.environ.get("STORM", "5000"))
PROCESSES = 50
CALM_MS = 4000
SLICE_MS = 500
GOAL = 2.0


class Talkers:
    def __init__(self, server):
        self.process = subprocess.Popen([TALK, str(server.tls.port), str(server.keys_directory / "outside.secret"), "20", "tls"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        place(self.process.pid, 1)
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, ms):
        self.process.stdin.write(f"{ms}\n")
        self.process.stdin.flush()

    def answer(self):
        return [int(each) for each in self.process.stdout.readline().split()]


def start_storm(server, secure):
    share = STORM // PROCESSES
    return [subprocess.Popen(
        ["chrt", "--idle", "0", "taskset", "-c", "1", IDLE, str(server.tls.port if secure else server.port),
         str(server.keys_directory / "outside.secret"), f"127.0.0.{2 + i % 200}", str(i * share), str(share),
         *(["tls"] if secure else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in range(PROCESSES)]


def place(pid, core):
    """Gives the process its core, and the first place there."""
    os.sched_setaffinity(pid, {core})
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, pid, -20)


def waited_ms(pid):
    """How long the process has been ready to run and had no core."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e6


def row(what, kind, secure):
    directory = harness.make_directory()
    redis = harness.Redis(directory)
    tls = Tls(directory, kind=kind)
    server = harness.Server(directory, redis, workers=1, config={
        **tls.config(), "maxWebSocketConnections": STORM + 100, "limits": {"connectionsPerIP": 0}, "log": {"level": "info"}})
    server.tls = tls
    storm = []
    try:
        server.start()
        for process in server.processes():
            place(process.pid, 0)
        place(redis.process.pid, 1)
        talkers = Talkers(server)
        talkers.ask(CALM_MS)
        calm = talkers.answer()
        processes = [*server.worker_pids().values(), talkers.process.pid]
        waited, began = [waited_ms(pid) for pid in processes], time.monotonic()
        storm = start_storm(server, secure)
        seen = []
        while server.sessions() < STORM + 20:
            talkers.ask(SLICE_MS)
            seen.append(talkers.answer())
        took = time.monotonic() - began
        waited = [waited_ms(pid) - before for pid, before in zip(processes, waited)]
        p50, p99 = (sorted(each[i] for each in seen)[len(seen) // 2] for i in (0, 1))
        ratio = p99 / calm[1]
        print(f"{what:<14} calm p50 {calm[0]:6} us  p99 {calm[1]:6} us | storm p50 {p50:6} us  p99 {p99:6} us"
              f" (worst half second {max(each[1] for each in seen)} us) | p99 x {ratio:.2f} | {STORM} in {took:.1f} s |"
              f" without a core: worker {waited[0]:.0f} ms, talkers {waited[1]:.0f} ms", flush=True)
        return ratio <= GOAL
    finally:
        for process in storm:
            process.kill()
            process.wait()
        server.stop()
        redis.stop()
        harness.remove_directory(directory)


ROWS = {"plain": ("plain", "ec", False), "ec": ("TLS, EC", "ec", True), "rsa": ("TLS, RSA 2048", "rsa2048", True)}


def main():
    wanted = [name for name in os.environ.get("ROWS", "").split(",") if name] or list(ROWS)
    good = [row(*ROWS[name]) for name in wanted]
    print(f"within {GOAL} x: {sum(good)} of {len(good)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
