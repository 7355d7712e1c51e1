"""The command line: exit statuses, help, and errors that say where."""

import json
import re

import pytest

import harness
from harness import command

COMMANDS = ["serve", "check-config", "explain-config", "status", "reload", "keygen", "token", "version", "echo-test"]


def test_version_and_help():
    version = command("version").stdout
    assert any(character.isdigit() for character in version)
    assert command("--version").stdout == version
    text = command("--help").stdout
    for name in COMMANDS:
        assert name in text, name


@pytest.mark.parametrize("arguments", [[name] for name in COMMANDS] + [["token", "issue"], ["token", "verify"]])
def test_every_command_has_help_with_its_exit_statuses(arguments):
    result = command(*arguments, "--help")
    assert result.stdout.startswith("Usage:") and not result.stderr


@pytest.mark.parametrize("arguments", [["dance"], ["--dance"], ["serve", "--dance"], ["check-config", "--config"],
                                       ["serve", "x"], ["echo-test"], ["echo-test", "--port", "x"],
                                       ["echo-test", "--port", "70000"], ["token"], ["token", "dance"],
                                       ["token", "issue"], ["keygen", "--kid", "../x"], ["keygen", "--kty", "rsa"]])
def test_wrong_usage_is_2_and_says_so_on_standard_error(arguments):
    result = command(*arguments, check=False)
    assert result.returncode == 2, result
    assert result.stderr and not result.stdout


@pytest.mark.parametrize("arguments,said", [
    (["dance"], 'unknown command "dance"'), (["serve", "--dance"], "serve: unrecognized option '--dance'"),
    (["status", "--pid", "x"], '--pid: found "x"'), (["reload", "now"], 'unknown argument "now"'),
    (["echo-test", "--port", "70000"], '--port: found "70000"'), (["token", "dance"], 'token: found "dance"'),
    (["keygen", "--kid", "../x"], 'keygen: --kid: found "../x"'), (["keygen", "--kty", "rsa"], 'keygen: --kty: found "rsa"'),
    (["keygen", "--dance"], "keygen: unrecognized option '--dance'"),
    (["token", "issue", "--dance"], "token issue: unrecognized option '--dance'"),
    (["token", "verify", "--dance"], "token verify: unrecognized option '--dance'"),
    (["token", "issue", "--sub"], "token issue: option '--sub' requires an argument"),
    (["token", "issue", "--sub", "#x"], 'token issue: --sub: found "#x"'),
    (["token", "issue", "--sub", "a", "--ttl", "1h"], 'token issue: --ttl: found "1h"'),
    (["token", "issue", "--sub", "a", "--format", "xml"], 'token issue: --format: found "xml"'),
    (["token", "issue", "--sub", "a", "--group", "team"], 'token issue: --group: found "team"'),
    (["token", "issue", "--sub", "a", "--kid", "."], 'token issue: --kid: found "."'),
    (["token", "issue", "--sub", "a", "--jti", "\x1b[1m"], 'token issue: --jti: found "\\x1b[1m"'),
])
def test_the_wrong_word_of_a_command_is_named_with_its_value(arguments, said):
    result = command(*arguments, check=False)
    assert result.returncode == 2 and said in result.stderr, result.stderr


def test_commands_say_what_they_did_and_with_which_file(directory):
    path = directory / "config-test.json"
    path.write_text('{"auth": {"keyDir": "keys"}}')
    made = command("keygen", "--kid", "k", "--config", path)
    assert f"{directory}/keys/k.pub" in made.stdout and f"{directory}/keys/k.key" in made.stdout
    issued = command("token", "issue", "--sub", "alice", "--ttl", "60", "--config", path)
    assert re.search(rf"^token issue: for alice, until \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ, with {directory}/keys/k.key$",
                     issued.stderr, re.MULTILINE), issued.stderr
    assert len(issued.stdout.split()) == 1 and issued.stdout.split(".")[-1].strip() not in issued.stderr
    forever = command("token", "issue", "--sub", "alice", "--unending", "--key", directory / "keys" / "k.key")
    assert f"for alice, without an end, with {directory}/keys/k.key" in forever.stderr


