"""The tarballs of `make dist`: the same bytes wherever they are built, and all that a server needs in an empty root."""

import hashlib
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import threading

import pytest

import dist_root
import clients
import harness
import test_redis_tls as redis_tls
import tls as certificates

ARCHES = ["amd64", "arm64"]
# Of the unit tests those whose subject depends on the processor: bytes and their order, arithmetic, atomics and memory
# that processes share, and the libraries that have code of their own for each architecture. Not: test_control, as QEMU
# does not pass on MADV_WIPEONFORK; test_ring, which counts what it did in a time; test_deflate and test_utf8, which take
# half a minute there.
EMULATED = """base64 bus envelope feed hash hosts http ip json msg outbox permission proxy_header seq
    sessions sha1 slots stats tickets tls token token_claims token_public token_vectors users wheel ws""".split()


@pytest.fixture
def directory():
    path = harness.make_directory()
    yield path
    harness.remove_directory(path)


@pytest.fixture
def redis(directory):
    instance = dist_root.TcpRedis(directory)
    yield instance
    instance.stop()


@pytest.fixture
def rooted(directory, redis):
    """rooted(arch, ...) starts a server in a root of its own; each is stopped and judged at the end."""
    dist_root.need_root()
    made = []

    def make(arch, start=True, **options):
        server = dist_root.Rooted(directory / f"place{len(made)}", arch, redis=redis, **options)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        server.stop()
    for server in made:
        server.judge()


def mail_is_stored_and_read(server, **how):
    """alice writes while bob is away; bob connects and reads."""
    async def scenario():
        alice = await clients.PythonClient.open(server, "alice", **how)
        while not alice.welcome["epoch"]:  # a slow machine serves before Redis has answered; `run` bounds the wait
            await alice.close()
            alice = await clients.PythonClient.open(server, "alice", **how)
        sent = await alice.send("bob", "stored " * 1000, type=1)
        await alice.said("accepted", inReplyTo=sent["id"])
        bob = await clients.PythonClient.open(server, "bob", **how)
        assert (await bob.message(id=sent["id"]))["content"] == sent["content"]
    clients.run(scenario())


# ------------------------------------------------------------------------------------------------ the tarball


@pytest.mark.parametrize("arch", ARCHES)
def test_two_builds_in_two_places_give_the_same_bytes_and_no_warning(arch, directory):
    here = dist_root.tarball(arch)
    elsewhere = dist_root.copy_tree(directory / "another place")
    there, said = dist_root.run_dist(elsewhere, arch, SOURCE_DATE_EPOCH=dist_root.release_seconds(), TZ="Asia/Shanghai",
                                     LIBRARIES=str(dist_root.ROOT / "build/dist"))
    assert "LINK" in said, "the second build has linked anew"
    assert not re.search(r"warning|Using '", said), said
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (here, there)]
    assert digests[0] == digests[1]
    subprocess.run(["sha256sum", "--check", "--quiet", f"{here.name}.sha256"], cwd=here.parent, check=True)


@pytest.mark.parametrize("arch", ARCHES)
def test_the_program_wants_no_library_and_no_loader(arch):
    program = dist_root.unpacked(arch) / dist_root.SBIN
    said = subprocess.run(["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", program], check=True,
                          capture_output=True, text=True).stdout
    assert {"amd64": "X86-64", "arm64": "AArch64"}[arch] in said
    assert "INTERP" not in said and "NEEDED" not in said
    assert "BIND_NOW" in said and "GNU_RELRO" in said and "DYN" in said, "hardened as the dynamic program is"


@pytest.mark.parametrize("arch", ARCHES)
def test_the_tarball_holds_what_an_operator_needs(arch):
    found = {re.sub("^[^/]*/", "", member.name) for member in dist_root.members(arch)}
    share = "usr/local/share/doc/postoffice"
    for name in (dist_root.SBIN, "usr/local/sbin/jwks-fetch", "etc/init.d/websocket-server",
                 "usr/local/lib/systemd/system/postoffice.service", f"{share}/operations.md", f"{share}/LICENSE"):
        assert name in found, name
    for path in dist_root.ROOT.glob("docs/man/*.[158]"):
        assert any(path.name in name for name in found), f"{path.name}: the tarball has no such page"
    assert any(re.fullmatch(r"etc/postoffice/config-.*\.json", name) for name in found)
    libraries = re.search("^LIBS := (.*)$", (dist_root.ROOT / "Makefile").read_text(), re.M).group(1)
    packages = {"-levent_core": "libevent-dev", "-lhiredis": "libhiredis-dev", "-lcjson": "libcjson-dev",
                "-lsodium": "libsodium-dev", "-lz": "zlib1g-dev", "-lssl": "libssl-dev", "-lcrypto": "libssl-dev"}
    listed = (dist_root.unpacked(arch) / share / "licences/README").read_text()
    for package in {"libc6-dev", *(packages[library] for library in libraries.split())}:
        assert f"{share}/licences/{package}" in found, f"the licence of {package}"
        assert re.search(rf"^{package} \S", listed, re.M), f"the version of {package}"
    assert "cmocka" not in listed


