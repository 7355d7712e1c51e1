"""What the tests of the Python package and of its examples share: a server, and the package as it lies in the tree."""

import asyncio
import os
import pathlib
import queue
import subprocess
import sys
import threading

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGE = ROOT / "clients" / "python"
sys.path[:0] = [str(HERE.parent / "e2e"), str(PACKAGE / "src")]

import harness  # noqa: E402  behind the path
import postoffice  # noqa: E402

RIGHTS = {"send": ["*"], "groups": ["#*"]}
CONFIG = {"serviceAddresses": ["/service/*"], "redis": {"reconnectMinMs": 20, "reconnectMaxMs": 200}}


def made(directory):
    directory.mkdir()
    directory.chmod(0o755)
    return directory


@pytest.fixture
def office():
    """office(config={...}) is a server with a Redis of its own; `folder` is the test's."""
    folder = harness.make_directory()
    redis = harness.Redis(made(folder / "redis"))
    servers = []

    def make(config=None):
        server = harness.Server(made(folder / f"server{len(servers)}"), redis, 2, harness.merge(CONFIG, config or {}))
        servers.append(server)
        return server.start()

    make.folder = folder
    yield make
    for server in servers:
        server.stop()
    redis.stop()
    for server in servers:
        server.judge()
    harness.remove_directory(folder)


def url(server):
    return f"ws://127.0.0.1:{server.port}/ws"


def client(server, address, **settings):
    """A client that tries again sooner than an application would."""
    settings = {"min_backoff": 0.05, "max_backoff": 0.5, "ack_delay": 0.02, "token": server.token(address, po=RIGHTS),
                **settings}
    return postoffice.PostOffice(settings.pop("url", url(server)), **settings)


def run(work, deadline=120):
    asyncio.run(asyncio.wait_for(work, deadline))


class Program:
    """A program under test: its lines, as they come."""

    def __init__(self, arguments, stdin=False, by=(sys.executable, "-u"), **environment):
        self.process = subprocess.Popen(
            [*by, *map(str, arguments)], stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(PACKAGE / "src"), "PYTHONDONTWRITEBYTECODE": "1", **environment})
        self.complaints = []
        self.lines = queue.Queue()
        for stream, take in ((self.process.stdout, self.lines.put), (self.process.stderr, self.complaints.append)):
            threading.Thread(target=self._read, args=(stream, take), daemon=True).start()

    @staticmethod
    def _read(stream, take):
        for line in stream:
            take(line.rstrip("\n"))
        take(None)

    def line(self):
        """The next line; None at the end."""
        try:
            return self.lines.get(timeout=3 * harness.DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no line came; stderr: {self.complaints[-20:]}") from None

    def until(self, wanted):
        """The lines up to and including this one."""
        found = []
        while not found or found[-1] != wanted:
            line = self.line()
            assert line is not None, f"ended before {wanted!r}: {found[-20:]}, stderr: {self.complaints[-20:]}"
            found.append(line)
        return found

    def kill(self):
        self.process.kill()
        self.process.wait(harness.DEADLINE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
