#!/usr/bin/python3
"""`websocket-server echo-test` beside a bare epoll loop: messages a second, and server CPU a message.

Server on core 0, load on core 1; the two servers take turns, so that both meet the same machine.

    make bench-echo
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

import psutil

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def pinned(arguments, core, **options):
    cores = sorted(os.sched_getaffinity(0))
    return subprocess.Popen(arguments, preexec_fn=lambda: os.sched_setaffinity(0, {cores[core % len(cores)]}), **options)


def cpu_seconds(pid):
    """User and system time of one process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def listening(pid, port):
    """Looked up, not tried: a connection that says nothing would hold up the bare loop's handshake."""
    return any(c.laddr.port == port for c in psutil.Process(pid).connections() if c.status == psutil.CONN_LISTEN)


def measure(server_arguments, tool, size, in_flight, connections, seconds):
    """(messages a second, CPU microseconds a message) of one server in one run."""
    port = harness.free_port()
    server = pinned([*server_arguments, str(port)], 0, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        harness.wait_until(lambda: listening(server.pid, port), "the server listens")
        load = pinned([tool, "load", str(port), str(connections), str(size), str(in_flight), str(seconds)], 1,
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert load.stdout.readline() == "ready\n"
        before = cpu_seconds(server.pid)
        load.stdin.write("\n")
        load.stdin.flush()
        messages, took = load.stdout.readline().split()
        used = cpu_seconds(server.pid) - before
        load.stdin.close()
        load.wait()
        return int(messages) / float(took), used / int(messages) * 1e6
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", help="the built bench_echo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=100)
    options = parser.parse_args()
    servers = {"bare epoll": [options.tool, "bare"], "echo-test": [harness.BINARY, "echo-test", "--port"]}
    print(f"bench-echo: {options.connections} connections, median of {options.rounds} interleaved rounds of "
          f"{options.seconds} s")
    for size in (20, 512):
        for in_flight in (16, 1):
            results = {name: [] for name in servers}
            for number in range(options.rounds):
                order = list(servers) if number % 2 == 0 else list(reversed(servers))
                for name in order:
                    results[name].append(measure(servers[name], options.tool, size, in_flight, options.connections,
                                                 options.seconds))
            for name, found in results.items():
                rate, cpu = (statistics.median(column) for column in zip(*found))
                print(f"  {size:4} bytes, {in_flight:2} in flight: {name:10}  {rate:10.0f} messages/s  {cpu:6.3f} us CPU a "
                      f"message")
            ratios = [ours[1] / bare[1] for ours, bare in zip(results["echo-test"], results["bare epoll"])]
            print(f"  {size:4} bytes, {in_flight:2} in flight: CPU ratio echo-test / bare: median "
                  f"{statistics.median(ratios):.2f}  (from {min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
