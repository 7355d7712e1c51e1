"""Dockerfile and compose.yaml, as far as they can be tried without an engine: the described root runs as process 1."""

import os
import re
import signal
import subprocess

import psutil
import pytest

import dist_root
import harness
import hosts
import image as images

yaml = pytest.importorskip("yaml", reason="python3-yaml is missing: compose.yaml is not read")
ROOT = dist_root.ROOT


@pytest.fixture
def directory():
    path = harness.make_directory()
    yield path
    harness.remove_directory(path)


@pytest.fixture(scope="module")
def image():
    dist_root.need_root()
    dist_root.tarball(dist_root.OWN)
    folder = harness.make_directory()
    yield images.Image(ROOT, dist_root.OWN, folder)
    harness.remove_directory(folder)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


class ComposeRedis(hosts.SharedRedis):
    """The service `redis` of compose.yaml: its own command line, in the middle of the network."""

    command_line = ()

    def command(self):
        addresses = [host.redis_address for host in self.net.hosts]
        return ["ip", "netns", "exec", self.net.name, *self.command_line, "--bind", *addresses, "--protected-mode", "no"]

    def client(self):
        return harness.Redis.client(self)


@pytest.fixture
def network(compose, directory, monkeypatch):
    reason = hosts.why_not()
    if reason:
        pytest.skip(reason)
    ComposeRedis.command_line = compose["services"]["redis"]["command"]
    monkeypatch.setattr(hosts, "SharedRedis", ComposeRedis)
    (directory / "redis").mkdir()
    net = hosts.Network(2, directory / "redis")
    yield net
    net.close()


@pytest.fixture
def run(image, directory):
    """run(...) starts a container; all are ended with the test."""
    made = []

    def start(**options):
        folder = directory / f"container{len(made)}"
        folder.mkdir()
        made.append(images.Container(image, folder, **options))
        return made[-1]

    yield start
    for container in made:
        container.end()


@pytest.fixture
def keys(image, run, compose, directory):
    """The volume "keys", filled by the service `keygen` as an engine would run it."""
    volume = directory / "keys"
    subprocess.run(["cp", "-a", image.root / "etc/postoffice/keys", volume], check=True)  # a new volume is a copy
    maker = run(volumes=[f"{volume}:etc/postoffice/keys"], command=compose["services"]["keygen"]["command"])
    assert maker.engine.wait(harness.DEADLINE) == 0, maker.log()
    return volume


@pytest.fixture
def node(run, keys, network, compose):
    """node(1), node(2): the services office-1 and office-2."""
    def start(number, more_volumes=(), **environment):
        host = network.hosts[number - 1]
        service = compose["services"][f"office-{number}"]
        volumes = [f"{keys}:{volume.split(':', 1)[1].lstrip('/')}" for volume in service["volumes"]]
        container = run(host=host, hosts_file=f"{host.redis_address} redis\n", volumes=[*volumes, *more_volumes],
                        environment={**service["environment"], **environment})
        harness.wait_until(container.serves, "the container serves")
        return container
    return start


# ------------------------------------------------------------------------------------------------ what is written


def test_the_image_holds_the_program_its_licences_and_a_configuration(image):
    files = {path.relative_to(image.root).as_posix() for path in image.root.rglob("*") if path.is_file()}
    assert {dist_root.SBIN, "etc/postoffice/config-container.json", "etc/postoffice/keys/README"} <= files
    assert all(name.startswith("usr/local/share/doc/postoffice/licences/") for name in files
               - {dist_root.SBIN, "etc/postoffice/config-container.json", "etc/postoffice/keys/README"})
    assert image.user == "65534:65534" and image.ports == [7502] and image.stop_signal == "SIGTERM"


def test_dockerfile_and_makefile_name_one_version():
    version = re.search(r"^VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.M).group(1)
    assert set(re.findall(r"^ARG VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M)) == {version}


def test_compose_names_what_there_is(compose, image):
    explained = harness.command("explain-config").stdout
    offices = {name: service for name, service in compose["services"].items() if service.get("image") == "postoffice"}
    assert set(offices) == {"office-1", "office-2", "keygen"}
    for name, service in offices.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        for variable in service.get("environment", {}):
            assert re.search(rf"^\s+variable\s+{variable}$", explained, re.M), variable
        for port in service.get("ports", ()):
            address, _, inner = port.rsplit(":", 2)
            assert address == "127.0.0.1" and int(inner) in image.ports
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"]
            assert (image.root / volume.split(":")[1].lstrip("/")).is_dir(), volume
    stop = re.search(r"^shutdown\.seconds\n(?:.*\n)*?\s+default\s+(\d+)", explained, re.M).group(1)
    assert int(offices["office-1"]["stop_grace_period"].rstrip("s")) > int(stop)
    assert compose["services"]["redis"]["healthcheck"]["test"][0] == "CMD"
    assert "ports" not in compose["services"]["redis"], "Redis has no password"


# ------------------------------------------------------------------------------------------------ what runs


def test_two_nodes_are_one_post_office(node):
    first, second = node(1), node(2)
    assert first.healthy() and second.healthy()
    images.stored_mail(first, second)
    images.stored_mail(second, first)


def test_process_1_has_no_privileges_and_writes_nothing(node):
    container = node(1)
    for process in (container.first(), *container.first().children()):
        status = open(f"/proc/{process.pid}/status").read()
        assert re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", status, re.M)
        assert re.search(r"^Groups:\s*$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert re.search(r"^CapPrm:\s+0+$", status, re.M) and re.search(r"^CapEff:\s+0+$", status, re.M)
    assert re.search(r"^NSpid:\s+\d+\s+1$", open(f"/proc/{container.first().pid}/status").read(), re.M)
    assert any(line.split()[4] == "/" and "ro" in line.split()[5].split(",")
               for line in open(f"/proc/{container.first().pid}/mountinfo")), "the root is read-only"


def test_sigterm_ends_it_in_order(node):
    container = node(1)
    assert container.end() == 0
    assert "event=server_stopped" in container.log()


def test_sighup_reloads(node):
    container = node(1)
    container.first().send_signal(signal.SIGHUP)
    harness.wait_until(lambda: "event=config_reloaded" in container.log(), "the reload is applied")
    assert container.serves()


def test_orphans_of_other_programs_are_reaped(node):
    """A process that `docker exec` leaves behind becomes a child of process 1."""
    container = node(1)
    before = {child.pid for child in container.first().children()}
    subprocess.run(["nsenter", "--target", str(container.first().pid), "--pid", "sh", "-c",
                    "sleep 300 </dev/null >/dev/null 2>&1 & exit 0"], check=True, timeout=harness.DEADLINE)
    orphans = harness.wait_until(lambda: [child for child in container.first().children() if child.pid not in before],
                                 "process 1 has a child that it did not make")
    orphans[0].kill()
    harness.wait_until(lambda: not psutil.pid_exists(orphans[0].pid), "the orphan is gone, not a zombie")
    assert container.serves() and {child.pid for child in container.first().children()} == before


def test_status_finds_process_1_by_its_pid_file(node, directory):
    volume = directory / "run"
    volume.mkdir()
    os.chown(volume, dist_root.NOBODY, dist_root.NOBODY)
    container = node(1, more_volumes=[f"{volume}:run"], POSTOFFICE_PID_FILE="/run/server.pid")
    assert (volume / "server.pid").read_text().split() == ["1"]
    container.enter([*container.image.entrypoint, "status"], check=True)
