#!/usr/bin/python3
"""Instructions for a message, counted by callgrind: `make bench-instructions`.

    instructions.py [TREE]                  prints the counts of the checkout TREE (built there; default: this one)
    instructions.py [TREE] --against FILE   prints them beside the counts in FILE, and fails above 2 % more
    instructions.py --repeat N              takes the median of N measurements of the server and Redis

Each case runs with a smaller and with a larger number of messages. The difference of both counts, divided by the
difference of the numbers, contains neither start nor end of the processes. The work of an idle second is measured
first, and subtracted.

bench_instructions.c has the inputs of codec and envelope: two runs give the same figures. The other cases run the
real server with one worker, and a real Redis, under callgrind. The clients send a message only when all effects of
the last message have arrived, so the worker's loop turns equally often in each run. On a quiet machine two runs
differ by less than 0.5 %. On a machine with several times more work than cores the figures of Redis and of
acknowledging vary by 1 to 2 %: timers then weigh more, and answers come together or apart.
"""

import argparse
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import clients  # noqa: E402
import harness  # noqa: E402

ROUNDS = (100, 300)
MESSAGES = (200, 2200)
ABOVE_MAX = 0.02
IDLE_S = (0, 10)
# The result of an ack comes before Redis has answered; with the answer in, each next mail finds the worker at rest.
ACK_S = 0.005
CONTENT = clients.b64("x" * 300)


def callgrind(out):
    return ["env", f"LD_PRELOAD={out.parent.parent / 'fixed_random.so'}", "valgrind", "--tool=callgrind", "--vgdb=no",
            "--quiet", f"--callgrind-out-file={out}/callgrind.%p"]


def counted(out, pid=None):
    """Instructions of a process that has ended; of the only one when no pid is given."""
    path = out / f"callgrind.{pid}" if pid else next(out.glob("callgrind.*"))
    totals = re.findall(r"^(?:totals|summary): (\d+)$", path.read_text(), re.M)
    assert totals, f"callgrind wrote no count into {path}"
    return int(totals[-1])


def make_out(directory):
    """A folder in which a worker that has become `nobody` can still write its counts."""
    out = directory / "counts"
    out.mkdir()
    out.chmod(0o777)
    return out


def make_home(directory, name):
    home = directory / name
    home.mkdir()
    home.chmod(0o755)
    return home


def build_fixed_random(directory):
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-o", directory / "fixed_random.so",
                    pathlib.Path(__file__).with_name("fixed_random.c")], check=True)


# ---------------------------------------------------------------------------------------- codec, envelope


def build_program(tree, directory):
    program = directory / "bench_instructions"
    archive = tree / "build" / "gcc" / "libpostoffice.a"
    if not archive.exists():
        sys.exit(f"bench-instructions: {archive} is missing: run make in {tree}")
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", f"-I{tree}", "-o", program,
                    pathlib.Path(__file__).with_name("bench_instructions.c"), archive,
                    "-levent_core", "-lhiredis", "-lcjson", "-lsodium", "-lz", "-lssl", "-lcrypto"], check=True)
    return program


def program_cases(tree, directory):
    program = build_program(tree, directory)
    names = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    for number, name in enumerate(names):
        counts = []
        for rounds in ROUNDS:
            out = make_out(make_home(directory, f"program-{number}-{rounds}"))
            subprocess.run([*callgrind(out), program, name, str(rounds)], check=True)
            counts.append(counted(out))
        yield name, (counts[1] - counts[0]) / (ROUNDS[1] - ROUNDS[0])


# ------------------------------------------------------------------------------------------------ server


class CountedRedis(harness.Redis):
    def __init__(self, directory, out):
        self.out = out
        super().__init__(directory)

    def command(self):
        return [*callgrind(self.out), *super().command(), "--hz", "1", "--dynamic-hz", "no"]


class Counted:
    """Stands for a host (harness.Server): whatever is started `inside` is counted."""

    def __init__(self, out):
        self.out = out

    def inside(self):
        return callgrind(self.out)


def envelope_text(number, kind, sender, to, **more):
    fields = "".join(f',"{name}":{value}' for name, value in more.items())
    return clients.frame(1, f'{{"id":"0191e1a2-7b1c-7def-0001-{number:012}","from":"{sender}","to":["{to}"],'
                            f'"subject":"","content":"{CONTENT}","type":{kind}{fields}}}')


def await_subject(client, subject):
    text = client.message()
    assert f'"subject":"{subject}"' in text, text


def await_stored(client):
    """`welcome` with an epoch: a slow worker serves before it has found Redis, and says it again then."""
    while not re.search(r'"epoch":"[^"]', client.message()):
        pass


def await_mail(client, number):
    """The delivered message; returns its seq, where there is one."""
    text = client.message()
    assert f'-{number:012}"' in text, text
    seq = re.search(r'"seq":"([^"]+)"', text)
    return seq and seq[1]


def command(client, subject, field):
    """A command of bob's to the postmaster, and its result."""
    client.send(clients.frame(1, f'{{"id":"c","from":"bob","to":["postmaster"],"subject":"{subject}","content":"",'
                                 f'"type":4,{field}}}'))
    await_subject(client, "result")


