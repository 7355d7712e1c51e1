"""The configuration as an operator meets it: what check-config, explain-config, a start and a reload say."""

import json
import re
import signal

import pytest

import harness
from harness import command
from tls import Tls

STRICT = "--strict"
STRICT_START = "--strict=start"


def checked(directory, text, *more, env=None):
    path = directory / "config-test.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path, command("check-config", "--config", path, *more, check=False,
                         env={**harness.environment(), **(env or {})})


def keygen(path):
    command("keygen", "--kid", "k", "--config", path)


def last_line(result):
    return (result.stdout + result.stderr).splitlines()[-1]


QUIET = {"dataSource": {"redis": {"main": {"uri": "127.0.0.1:6379"}}}}


@pytest.mark.parametrize("text,said", [
    ('{\n  "workers": 2\n  "limits": {}\n}', [":3:3: found '\"', allowed ',' or '}'\n", '      "limits": {}\n      ^^^^^^^^\n']),
    ('{\n  "limits": {"brust": 7},\n}', [':2:14: limits.brust: found an unknown key', 'did you mean "limits.burst"?\n',
                                         '      "limits": {"brust": 7}', '                 ^^^^^^^\n']),
    ('{\n  "workers": "two", // a comment\n}', [":2:14: workers: found a string, allowed a whole number from 0 to",
                                               '      "workers": "two",\n                 ^^^^^\n']),
    ('{"socketPort": 70000}', [":1:16: socketPort: found 70000", '    {"socketPort": 70000}\n                   ^^^^^\n']),
    ('{"redis": {\n "reconnectMinMs": 11, "reconnectMaxMs": 10}}', [":2:20: redis.reconnectMinMs: found 11",
                                                                   "                       ^^\n"]),
    ('{"sslPort": 7503}', [":1:13: sslCertPath: found nothing", "                ^^^^\n"]),
])
def test_an_error_names_line_and_column_and_shows_the_line_with_a_mark(directory, text, said):
    path, result = checked(directory, text)
    assert result.returncode == 2
    assert result.stderr.startswith(str(path)) or f"\n{path}:" in result.stderr
    for part in said:
        assert part in result.stderr, result.stderr
    started = command("serve", "--config", path, check=False)
    assert started.returncode == 2 and said[-1] in started.stderr


def test_comments_and_last_commas_are_for_configuration_files_alone(directory, server):
    post = server(1)
    text = json.dumps({**post.config, "limits": {"recipients": 7}}, indent=1)
    commented = "// of the operator\n" + text.replace("{\n", "{ /* here */\n").replace("\n}", ",\n} // end")
    assert commented.count("/* here */") > 1
    post.config_file.write_text(commented)
    generation = post.status()["configGeneration"]
    post.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: post.status()["configGeneration"] > generation, "the reload is applied")
    (directory / "set.json").write_text('{"keys": [], /* no */}')
    _, result = checked(directory, {**QUIET, "auth": {"jwks": "set.json"}})
    assert result.returncode == 2 and "is no JSON (line 1:" in result.stderr


def test_a_reload_with_an_error_logs_its_place_in_one_line(server):
    post = server(1)
    good = post.config_file.read_text()
    post.config_file.write_text('{\n  "limits": {"burst": 0}\n}')
    post.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: "event=config_kept" in post.log(), "the reload is refused")
    errors = [line for line in post.log().splitlines() if "event=config_error" in line]
    assert len(errors) == 1, errors
    assert f"{post.config_file}:2:23: limits.burst: found 0, allowed a whole number from 1 to" in errors[0]
    post.config_file.write_text(good)


# ------------------------------------------------------------------------------------------------------------ strict

def test_a_config_without_a_key_is_valid_and_says_until_when_the_server_will_not_start(directory):
    path, result = checked(directory, QUIET)
    assert result.returncode == 0
    assert result.stdout == (f"{path}: valid, but the server will not start until there is a key to check tokens with: "
                             f"websocket-server keygen --config {path} makes one\n")
    path, result = checked(directory, QUIET, STRICT)
    assert result.returncode == 2 and "valid, but the server will not start until" in last_line(result)
    assert not result.stdout
    keygen(path)
    for more in ([], [STRICT]):
        path, result = checked(directory, QUIET, *more)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}: good\n", "")


