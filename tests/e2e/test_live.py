"""worker/redis, worker/reach/bus and worker/mailbox against a Redis that is killed, stopped and starved: each program
of tests/live/ is a test."""

import os
import pathlib
import subprocess

import pytest

import harness

BUILD = pathlib.Path(os.environ.get("POSTOFFICE_BUILD", harness.ROOT / "build" / "gcc"))
RUNS = [(path.stem,) for path in sorted((harness.ROOT / "tests" / "live").glob("*.c"))] + [("redis", "tcp"), ("bus", "tcp")]


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_promises(run):
    program = BUILD / "tests" / "live" / run[0]
    assert program.exists(), f"{program} is not built: run make e2e"
    result = subprocess.run([program, *run[1:]], capture_output=True, text=True, timeout=600, check=False,
                            env=harness.environment())
    assert not harness.REPORTS.search(result.stderr), result.stderr
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ok " in result.stdout and "FAILED" not in result.stdout
