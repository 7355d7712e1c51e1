"""The client libraries, each behind a driver: one process that holds clients by name and speaks lines of JSON.

A Driver is the process, a Client one client of the library in it. What the drivers are asked and what they tell is
written down in tests/README.md ("Client libraries"). Nothing here knows a language beyond how its driver is started.
"""

import collections
import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import harness

HERE = pathlib.Path(__file__).resolve().parent
# A driver answers when the library does: as long as a library may try again on a loaded machine.
DEADLINE = harness.DEADLINE


class DriverError(Exception):
    """What the library's call failed with: `name` of the error, and its `code`, `id`, `refused`, `field`."""

    def __init__(self, error):
        super().__init__(json.dumps(error, ensure_ascii=False))
        self.error = error
        self.name = error.get("name")
        self.code = error.get("code")


class Library:
    """A library: `command` starts its driver, `missing` says why that cannot be done here (None: it can)."""

    def __init__(self, name, file, programs, prepare):
        self.name, self.file, self.programs, self.prepare = name, file, programs, prepare

    def __str__(self):
        return self.name

    def missing(self):
        for program in self.programs:
            if not shutil.which(program):
                return f"no {program}"
        return None if (HERE / self.file).exists() else f"no tests/clients/{self.file}"

    def command(self):
        return self.prepare(HERE / self.file)


def _python(file):
    return [sys.executable, str(file)]


def _node(file):
    return ["node", str(file)]