@pytest.mark.parametrize("warned,env,word", [
    ({"dataSource": {}}, {}, "dataSource.redis"),
    ({"limits": {"queueBytes": 65536}}, {}, "limits.queueBytes"),
    ({"dataSource": {"redis": {"main": {"uri": "rediss://h"}}}, "redis": {"tls": {"verify": False}}}, {}, "verify"),
    ({}, {"POSTOFFICE_NO_SUCH": "1"}, "POSTOFFICE_NO_SUCH"),
])
def test_strict_fails_on_every_warning(directory, warned, env, word):
    path, result = checked(directory, {**QUIET, **warned})
    keygen(path)
    path, result = checked(directory, {**QUIET, **warned}, env=env)
    assert result.returncode == 0 and "warning: " in result.stderr and word in result.stderr
    assert result.stdout == f"{path}: valid, with 1 warning\n"
    path, result = checked(directory, {**QUIET, **warned}, STRICT, env=env)
    assert result.returncode == 2 and last_line(result) == f"{path}: valid, with 1 warning"


def test_no_redis_is_no_warning_when_that_is_written(directory):
    path, _ = checked(directory, {})
    keygen(path)
    assert checked(directory, {}, STRICT)[1].returncode == 2
    assert checked(directory, {"dataSource": {"redis": {}}}, STRICT)[1].returncode == 0


@pytest.mark.parametrize("begins,days", [(-1, 13), (-90, -1), (2, 90)])
def test_strict_fails_on_what_time_brings_and_a_start_does_not(directory, begins, days):
    path, _ = checked(directory, QUIET)
    keygen(path)
    tls = Tls(directory)
    assert checked(directory, {**QUIET, **tls.config()}, STRICT)[1].returncode == 0
    tls.cert, tls.key = tls.pair("timed", "localhost", days=days, begins=begins)
    path, result = checked(directory, {**QUIET, **tls.config()}, STRICT)
    assert result.returncode == 2 and last_line(result) == f"{path}: valid, with 1 warning" and not result.stdout
    assert re.search(rf"^{path}: warning: certificate .*timed.crt", result.stderr, re.M)
    path, result = checked(directory, {**QUIET, **tls.config()}, STRICT_START)
    assert result.returncode == 0 and result.stdout == f"{path}: valid, with 1 warning\n" and "timed.crt" in result.stderr


def test_a_key_past_its_time_is_a_warning_of_time(directory):
    path, _ = checked(directory, QUIET)
    keygen(path)
    over = {"auth": {"keys": [{"kid": "k", "kty": "ed25519", "publicFile": "keys/k.pub", "notAfter": 1}]}}
    for more, status in ((STRICT, 2), (STRICT_START, 0)):
        path, result = checked(directory, {**QUIET, **over}, more)
        assert result.returncode == status
        assert re.search(r"config-test.json:1:\d+: warning: auth.keys\[0\]: ", result.stderr)


def test_a_start_is_as_strict_as_any_check_on_what_the_operator_wrote(directory):
    path, _ = checked(directory, {})
    assert checked(directory, QUIET, STRICT_START)[1].returncode == 2, "there is no key"
    keygen(path)
    assert checked(directory, {}, STRICT_START)[1].returncode == 2, "storage is not named"
    _, result = checked(directory, QUIET, "--strict=sometimes")
    assert result.returncode == 2 and "--strict=sometimes, allowed --strict and --strict=start" in result.stderr


