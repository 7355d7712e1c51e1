"""README's first command on a bare Debian 12: `make run` installs what is missing, builds, serves, and a mail is stored.

The root is Debian's smallest, with what README asks for before: make (and git, with which the checkout comes).
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest

import bare

DEADLINE = 900  # packages, and a build on a busy machine


@pytest.fixture(scope="module")
def root():
    reason = bare.why_not("mmdebstrap", "unshare")
    if reason:
        pytest.skip(reason)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postoffice-bare-", dir="/var/tmp"))
    folder.chmod(0o755)
    path = folder / "root"
    try:
        bare.run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=make", "bookworm", path)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"no bare root can be made here: {str(error)[-300:]}")
    # The root reaches Debian as this machine does.
    shutil.copytree("/etc/apt", path / "etc" / "apt", dirs_exist_ok=True, symlinks=True,
                    ignore=shutil.ignore_patterns("preferences*", "auth.conf*"))
    shutil.copy("/etc/resolv.conf", path / "etc" / "resolv.conf")
    yield path
    shutil.rmtree(folder, ignore_errors=True)


def inside(root, command):
    """A command in the root with namespaces of its own for mounts and processes: all ends with its first process."""
    script = ('mount --make-rprivate / && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && '
              'exec chroot "$0" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh -c "$1"')
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, str(root), command]


def test_make_run_installs_builds_serves_and_stores_a_mail(root):
    tree = root / "root" / "postoffice"
    tree.mkdir()
    bare.copy_tree(tree)
    assert not (root / "usr" / "bin" / "gcc").exists() and not (root / "usr" / "bin" / "redis-server").exists()
    # SIGINT goes to scripts/run alone: it is the last word of the shell's command.
    process = subprocess.Popen(inside(root, "cd /root/postoffice && make run"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    try:
        bare.wait_until(lambda: process.poll() is not None or any("Ctrl-C ends all of it." in line for line in list(lines)),
                        "make run serves", DEADLINE)
        text = "".join(lines)
        assert process.poll() is None, text[-3000:]
        assert re.search(r"Packages took \d+\.\d s, the build \d+\.\d s, start and first stored mail \d+\.\d s\.", text), text[-3000:]
        assert "a mail was stored, and delivered when its reader connected" in text
        packages = bare.run("chroot", root, "dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
        assert "redis-server" in packages and not {"nodejs", "python3-pytest", "clang"} & set(packages)
        print(f"\n{len(packages)} packages; {re.search(r'Packages took .*', text)[0]}")
    finally:
        process.kill()  # and, with the first process of the namespace, all others
        process.wait()


def test_nothing_of_it_is_left_running(root):
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert not os.readlink(entry / "root").startswith(str(root)), entry
            except OSError:
                continue