def _java(file):
    """Compiles library and driver once for all processes that run tests side by side; a newer source compiles again."""
    out = pathlib.Path(os.environ.get("POSTOFFICE_BUILD", harness.ROOT / "build")) / "clients-java"
    out.mkdir(parents=True, exist_ok=True)
    sources = [*sorted((harness.ROOT / "clients/java/src/main/java").rglob("*.java")), *sorted(file.parent.glob("*.java"))]
    stamp = out / "compiled"
    with open(out / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.stat().st_mtime < max(each.stat().st_mtime for each in sources):
            subprocess.run(["javac", "--release", "11", "-d", str(out), *map(str, sources)], check=True, timeout=300)
            stamp.touch()
    return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", str(out), "Driver"]


LIBRARIES = [
    Library("python", "driver.py", [], _python),
    Library("js", "driver.mjs", ["node"], _node),
    Library("java", "java/Driver.java", ["java", "javac"], _java),
]


class Pending:
    """A call under way; `result` waits for what it settles with, and raises DriverError when it failed."""

    def __init__(self, driver, request):
        self.driver, self.request = driver, request
        self.answer = None

    @property
    def done(self):
        return self.answer is not None

    def result(self):
        self.driver.wait(lambda: self.answer, f"an answer to {self.request}")
        if "error" in self.answer:
            raise DriverError(self.answer["error"])
        return self.answer.get("ok")

    def error(self):
        """The DriverError; fails when the call succeeded."""
        try:
            value = self.result()
        except DriverError as error:
            return error
        raise AssertionError(f"{self.request} succeeded: {value}")


class Driver:
    """The process. Everything it said and was told is in `said`, for the report of a failed test."""

    def __init__(self, library, trust):
        self.library = library
        self.changed = threading.Condition()
        self.numbers = itertools.count(1)
        self.pending = {}
        self.clients = {}
        self.said = collections.deque(maxlen=4000)
        self.stopped = False
        env = {**harness.environment(), "NODE_EXTRA_CA_CERTS": str(trust), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(library.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=env, text=True, encoding="utf-8", bufsize=1)
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._complain, daemon=True).start()

    # -- lines

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.said.append(f"{time.monotonic():.3f} < {line.rstrip()[:600]}")
                try:
                    self._heard(json.loads(line))
                except (ValueError, KeyError) as error:
                    self.said.append(f"! the line above is no answer and no event: {error!r}")
                self.changed.notify_all()
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def _complain(self):
        for line in self.process.stderr:
            self.said.append(f"{time.monotonic():.3f} stderr {line.rstrip()[:600]}")

    def _heard(self, line):
        if "event" in line:
            client = self.clients.get(line.get("client"))
            if client:
                client.events.append((line["event"], line.get("data") or {}))
        else:
            self.pending.pop(line["n"]).answer = line

    def tell(self, do, **fields):
        request = {"n": next(self.numbers), "do": do, **fields}
        pending = Pending(self, request)
        text = json.dumps(request, ensure_ascii=False)
        with self.changed:
            self.pending[request["n"]] = pending
            self.said.append(f"{time.monotonic():.3f} > {text[:600]}")
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        return pending

    def wait(self, check, what, deadline=DEADLINE):
        """The first true value of check(), which is asked whenever the driver has said something."""
        end = time.monotonic() + deadline
        with self.changed:
            while True:
                value = check()
                if value:
                    return value
                left = end - time.monotonic()
                assert not self.stopped, f"the {self.library} driver has ended, and {what} is missing"
                assert left > 0, f"the {self.library} driver: waited {deadline} s in vain for {what}"
                self.changed.wait(left)

    # -- life

    @property
    def alive(self):
        return not self.stopped and self.process.poll() is None

    def kill(self):
        """SIGKILL: nothing can be flushed."""
        self.process.kill()
        self.process.wait(harness.DEADLINE)

    def wait_end(self):
        """Waits until everything that the process said before its end has been read."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.stopped, harness.DEADLINE)

    def stop(self):
        """The end of its input ends a driver; one that stays is killed."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def open(self, name, address, **fields):
        client = self.clients[name] = Client(self, name, address)
        client.holds = fields.get("handle") == "hold"
        self.tell("open", client=name, **fields).result()
        return client


class Client:
    """A client of the library. `events` is all that it told: (kind, data), in order; `take` hands out each once."""

    def __init__(self, driver, name, address):
        self.driver, self.name, self.address = driver, name, address
        self.events = []
        self.taken = set()
        self.open = True
        self.holds = False  # its handlers wait for `release`

    # -- calls

    def begin(self, do, **fields):
        """A call under way."""
        self.holds |= fields.get("mode") == "hold"
        return self.driver.tell(do, client=self.name, **fields)

    def do(self, do, **fields):
        return self.begin(do, **fields).result()

    def connect(self):
        return self.do("connect")

    def begin_send(self, to, text=None, do="send", **message):
        message["to"] = to if isinstance(to, list) else [to]
        if text is not None:
            message["text"] = text
        return self.begin(do, message=message)

    def send(self, to, text=None, **message):
        return self.begin_send(to, text, **message).result()

    def post(self, to, text=None, **message):
        return self.begin_send(to, text, do="post", **message).result()

    def signal(self, to, text=None, **message):
        return self.begin_send(to, text, do="signal", **message).result()

    def close(self):
        self.open = False
        return self.do("close")

    # -- what it told

    def all(self, kind):
        with self.driver.changed:
            return [data for each, data in self.events if each == kind]

    def take(self, kind, where=lambda data: True, what=None):
        """The first event of the kind that was not taken yet and meets the condition; waits for it."""

        def look():
            for index, (each, data) in enumerate(self.events):
                if each == kind and index not in self.taken and where(data):
                    self.taken.add(index)
                    return (data,)
            return None

        return self.driver.wait(look, f"{self.name}: {what or kind}; it told {self.events[-5:]}")[0]

    def texts(self, count=1):
        """The texts of the next messages."""
        return [self.take("message")["text"] for _ in range(count)]

    def until(self, text):
        """The texts of the next messages up to and including this one: what must not come does not stand before it."""
        found = []
        while not found or found[-1] != text:
            found.append(self.take("message", what=f"the message {text!r}; came {found[-5:]}")["text"])
        return found

    def state(self, state):
        """The next event that tells of this state."""
        return self.take("state", lambda data: data["state"] == state, what=f"the state {state}")

    def acked(self, seq):
        """Waits until the server has answered an acknowledgement of this seq or a later one."""
        self.driver.wait(lambda: any(order(data["seq"]) >= order(seq) for kind, data in self.events if kind == "acked"),
                         f"{self.name}: {seq} is acknowledged")


def order(seq):
    """A seq as it sorts."""
    return tuple(int(part) for part in seq.split("-"))