def checked(directory, text, *more, **options):
    path = directory / "config-test.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path, command("check-config", "--config", path, *more, check=False, **options)


@pytest.mark.parametrize("text,words", [
    ('{"socketPort": 7502,\n "workers": }', ["2"]),
    ('{"noSuchKey": 1}', ["noSuchKey"]),
    ('{"limits": {"noSuchKey": 1}}', ["limits.noSuchKey"]),
    ('{"socketPort": "x"}', ["socketPort"]),
    ('{"socketPort": 70000}', ["socketPort", "65535"]),
    ('{"socketPort": 1.5}', ["socketPort"]),
    ('{"workers": -1}', ["workers"]),
    ('{"maxWebSocketConnections": 0}', ["maxWebSocketConnections"]),
    ('{"limits": []}', ["limits"]),
    ('{"log": {"level": "loud"}}', ["log.level"]),
    ('{"socketPort": 1, "socketPort": 2}', ["socketPort"]),
    ('{"auth": {"required": false}}', ["auth.required"]),
    ('{"auth": {"keys": [{"kid": "x", "kty": "hmac", "secretFile": "absent.secret"}]}}', ["absent.secret"]),
    ('{"dataSource": {"redis": {"a": {"uri": "http://x"}}}}', ["dataSource"]),
    ('{"dataSource": {"redis": {"a": {"uri": "h:1"}}, "use": "b"}}', ["dataSource.use"]),
    ("[]", ["config-test.json"]),
    ("", ["config-test.json"]),
    ('{} x', ["config-test.json"]),
])
def test_check_config_names_the_file_and_the_key(directory, text, words):
    path, result = checked(directory, text)
    assert result.returncode == 2
    assert str(path) in result.stderr or path.name in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    started = command("serve", "--config", path, check=False)
    assert started.returncode == 2


def test_the_seeds_keys_alone_pass_with_a_warning_and_serve_after_keygen(directory, redis):
    port = harness.free_port()
    config = {"socketPort": port, "maxWebSocketConnections": 20000,
              "dataSource": {"redis": {"main": {"uri": f"unix:{redis.socket}"}}}}
    path, result = checked(directory, config)
    assert result.returncode == 0 and "keygen" in result.stderr
    env = {**harness.environment(), "POSTOFFICE_PID_FILE": str(directory / "pid")}
    command("keygen", "--config", path, env=env)
    assert (directory / "keys").is_dir()
    import subprocess
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen([harness.BINARY, "--config", str(path)], env=env, cwd=directory, stderr=log,
                                   stdout=log, stdin=subprocess.DEVNULL)
    try:
        def serves():
            assert process.poll() is None, (directory / "log").read_text()
            return command("status", "--json", "--pid-file", directory / "pid", check=False).returncode == 0
        harness.wait_until(serves, "serve is the default command")
    finally:
        process.terminate()
        assert process.wait(harness.DEADLINE) == 0


@pytest.mark.parametrize("name", ["config/config-dev.json", "config/config-zhycit.json"])
def test_the_projects_own_configurations_are_good(name):
    result = command("check-config", "--config", harness.ROOT / name, check=False)
    assert result.returncode == 0, result.stderr


def test_the_environment_chooses_and_overrides(directory):
    (directory / "config-blue.json").write_text('{"socketPort": 1234}')
    (directory / "config-red.json").write_text('{"noSuchKey": 1}')
    env = harness.environment()
    assert command("check-config", "--config-dir", directory, "--env", "blue", env=env).returncode == 0
    assert command("check-config", "--config-dir", directory, "--env", "red", check=False, env=env).returncode == 2
    assert command("check-config", "--config-dir", directory, check=False,
                   env={**env, "POSTOFFICE_ENV": "red"}).returncode == 2
    result = command("check-config", "--config-dir", directory, "--env", "blue", check=False,
                     env={**env, "POSTOFFICE_SOCKET_PORT": "x"})
    assert result.returncode == 2 and "POSTOFFICE_SOCKET_PORT" in result.stderr


