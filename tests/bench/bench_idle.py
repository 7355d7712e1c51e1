#!/usr/bin/python3
"""What an idle session costs: 20,000 of them on 2 workers, PSS of all processes above the empty server's.

    make bench-idle
"""

import argparse
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import clients  # noqa: E402
import harness  # noqa: E402


def pss_kib(server):
    """Proportional set size of the master and the workers: shared pages count once, in parts."""
    total = 0
    for process in server.processes():
        for line in pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("client", help="the built bench_idle")
    parser.add_argument("--sessions", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    count = options.sessions
    home, redis_home = harness.make_directory(), harness.make_directory()
    redis = harness.Redis(redis_home)
    server = harness.Server(home, redis, options.workers, {"maxWebSocketConnections": count,
                                                           "limits": {"pingSeconds": 3600, "queueBytes": None},
                                                           "log": {"level": "warn"}})
    holder = None
    try:
        server.start()
        empty = pss_kib(server)
        tokens = "".join(server.token(f"/idle/user/{number:06}") + "\n" for number in range(count))
        children = max(2, count // 5000)
        started = time.monotonic()
        holder = subprocess.Popen([options.client, str(server.port), str(children)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        holder.stdin.write(tokens + "\n")
        holder.stdin.flush()
        held = [holder.stdout.readline().split() for _ in range(children)]
        seconds = time.monotonic() - started
        assert sum(int(n) for n, _ in held) == count, held
        harness.wait_until(lambda: server.sessions() == count, "status knows all of them")
        full = pss_kib(server)
        spread = [row["sessions"] for row in server.status()["workers"]]
        with clients.Raw(server.port) as raw:
            raw.send(clients.request("/ws", token=server.token("one-too-many")))
            answer = raw.answer()
        print(f"bench-idle: {count} sessions on {options.workers} workers {spread}, opened in {seconds:.1f} s")
        print(f"bench-idle: PSS empty {empty} KiB, full {full} KiB: {(full - empty) * 1024 / count:.0f} bytes a session "
              f"(goal: at most 1536)")
        print(f"bench-idle: session {count + 1}: {answer.status}, Retry-After {answer.headers.get('retry-after')}")
        return 0 if answer.status == 503 and (full - empty) * 1024 / count <= 1536 else 1
    finally:
        if holder:
            holder.stdin.close()
            holder.wait()
        server.stop()
        redis.stop()
        harness.remove_directory(home)
        harness.remove_directory(redis_home)


if __name__ == "__main__":
    sys.exit(main())
