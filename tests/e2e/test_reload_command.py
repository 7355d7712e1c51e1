"""`websocket-server reload` waits for the answer, and says what is in force and what waits for a restart."""

import re
import signal
import subprocess

import harness
from harness import command


def reload(post, *more, check=False):
    return command("reload", "--pid-file", post.pid_file, *more, check=check, env=post.env)


def test_a_live_key_is_in_force_when_the_command_returns(server):
    post = server(1)
    assert "no key has changed" in reload(post, check=True).stdout
    post.write_config({"limits": {"recipients": 7, "burst": 9}})
    result = reload(post, check=True)
    assert f"{post.config_file}: read again\n" in result.stdout
    assert "in force: limits.recipients, limits.burst\n" in result.stdout and "restart" not in result.stdout
    assert post.status()["configGeneration"] == 3
    assert post.status()["reload"]["outcome"] == "applied"
    assert reload(post, "--strict").returncode == 0


def test_a_key_that_needs_a_restart_is_named_until_it_is_taken_back(server):
    post = server(1)
    port = post.port
    post.write_config({"socketPort": harness.free_port(), "limits": {"recipients": 7}})
    result = reload(post)
    assert result.returncode == 0
    assert "waits for a restart: socketPort\n" in result.stdout and "in force: limits.recipients\n" in result.stdout
    assert reload(post, "--strict").returncode == 4, "also with the next reload: the key still waits"
    assert post.status()["reload"]["needsRestart"] == ["socketPort"] and post.status()["socketPort"] == port
    assert "waits for a restart: socketPort" in command("status", "--pid-file", post.pid_file).stdout
    post.write_config({"socketPort": port})
    assert reload(post, "--strict").returncode == 0
    assert post.status()["reload"]["needsRestart"] == []
    assert "waits" not in command("status", "--pid-file", post.pid_file).stdout


def test_a_key_that_replaces_workers_is_named_as_such(server):
    post = server(1)
    post.write_config({"redis": {"commandTimeoutMs": 4321}, "limits": {"recipients": 7}})
    result = reload(post)
    assert result.returncode == 0
    assert re.search(r"new workers.*: redis.commandTimeoutMs\n", result.stdout), result.stdout
    assert "in force: limits.recipients\n" in result.stdout


def test_a_configuration_with_an_error_changes_nothing_and_the_command_says_why(server):
    post = server(1)
    post.write_config({"noSuchKey": 1, "limits": {"recipients": 0}})
    result = reload(post)
    assert result.returncode == 2 and not result.stdout
    assert "everything stays as it was" in result.stderr
    assert "noSuchKey" in result.stderr and "limits.recipients" in result.stderr
    status = post.status()
    assert status["configGeneration"] == 1 and "noSuchKey" in status["reload"]["why"]
    assert "was refused" in command("status", "--pid-file", post.pid_file).stdout
    del post.config["noSuchKey"]
    post.write_config({"limits": {"recipients": 7}})
    assert reload(post).returncode == 0
    assert "why" not in post.status()["reload"]


def test_a_key_that_is_gone_is_refused_with_the_reason_of_the_server(server):
    post = server(1)
    for path in post.keys_directory.iterdir():
        path.unlink()
    result = reload(post)
    assert result.returncode == 2 and "keygen" in result.stderr


def test_many_at_once_all_get_an_answer(server):
    post = server(1)
    post.write_config({"limits": {"recipients": 7}})
    running = [subprocess.Popen([harness.BINARY, "reload", "--pid-file", str(post.pid_file)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=post.env) for _ in range(20)]
    for one in running:
        out, err = one.communicate(timeout=harness.DEADLINE)
        assert one.returncode == 0 and b"read again" in out, err


def test_a_server_that_dies_meanwhile_is_no_success(server):
    post = server(1)
    post.expected_status = -signal.SIGKILL
    post.process.send_signal(signal.SIGSTOP)
    with subprocess.Popen([harness.BINARY, "reload", "--pid", str(post.process.pid)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=post.env) as waiting:
        pending = harness.pathlib.Path(f"/proc/{post.process.pid}/status")
        harness.wait_until(lambda: has_signal(pending.read_text(), signal.SIGHUP), "the signal waits")
        post.process.kill()
        post.process.wait()
        out, err = waiting.communicate(timeout=harness.DEADLINE)
    assert waiting.returncode == 1 and not out and "has ended" in err


def has_signal(text, number):
    masks = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_what_does_not_run_is_3(directory):
    assert command("reload", "--pid-file", directory / "none.pid", check=False).returncode == 3