@pytest.mark.parametrize("arch", ARCHES)
def test_everything_belongs_to_root_and_nobody_else_may_write(arch):
    for member in dist_root.members(arch):
        assert (member.uid, member.gid) == (0, 0) and not member.mode & 0o022, member.name
        assert member.isdir() or member.isreg() or (member.issym() and "/" not in member.linkname), member.name


def test_the_printed_commands_install_and_an_upgrade_keeps_what_the_operator_changed(directory):
    """The commands of docs/operations.md, with another folder for /."""
    dist_root.need_root()
    place = dist_root.tarball(dist_root.OWN).parent
    section = (dist_root.ROOT / "docs/operations.md").read_text().split("## Tarballs and containers")[1].split("\n## ")[0]
    check, install, upgrade = re.findall(r"^(?:sha256sum|tar) .*", section, re.M)
    root = directory / "root"
    (root / "usr/local").mkdir(parents=True)
    (root / "usr/local").chmod(0o2775)

    def run(command):
        command = command.replace(" -C / ", f" -C {root} ").replace("amd64", dist_root.OWN)
        subprocess.run(command, shell=True, cwd=place, check=True)

    run(check)
    run(install)
    config = root / "etc/postoffice/config-dev.json"
    shipped = config.read_text()
    config.write_text("{}")
    (root / dist_root.SBIN).write_text("the version before")
    run(upgrade)
    assert config.read_text() == "{}" and shipped != "{}"
    assert (root / dist_root.SBIN).read_bytes()[:4] == b"\x7fELF"
    assert (root / "usr/local").stat().st_mode & 0o7777 == 0o2775, "folders of the system stay as they are"


# -------------------------------------------------------------------------------------------- in an empty root


@pytest.mark.parametrize("arch", ARCHES)
def test_commands_need_nothing_but_the_tarball(arch, rooted):
    server = rooted(arch, start=False)
    assert re.fullmatch(r"websocket-server \S+\n", server.command("version").stdout)
    shipped = server.command("check-config", "--config", "/etc/postoffice/config-dev.json")
    assert "keygen" in shipped.stderr + shipped.stdout, "it is read, and lacks nothing but a key"
    assert server.command("check-config", "--config", "/srv/config-test.json").returncode == 0
    token = server.command("token", "issue", "--key", "/srv/keys/main.key", "--sub", "alice", "--ttl", "60").stdout
    assert harness.command("token", "verify", "--config", server.config_file, input=token, check=False).returncode == 0


@pytest.mark.parametrize("arch", ARCHES)
def test_an_unprivileged_server_keeps_mail_in_a_redis_by_name(arch, rooted):
    server = rooted(arch)  # localhost, without /etc/hosts
    mail_is_stored_and_read(server)
    mail_is_stored_and_read(server, compression="deflate")


def add_redis(root):
    """redis-server of this machine and its libraries: beside a static program nothing else can be run."""
    program = shutil.which("redis-server")
    said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in [program, *re.findall(r"(/\S+) \(0x", said)]:
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.lstrip("/"))
    shutil.move(root / program.lstrip("/"), (root / dist_root.SBIN).parent / "redis-server")
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "dev/null").chmod(0o666)


def test_storage_that_is_built_in_needs_redis_server_alone(rooted):
    if "embedded:" not in harness.command("explain-config").stdout:
        pytest.skip("this server has no embedded storage")
    server = rooted(dist_root.OWN, start=False, config={"dataSource": {"redis": {"main": {"uri": "embedded:/srv/mail"}}}})
    add_redis(server.root)
    server.start()
    mail_is_stored_and_read(server)


