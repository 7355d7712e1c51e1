"""scripts/run and scripts/talk: what is printed works, on any port."""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import harness


class Child:
    """A command whose lines are collected while it runs."""

    def __init__(self, arguments, **options):
        # A shell cannot trap a signal that was ignored when the shell began, as SIGINT is in a background job.
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)
        self.text = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.text += line

    def said(self, pattern, deadline=harness.DEADLINE):
        def found():
            match = re.search(pattern, self.text)
            assert match or self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text}"
            return match
        return harness.wait_until(found, f"{pattern} in {self.text!r}", deadline)

    def end(self, number=signal.SIGINT):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(harness.DEADLINE)


@pytest.fixture
def checkout(directory):
    """A checkout that is built, with nothing of an earlier run."""
    home = directory / "checkout with a space"
    home.mkdir()
    home.chmod(0o755)
    shutil.copytree(harness.ROOT / "scripts", home / "scripts")
    (home / "config").mkdir()
    shutil.copy(harness.ROOT / "config" / "config-dev.json", home / "config")
    shutil.copy(harness.BINARY, home / "websocket-server")
    return home


@pytest.fixture
def child():
    made = []

    def make(arguments, **options):
        made.append(Child(arguments, **options))
        return made[-1]

    yield make
    for one in reversed(made):
        one.end()


def run(checkout, child, port):
    env = {**harness.environment(), "POSTOFFICE_SOCKET_PORT": str(port)}
    return child([str(checkout / "scripts" / "run")], cwd="/", env=env)


def test_the_printed_commands_talk_on_another_port(checkout, child):
    port = harness.free_port()
    running = run(checkout, child, port)
    running.said(r"Ctrl-C ends all of it\.")
    assert f"ws://127.0.0.1:{port}/ws: a mail was stored, and delivered when its reader connected." in running.text
    assert re.search(r"[Ss]tart and first stored mail \d+\.\d s\.", running.text), running.text
    bobs, alices = re.findall(r"^  (\S*\S scripts/talk .*|\S.*scripts/talk .*)$", running.text, re.MULTILINE)
    assert "--as bob" in bobs and "--as alice" in alices

    bob = child(["/bin/sh", "-c", f"exec {bobs}"], cwd="/", env=harness.environment())
    bob.said("connected as bob")
    alice = child(["/bin/sh", "-c", f"exec {alices}"], cwd="/", env=harness.environment())
    alice.said("connected as alice")
    alice.process.stdin.write("good morning\n")
    alice.process.stdin.flush()
    alice.said("-- accepted")
    bob.said("alice: good morning")

    # What bob has seen is acknowledged. The second mail comes behind all that would come again.
    bob.process.stdin.close()
    assert bob.process.wait(harness.DEADLINE) == 0
    bob = child(["/bin/sh", "-c", f"exec {bobs}"], cwd="/", env=harness.environment())
    bob.said("connected as bob")
    alice.process.stdin.write("good night\n")
    alice.process.stdin.flush()
    bob.said("alice: good night")
    assert "good morning" not in bob.text

    assert running.end() == 0
    assert "all ended" in running.text


def test_a_port_that_is_taken_is_named(checkout, child):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", harness.free_port()))
        taken.listen()
        running = run(checkout, child, taken.getsockname()[1])
        assert running.process.wait(harness.DEADLINE) == 1
        running.reader.join(harness.DEADLINE)
        assert str(taken.getsockname()[1]) in running.text and "ended before it was ready" in running.text


def test_talk_without_a_server_says_how_to_start_one(checkout):
    result = subprocess.run([checkout / "scripts" / "talk", "--as", "bob"], capture_output=True, text=True, check=False,
                            env=harness.environment(), timeout=harness.DEADLINE, stdin=subprocess.DEVNULL)
    assert result.returncode == 1 and "make run" in result.stderr and "Traceback" not in result.stderr


def test_a_check_without_storage_says_so(checkout, server, directory):
    post = server(1, redis=None)
    shutil.copytree(post.keys_directory, checkout / "config" / "keys")
    result = subprocess.run([checkout / "scripts" / "talk", "--check", "--url", f"ws://127.0.0.1:{post.port}/ws"],
                            capture_output=True, text=True, check=False, env=harness.environment(), timeout=harness.DEADLINE)
    assert result.returncode == 1 and "storage-unavailable" in result.stderr and "Traceback" not in result.stderr, result.stderr