def test_explain_config_names_every_key_with_how_it_is_applied():
    text = command("explain-config").stdout
    for key in ("socketPort", "maxWebSocketConnections", "workers", "limits.messageBytes", "auth.keyDir",
                "shutdown.seconds", "redis.prefix", "log.level", "pidFile"):
        assert key in text
    for word in ("live", "swap", "restart"):
        assert word in text


def test_status_of_no_server_is_an_error(directory):
    result = command("status", "--pid-file", directory / "none.pid", check=False)
    assert result.returncode not in (0, None) and result.stderr
    (directory / "stale.pid").write_text("1\n")
    result = command("status", "--json", "--pid-file", directory / "stale.pid", check=False)
    assert result.returncode != 0 and result.stderr


def test_status_for_people_and_for_programs(server):
    post = server(2)
    text = command("status", "--pid-file", post.pid_file).stdout
    assert str(post.process.pid) in text
    assert post.status()["connections"] == 0


def test_every_counter_of_status_is_explained_in_operations(server):
    explained = re.findall(r"`(\w+)`", (harness.ROOT / "docs" / "operations.md").read_text())
    counters = server(1).status()["totals"]
    assert sorted(set(counters) - set(explained)) == []


def test_every_key_that_operations_names_is_a_key():
    keys = re.findall(r"^(\S+)$", command("explain-config").stdout, re.MULTILINE)
    sections = {key.split(".")[0] for key in keys if "." in key} - {"dataSource"}
    named = re.findall(rf"`((?:{'|'.join(sorted(sections))})\.[A-Za-z]+)`",
                       (harness.ROOT / "docs" / "operations.md").read_text())
    assert named and sorted(set(named) - set(keys) - {"redis.conf", "limits.conf"}) == []


def test_keygen_writes_secrets_that_only_the_owner_reads_and_never_over_another(directory):
    for kind, secret in (("ed25519", "k.key"), ("hmac", "h.secret")):
        kid = secret.split(".")[0]
        first = command("keygen", "--kid", kid, "--kty", kind, "--dir", directory / "keys")
        path = directory / "keys" / secret
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().strip() not in first.stdout + first.stderr
        before = path.read_text()
        assert command("keygen", "--kid", kid, "--kty", kind, "--dir", directory / "keys", check=False).returncode != 0
        assert path.read_text() == before


def test_a_port_that_is_taken_is_an_error_that_says_so(server, directory):
    post = server(1)
    other = directory / "other"
    other.mkdir()
    second = {**post.config, "pidFile": str(other / "pid"), "auth": {"keyDir": str(post.keys_directory)}}
    path = other / "config-test.json"
    path.write_text(json.dumps(second))
    result = command("serve", "--config", path, check=False)
    assert result.returncode not in (0, 2)
    assert str(post.port) in result.stderr


def test_shared_memory_that_does_not_fit_is_refused_at_start(directory, redis):
    import resource
    import subprocess
    keys = directory / "keys"
    command("keygen", "--kid", "k", "--dir", keys)
    path = directory / "config-test.json"
    path.write_text(json.dumps({"socketPort": harness.free_port(), "listen": "127.0.0.1", "workers": 1,
                                "maxWebSocketConnections": 4000000, "pidFile": str(directory / "pid")}))
    if harness.SANITIZED:
        pytest.skip("a sanitizer needs all of the address space")

    def little_memory():
        resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))

    result = subprocess.run([harness.BINARY, "serve", "--config", str(path)], capture_output=True, text=True,
                            timeout=harness.DEADLINE, preexec_fn=little_memory, check=False)
    assert result.returncode not in (0, 2)
    assert "maxWebSocketConnections" in result.stderr or "address space" in result.stderr
