"""Fixtures: a private Redis for each module, and a factory of servers that are judged at the end."""

import os
import pathlib

import pytest

import harness
import schema
import wide_summary


# The files that take longest, the longest first: a long file that begins last would run alone at the end.
LONGEST = ["test_hostile", "test_leaks", "test_chaos", "test_slow_phone", "test_service", "test_redis_trouble", "test_mailbox",
           "test_live", "test_groups", "test_worker_killed", "test_all_to_all", "test_nodes", "test_frames",
           "test_talk"]


def pytest_collection_modifyitems(items):
    """The order of the files; the tests of a file keep theirs."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    setattr(item, f"report_{report.when}", report)


@pytest.fixture(autouse=True)
def messages_follow_the_schema():
    """Fails a test in which a client was sent a message that breaks docs/schema, or the server took one."""
    schema.violations.clear()
    yield
    assert not schema.violations, f"{len(schema.violations)} messages break docs/schema:\n" + "\n".join(schema.violations[:5])


# Which definitions of docs/schema have met a message: each worker of xdist tells its own to the process that gathers.
_met = set()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    _met.update(getattr(node, "workeroutput", {}).get("schema_met", []))


def is_whole_run(config):
    """Is every test of the folder asked for? A definition that a part of them does not meet is not dead."""
    here = pathlib.Path(__file__).parent.resolve()
    asked = [pathlib.Path(config.invocation_params.dir, name).resolve() for name in config.args]
    if os.environ.get("POSTOFFICE_ONLY"):  # tests/skipped.py
        return False
    return asked == [here] and not config.option.keyword and not config.option.markexpr and not getattr(config.option, "lf", False)


def pytest_sessionfinish(session, exitstatus):
    _met.update(schema.SCHEMAS.met)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["schema_met"] = sorted(schema.SCHEMAS.met)
    elif exitstatus == 0 and is_whole_run(session.config):
        session.config.schema_dead = schema.SCHEMAS.dead(_met)
        if session.config.schema_dead:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    wide_summary.pytest_terminal_summary(config)
    for name in getattr(config, "schema_dead", []):
        terminalreporter.write_line(f"FAILED docs/schema/{name}: no message of the whole run met this definition", red=True)


@pytest.fixture(scope="session", autouse=True)
def binary():
    assert pathlib.Path(harness.BINARY).exists(), f"{harness.BINARY} is not built: run make"
    return harness.BINARY


@pytest.fixture
def directory(request):
    """A folder of the test's own; kept, and named, when the test fails."""
    path = harness.make_directory()
    yield path
    failed = any(getattr(request.node, f"report_{when}", None) and
                 getattr(request.node, f"report_{when}").failed for when in ("setup", "call"))
    if failed:
        print(f"\nlogs kept in {path}")
    else:
        harness.remove_directory(path)


@pytest.fixture(scope="module")
def redis():
    """Shared by a module's tests; a test that stops it uses `own_redis`."""
    path = harness.make_directory()
    instance = harness.Redis(path)
    yield instance
    instance.stop()
    harness.remove_directory(path)


@pytest.fixture
def own_redis(directory):
    path = directory / "redis"
    path.mkdir()
    path.chmod(0o755)
    instance = harness.Redis(path)
    yield instance
    instance.stop()


def servers(directory, redis):
    made = []

    def make(workers=2, config=None, start=True, **options):
        home = directory / f"server{len(made)}"
        home.mkdir()
        home.chmod(0o755)
        instance = harness.Server(home, options.pop("redis", redis), workers, config, **options)
        made.append(instance)
        if start:
            instance.start()
        return instance

    yield make
    for instance in made:
        instance.stop()
    for instance in made:
        instance.judge()


@pytest.fixture
def server(directory, redis):
    """server(workers=N, config={...}) starts one and waits until it serves. No mail of an earlier test waits."""
    redis.client().flushall()
    yield from servers(directory, redis)


@pytest.fixture
def embedded(directory):
    """embedded(workers=N, config={...}) makes a server that keeps its mail in the folder `storage` beside its configuration."""
    made = servers(directory, None)
    make = next(made)

    def make_embedded(workers=2, config=None, **options):
        source = {"dataSource": {"redis": {"main": {"uri": "embedded:storage"}}}}
        return make(workers, harness.merge(source, config or {}), **options)

    yield make_embedded
    next(made, None)


@pytest.fixture
def server_with_own_redis(directory, own_redis):
    yield from servers(directory, own_redis)