USERS = {"etc/passwd": "root:x:0:0::/:\npostman:x:4711:4712::/:\n",
         "etc/group": "root:x:0:\npostman:x:4712:\nsorters:x:4713:postman\n"}


def test_a_server_of_root_gives_its_workers_the_user_and_the_groups_of_the_files(rooted):
    server = rooted(dist_root.OWN, user=0, redis_name="mailstore", config={"user": "postman"},
                    files={**USERS, "etc/hosts": "127.0.0.1 mailstore\n"})
    mail_is_stored_and_read(server)
    for pid in server.worker_pids().values():
        status = open(f"/proc/{pid}/status").read()
        assert re.search(r"^Uid:\s+4711\s+4711\s+4711\s+4711$", status, re.M)
        assert re.search(r"^Gid:\s+4712\s+4712\s+4712\s+4712$", status, re.M)
        assert re.search(r"^Groups:\s*4712 4713\s*$", status, re.M)


def test_a_user_that_the_files_do_not_have_is_named(rooted):
    server = rooted(dist_root.OWN, user=0, config={"user": "milkman"}, files=USERS, start=False)
    said = server.command("check-config", "--config", "/srv/config-test.json")
    assert said.returncode == 2 and 'found "milkman", allowed a user of this system' in said.stdout + said.stderr


class NameServer:
    """DNS for one name on 127.0.77.53: an alias, and behind it an address."""

    ADDRESS = "127.0.77.53"

    def __init__(self):
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.bind((self.ADDRESS, 53))
        except OSError as error:
            pytest.skip(f"port 53 of {self.ADDRESS}: {error}")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                question, sender = self.socket.recvfrom(512)
            except OSError:
                return
            if sender and question:
                self.socket.sendto(self.answer(question), sender)

    def answer(self, question):
        name = question[12:question.index(b"\0", 12) + 5]  # up to its type and class
        kind = struct.unpack("!H", name[-4:-2])[0]
        self.asked.append((name[:-4], kind))
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 7) + b"\x04main\xc0\x0c"]
        if kind == 1:
            records.append(b"\x04main\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1]))
        return question[:2] + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0) + name + b"".join(records)

    def close(self):
        self.socket.close()


def test_a_redis_is_found_by_dns(rooted):
    dist_root.need_root()
    names = NameServer()
    try:
        mail_is_stored_and_read(rooted(dist_root.OWN, redis_name="redis.post.example",
                                       files={"etc/resolv.conf": f"nameserver {names.ADDRESS}\n"}))
        assert (b"\x05redis\x04post\x07example\x00", 1) in names.asked
    finally:
        names.close()


def test_tls_to_clients_and_to_redis_needs_no_file_of_the_system(rooted, directory):
    server = rooted(dist_root.OWN, start=False)
    tls = certificates.Tls(server.directory)
    issuer = redis_tls.Issuer(directory, "issuer")
    secure = redis_tls.TlsRedis(directory, issuer, issuer.pair("redis", "localhost"))
    try:
        shutil.copy(issuer.file, server.directory / "issuer.crt")
        server.write_config(tls.config(sslCertPath="/srv/tls/main.crt", sslKeyPath="/srv/tls/main.key"))
        server.write_config({"redis": {"tls": {"caFile": "/srv/issuer.crt"}}, "dataSource": {"redis": {"main": {
            "uri": f"rediss://po:s3same@localhost:{secure.port}"}}}})
        server.settle_owners()
        server.start()
        mail_is_stored_and_read(server, tls=tls)
    finally:
        secure.stop()


# ------------------------------------------------------------------------------------------------ unit tests


@pytest.mark.parametrize("arch", ARCHES)
def test_unit_tests_pass_in_the_static_build(arch):
    """`make check` runs all tests of this machine's architecture; here are those that a static libc concerns."""
    dist_root.tarball(arch)
    chosen = EMULATED if arch != dist_root.OWN else ["hosts", "users", "token_vectors", "tls"]
    emulator = dist_root.emulator(arch)
    result = subprocess.run(["scripts/dist", "--test", arch, *(f"test_{name}" for name in chosen)], cwd=dist_root.ROOT,
                            env={**os.environ, "RUN": emulator or ""}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, check=False, timeout=dist_root.BUILD_SECONDS)
    assert result.returncode == 0, result.stdout[-8000:]
    assert result.stdout.count("[  PASSED  ]") == len(chosen)
