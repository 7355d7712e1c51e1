"""One hostile token at full speed, each load of tests/bench/hostile.py for a few seconds, with the default configuration:
every worker stays within 64 MiB above idle, and Redis within its budget. `make bench-fair` prints the times too, and
plays each load for 30 s.

POSTOFFICE_HOSTILE_SECONDS sets another time.
"""

import os
import sys

import pytest

import harness

sys.path.insert(0, str(harness.ROOT / "tests" / "bench"))

import fair  # noqa: E402

SECONDS = float(os.environ.get("POSTOFFICE_HOSTILE_SECONDS", "4"))


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer's memory is not the server's")
@pytest.mark.parametrize("name", fair.ATTACKS)
def test_memory_stays_within_its_bounds_under(name, directory):
    row = fair.run_row(name, SECONDS, 1, directory)
    row.show()
    assert not row.broken_off, row.broken_off
    assert row.worker_mib <= fair.WORKER_MIB, f"a worker grew by {row.worker_mib:.0f} MiB"
    budget = fair.redis_budget_mib(SECONDS)
    assert row.redis_mib <= budget, f"Redis grew by {row.redis_mib:.0f} MiB, and may by {budget:.0f}"
