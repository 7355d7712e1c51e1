"""rediss://: workers reach Redis over TLS, verify its certificate, and say clearly what is wrong."""

import datetime
import ipaddress
import os
import re
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import harness
from clients import PythonClient, run


class Issuer:
    """An issuer of certificates of its own."""

    def __init__(self, directory, name):
        self.directory, self.key = directory, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(self.sign(self.name, self.key, None, 90).public_bytes(serialization.Encoding.PEM))

    def sign(self, subject, key, names, days):
        now = datetime.datetime.utcnow().replace(microsecond=0)
        built = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
                 .serial_number(x509.random_serial_number())
                 .not_valid_before(now + datetime.timedelta(days=min(days, 0) - 1))
                 .not_valid_after(now + datetime.timedelta(days=days))
                 .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True))
        if names:
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return built.sign(self.key, hashes.SHA256())

    def pair(self, file, *names, days=90):
        """FILE.crt and FILE.key for the names."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = [x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
                 for name in names]
        made = self.sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key, known, days)
        paths = self.directory / f"{file}.crt", self.directory / f"{file}.key"
        paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        paths[1].chmod(0o600)
        return paths


class TlsRedis(harness.Redis):
    """Debian's redis-server with a TLS port, and a password."""

    def __init__(self, directory, issuer, pair, clients="no"):
        self.port, self.issuer, self.pair, self.clients = harness.free_port(), issuer, pair, clients
        super().__init__(directory)

    def command(self):
        return ["redis-server", "--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1",
                "--tls-cert-file", str(self.pair[0]), "--tls-key-file", str(self.pair[1]),
                "--tls-ca-cert-file", str(self.issuer.file), "--tls-auth-clients", self.clients,
                "--user", "default", "on", "nopass", "~*", "&*", "+@all",
                "--user", "po", "on", ">s3same", "~*", "&*", "+@all"]


@pytest.fixture
def issuer(directory):
    return Issuer(directory, "issuer")


@pytest.fixture
def make(directory):
    """A server and its Redis, reached at `host`; the server starts, whether it reaches Redis or not."""
    made = []

    def build(issuer, pair, tls, host="localhost", clients="no"):
        path = directory / f"server{len(made)}"
        path.mkdir(mode=0o755)
        redis = TlsRedis(path, issuer, pair, clients)
        post = harness.Server(path, None, 1)
        uri = f"rediss://po:s3same@{host}:{redis.port}/3"
        post.write_config({"dataSource": {"redis": {"private": {"uri": uri}}},
                           "redis": {"tls": tls, "reconnectMaxMs": 500}})
        made.append((post, redis))
        post.start()
        return post, redis

    yield build
    for post, redis in made:
        post.stop()
        post.judge()
        assert "s3same" not in post.log()
        redis.stop()


def redis_state(post):
    return post.status()["workers"][0]["redis"]


def unreachable(post, why):
    """Where localhost is ::1 first, the first attempt is refused there, and the next one is for 127.0.0.1."""
    harness.wait_until(lambda: re.search(f"event=redis_unreachable .*{re.escape(why)}", post.log()), "Redis is not reached")
    assert redis_state(post) == "away", post.log()[-2000:]


def test_mail_is_stored_over_tls(make, issuer):
    post, redis = make(issuer, issuer.pair("redis", "localhost"), {"caFile": str(issuer.file)})
    harness.wait_until(lambda: redis_state(post) == "up", "Redis is up")

    async def scene():
        alice = await PythonClient.open(post, "alice")
        body = "x" * 600_000
        for number in range(8):  # more than a socket takes at once, both ways
            await alice.send("bob", body, id=f"m{number}", type=1)
        for number in range(8):
            await alice.said("accepted", inReplyTo=f"m{number}")
        bob = await PythonClient.open(post, "bob")
        assert [(await bob.message())["id"] for _ in range(8)] == [f"m{number}" for number in range(8)]
        await alice.close()
        await bob.close()

    run(scene())
    redis.kill()
    harness.wait_until(lambda: redis_state(post) == "away", "Redis is away")
    redis.start()
    harness.wait_until(lambda: redis_state(post) == "up", "and up again")


def test_an_address_is_verified_as_an_address(make, issuer):
    post, _ = make(issuer, issuer.pair("redis", "127.0.0.1"), {"caFile": str(issuer.file)}, host="127.0.0.1")
    harness.wait_until(lambda: redis_state(post) == "up", "Redis is up")


def test_the_server_name_may_be_another_than_the_host(make, issuer):
    post, _ = make(issuer, issuer.pair("redis", "redis.internal"),
                   {"caFile": str(issuer.file), "serverName": "redis.internal"}, host="127.0.0.1")
    harness.wait_until(lambda: redis_state(post) == "up", "Redis is up")


