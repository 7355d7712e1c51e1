"""A throw-away copy of this machine: everything may be installed, started and changed in it, and nothing stays.

The copy is an overlay over / with its upper half in memory, in namespaces of its own (mounts, processes, network), so ports,
services and files never meet those of the machine. It takes root; `why_not` says what is missing.
"""

import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKOUT = "/root/postoffice"

# Makes the copy below $1, says "ready", and stays until its standard input ends.
MAKE = r"""
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs none "$1/root/tmp"
mount -t tmpfs none "$1/root/run"
chmod 1777 "$1/root/tmp"
ip link set lo up
echo ready
cat >/dev/null
"""
ENTER = ["nsenter", "--mount", "--pid", "--net", "--target"]


class Copy:
    """The copy, with this checkout as a fresh clone in CHECKOUT, and the products of `make` beside it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="postoffice-printed-")
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "/bin/sh", "-c", MAKE, "sh", self.folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ready = self.keeper.stdout.readline() == "ready\n"
        if self.ready:  # the keeper's one child is process 1 of the copy
            children = pathlib.Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text()
            self.inside = [*ENTER, children.split()[0], "chroot", f"{self.folder}/root"]

    def bring_checkout(self):
        files = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z", "--cached", "--others",
                                "--exclude-standard"], check=True, capture_output=True).stdout
        built = [path for path in ("websocket-server", "build/gcc", "build/lua") if (ROOT / path).exists()]
        listed = files + b"".join(path.encode() + b"\0" for path in built)
        packed = subprocess.run(["tar", "-c", "-C", ROOT, "--null", "--ignore-failed-read", "-T", "-"], input=listed, check=True,
                                capture_output=True).stdout
        self.run(f"mkdir -p {CHECKOUT} && tar -x -C {CHECKOUT}", data=packed, cwd="/")

    def command(self, script, cwd=CHECKOUT):
        environment = ["env", "-i", "HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        return [*self.inside, *environment, "/bin/bash", "-euo", "pipefail", "-c", f"cd {cwd}\n{script}"]

    def run(self, script, cwd=CHECKOUT, timeout=170, data=b""):
        """Runs the script with `data` as its standard input; returns what it says."""
        # Into a file: a daemon that keeps standard output open must not hold the test.
        with tempfile.TemporaryFile() as out:
            result = subprocess.run(self.command(script, cwd), input=data, stdout=out, stderr=out, timeout=timeout, check=False)
            out.seek(0)
            said = out.read().decode(errors="replace")
        assert result.returncode == 0, f"status {result.returncode} of\n{script}\n{said[-4000:]}"
        return said

    def start(self, script):
        """Runs the script until somebody ends it; its streams are pipes."""
        return subprocess.Popen(self.command(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)

    def close(self):
        """Ends every process of the copy (its process 1 goes), and its mounts with them."""
        self.keeper.stdin.close()
        self.keeper.wait(60)
        why = self.keeper.stderr.read()
        os.rmdir(self.folder)
        return why


def why_not():
    """None where a copy can be made; else the reason, for pytest.skip."""
    if os.geteuid() != 0:
        return "a copy of the machine takes root"
    try:
        copy = Copy()
    except (OSError, subprocess.SubprocessError) as error:
        return f"no copy of the machine here: {error}"
    why = copy.close()
    return None if copy.ready else f"no copy of the machine here: {why.strip()}"
