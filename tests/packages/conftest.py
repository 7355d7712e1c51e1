"""Shared by test_bare.py and test_printed.py: a bare root, made once, in which README's first command is the first that runs."""

import dataclasses
import subprocess
import threading

import pytest

import bare
import bare_root

DEADLINE = 900  # packages, and a build on a busy machine


@dataclasses.dataclass
class FirstRun:
    """What `make run` said, and which programs the root had before."""
    root: bare_root.Root
    had: list
    text: str
    status: int = None  # None: the last line of a good start came


@pytest.fixture(scope="session")
def first_run():
    reason = bare_root.why_not()
    if reason:
        pytest.skip(reason)
    try:
        root = bare_root.Root("make iproute2")  # the smallest Debian lacks iproute2, one that boots has it
    except (AssertionError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"no bare root can be made here: {str(error)[-300:]}")
    had = [name for name in ("gcc", "redis-server", "python3") if (root.path / "usr/bin" / name).exists()]
    process = subprocess.Popen(root.command("exec setsid --wait make run"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", preexec_fn=bare_root.hear_interrupts)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    try:
        bare.wait_until(lambda: process.poll() is not None or any("Ctrl-C ends all of it." in line for line in list(lines)),
                        "make run serves", DEADLINE)
        status = process.poll()
        if status is None:
            bare_root.interrupt(process)
            process.wait(DEADLINE)
        yield FirstRun(root, had, "".join(lines), status)
    finally:
        process.kill()  # and, with the first process of the namespace, all others
        process.wait()
        root.close()