def test_another_issuer_is_not_trusted(make, issuer, directory):
    other = Issuer(directory, "other")
    post, _ = make(issuer, issuer.pair("redis", "localhost"), {"caFile": str(other.file)})
    unreachable(post, "self-signed certificate in certificate chain")


def test_another_name_is_not_trusted(make, issuer):
    post, _ = make(issuer, issuer.pair("redis", "elsewhere"), {"caFile": str(issuer.file)})
    unreachable(post, "hostname mismatch")


def test_an_expired_certificate_is_not_trusted(make, issuer):
    post, _ = make(issuer, issuer.pair("redis", "localhost", days=-1), {"caFile": str(issuer.file)})
    unreachable(post, "certificate has expired")


def test_verification_goes_only_when_asked_for_and_with_a_warning(make, issuer):
    post, _ = make(issuer, issuer.pair("redis", "elsewhere"), {"verify": False})
    harness.wait_until(lambda: redis_state(post) == "up", "Redis is up")
    assert "redis.tls.verify" in post.log()


def test_a_certificate_of_our_own_is_shown_when_redis_asks(make, issuer):
    cert, key = issuer.pair("client", "worker")
    post, _ = make(issuer, issuer.pair("redis", "localhost"),
                   {"caFile": str(issuer.file), "certFile": str(cert), "keyFile": str(key)}, clients="yes")
    harness.wait_until(lambda: redis_state(post) == "up", "Redis is up")


def test_a_redis_that_wants_a_certificate_says_so(make, issuer):
    post, _ = make(issuer, issuer.pair("redis", "localhost"), {"caFile": str(issuer.file)}, clients="yes")
    # The alert, or what is left of it when the connection is reset behind it.
    harness.wait_until(lambda: re.search("redis_unreachable .*(certificate required|may want a certificate)", post.log()),
                       "Redis is not reached")
    assert redis_state(post) == "away"


@pytest.mark.parametrize("tls,why", [
    ({"caFile": "none.crt"}, "redis.tls.caFile"),
    ({"caFile": "text.crt"}, "no certificate in PEM"),
    ({"certFile": "a.crt"}, "redis.tls.keyFile"),
    ({"certFile": "a.crt", "keyFile": "b.key"}, "private key"),
    ({"certFile": "a.crt", "keyFile": "open.key"}, "chmod 600"),
])
def test_files_that_do_not_fit_are_refused(directory, issuer, tls, why):
    path = directory / "server"
    path.mkdir()
    post = harness.Server(path, None, 1)
    (path / "text.crt").write_text("no certificate\n")
    for name in ("a", "b"):
        for file in issuer.pair(name, name):
            file.rename(path / file.name)
    (path / "open.key").write_bytes((path / "a.key").read_bytes())
    (path / "open.key").chmod(0o644)
    post.write_config({"dataSource": {"redis": {"private": {"uri": "rediss://localhost"}}}, "redis": {"tls": tls}})
    result = harness.command("check-config", "--config", post.config_file, check=False)
    assert result.returncode == 2 and why in result.stderr, result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("spoil, key, cure", [
    (lambda path: shutil.chown(path / "a.key", "nobody"), "redis.tls.keyFile", "chown root"),
    (lambda path: shutil.chown(path / "a.crt", "nobody"), "redis.tls.certFile", "chown root"),
    (lambda path: shutil.chown(path / "issuer.crt", "nobody"), "redis.tls.caFile", "chown root"),
    (lambda path: shutil.chown(path, "nobody"), "redis.tls.caFile", "chown root"),
    (lambda path: path.chmod(0o777), "redis.tls.caFile", "chmod go-w"),
    (lambda path: (path / "a.key").chmod(0o640), "redis.tls.keyFile", "chmod 600"),
])
def test_files_that_the_workers_can_write_or_others_read_are_refused(directory, issuer, spoil, key, cure):
    path = directory / "server"
    path.mkdir()
    post = harness.Server(path, None, 1)
    files = path / "redis"
    files.mkdir()
    for file in issuer.pair("a", "a"):
        file.rename(files / file.name)
    shutil.copy(issuer.file, files / "issuer.crt")
    post.write_config({
        "dataSource": {"redis": {"private": {"uri": f"rediss://127.0.0.1:{harness.free_port()}"}}},
        "redis": {"tls": {"caFile": "redis/issuer.crt", "certFile": "redis/a.crt", "keyFile": "redis/a.key"}}})
    spoil(files)
    result = harness.command("serve", "--config", post.config_file, check=False)
    assert result.returncode == 2 and key in result.stderr, result.stderr
    command = re.search(rf"run ({cure} /\S+)", result.stderr).group(1)
    subprocess.run(command.split(), check=True)
    post.start()
    assert post.stop() == 0
