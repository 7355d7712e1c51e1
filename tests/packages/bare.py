"""Bare Debian roots, and machines that boot from them in namespaces with systemd or sysvinit as process 1.

A machine has processes, a network (loopback alone) and files of its own. Clients stay in the test's process; their
sockets are opened inside the machine's network.
"""

import concurrent.futures
import contextlib
import ctypes
import functools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

import psutil
import websocket

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 60
CLONE_NEWNET = 0x40000000
# What the package depends on and recommends, so that the root needs no network afterwards; and both inits. `systemd`
# without systemd-sysv lies beside sysvinit-core.
PACKAGES = ("systemd sysvinit-core initscripts procps adduser logrotate redis-server "
            "libcjson1 libevent-core-2.1-7 libhiredis0.14 libsodium23 libssl3 zlib1g")
INITS = {"systemd": "/lib/systemd/systemd", "sysvinit": "/sbin/init"}
CGROUPS = [pathlib.Path("/sys/fs/cgroup", *part.split()) for part in ("", "systemd", "unified")]


def wait_until(check, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline} s in vain: {what}"
        time.sleep(0.1)


def run(*command, check=True, **options):
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            stdin=subprocess.DEVNULL, timeout=300, check=False, **options)
    assert not check or result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}"
    return result


def why_not(*programs):
    """None where this machine has all that is needed; else the reason, for pytest.skip."""
    if os.geteuid() != 0:
        return "bare roots take root"
    missing = [name for name in programs if not shutil.which(name)]
    return f"missing (scripts/setup --packages): {' '.join(missing)}" if missing else None


def make_root(path, packages=PACKAGES):
    """Debian 12 with the packages. Mounts of mmdebstrap are its own: were it killed, a removal of the root would meet /proc and
    /dev of this machine in it."""
    run("unshare", "--mount", "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={packages.replace(' ', ',')}",
        "bookworm", path)


def copy_tree(folder):
    """The tracked files of the checkout, as they are now, in another folder without a history."""
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others",
                             "--exclude-standard"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


class Machine:
    """A machine booted from a copy of a root; `close` ends it and removes all that it has made."""

    def __init__(self, root, path, init):
        self.path = pathlib.Path(path)
        self.init = init
        self.name = f"po-{init}-{os.getpid()}"
        self.console = self.path.with_suffix(".console")
        run("cp", "-a", root, self.path)
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--link-journal=no",
                 f"--machine={self.name}", f"--directory={self.path}", INITS[init]],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)

    def boot(self):
        """None, or why this machine cannot boot another."""
        try:
            wait_until(self.is_up, "the machine is up")
        except AssertionError:
            return self.console.read_text(errors="replace")[-500:]
        return None

    def is_up(self):
        assert self.process.poll() is None
        if not self.leader():
            return False
        if self.init == "systemd":
            return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")
        return self.run("runlevel", check=False).stdout.strip() == "N 2" and \
            self.run("redis-cli", "ping", check=False).stdout.strip() == "PONG"

    def leader(self):
        """Process 1 of the machine, as this machine sees it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                return child
        return None

    def run(self, *command, check=True, **variables):
        words = [f"{name}={value}" for name, value in
                 {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", **variables}.items()]
        return run("nsenter", "--target", self.leader().pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--",
                   "env", "-i", *words, *command, check=check)

    def read(self, name):
        """/run is a file system of the machine's own, so the machine reads."""
        return self.run("cat", name).stdout

    def has(self, name):
        return self.run("test", "-e", name, check=False).returncode == 0

    @contextlib.contextmanager
    def network(self):
        """This thread inside the machine's network; a socket that is made there stays there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/proc/{self.leader().pid}/ns/net", "rb") as there:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(home.fileno(), CLONE_NEWNET)

    def names(self):
        """Every name in the file system, but for what any package leaves: logs, caches and the package database."""
        spared = ("var/log/journal", "var/log/wtmp", "var/log/btmp", "var/log/lastlog", "var/log/dpkg.log", "var/cache", "var/lib/dpkg",
                  "var/lib/systemd/timers", "var/lib/logrotate", "var/lib/redis", "run", "tmp", "proc", "sys", "dev", "root")
        found = set()
        for folder, folders, files in os.walk(self.path):
            inside = os.path.relpath(folder, self.path)
            folders[:] = [name for name in folders if os.path.normpath(f"{inside}/{name}") not in spared]
            found.update(os.path.normpath(f"{inside}/{name}") for name in folders + files)
        return {name for name in found if name not in spared and not name.endswith("-")}  # /etc/passwd- and so on

    def close(self):
        leader = self.leader()
        if leader:
            leader.kill()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(f"/run/systemd/nspawn/propagate/{self.name}", ignore_errors=True)
        for base in CGROUPS:  # only empty ones go
            for name in ("payload", "supervisor"):
                for folder, _, _ in os.walk(base / name, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)


class Session:
    """A session of `address` on the server in the machine."""

    def __init__(self, machine, address, token):
        with machine.network():
            plain = socket.create_connection(("127.0.0.1", 7502), timeout=DEADLINE)
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:7502/ws?clientID={address}", socket=plain, timeout=DEADLINE,
            header=[f"Authorization: Bearer {token}"])
        self.address = address

    def send(self, to, content):
        self.socket.send(json.dumps({"from": self.address, "to": [to], "subject": "test", "content": content, "type": 1}))

    def take(self, **members):
        """The next message with these members; others are passed over."""
        while True:
            opcode, data = self.socket.recv_data()
            assert opcode == websocket.ABNF.OPCODE_TEXT, (opcode, data)
            message = json.loads(data)
            if all(message.get(name) == value for name, value in members.items()):
                return message

    def end(self):
        """The messages up to the end, and the close code."""
        messages = []
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                self.socket.shutdown()
                return messages, int.from_bytes(data[:2], "big")
            messages.append(json.loads(data))

    def end_during(self, action):
        """As `end`, while action() runs: the server waits for clients that do not answer its close frame."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            ending = pool.submit(self.end)
            action()
            return ending.result(DEADLINE)


@functools.lru_cache(maxsize=None)
def version():
    return run("dpkg-parsechangelog", "-l", ROOT / "debian" / "changelog", "-S", "Version").stdout.strip()


def package():
    architecture = run("dpkg", "--print-architecture").stdout.strip()
    return ROOT / "dist" / f"postoffice_{version()}_{architecture}.deb"


def later(deb, number, folder):
    """The same package as a later version."""
    tree = pathlib.Path(folder) / f"tree{number}"
    run("dpkg-deb", "-R", deb, tree)
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace(f"\nVersion: {version()}\n", f"\nVersion: {version()}+{number}\n"))
    target = pathlib.Path(folder) / f"postoffice_{number}.deb"
    run("dpkg-deb", "--root-owner-group", "-b", tree, target)
    return target
