"""Fixtures: an Office for each variant and a Driver for each library, kept as long as tests want them."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

pytest.register_assert_rewrite(*(path.stem for path in HERE.glob("behaviours*.py")), "world", "drivers")

import harness  # noqa: E402  behind the path
import schema  # noqa: E402
from drivers import Driver  # noqa: E402
from office import Office  # noqa: E402
from world import World  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    setattr(item, f"report_{report.when}", report)


@pytest.fixture(scope="session", autouse=True)
def binary():
    assert pathlib.Path(harness.BINARY).exists(), f"{harness.BINARY} is not built: run make"


class Kept:
    """The office of one variant and the drivers that trust it; another variant takes their place."""

    def __init__(self):
        self.office = None
        self.drivers = {}

    def office_of(self, variant):
        if self.office and self.office.variant != variant:
            self.stop()
        if not self.office:
            self.office = Office(variant)
        return self.office

    def driver_of(self, library):
        driver = self.drivers.get(library)
        if not driver or not driver.alive:
            driver = self.drivers[library] = Driver(library, self.office.trust)
        return driver

    def stop(self, judged=True):
        drivers, self.drivers = self.drivers, {}
        for driver in drivers.values():
            driver.stop()
        office, self.office = self.office, None
        if office:
            office.stop(judged)


@pytest.fixture(scope="session")
def kept():
    made = Kept()
    yield made
    made.stop()


def failed(node):
    return any(getattr(node, f"report_{when}", None) and getattr(node, f"report_{when}").failed for when in ("setup", "call"))


@pytest.fixture
def world(kept, request, library, variant):
    """The World of one test. After a failure nothing is shared with the next test."""
    if library.missing():
        pytest.skip(f"{library}: {library.missing()}")
    directory = harness.make_directory()
    made = World(kept.office_of(variant), kept.driver_of(library), directory)
    made.driver.said.clear()  # a report of this test alone
    schema.violations.clear()
    yield made
    if failed(request.node):
        for driver in [made.driver, *made.drivers]:
            print(f"\n---- {driver.library} driver", *driver.said, sep="\n")
        for server in made.office.servers:
            print(f"\n---- {server.config['node']['id']}\n{server.log()[-4000:]}")
        for part in [*made.peers, *made.links]:
            part.close() if hasattr(part, "close") else part.stop()
        for driver in made.drivers:
            driver.kill()
        kept.stop(judged=False)
    else:
        made.end()
    harness.remove_directory(directory)
    assert not schema.violations, "\n".join(schema.violations[:5])
