"""The life of the package on a bare Debian 12, with systemd and with sysvinit as process 1: installed, upgraded while
a session is connected and mail waits, removed, purged."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

import bare

CONFIG = "/etc/postoffice/config.json"
PID_FILE = "/run/postoffice/websocket-server.pid"


@pytest.fixture(scope="module")
def folder():
    reason = bare.why_not("mmdebstrap", "unshare", "systemd-nspawn", "dpkg-deb", "nsenter")
    if reason:
        pytest.skip(reason)
    path = pathlib.Path(tempfile.mkdtemp(prefix="postoffice-deb-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def root(folder):
    path = folder / "root"
    if "BARE_ROOT" in os.environ:  # one that was made before, to try the tests themselves
        return pathlib.Path(os.environ["BARE_ROOT"])
    try:
        bare.make_root(path)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"no bare root can be made here: {str(error)[-300:]}")
    return path


@pytest.fixture(scope="module", params=sorted(bare.INITS))
def machine(request, folder, root):
    made = bare.Machine(root, folder / request.param, request.param)
    try:
        reason = made.boot()
        if reason:
            pytest.skip(f"no machine can be booted here: {reason}")
        made.names_before = made.names()
        yield made
    finally:
        made.close()


def install(machine, deb, check=True):
    shutil.copy(deb, machine.path / "root" / "postoffice.deb")
    return machine.run("dpkg", "-i", "/root/postoffice.deb", check=check).stdout


def service(machine, action, check=True):
    return machine.run("service", "websocket-server", action, check=check)


def master(machine):
    return int(machine.read(PID_FILE))


def status(machine):
    return json.loads(machine.run("websocket-server", "status", "--json", "--pid-file", PID_FILE).stdout)


def storage(machine):
    """The embedded storage, when it is ready and the workers have it."""
    def ready():
        told = machine.run("websocket-server", "status", "--json", "--pid-file", PID_FILE, check=False)
        told = json.loads(told.stdout) if told.returncode == 0 else {}
        workers = told.get("workers", [])
        return told.get("storage", {}) if workers and all(row["redis"] == "up" for row in workers) else {}

    bare.wait_until(lambda: ready().get("state") == "ready", "the storage is ready")
    return ready()


def token(machine, address):
    return machine.run("websocket-server", "token", "issue", "--config", CONFIG, "--sub", address, "--ttl", "3600") \
        .stdout.strip().split("\n")[-1]


def open_session(machine, address):
    session = bare.Session(machine, address, token(machine, address))
    session.take(subject="welcome")
    return session


# The tests of one machine follow each other, as the life does.


def test_installing_makes_user_key_and_folders_and_starts_the_server(machine):
    install(machine, bare.package())
    assert service(machine, "status").returncode == 0
    assert machine.run("id", "-nG", "postoffice").stdout.strip() == "postoffice"
    workers = [row["pid"] for row in status(machine)["workers"]]
    for pid in workers:
        assert machine.run("ps", "-o", "user=", "-p", pid).stdout.strip() == "postoffice"
    keys = machine.run("find", "/etc/postoffice/keys", "-printf", "%M %u %g %f\n").stdout
    assert "drwxr-x--- root postoffice keys\n" in keys
    assert [line[:20] for line in keys.splitlines() if line.endswith(".key")] == ["-rw------- root root"]
    owner = {"systemd": "postoffice", "sysvinit": "root"}[machine.init]
    assert machine.run("stat", "-c", "%U", "/run/postoffice").stdout.strip() == owner
    assert machine.run("stat", "-c", "%a %U", "/var/lib/postoffice").stdout.strip() == "700 postoffice"
    assert "event=server_ready" in machine.read("/var/log/postoffice/postoffice.log")


def test_the_server_starts_at_boot(machine):
    if machine.init == "systemd":
        assert machine.run("systemctl", "is-enabled", "postoffice").stdout.strip() == "enabled"
        units = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "websocket-server*", "postoffice*")
        assert [line.split()[0] for line in units.stdout.splitlines()] == ["postoffice.service"], "one unit, not two"
        assert "serving with" in machine.run("systemctl", "status", "--no-pager", "postoffice").stdout
        assert not machine.run("systemd-analyze", "verify", "postoffice.service").stdout
    else:
        assert list((machine.path / "etc/rc2.d").glob("S*websocket-server"))
        assert list((machine.path / "etc/rc0.d").glob("K*websocket-server"))


def test_a_reload_takes_the_changed_configuration_and_keeps_the_process(machine):
    pid, generation = master(machine), status(machine)["configGeneration"]
    text = machine.read(CONFIG)
    assert '"workers": 0,' in text and '"socketPort": 7502,' in text
    changed = text.replace('"workers": 0,', '"workers": 1,')
    (machine.path / CONFIG[1:]).write_text(changed.replace('"socketPort": 7502,', '"socketPort": 7503,'))
    said = service(machine, "reload").stdout
    if machine.init == "systemd":  # systemctl shows nothing that ExecReload prints
        said = machine.run("systemctl", "show", "-P", "StatusText", "postoffice").stdout
        assert "waits for a restart: socketPort" in machine.run("journalctl", "-u", "postoffice", "-n", "20").stdout
    assert "waits for a restart: socketPort" in said
    (machine.path / CONFIG[1:]).write_text(changed)
    service(machine, "reload")
    bare.wait_until(lambda: status(machine)["configGeneration"] > generation, "the reload is applied")
    bare.wait_until(lambda: len(status(machine)["workers"]) == 1, "one worker is left")
    assert master(machine) == pid
    good = machine.read(CONFIG)
    (machine.path / CONFIG[1:]).write_text('{ "noSuchKey": 1 }')
    assert service(machine, "reload", check=False).returncode != 0
    assert service(machine, "status").returncode == 0
    (machine.path / CONFIG[1:]).write_text(good)


def test_logrotate_turns_the_log_and_no_line_is_lost(machine):
    before = machine.read("/var/log/postoffice/postoffice.log")
    machine.run("logrotate", "--force", "/etc/logrotate.d/postoffice")
    bare.wait_until(lambda: "event=log_reopened" in machine.read("/var/log/postoffice/postoffice.log"), "the new log is used")
    assert machine.read("/var/log/postoffice/postoffice.log.1").startswith(before)
    assert machine.run("stat", "-c", "%a %U", "/var/log/postoffice/postoffice.log").stdout.strip() == "640 postoffice"


def test_embedded_storage_serves_inside_the_sandbox(machine):
    good, folder = machine.read(CONFIG), "/var/lib/postoffice/redis"
    wanted = re.sub(r'"uri": "[^"]*"', f'"uri": "embedded:{folder}"', good)
    assert wanted != good
    (machine.path / CONFIG[1:]).write_text(wanted)
    service(machine, "restart")
    redis = storage(machine)["pid"]
    assert machine.run("ps", "-o", "user=", "-p", redis).stdout.strip() == "postoffice"
    filtered = "Seccomp:\t2" in machine.read(f"/proc/{redis}/status")
    assert filtered == (machine.init == "systemd"), "the unit's sandbox holds the Redis too"
    alice = open_session(machine, "alice")
    alice.send("carol", "aW5zaWRl")
    alice.take(subject="accepted")

    machine.run("redis-cli", "-s", f"{folder}/redis.sock", "BGREWRITEAOF")  # a process of its own
    bare.wait_until(lambda: re.search(r"rewrite_in_progress:0\s[^$]*last_bgrewrite_status:ok",
                                      machine.run("redis-cli", "-s", f"{folder}/redis.sock", "INFO", "persistence").stdout),
                    "the file is written anew")
    machine.run("kill", "-KILL", redis)
    bare.wait_until(lambda: storage(machine)["restarts"] == 1 and storage(machine)["pid"] != redis, "Redis is started again")
    (machine.path / CONFIG[1:]).write_text(wanted.replace('"dataSource": {', '"redis": { "memoryBytes": 300000000 },\n    "dataSource": {', 1))
    service(machine, "reload")
    bare.wait_until(lambda: storage(machine)["memoryBytesMax"] == 300000000, "Redis has the new bound")

    assert alice.end_during(lambda: service(machine, "restart"))[1] == 1001
    assert "event=storage_overdue" not in machine.read("/var/log/postoffice/postoffice.log")
    machine.run("kill", "-KILL", master(machine))
    if machine.init == "sysvinit":  # nobody watches
        bare.wait_until(lambda: service(machine, "status", check=False).returncode, "the master is gone")
        service(machine, "start")
    bare.wait_until(lambda: service(machine, "status", check=False).returncode == 0 and storage(machine), "the server is there again")
    carol = open_session(machine, "carol")
    assert carol.take(subject="test")["content"] == "aW5zaWRl"
    carol.socket.close()
    (machine.path / CONFIG[1:]).write_text(good)
    service(machine, "restart")
    assert not status(machine)["storage"]


def test_an_upgrade_drains_the_sessions_and_keeps_the_mail(machine, folder):
    alice = open_session(machine, "alice")
    alice.send("bob", "a2VwdA==")
    alice.take(subject="accepted")
    pid = master(machine)
    next_version = bare.later(bare.package(), f"2{machine.init}", folder)
    messages, code = alice.end_during(lambda: install(machine, next_version))
    assert messages[-1]["subject"] == "goodbye" and messages[-1]["code"] == code == 1001
    bare.wait_until(lambda: service(machine, "status", check=False).returncode == 0, "the new version serves")
    assert master(machine) != pid
    bob = open_session(machine, "bob")
    assert bob.take(subject="test")["content"] == "a2VwdA=="
    bob.socket.close()
    assert machine.run("find", "/etc/postoffice/keys", "-name", "*.pub").stdout.count("\n") == 1, "no second key"


def test_an_upgrade_that_refuses_the_configuration_leaves_the_old_version_serving(machine, folder):
    pid = master(machine)
    alice = open_session(machine, "alice")
    good = machine.read(CONFIG)
    (machine.path / CONFIG[1:]).write_text('{ "noSuchKey": 1 }')
    said = install(machine, bare.later(bare.package(), f"3{machine.init}", folder), check=False)
    assert "the old version serves on" in said and "noSuchKey" in said
    (machine.path / CONFIG[1:]).write_text(good)
    assert master(machine) == pid
    alice.send("alice", "c3RpbGwgaGVyZQ==")
    alice.take(subject="accepted")
    assert alice.end_during(lambda: service(machine, "restart"))[1] == 1001


def test_a_wrong_configuration_fails_the_start_for_good_and_says_why(machine):
    good = machine.read(CONFIG)
    service(machine, "stop")
    (machine.path / CONFIG[1:]).write_text('{ "noSuchKey": 1 }')
    said = service(machine, "start", check=False)
    assert said.returncode != 0
    if machine.init == "systemd":
        assert machine.run("systemctl", "show", "-P", "SubState", "postoffice").stdout.strip() == "failed", "no restart waits"
        said = machine.run("journalctl", "-u", "postoffice", "-n", "20")
    assert "noSuchKey" in said.stdout
    (machine.path / CONFIG[1:]).write_text(good)
    service(machine, "start")
    assert service(machine, "status").returncode == 0


def test_removing_stops_the_server_and_keeps_configuration_keys_and_data(machine):
    alice = open_session(machine, "alice")
    assert alice.end_during(lambda: machine.run("dpkg", "--remove", "postoffice"))[1] == 1001
    assert not machine.has(PID_FILE)
    assert not machine.run("pgrep", "-x", "websocket-serve", check=False).stdout
    for name in (CONFIG, "/etc/postoffice/keys", "/var/lib/postoffice", "/var/log/postoffice/postoffice.log"):
        assert machine.has(name), name


def test_purging_leaves_nothing(machine):
    machine.run("dpkg", "--purge", "postoffice")
    assert machine.run("getent", "passwd", "postoffice", check=False).returncode != 0
    assert machine.names() - machine.names_before == set()
    stray = machine.run("find", "/", "-xdev", "(", "-nouser", "-o", "-nogroup", ")", "-not", "-path", "/proc/*").stdout
    assert not stray
