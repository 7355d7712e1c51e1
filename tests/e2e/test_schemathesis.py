"""schemathesis, which knows nothing of us, reads docs/openapi.yaml and asks the server what it likes."""

import os
import pathlib
import re
import subprocess

import pytest

import admin
import harness
import openapi
from harness import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/schemathesis/bin/schemathesis"
# Not asked for: a positive answer to whatever the file allows (an address may be reserved, a session gone); a refusal
# of what the server takes more widely than the file (a parameter that is not known, a body without a type); a token
# for health.
LEFT_OUT = "positive_data_acceptance,negative_data_rejection,missing_required_header"


@pytest.mark.skipif(not PROGRAM.exists(), reason="schemathesis is not there: .ci/run installs it")
@pytest.mark.skipif(harness.SANITIZED, reason="runs without a sanitizer")
def test_schemathesis_finds_no_answer_that_the_file_does_not_describe(server, directory):
    port = harness.free_port()
    post = server(1, admin.config(port))
    wait_until(lambda: admin.Admin(post).get("/health/ready").status == 200, "ready")
    token = post.token("root", po={"admin": True})
    result = subprocess.run(
        [PROGRAM, "run", ROOT / "docs/openapi.yaml", "--url", f"http://127.0.0.1:{port}",
         "-H", f"Authorization: Bearer {token}", "--checks", "all", "--exclude-checks", LEFT_OUT,
         "--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--request-timeout", "30",
         "--generation-deterministic", "--warnings", "off", "--no-color"],
        cwd=directory, env={**os.environ, "NO_PROXY": "*", "HOME": str(directory)}, capture_output=True, text=True, timeout=180, check=False)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    asked = len(list(openapi.Document().operations()))
    assert re.search(rf"^\s*Tested: {asked}$", result.stdout, re.M), result.stdout[-3000:]
    assert post.alive() and "clerk_exited" not in post.log() and "worker_exited" not in post.log()
