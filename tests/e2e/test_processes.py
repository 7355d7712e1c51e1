"""The processes themselves: a log that nobody reads, a worker that is stopped, memory that is scribbled on."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import time

import psutil
import pytest

import clients
import harness
from clients import upgrade


def handshake(post, name):
    """One session, and the seconds that its handshake took."""
    start = time.monotonic()
    raw = upgrade(post, name)
    return raw, time.monotonic() - start


def memfds(pid):
    """The descriptors of a process that are shared memory."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if "/memfd:postoffice" in os.readlink(f"/proc/{pid}/fd/{name}"):
                found.append(name)
    return found


# ---------------------------------------------------------------------------------------------- the log


def start_into(post, stderr):
    """Starts the server with standard error at a descriptor of the test's own."""
    post.process = subprocess.Popen([harness.BINARY, "serve", "--config", str(post.config_file)], env=post.env,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
                                    cwd=post.directory)
    post.wait_serving()


def fill(fd):
    """Writes into a pipe until it takes no more."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b"x" * size)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)


def read_all(fd):
    os.set_blocking(fd, False)
    text = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(fd, 65536):
            text += chunk
    return text.decode(errors="replace")


def test_a_pipe_that_nobody_drains_stops_nobody(server):
    post = server(2, start=False)
    ends = os.pipe()
    fill(ends[1])
    start_into(post, ends[1])  # the log is full before the first line
    flags = fcntl.fcntl(ends[1], fcntl.F_GETFL)
    assert not flags & os.O_NONBLOCK, "the description that others share stays as it was"
    alice, bob = upgrade(post, "alice"), upgrade(post, "bob")

    def is_accepted():
        """A worker that has not reached its Redis within a second serves without, and refuses mail until then."""
        alice.send(clients.frame(1, clients.json.dumps(clients.envelope("alice", "bob", "hello", type=1))))
        while (subject := clients.json.loads(alice.message())["subject"]) not in ("accepted", "rejected"):
            pass
        return subject == "accepted"

    harness.wait_until(is_accepted, "mail is taken", pause=0.1)
    while clients.json.loads(bob.message())["from"] != "alice":
        pass
    post.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: post.status()["configGeneration"] == 2, "the reload is applied")
    harness.wait_until(lambda: post.total("log_lines_lost") > 0, "lost lines are counted")
    text = read_all(ends[0])
    harness.wait_until(lambda: "lines_lost_before=" in read_all(ends[0]), "and the log says how many, by itself")
    assert "event=server_ready" not in text
    alice.socket.close()
    bob.socket.close()
    fill(ends[1])
    post.process.terminate()
    assert post.process.wait(harness.DEADLINE) == 0
    os.close(ends[0])
    os.close(ends[1])


def test_a_log_file_that_is_a_fifo_without_a_reader_holds_up_neither_start_nor_reload(server):
    post = server(1, start=False)
    fifo = post.directory / "log.fifo"
    os.mkfifo(fifo)
    post.write_config({"log": {"file": str(fifo)}})
    post.start()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
        generation = post.status()["configGeneration"]
        post.process.send_signal(number)
        if number == signal.SIGHUP:
            harness.wait_until(lambda: post.status()["configGeneration"] > generation, "the reload is applied")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert "event=config_reloaded" in read_all(reader), "a reader that comes later gets what has waited"
    os.close(reader)
    assert post.stop() == 0


def test_a_log_file_with_a_second_name_is_refused(server):
    if os.geteuid() != 0:
        pytest.skip("only root can be led to a file of somebody else")
    post = server(1, start=False)
    precious = post.directory / "precious"
    precious.write_text("mine\n")
    os.link(precious, post.directory / "link.log")
    post.write_config({"log": {"file": str(post.directory / "link.log")}})
    result = harness.command("serve", "--config", post.config_file, check=False)
    assert result.returncode == 1
    assert "hard link" in result.stderr and "link.log" in result.stderr
    assert precious.read_text() == "mine\n"


# ---------------------------------------------------------------------------------------- shared memory


def test_a_worker_holds_no_descriptor_of_the_shared_memory(server):
    post = server(2)
    assert memfds(post.process.pid), "status finds the memory by the master"
    for pid in post.worker_pids().values():
        assert not memfds(pid)
        with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
            flags = re.findall(r"^[0-9a-f]+-[0-9a-f]+ (\S+) .*memfd:postoffice(?:.*\n)+?VmFlags: (.*)", smaps.read(),
                               re.MULTILINE)
        walls = [words.split() for access, words in flags if access == "r--s"]
        assert walls and all("mw" not in words for words in walls), "no mprotect lifts a wall"


def test_a_scribble_over_the_masters_memory_is_mended_and_takes_nobody_down(server):
    post = server(2)
    silent = upgrade(post, "silent")
    pids, generation = post.worker_pids(), post.status()["configGeneration"]
    with open(f"/proc/{post.process.pid}/fd/{memfds(post.process.pid)[0]}", "r+b", buffering=0) as memory:
        for page in (0, 1):
            memory.seek(page * 4096)
            memory.write(b"\xff" * 4096)
    os.kill(pids[0], signal.SIGKILL)  # the master reaps, purges and starts, by the words it has written itself
    harness.wait_until(lambda: "event=shared_memory_mended" in post.log(), "the master mends")
    harness.wait_until(lambda: post.status(check=False) and len(post.worker_pids()) == 2, "two workers serve")
    assert post.worker_pids()[1] == pids[1]
    assert post.status()["configGeneration"] == generation
    assert post.total("shared_mended") > 0
    raw, _ = handshake(post, "newcomer")
    raw.socket.close()
    silent.socket.close()
    assert post.stop() == 0


# -------------------------------------------------------------------------------------- a stopped worker


def test_a_storm_of_reloads_leaves_a_stopped_worker_one_of_them(server):
    post = server(2, {"watchdog": {"seconds": 600}})
    pids = post.worker_pids()
    before = post.status()["configGeneration"]
    os.kill(pids[1], signal.SIGSTOP)

    def many_are_applied():
        for _ in range(50):  # a signal that finds one waiting is one with it: how many there must be nobody can say
            post.process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        return post.status()["configGeneration"] > before + harness.scaled(300, 30)

    harness.wait_until(many_are_applied, "many are applied")
    size = len(post.log())
    os.kill(pids[1], signal.SIGCONT)
    harness.wait_until(lambda: "event=worker_applied slot=1" in post.log()[size:], "it applies")
    post.reload(limits={"messageBytes": 70000})
    harness.wait_until(lambda: post.log().rstrip().count("event=worker_applied slot=0") > 10, "the other has applied all")
    assert post.log()[size:].count("event=worker_applied slot=1") <= 4
    assert post.worker_pids() == pids and post.status()["restarts"] == 0
    assert "worker_deaf" not in post.log()


def test_a_stopped_worker_makes_no_connection_wait(server):
    post = server(2)
    pids = post.worker_pids()
    holders = [upgrade(post, f"h{n}") for n in range(12)]
    os.kill(pids[1], signal.SIGSTOP)
    try:
        harness.wait_until(lambda: post.status()["workers"][1]["heartbeatAgeMs"] > 1300, "its heartbeat is old")
        times = []
        for number in range(20):
            time.sleep(0.02)  # connections that come one by one, not a rush
            raw, seconds = handshake(post, f"c{number}")
            holders.append(raw)
            times.append(seconds)
        # Left to the stopped worker, each of the later ones would wait for 250 ms; a busy machine delays some, and not all.
        assert min(times[10:]) < 0.2, times
    finally:
        os.kill(pids[1], signal.SIGCONT)
    for raw in holders:
        raw.socket.close()


def test_a_worker_that_once_left_by_a_signal_does_not_spoil_the_end(server):
    post = server(2, {"shutdown": {"seconds": 1}})
    pid = post.worker_pids()[1]
    os.kill(pid, signal.SIGSTOP)
    post.reload(workers=1)
    harness.wait_until(lambda: not psutil.pid_exists(pid), "the deaf worker is killed")
    harness.wait_until(lambda: len(post.worker_pids()) == 1, "one serves")
    assert f"pid_of_worker={pid} slot=1 signal=9" in post.log()
    post.process.terminate()
    assert post.process.wait(harness.DEADLINE) == 0


# ----------------------------------------------------------------------------------- secrets and rights


def start_as_nobody(post):
    """Starts the server without root; its files are nobody's."""
    for path in (post.directory, *post.directory.rglob("*")):
        shutil.chown(path, "nobody", "nogroup")
    with open(post.log_file, "ab") as log:
        post.process = subprocess.Popen([harness.BINARY, "serve", "--config", str(post.config_file)], env=post.env,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=post.directory,
                                        user="nobody", group="nogroup", extra_groups=[])
    post.wait_serving()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as somebody else")