def test_a_key_that_is_left_out_of_a_set_of_others_is_a_note_and_fails_nothing(directory):
    path, _ = checked(directory, QUIET)
    keygen(path)
    good = {"kty": "OKP", "crv": "Ed25519", "kid": "ours", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPJHURo"}  # RFC 8037
    other = {"kty": "EC", "crv": "P-521", "kid": "theirs", "x": "AA", "y": "AA"}
    (directory / "set.json").write_text(json.dumps({"keys": [good, other]}))
    foreign = {"auth": {"jwks": "set.json", "audience": "a", "issuer": "i"}}
    _, result = checked(directory, {**QUIET, **foreign}, STRICT)
    assert (result.returncode, result.stderr.count("note: ")) == (0, 1), result.stderr


def test_an_unreadable_certificate_fails_always(directory):
    path, _ = checked(directory, QUIET)
    keygen(path)
    tls = {"sslPort": 7503, "sslCertPath": "absent.pem", "sslKeyPath": "absent.key"}
    for more in ([], [STRICT]):
        _, result = checked(directory, {**QUIET, **tls}, *more)
        assert result.returncode == 2 and "absent.pem" in result.stderr and not result.stdout


def test_the_init_script_and_the_unit_are_strict():
    """/etc/default/postoffice may say otherwise."""
    for name, initial in (("init.d/websocket-server", "${CHECK_CONFIG---strict=start}"),
                          ("postoffice.service", "\nEnvironment=CHECK_CONFIG=--strict=start\n")):
        text = (harness.ROOT / "scripts" / name).read_text()
        calls = [line for line in text.splitlines() if "check-config" in line and "--print" not in line
                 and not line.lstrip().startswith("#")]
        assert initial in text and calls and all("$CHECK_CONFIG" in line for line in calls), calls


def test_the_value_in_force_of_a_key_is_printed(directory):
    text = '{"shutdown": {"seconds": 42}, // "shutdown": {"seconds": 9}\n "listen": "::1"}'
    for key, value in (("shutdown.seconds", "42"), ("listen", '["::1"]'), ("log.level", '"info"')):
        _, result = checked(directory, text, "--print", key)
        assert (result.returncode, result.stdout) == (0, value + "\n"), result
    _, result = checked(directory, text, "--print", "shutdown.seconds", env={"POSTOFFICE_SHUTDOWN_SECONDS": "43"})
    assert result.stdout == "43\n"
    _, result = checked(directory, text, "--print", "shutdown")
    assert result.returncode == 2 and not result.stdout


# ----------------------------------------------------------------------------------------------------------- explain

def test_explain_config_tells_of_one_key_or_of_a_part():
    assert re.findall(r"^\S+$", command("explain-config", "limits.burst").stdout, re.M) == ["limits.burst"]
    part = re.findall(r"^\S+$", command("explain-config", "redis.tls").stdout, re.M)
    assert len(part) > 3 and all(key.startswith("redis.tls.") for key in part)
    two = re.findall(r"^\S+$", command("explain-config", "POSTOFFICE_WORKERS", "path").stdout, re.M)
    assert two == ["path", "workers"]


@pytest.mark.parametrize("name,near", [("limits.brust", "limits.burst"), ("socketport", "socketPort"),
                                       ("limit", "limits"), ("maxMesages", "mailbox.maxMessages")])
def test_a_mistyped_key_gets_the_nearest_names(name, near):
    result = command("explain-config", name, check=False)
    assert result.returncode == 2 and not result.stdout
    assert re.search(rf'"{name}" is no key; did you mean .*{re.escape(near)}', result.stderr), result.stderr


def test_explain_config_as_json():
    rows = json.loads(command("explain-config", "--json").stdout)
    assert [row["key"] for row in rows] == re.findall(r"^\S+$", command("explain-config").stdout, re.M)
    row = json.loads(command("explain-config", "--json", "limits.burst").stdout)[0]
    assert (row["default"], row["min"], row["type"], row["applies"], row["variable"]) == (
        200, 1, "integer", "live", "POSTOFFICE_LIMITS_BURST")


def test_the_document_of_all_keys_is_what_the_binary_prints():
    printed = command("explain-config", "--markdown").stdout
    assert (harness.ROOT / "docs" / "configuration.md").read_text() == printed, (
        "./websocket-server explain-config --markdown > docs/configuration.md")
    example = re.search(r"```\n(.*?)```", printed, re.S).group(1).splitlines()
    assert example[1].index("0") == example[2].index("^")


# -------------------------------------------------------------------------------------------------------- production

PRODUCTION = harness.ROOT / "config" / "config-production.json"
HERE = {"POSTOFFICE_USER": "nobody", "POSTOFFICE_GROUP": "nogroup"}  # a machine without the package has no postoffice


def test_the_production_configuration_is_strictly_good_once_there_is_a_key(directory):
    path, result = checked(directory, PRODUCTION.read_text(), env=HERE)
    assert result.returncode == 0 and "will not start until there is a key" in result.stdout
    keygen_env = {**harness.environment(), **HERE}
    command("keygen", "--config", path, env=keygen_env)
    path, result = checked(directory, PRODUCTION.read_text(), STRICT, env=HERE)
    assert (result.returncode, result.stderr) == (0, "")


def test_every_key_of_the_production_configuration_has_a_comment():
    lines = PRODUCTION.read_text().splitlines()
    bare = [line for before, line in zip(lines, lines[1:])
            if re.match(r' +"\w+": [^{]', line) and "//" not in before + line
            and not re.match(r' +("\w+": [^{]|},?$)', before)]
    assert bare == []
