"""A plugin of pytest (-p skipped) that hands tests from one machine to another: what one skips, the other runs.

POSTOFFICE_SKIPPED=FILE   the names of skipped tests are appended to FILE, a line each
POSTOFFICE_ONLY=FILE      only the tests whose names FILE has are run; when there are none, that is a success

A name begins with the file's path in the checkout; a file that was skipped whole has no more than that.
"""

import os
import pathlib

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
TO, ONLY = os.environ.get("POSTOFFICE_SKIPPED"), os.environ.get("POSTOFFICE_ONLY")


def name_of(config, nodeid):
    """pytest's own names begin at the folder that the command line names."""
    return str((config.rootpath / nodeid.split("::")[0]).relative_to(CHECKOUT)) + nodeid[len(nodeid.split("::")[0]):]


def is_worker(config):
    """A process of pytest-xdist; its reports reach the first process too."""
    return hasattr(config, "workerinput")


def pytest_configure(config):
    if TO and not is_worker(config):
        config.pluginmanager.register(Recorder(config), "skipped-recorder")


class Recorder:
    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        self.keep(report)

    def pytest_collectreport(self, report):
        self.keep(report)

    def keep(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            with open(TO, "a", encoding="utf-8") as file:
                file.write(name_of(self.config, report.nodeid) + "\n")


def pytest_collection_modifyitems(config, items):
    if not ONLY:
        return
    names = set(pathlib.Path(ONLY).read_text(encoding="utf-8").splitlines())
    names |= {name.rpartition("@")[0] for name in names}  # --dist loadgroup puts @GROUP behind a name
    found = {item: name_of(config, item.nodeid) for item in items}
    chosen = [item for item, name in found.items() if name in names or name.split("::")[0] in names]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if ONLY and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