@needs_root
def test_without_root_no_process_of_the_same_user_can_read_the_servers_memory(server):
    post = server(1, start=False)
    start_as_nobody(post)
    for pid in (post.process.pid, *post.worker_pids().values()):
        seen = subprocess.run(["cat", f"/proc/{pid}/maps"], capture_output=True, user="nobody", group="nogroup",
                              extra_groups=[], check=False)
        assert seen.returncode != 0 and not seen.stdout, "the memory is shut"
    result = subprocess.run([harness.BINARY, "status", "--json", "--pid-file", str(post.pid_file)],
                            capture_output=True, user="nobody", group="nogroup", extra_groups=[], check=False)
    assert result.returncode == 0, result.stderr
    assert harness.json.loads(result.stdout)["workers"][0]["state"] == "serving"
    result = subprocess.run([harness.BINARY, "status", "--pid", str(post.process.pid)], capture_output=True, text=True,
                            user="daemon", group="daemon", extra_groups=[], check=False)
    assert result.returncode == 1 and "denied" in result.stderr, "other users get nothing"
    assert post.stop() == 0


def occurrences(pid, needle):
    """How often the bytes stand in the memory of a process."""
    count = 0
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, access, _, _, _, *name = line.split()
            if "r" not in access or (name and name[0].startswith(("[v", "/memfd"))):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            with contextlib.suppress(OSError, OverflowError, ValueError):
                memory.seek(start)
                count += memory.read(end - start).count(needle)
    return count


