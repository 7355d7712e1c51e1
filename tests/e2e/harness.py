"""The server, its Redis and its tokens, as the tests use them.

Everything lives in one directory under /tmp that workers running as `nobody` can walk through, on a
port and a socket of its own, so that several runs never meet. Nothing here sleeps to order events:
`wait_until` polls for a state, with a generous deadline.
"""

import atexit
import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import psutil
import redis as redis_client

ROOT = pathlib.Path(__file__).resolve().parents[2]


def reachable(program):
    """The program, or a copy where every user reaches it: a checkout may lie in /root, and some servers are nobody's."""
    path = pathlib.Path(program).resolve()
    if os.geteuid() != 0 or not path.exists() or all(folder.stat().st_mode & 1 for folder in path.parents):
        return program
    folder = tempfile.mkdtemp(prefix="postoffice-program-")
    os.chmod(folder, 0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return shutil.copy2(program, folder)


BINARY = reachable(os.environ.get("POSTOFFICE_BINARY", str(ROOT / "websocket-server")))
SANITIZED = bool(os.environ.get("POSTOFFICE_SAN"))
# What a test does very often it does a tenth as often under a sanitizer, and waits longer. Only a test that fails waits so long:
# a machine with more work than processors must not fail one.
DEADLINE = 120 if SANITIZED else 60
# A server that soon notices that Redis has gone and is back. A Redis that is there answers within the time-out even when it is
# given no processor for a while.
FAST = {"redis": {"reconnectMinMs": 20, "reconnectMaxMs": 200, "commandTimeoutMs": 2000}}
REPORTS = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|Assertion `")


def scaled(count, least=1):
    return max(least, count // 10) if SANITIZED else count


def wait_until(check, what, deadline=DEADLINE, pause=0.02):
    """Returns the first true value of check(); fails the test when none came in time."""
    end = time.monotonic() + deadline
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline} s in vain: {what}"
        time.sleep(pause)


_ports_given = set()


def free_port():
    """A port below those that the kernel hands out for outgoing connections, so that no client can take it.

    A port is given once, and processes that run tests side by side choose from ranges of their own: between
    the probe here and the server's own bind nobody else of one run takes it.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    room = 17000 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    for port in random.sample(range(15000 + number * room, 15000 + (number + 1) * room), min(room, 1000)):
        if port in _ports_given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            _ports_given.add(port)
            return port
    raise AssertionError("no free port among 1000")


def environment():
    env = {name: value for name, value in os.environ.items() if not name.startswith("POSTOFFICE_")}
    env.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1:allocator_may_return_null=1:"
                   # Freed memory goes back soon, or every test of memory would measure the quarantine.
                   "quarantine_size_mb=1:thread_local_quarantine_size_kb=64")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    return env


def command(*arguments, check=True, **options):
    """Runs the binary to its end; the result has returncode, stdout and stderr as text."""
    options.setdefault("env", environment())
    result = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True,
                            timeout=DEADLINE, check=False, **options)
    assert not REPORTS.search(result.stderr), result.stderr
    if check:
        assert result.returncode == 0, f"{arguments}: {result.returncode}\n{result.stdout}{result.stderr}"
    return result


# ---------------------------------------------------------------------------------------------- tokens


def b64url(data):
    if isinstance(data, (dict, list)):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt_hs256(secret, claims, header=None):
    """A JWT by nobody's code but Python's own: an issuer independent of the server's."""
    head = {"alg": "HS256", "typ": "JWT", **(header or {})}
    head = {name: value for name, value in head.items() if value is not None}
    signed = f"{b64url(head)}.{b64url(claims)}"
    return f"{signed}.{b64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


class Keys:
    """A key folder: `main` (Ed25519, made by the binary) and `outside` (HMAC, made here)."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        command("keygen", "--kid", "main", "--kty", "ed25519", "--dir", self.directory)
        self.secret = os.urandom(32)
        self.add_secret("outside", self.secret)
        self.issued = []

    def add_secret(self, kid, secret):
        path = self.directory / f"{kid}.secret"
        path.write_text(base64.b64encode(secret).decode() + "\n")
        path.chmod(0o600)
        return path

    def seed_file(self, kid="main"):
        """The private half that keygen wrote beside KID.pub."""
        found = [path for path in self.directory.glob(f"{kid}.*") if path.suffix not in (".pub", ".secret")]
        assert len(found) == 1, f"keygen left {sorted(self.directory.iterdir())}"
        return found[0]

    def outside(self, sub, ttl=3600, header=None, secret=None, **claims):
        """An HS256 token made by Python; a claim given as None is left out."""
        now = int(time.time())
        body = {"sub": sub, "exp": now + ttl, "iat": now, "jti": f"j{random.getrandbits(64):x}", **claims}
        body = {name: value for name, value in body.items() if value is not None}
        token = jwt_hs256(secret or self.secret, body, {"kid": "outside", **(header or {})})
        self.issued.append(token)
        return token

    def inside(self, sub, ttl=3600, *more):
        """A token made by the binary with the Ed25519 key."""
        result = command("token", "issue", "--key", self.seed_file(), "--sub", sub, "--ttl", ttl, *more)
        token = result.stdout.strip()
        assert token and not re.search(r"\s", token), result.stdout
        self.issued.append(token)
        return token


# ----------------------------------------------------------------------------------------------- redis


class Redis:
    """A private redis-server on a unix socket that any user may open."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.socket = self.directory / "redis.sock"
        self.process = None
        self.is_there = False  # runs, and is not stopped
        self.durable = False  # from the next start on: what was written is there again after a kill
        self.start()

    def start(self):
        assert self.process is None
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else ["--appendonly", "no"]
        with open(self.directory / "redis.log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.command(), "--unixsocket", str(self.socket), "--unixsocketperm", "777",
                 "--dir", str(self.directory), *keep, "--save", "", "--daemonize", "no"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self.answers, "redis-server answers")
        self.is_there = True

    def command(self):
        return ["redis-server", "--port", "0"]

    def answers(self):
        try:
            return self.client().ping()
        except (redis_client.ConnectionError, redis_client.BusyLoadingError):
            return False

    def client(self):
        return redis_client.Redis(unix_socket_path=str(self.socket))

    def pause(self):
        self.is_there = False
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_there = True

    def kill(self):
        self.is_there = False
        self.process.kill()
        self.process.wait(DEADLINE)
        self.process = None

    def stop(self):
        if self.process is None:
            return
        self.resume()
        self.is_there = False
        try:
            wait_until(self.has_ended, "redis-server ends")
        except AssertionError:
            self.process.kill()
            self.process.wait()
        self.process = None

    def has_ended(self):
        """Asks again each time: a Redis that writes its first append-only file does not end, and forgets that it was told to."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
        return self.process.returncode is not None

    @contextlib.contextmanager
    def monitored(self):
        """`redis-cli monitor` while the block runs; yields a list that holds its lines afterwards."""
        lines = []
        marker = f"end-of-monitor-{random.getrandbits(64):x}"
        path = self.directory / f"monitor-{random.getrandbits(32):x}.txt"
        with open(path, "wb") as out:
            process = subprocess.Popen(["redis-cli", "-s", str(self.socket), "monitor"], stdout=out,
                                       stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: path.read_bytes().startswith(b"OK"), "redis-cli monitors")
            yield lines
            self.client().echo(marker)
            wait_until(lambda: marker.encode() in path.read_bytes(), "the monitor has caught up", pause=0.2)
        finally:
            process.kill()
            process.wait()
        lines.extend(path.read_text(errors="replace").splitlines())


# ---------------------------------------------------------------------------------------------- server


def merge(base, over):
    """base with over laid on it; a key given as None is taken out."""
    result = dict(base)
    for name, value in over.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merge(result[name], value)
        else:
            result[name] = value
    return result


class Server:
    """One running server: master, workers, their configuration, their log."""

    def __init__(self, directory, redis=None, workers=2, config=None, arguments=(), env=None, host=None):
        self.directory = pathlib.Path(directory)
        self.redis = redis
        self.host = host  # a network namespace (hosts.py); None: this one
        self.port = free_port()
        self.keys_directory = self.directory / "keys"
        self.keys_directory.mkdir()
        self.keys = Keys(self.keys_directory)
        self.pid_file = self.directory / "server.pid"
        self.log_file = self.directory / "server.log"
        self.config_file = self.directory / "config-test.json"
        self.config = {
            "socketPort": self.port,
            "listen": "127.0.0.1",
            "maxWebSocketConnections": 20000,
            "workers": workers,
            "pidFile": str(self.pid_file),
            "auth": {"keyDir": "keys"},
            "limits": {"messagesPerSecond": 0, "queueBytes": 64 << 20},
            "log": {"level": "debug"},
            "admin": {"listen": []},  # one process less for each server; tests of the clerk ask for one
        }
        if redis is not None:
            self.config["dataSource"] = {"redis": {"private": {"uri": f"unix:{redis.socket}"}}}
        self.write_config(config or {})
        self.arguments = list(arguments)
        self.env = {**environment(), **(env or {})}
        self.process = None
        self.log_before = 0  # length of the log of earlier runs
        self.expected_status = 0
        self.clerk_stores = False  # once seen (admin.py)

    # -- life

    def write_config(self, over):
        self.config = merge(self.config, over)
        self.config_file.write_text(json.dumps(self.config, indent=2))

    @property
    def workers(self):
        return self.config["workers"]

    def start(self):
        self.log_before = len(self.log())
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*(self.host.inside() if self.host else []), BINARY, "serve", "--config", str(self.config_file),
                 *self.arguments], env=self.env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)
        self.wait_serving()
        return self

    def wait_serving(self, count=None):
        wait_until(lambda: self.is_serving(count), f"{count or self.workers} workers serve")

    def is_serving(self, count=None):
        """Whether all workers serve, and store where their Redis is there: a worker that has not reached its Redis within a
        second serves without it, and refuses mail until then."""
        assert self.process.poll() is None, f"the server ended with {self.process.poll()}:\n{self.log()}"
        status = self.status(check=False)
        return status is not None and len(self.serving(status)) == (count or self.workers) \
            and len(self.serving(status)) == sum(1 for row in status["workers"] if row["pid"]) and self.stores(status)

    def has_storage(self):
        """Whether the Redis of the fixture is there, and no test has named another one."""
        source = (self.config.get("dataSource") or {}).get("redis")
        return self.redis is not None and getattr(self.redis, "is_there", True) and \
            source == {"private": {"uri": f"unix:{self.redis.socket}"}}

    def stores(self, status):
        """Whether every worker has said its place in Redis, which is the first that it does with a mailbox that is ready. True
        where there is nothing to wait for."""
        if not self.has_storage():
            return True
        prefix = self.config.get("redis", {}).get("prefix", "po:")
        known = set(self.redis.client().zrange(f"{prefix}places", 0, -1))
        return all(f"{status['node']}:{row['slot']}:{row['incarnation']}".encode() in known for row in self.serving(status))

    @staticmethod
    def serving(status):
        return [row for row in status["workers"] if row["state"] == "serving"]

    def status(self, check=True):
        result = command("status", "--json", "--pid-file", self.pid_file, check=check, env=self.env)
        return json.loads(result.stdout) if result.returncode == 0 else None

    def total(self, counter):
        return self.status()["totals"][counter]

    def worker_pids(self):
        """pid by slot, of the workers that serve."""
        return {row["slot"]: row["pid"] for row in self.serving(self.status())}

    def has_replaced(self, slot, pid):
        """Whether another process than this one serves at the slot, and stores."""
        status = self.status()
        pids = {row["slot"]: row["pid"] for row in self.serving(status)}
        return pids.get(slot) not in (None, pid) and self.stores(status)

    def sessions(self):
        return sum(row["sessions"] for row in self.status()["workers"])

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def reload(self, **over):
        """Writes the changed config, sends SIGHUP and waits until it is applied, by the master and then by each worker."""
        self.write_config(over)
        before, pids, said = self.status()["configGeneration"], self.worker_pids(), len(self.log())
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.status()["configGeneration"] > before, "the reload is applied")
        log = self.config.get("log") or {}
        if log.get("level") == "debug" and "file" not in log:
            wait_until(lambda: self.have_applied(pids, self.log()[said:]), "the workers have applied the reload")

    def have_applied(self, pids, log):
        """Whether each worker that serves, and served before, has told the master so. Others began with the new configuration."""
        told = {int(slot) for slot in re.findall(r"event=worker_applied slot=(\d+)", log)}
        return all(slot in told or pids.get(slot) != pid for slot, pid in self.worker_pids().items())

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def processes(self):
        """The master and every descendant, as psutil processes."""
        try:
            master = psutil.Process(self.process.pid)
            return [master, *master.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self, deadline=DEADLINE):
        """SIGTERM, and the exit status. Never fails: that is for `judge`."""
        if not self.alive():
            return self.process.returncode if self.process else None
        family = self.processes()
        if not self.is_told_to_stop():  # a second signal would mean: at once
            self.process.terminate()
        try:
            self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for process in psutil.wait_procs(family, timeout=2)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return self.process.returncode

    def is_told_to_stop(self):
        """Whether a test has sent SIGTERM, be it that the master has not come to it yet."""
        with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            waiting = int(next(line.split()[1] for line in file if line.startswith("ShdPnd")), 16)
            if waiting >> (signal.SIGTERM - 1) & 1:
                return True
        return "event=server_stopping" in self.log()[self.log_before:]

    def judge(self):
        """What holds after every test: it ended well, told no secret, and no sanitizer has a complaint."""
        log = self.log()
        report = REPORTS.search(log)
        assert not report, log[max(0, report.start() - 500):report.start() + 6000] if report else ""
        if self.expected_status is not None and self.process is not None:
            assert self.process.returncode == self.expected_status, \
                f"exit status {self.process.returncode}\n{log[-3000:]}"
        for token in self.keys.issued:
            secret = token.rsplit(".", 1)[-1][-24:]
            assert len(secret) < 16 or secret not in log, f"a token is in the log: …{secret}"
        assert base64.b64encode(self.keys.secret).decode() not in log, "the HMAC secret is in the log"

    # -- tokens

    def token(self, sub, **claims):
        return self.keys.outside(sub, **claims)


def make_directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="postoffice-e2e-"))
    path.chmod(0o755)
    return path


def remove_directory(path):
    shutil.rmtree(path, ignore_errors=True)
