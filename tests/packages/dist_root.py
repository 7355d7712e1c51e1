"""Tarballs of scripts/dist, made once a run, and servers that run in roots of their own.

A root holds what the tarball holds. Only a test that says so adds a file (/etc/hosts, a user), as the machine of an
operator would have it. Import this module before harness: all commands then run the static binary of the tarball.
"""

import atexit
import functools
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile

import pytest

from bare import copy_tree  # noqa: F401  for those who use this file

ROOT = pathlib.Path(__file__).resolve().parents[2]
SBIN = "usr/local/sbin/websocket-server"
NOBODY = 65534
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
OWN = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
EMULATORS = {"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}
BUILD_SECONDS = 900

_home = pathlib.Path(tempfile.mkdtemp(prefix="postoffice-dist-"))
_home.chmod(0o755)
atexit.register(shutil.rmtree, _home, ignore_errors=True)


def why_no_tools(arch):
    """The tool that building for the architecture lacks here; empty when none does."""
    wanted = [f"{TRIPLETS[arch]}-gcc", "apt-get", "dpkg-source"]
    missing = [tool for tool in wanted if not shutil.which(tool)]
    return f"{', '.join(missing)} missing (scripts/setup --packages)" if missing else ""


def need_root():
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")


def release_seconds():
    return subprocess.run(["git", "-c", f"safe.directory={ROOT}", "log", "-1", "--format=%ct"], cwd=ROOT, check=True,
                          capture_output=True, text=True).stdout.strip()


def run_dist(tree, arch, **environment):
    """scripts/dist in a tree; returns the tarball and all that was said."""
    result = subprocess.run(["scripts/dist", arch], cwd=tree, env={**os.environ, **environment}, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS,
                            stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stdout[-5000:]
    return pathlib.Path(tree) / result.stdout.strip().splitlines()[-1], result.stdout


@functools.lru_cache(maxsize=None)
def tarball(arch):
    """The tarball that `make dist` leaves in this checkout. Skips the test when a tool is missing."""
    missing = why_no_tools(arch)
    if missing:
        pytest.skip(f"{arch}: {missing}")
    return run_dist(ROOT, arch)[0]


def unpack(arch, folder):
    """The tarball's files at the top of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    subprocess.run(["tar", "-xzf", tarball(arch), "-C", folder, "--strip-components=1"], check=True)
    return folder


@functools.lru_cache(maxsize=None)
def unpacked(arch):
    return unpack(arch, _home / f"unpacked-{arch}")


def members(arch):
    with tarfile.open(tarball(arch)) as archive:
        return archive.getmembers()


def emulator(arch):
    """The path of the emulator that runs the architecture's programs here, None when none is needed."""
    if arch == OWN:
        return None
    found = shutil.which(EMULATORS[arch])
    if not found:
        pytest.skip(f"{EMULATORS[arch]} missing (scripts/setup --packages)")
    return found


if OWN and not why_no_tools(OWN):
    os.environ["POSTOFFICE_BINARY"] = str(unpacked(OWN) / SBIN)
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import harness  # noqa: E402  the binary above is the one that it reads


class TcpRedis(harness.Redis):
    """A private Redis on a port of the loopback too: another root sees no socket of this one."""

    def __init__(self, directory):
        self.port = harness.free_port()
        super().__init__(directory)

    def command(self):
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port)]


class Rooted(harness.Server):
    """A server in an empty root: chroot, as an unprivileged user unless `user` says root."""

    def __init__(self, directory, arch, redis_name="localhost", redis=None, user=NOBODY, files=None, config=None):
        self.root = unpack(arch, pathlib.Path(directory) / "root")
        self.user = user
        self.prefix = []
        self.emulator = emulator(arch)
        if self.emulator:
            shutil.copy2(self.emulator, self.root / "emulator")
            self.prefix = ["/emulator"]
        for name, text in (files or {}).items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        home = self.root / "srv"
        home.mkdir()
        data = {"dataSource": {"redis": {"main": {"uri": f"{redis_name}:{redis.port}"}}}} if redis else {}
        super().__init__(home, None, 2, {"pidFile": "/srv/server.pid", **data, **(config or {})})
        self.settle_owners()

    def settle_owners(self):
        for path in (self.root / "srv", *(self.root / "srv").rglob("*")):
            os.chown(path, self.user, self.user)

    def inside(self, *arguments):
        return [shutil.which("chroot"), f"--userspec={self.user}:{self.user}", "--groups=", str(self.root), *self.prefix, f"/{SBIN}",
                *map(str, arguments)]

    def command(self, *arguments):
        """Runs the program of the root to its end."""
        return subprocess.run(self.inside(*arguments), capture_output=True, text=True, timeout=harness.DEADLINE,
                              check=False, env={})

    def start(self):
        with open(self.root.parent / "server.log", "ab") as log:
            self.log_file = pathlib.Path(log.name)
            self.process = subprocess.Popen(self.inside("serve", "--config", "/srv/config-test.json"), env={},
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_serving()
        return self
