"""One private Redis for all table tests, and the runner that a test gets as `table`."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

pytest.register_assert_rewrite("tables")

import harness  # noqa: E402
import tables  # noqa: E402
from wide_summary import pytest_terminal_summary  # noqa: E402, F401


@pytest.fixture(scope="session")
def table():
    directory = harness.make_directory()
    redis = harness.Redis(directory)
    yield tables.Table(redis.client())
    redis.stop()
    harness.remove_directory(directory)