def locked_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmLck:\s+(\d+)", status.read()).group(1))


@needs_root
@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer keeps freed memory, and copies of what was checked")
def test_a_secret_stands_once_in_each_process_locked_also_after_reloads(server):
    post = server(2)
    raw = upgrade(post, "alice")  # the secret has been used
    for round_number in range(3):
        harness.wait_until(lambda: post.log().count("event=worker_applied") == 2 * round_number, "all have applied")
        for pid in (post.process.pid, *post.worker_pids().values()):
            assert occurrences(pid, post.keys.secret) == 1, f"pid {pid}, round {round_number}"
            assert locked_kib(pid) > 0
        post.reload(limits={"messageBytes": 70000 + round_number})
    raw.socket.close()


@needs_root
@pytest.mark.parametrize("spoil, cure", [
    (lambda keys: keys.chmod(0o777), "chmod go-w"),
    (lambda keys: shutil.chown(keys, "nobody"), "chown root"),
    (lambda keys: (shutil.chown(keys, "root", "nogroup"), keys.chmod(0o775)), "chmod go-w"),
    (lambda keys: shutil.chown(keys / "main.pub", "nobody"), "chown root"),
    (lambda keys: (keys / "outside.secret").chmod(0o644), "chmod 600"),
])
def test_keys_that_the_workers_can_write_or_others_read_are_refused(server, spoil, cure):
    post = server(1)
    spoil(post.keys_directory)
    generation = post.status()["configGeneration"]
    post.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: f"run {cure} " in post.log(), "the error has the command")
    assert post.status()["configGeneration"] == generation
    assert post.stop() == 0
    result = harness.command("serve", "--config", post.config_file, check=False)
    assert result.returncode == 2
    command = re.search(rf"run ({cure} /\S+)", result.stderr).group(1)
    subprocess.run(command.split(), check=True)
    post.log_file.unlink()  # `stop` looks there
    post.start()
    assert post.stop() == 0
