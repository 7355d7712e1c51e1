"""Fixtures of the tables: one `echo-test` for a file of frames, one server with a Redis for a file that needs sessions."""

import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import clients  # noqa: E402
import harness  # noqa: E402
import play  # noqa: E402
import schema  # noqa: E402
import tls as tls_files  # noqa: E402
from wide_summary import pytest_terminal_summary  # noqa: E402, F401

# The tables send and get back bytes of any kind: docs/schema is for messages (tests/e2e).
clients.Raw.conversation = schema.NoConversation()


class Echo:
    """A running `echo-test`. With tls, context is what its clients need."""

    def __init__(self, *options, tls=False):
        self.port = harness.free_port()
        self.directory = harness.make_directory()
        if tls:
            files = tls_files.Tls(self.directory)
            both = files.directory / "both.pem"
            both.touch(mode=0o600)
            both.write_bytes(files.cert.read_bytes() + files.key.read_bytes())
            options = [*options, "--tls", str(both)]
            self.context = files.context()
        self.log = self.directory / "echo.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([harness.BINARY, "echo-test", "--port", str(self.port), *options], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env=harness.environment())
        harness.wait_until(lambda: "://" in self.log.read_text(), "echo-test listens")

    def stop(self):
        self.process.terminate()
        status = self.process.wait(harness.DEADLINE)
        text = self.log.read_text(errors="replace")
        assert not harness.REPORTS.search(text), text
        assert status == 0, text
        harness.remove_directory(self.directory)


@pytest.fixture(scope="module")
def echo_process():
    instance = Echo()
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def echo(echo_process):
    target = play.EchoTarget(echo_process.port)
    yield target
    target.end()


@pytest.fixture(scope="module")
def redis():
    path = harness.make_directory()
    instance = harness.Redis(path)
    yield instance
    instance.stop()
    harness.remove_directory(path)


@pytest.fixture(scope="module")
def post(redis):
    """One worker, so that one conversation can show that the worker has read what came before on others."""
    directory = harness.make_directory()
    server = harness.Server(directory, redis, 1, {"log": {"level": "info"}, "limits": {"handshakeSeconds": 60}}).start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)