def send_signals(alice, bob, numbers):
    for number in numbers:
        alice.send(envelope_text(number, 2, "alice", "bob"))
        await_mail(bob, number)


def send_mails_away(alice, _, numbers):
    for number in numbers:
        alice.send(envelope_text(number, 1, "alice", "carol"))
        await_subject(alice, "accepted")


def send_mails(alice, bob, numbers):
    for number in numbers:
        alice.send(envelope_text(number, 1, "alice", "bob"))
        await_subject(alice, "accepted")
        await_mail(bob, number)


def send_and_acknowledge(alice, bob, numbers):
    for number in numbers:
        alice.send(envelope_text(number, 1, "alice", "bob"))
        await_subject(alice, "accepted")
        command(bob, "ack", f'"references":"{await_mail(bob, number)}"')
        time.sleep(ACK_S)


def send_posts(alice, bob, numbers):
    command(bob, "subscribe", '"tags":["#team"]')
    for number in numbers:
        alice.send(envelope_text(number, 3, "alice", "#team"))
        await_subject(alice, "accepted")
        await_mail(bob, number)


# Name; what sends; whether Redis's count is of interest.
SERVER_CASES = [
    ("signal, recipient connected", send_signals, False),
    ("mail, recipient away", send_mails_away, True),
    ("mail, recipient connected", send_mails, True),
    ("mail, delivered and acknowledged", send_and_acknowledge, True),
    ("post, one subscriber", send_posts, True),
]


def serve(directory, out, send, count):
    """One run with so many messages: instructions of the worker and of Redis, and how many seconds each was up."""
    redis = CountedRedis(directory, out)
    redis_up = time.monotonic()
    server = harness.Server(directory, redis, workers=1, config={"log": {"level": "info"}}, host=Counted(out))
    try:
        redis_pid = redis.process.pid
        server.start()
        server_up = time.monotonic()
        harness.wait_until(lambda: server.log().count("event=redis_up") == 2, "both connections to Redis are up")
        worker_pid = server.worker_pids()[0]
        tokens = {name: server.token(name, po={"groups": ["#team"]}) for name in ("alice", "bob")}
        with clients.upgrade(server, "alice", tokens["alice"]) as alice:
            await_stored(alice)
            with clients.upgrade(server, "bob", tokens["bob"]) as bob:
                await_stored(bob)
                send(alice, bob, range(count))
    finally:
        down = time.monotonic()
        status = server.stop()
        redis.stop()
    assert status == 0, server.log()
    return counted(out, worker_pid), down - server_up, counted(out, redis_pid), down - redis_up


def pair(directory, name, send, counts):
    """A run with each of two counts; returns how much more the second has of each figure of `serve`."""
    runs = []
    for count in counts:
        home = make_home(directory, f"{name}-{count}")
        runs.append(serve(home, make_out(home), send, count))
    return [more - less for less, more in zip(*runs)]


def server_cases(directory, repeat):
    idle = pair(directory, "idle", lambda _alice, _bob, numbers: time.sleep(len(numbers)), IDLE_S)
    worker_per_s, redis_per_s = idle[0] / idle[1], idle[2] / idle[3]
    for number, (name, send, with_redis) in enumerate(SERVER_CASES):
        workers, redises = [], []
        for turn in range(repeat):
            worker, worker_s, redis, redis_s = pair(directory, f"server-{number}-{turn}", send, MESSAGES)
            workers.append((worker - worker_s * worker_per_s) / (MESSAGES[1] - MESSAGES[0]))
            redises.append((redis - redis_s * redis_per_s) / (MESSAGES[1] - MESSAGES[0]))
        yield f"worker: {name}", statistics.median(workers)
        if with_redis:
            yield f"redis: {name}", statistics.median(redises)


# ---------------------------------------------------------------------------------------------- figures


def read_figures(path):
    """An earlier output: `COUNT  NAME` a line."""
    lines = [line.split(maxsplit=1) for line in pathlib.Path(path).read_text().splitlines()]
    return {name: float(count) for count, name in lines}


def show(name, count, before):
    """Prints one figure; whether it is within the limit."""
    if before is None:
        print(f"{count:11.1f}  {name}", flush=True)
        return True
    if name not in before:
        print(f"{'-':>11}  {count:11.1f}                   {name}", flush=True)
        return True
    change = count / before[name] - 1
    within = change <= ABOVE_MAX
    print(f"{before[name]:11.1f}  {count:11.1f}  {change:+8.2%}  {'     ' if within else 'ABOVE'}  {name}", flush=True)
    return within


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tree", nargs="?", type=pathlib.Path, default=ROOT)
    parser.add_argument("--against", type=pathlib.Path)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("bench-instructions: there is no valgrind here: apt-get install valgrind")
    tree = options.tree.resolve()
    before = read_figures(options.against) if options.against else None
    harness.BINARY = str(tree / "websocket-server")
    directory = harness.make_directory()
    try:
        build_fixed_random(directory)
        within = [show(*figure, before) for cases in (program_cases(tree, directory), server_cases(directory, options.repeat))
                  for figure in cases]
    finally:
        harness.remove_directory(directory)
    if before is not None:
        print(f"bench-instructions: {sum(within)} passed, {len(within) - sum(within)} failed")
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
