#!/usr/bin/python3
"""Bare Debian 12 roots, as somebody has who has installed `make` and nothing else, and commands in them.

    tests/packages/bare_root.py [--skipped FILE] COMMAND

makes a root, runs COMMAND there in a copy of this checkout, shows what it says, and removes the root. FILE gets the names of
the tests that were skipped there (tests/skipped.py). Where no root can be made, that is said, and COMMAND runs in this checkout.

The processes of a root have namespaces of their own: mounts, processes, and for a `Network` the network. With the first
process of a namespace all others end, and all mounts go.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import psutil

import bare

CHECKOUT = "/root/postoffice"
ENVIRONMENT = ["env", "-i", "HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
# The root is a mount of its own, so that commands in it may have namespaces of their own.
MOUNTS = 'mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev"'
# Processes in $1 with the network of this machine, so that packages can be had.
START = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
         f'{MOUNTS} && root=$1 && shift && exec chroot "$root" "$@"', "sh"]
# The same with a network of its own; says "ready", and stays until its standard input ends.
KEEP = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-c",
        f'{MOUNTS} && mount -t tmpfs none "$1/tmp" && chmod 1777 "$1/tmp" && mount -t tmpfs none "$1/run" && '
        'ip link set lo up && echo ready && cat >/dev/null', "sh"]
ENTER = ["nsenter", "--mount", "--pid", "--net", "--target"]


def why_not():
    """None where a root can be made; else the reason, for pytest.skip."""
    return bare.why_not("mmdebstrap", "unshare", "nsenter", "ip")


def hear_interrupts():
    """For preexec_fn: a process in the background of a shell has been told to ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt(process):
    """Ctrl-C in the terminal of the process: SIGINT for all of the session that `setsid` has made for `make`."""
    make = next(each for each in psutil.Process(process.pid).children(recursive=True) if each.name() == "make")
    os.killpg(os.getpgid(make.pid), signal.SIGINT)


class Root:
    """A root with this checkout as a fresh clone in CHECKOUT. `close` removes it, when all that runs in it has ended."""

    def __init__(self, packages="make"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postoffice-bare-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.path = self.folder / "root"
        try:
            bare.make_root(self.path, packages)
        except (AssertionError, subprocess.TimeoutExpired):
            self.close()
            raise
        # The root reaches Debian as this machine does.
        shutil.copytree("/etc/apt", self.path / "etc" / "apt", dirs_exist_ok=True, symlinks=True,
                        ignore=shutil.ignore_patterns("preferences*", "auth.conf*"))
        shutil.copy("/etc/resolv.conf", self.path / "etc" / "resolv.conf")
        # As this machine's; the one that Debian's installer writes has ::1 for localhost too.
        (self.path / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n")
        self.checkout = self.path / CHECKOUT[1:]
        self.checkout.mkdir()
        bare.copy_tree(self.checkout)

    def command(self, script, *variables):
        """The words of a process that runs the script in the checkout, with the network of this machine."""
        return [*START, str(self.path), *ENVIRONMENT, *variables, "sh", "-c", f"cd {CHECKOUT} && {script}"]

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Network:
    """Processes in a root that see each other and a loopback of their own, so that ports never meet those of the machine."""

    def __init__(self, root):
        self.keeper = subprocess.Popen([*KEEP, str(root.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline() != "ready\n":
            raise AssertionError(self.keeper.stderr.read())
        # The keeper's one child is process 1 of the namespace.
        children = pathlib.Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text()
        self.inside = [*ENTER, children.split()[0], "chroot", str(root.path), *ENVIRONMENT]

    def command(self, script):
        return [*self.inside, "/bin/bash", "-euo", "pipefail", "-c", f"cd {CHECKOUT}\n{script}"]

    def run(self, script, timeout=170, data=b""):
        """Runs the script with `data` as its standard input; returns what it says."""
        # Into a file: a daemon that keeps standard output open must not hold the test.
        with tempfile.TemporaryFile() as out:
            result = subprocess.run(self.command(script), input=data, stdout=out, stderr=out, timeout=timeout, check=False)
            out.seek(0)
            said = out.read().decode(errors="replace")
        assert result.returncode == 0, f"status {result.returncode} of\n{script}\n{said[-4000:]}"
        return said

    def start(self, script):
        """Runs the script until somebody ends it; its streams are pipes."""
        return subprocess.Popen(self.command(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, preexec_fn=hear_interrupts)

    def close(self):
        self.keeper.stdin.close()
        self.keeper.wait(60)


def run_in_root(root, command, skipped):
    """The exit status of the command."""
    variables = []
    if skipped:
        variables = [f"PYTHONPATH={CHECKOUT}/tests", "PYTEST_ADDOPTS=-p skipped", f"POSTOFFICE_SKIPPED={CHECKOUT}/skipped"]
    status = subprocess.run(root.command(command, *variables), stdin=subprocess.DEVNULL, check=False).returncode
    if skipped:
        inside = root.checkout / "skipped"
        skipped.write_text(inside.read_text() if inside.exists() else "")
    return status


def main():
    parser = argparse.ArgumentParser(description="Runs a command in a bare Debian root.")
    parser.add_argument("--skipped", type=pathlib.Path)
    parser.add_argument("command")
    given = parser.parse_args()
    reason, root = why_not(), None
    if not reason:
        try:
            root = Root()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            reason = str(error)[-300:]
    if not root:
        print(f"SKIPPED [1] no bare root can be made here, so `{given.command}` runs on this machine: {reason}", flush=True)
        return subprocess.run(["sh", "-c", given.command], cwd=bare.ROOT, check=False).returncode
    try:
        return run_in_root(root, given.command, given.skipped)
    finally:
        root.close()


if __name__ == "__main__":
    os.environ.setdefault("LANG", "C.UTF-8")
    sys.exit(main())
