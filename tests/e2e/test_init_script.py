"""scripts/init.d/websocket-server on the built binary: actions and exit codes as LSB has them."""

import json
import os
import signal
import subprocess

import psutil
import pytest

import harness
from tls import Tls

SCRIPT = harness.ROOT / "scripts" / "init.d" / "websocket-server"


def running(pid):
    """Whether the process runs. A zombie does not run: process 1 may collect it late or never (in some containers)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def init(server):
    """init("start") runs the script for a server that is not started yet; init.post is that server."""
    post = server(1, start=False)
    post.write_config({"log": {"file": str(post.log_file)}})
    env = {**harness.environment(), "DAEMON": harness.BINARY, "CONFIG": str(post.config_file),
           "PIDFILE": str(post.pid_file), "DAEMON_ARGS": ""}

    def run(action, **more):
        with open(post.directory / "init.log", "ab") as log:  # a file: a daemon may keep what it inherits open
            return subprocess.run([str(SCRIPT), action] if action else [str(SCRIPT)], env={**env, **more}, stdout=log,
                                  stderr=log, stdin=subprocess.DEVNULL, timeout=60, check=False).returncode

    run.post = post
    run.pid = lambda: int(post.pid_file.read_text().split()[0])
    run.serves = lambda: post.status(check=False) is not None
    yield run
    run("stop")


def test_start_status_stop(init):
    assert init("status") == 3
    assert init("start") == 0
    assert init("status") == 0
    harness.wait_until(init.serves, "it serves")
    pid = init.pid()
    assert init("start") == 0, "starting what runs is no error"
    assert init.pid() == pid
    assert init("stop") == 0
    harness.wait_until(lambda: not running(pid), "the process is gone")  # its lock went a moment before
    assert init("stop") == 0, "stopping what does not run is no error"
    assert init("status") in (1, 3)


def test_restart_is_another_process(init):
    assert init("restart") == 0, "restart starts what did not run"
    harness.wait_until(init.serves, "it serves")
    before = init.pid()
    assert init("restart") == 0
    assert init.pid() != before
    assert init("status") == 0


@pytest.mark.parametrize("action", ["reload", "force-reload"])
def test_reload_keeps_the_process_and_takes_the_config(init, action):
    assert init("start") == 0
    harness.wait_until(init.serves, "it serves")
    pid = init.pid()
    generation = init.post.status()["configGeneration"]
    init.post.write_config({"limits": {"recipients": 7}})
    assert init(action) == 0
    harness.wait_until(lambda: init.post.status()["configGeneration"] > generation, "the reload is applied")
    assert init.pid() == pid


def test_reload_of_what_does_not_run_is_7(init):
    assert init("reload") == 7


def test_a_broken_config_neither_starts_nor_reloads_nor_stops_anything(init):
    good = init.post.config_file.read_text()
    init.post.config_file.write_text('{"noSuchKey": 1}')
    assert init("start") not in (0,)
    assert init("status") in (1, 3)
    init.post.config_file.write_text(good)
    assert init("start") == 0
    harness.wait_until(init.serves, "it serves")
    pid = init.pid()
    init.post.config_file.write_text('{"noSuchKey": 1}')
    assert init("reload") != 0
    assert init("restart") != 0
    assert init.pid() == pid and running(pid), "restart checks before it stops"
    init.post.config_file.write_text(good)


def test_a_warning_neither_starts_nor_reloads_anything(init):
    """check-config --strict=start; 6 is LSB's: not configured."""
    good = init.post.config_file.read_text()
    warned = json.dumps({**json.loads(good), "limits": {"queueBytes": 65536}})
    keyless = json.dumps({**json.loads(good), "auth": {"keyDir": ""}})
    for text, word in ((warned, "limits.queueBytes"), (keyless, "will not start until there is a key")):
        init.post.config_file.write_text(text)
        assert init("start") == 6
        assert word in (init.post.directory / "init.log").read_text()
    init.post.config_file.write_text(good)
    assert init("start") == 0
    init.post.config_file.write_text(warned)
    assert init("reload") == 6
    init.post.config_file.write_text(good)


def test_an_ended_certificate_is_told_and_stops_neither_a_start_nor_a_reload(init, directory):
    ended = Tls(directory, days=-1)
    config = {**json.loads(init.post.config_file.read_text()), **ended.config()}
    init.post.config_file.write_text(json.dumps(config))
    assert init("start") == 0
    harness.wait_until(init.serves, "it serves")
    assert init("reload") == 0 and init("restart") == 0
    assert (init.post.directory / "init.log").read_text().count("warning: certificate") >= 3
    assert init("start", CHECK_CONFIG="--strict") == 0, "what runs is not judged"
    assert init("stop") == 0
    assert init("start", CHECK_CONFIG="--strict") == 6


def test_a_dead_server_with_a_pid_file_is_1_and_starts_again(init):
    assert init("start") == 0
    harness.wait_until(init.serves, "it serves")
    os.kill(init.pid(), signal.SIGKILL)
    harness.wait_until(lambda: init("status") == 1, "dead, and a pid file is there")
    harness.wait_until(lambda: init("start") == 0, "it starts again")
    assert init("status") == 0


def test_a_stale_pid_of_somebody_else_is_not_killed(init):
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        try:
            init.post.pid_file.write_text(f"{sleeper.pid}\n")
            assert init("status") in (1, 3)
            assert init("stop") == 0
            assert sleeper.poll() is None
        finally:
            sleeper.kill()


def test_the_defaults_file_sets_the_script_and_keys_of_the_server(init):
    defaults = init.post.directory / "defaults"
    defaults.write_text(f"CONFIG={init.post.config_file}\nPOSTOFFICE_LIMITS_RECIPIENTS=many\n")
    assert init("start", CONFIG="", DEFAULTS=str(defaults)) == 6, "the variable of a key reaches the server"
    defaults.write_text(f"CONFIG={init.post.config_file}\nPOSTOFFICE_LIMITS_RECIPIENTS=7\n")
    assert init("start", CONFIG="", DEFAULTS=str(defaults)) == 0


def test_the_log_is_opened_again_after_a_rotation(init):
    assert init("reopen-log") == 7, "nothing runs"
    assert init("start") == 0
    rotated = init.post.log_file.with_suffix(".1")
    init.post.log_file.rename(rotated)
    assert init("reopen-log") == 0
    harness.wait_until(lambda: "event=log_reopened" in init.post.log(), "the new file is written")


def test_wrong_usage_and_what_is_not_installed(init):
    assert init("dance") in (2, 3)
    assert init(None) in (2, 3)
    assert init("start", DAEMON="/no/such/binary") in (0, 5)
    assert init("start", CONFIG="/no/such/config.json") not in (0,)
