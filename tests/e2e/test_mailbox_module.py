"""worker/mailbox against real Redis trouble: the program tests/unit/mailbox_live, run as a test."""

import os
import pathlib
import subprocess

import harness

BUILD = pathlib.Path(os.environ.get("POSTOFFICE_BUILD", harness.ROOT / "build" / "gcc"))


def test_mailboxes_keep_their_promises():
    program = BUILD / "tests" / "unit" / "mailbox_live"
    assert program.exists(), f"{program} is not built: run make e2e"
    result = subprocess.run([program], capture_output=True, text=True, timeout=600, check=False,
                            env=harness.environment())
    assert not harness.REPORTS.search(result.stderr), result.stderr
    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout
