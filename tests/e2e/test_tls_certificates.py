"""Certificates: by name, exchanged without dropping anybody, watched for their end."""

import asyncio
import datetime
import json
import os
import re
import signal
import ssl

import pytest

import clients
import harness
from clients import PythonClient, run
from tls import Tls, blind_context, presented, upgrade


def check_config(post):
    return harness.command("check-config", "--config", post.config_file, check=False)


def hang_up(post):
    """SIGHUP, without waiting for anything."""
    post.process.send_signal(signal.SIGHUP)


# ------------------------------------------------------------------------------------------------------------ by name

def test_the_certificate_is_that_of_the_name_asked_for(server, directory):
    tls = Tls(directory, "main.example")
    pairs = [tls.pair("wild", "*.wild.example", "other.example"), tls.pair("exact", "www.wild.example"),
             tls.pair("rsa", "rsa.example", kind="rsa2048")]
    post = server(1, tls.config(tls={"certificates": [{"certPath": str(cert), "keyPath": str(key)} for cert, key in pairs]}))
    for name, expected in ((None, "main.example"), ("main.example", "main.example"), ("unknown.example", "main.example"),
                           ("a.wild.example", "*.wild.example"), ("A.WILD.Example", "*.wild.example"),
                           ("other.example", "*.wild.example"), ("www.wild.example", "www.wild.example"),
                           ("a.b.wild.example", "main.example"), ("wild.example", "main.example"),
                           ("rsa.example", "rsa.example")):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert presented(tls.port, name, blind_context(version))[0] == expected, name
    shown = post.status()["certificates"]
    assert [each["names"] for each in shown] == [["main.example"], ["*.wild.example", "other.example"],
                                                 ["www.wild.example"], ["rsa.example"]]
    raw = upgrade(post, tls, "named", name="b.wild.example")
    assert '"welcome"' in raw.message()
    raw.socket.close()


def test_a_list_alone_suffices_and_relative_paths_start_at_the_configuration(server, directory):
    tls = Tls(directory, "localhost")
    post = server(1, {"sslPort": tls.port, "tls": {"certificates": [
        {"certPath": "../tls/main.crt", "keyPath": "../tls/main.key"}]}})
    raw = upgrade(post, tls, "listed")
    raw.socket.close()


# ------------------------------------------------------------------------------------------------------------ exchanged

def test_a_new_certificate_under_a_thousand_sessions_drops_none(server, directory):
    tls = Tls(directory)
    post = server(2, tls.config(tls={"ticketSeconds": 0}))
    count = harness.scaled(1000)

    async def story():
        context = tls.context()
        held = []
        for first in range(0, count, 50):
            held += await asyncio.gather(*(PythonClient.open(post, f"held{number}", tls=tls, context=context)
                                           for number in range(first, first + 50)))
        serial = presented_serial(tls)
        tls.pair("main", "localhost")
        post.reload()
        await clients.eventually(lambda: presented_serial(tls) != serial, "new connections get the new certificate")
        for first in range(0, count, 100):
            await asyncio.gather(*(client.settle() for client in held[first:first + 100]))
        assert post.sessions() == count
        late = await PythonClient.open(post, "late", tls=tls)
        await late.settle()

    run(story())
    log = post.log()
    assert "event=config_reloaded applied=tls.certificates" in log
    assert "event=session_closed" not in log.split("event=config_reloaded")[1].split("event=session_opened")[0]


def presented_serial(tls):
    from cryptography import x509
    with clients.socket.create_connection(("127.0.0.1", tls.port)) as plain:
        with blind_context().wrap_socket(plain, server_hostname="localhost") as secure:
            return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True)).serial_number


def damage_mismatch(tls):
    tls.pair("main", "new.example")
    tls.key.write_bytes(tls.pair("stranger", "stranger.example")[1].read_bytes())
    return "the private key is not the key of the certificate"


def damage_absent(tls):
    tls.key.unlink()
    return "unreadable (No such file or directory)"


def damage_garbage(tls):
    tls.cert.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return "no certificate"


def damage_half(tls):
    """A copy that was interrupted."""
    text = tls.cert.read_text()
    tls.cert.write_text(text[:len(text) // 2])
    return "found"


def damage_open(tls):
    tls.key.chmod(0o644)
    return f"run chmod 600 {tls.key}"


def damage_passphrase(tls):
    key = harness.subprocess.run(["openssl", "pkcs8", "-topk8", "-in", tls.key, "-passout", "pass:secret"],
                                 capture_output=True, check=True).stdout
    tls.key.write_bytes(key)
    return "without a passphrase"


def damage_weak(tls):
    tls.pair("main", "weak.example", kind="rsa1024")
    return "too weak"


@pytest.mark.parametrize("damage", [damage_mismatch, damage_absent, damage_garbage, damage_half, damage_open,
                                    damage_passphrase, damage_weak])
def test_a_bad_pair_keeps_the_old_one_and_is_named(server, directory, damage):
    tls = Tls(directory, "old.example")
    post = server(1, tls.config())
    assert check_config(post).returncode == 0
    why = damage(tls)
    hang_up(post)
    harness.wait_until(lambda: "event=config_kept" in post.log(), "the reload is refused")
    error = next(line for line in post.log().splitlines() if "event=config_error" in line)
    assert why in error and (str(tls.cert) in error or str(tls.key) in error), error
    assert presented(tls.port, "old.example") == ["old.example"]
    checked = check_config(post)
    assert checked.returncode == 2 and why in checked.stderr, checked.stderr
    tls.key.unlink(missing_ok=True)
    tls.pair("main", "mended.example")
    post.reload()
    harness.wait_until(lambda: presented(tls.port, None) == ["mended.example"], "the mended pair is taken")


def test_a_start_with_a_bad_pair_fails_and_says_why(server, directory):
    tls = Tls(directory)
    damage_mismatch(tls)
    post = server(1, tls.config(), start=False)
    result = harness.command("serve", "--config", post.config_file, check=False)
    assert result.returncode == 2 and str(tls.key) in result.stderr, result.stderr


def test_the_port_for_tls_keeps_its_certificates_until_the_restart_that_closes_it(server, directory):
    tls = Tls(directory)
    post = server(1, tls.config())
    post.reload(sslPort=None, sslCertPath=None, sslKeyPath=None)
    assert re.search(r"config_reloaded .*needs_restart=sslPort", post.log())
    raw = upgrade(post, tls, "still")
    raw.socket.close()


@pytest.mark.parametrize("bad, expected", [
    ({"sslPort": 7503}, ["sslCertPath"]),
    ({"sslPort": 7503, "sslCertPath": "/no/cert", "sslKeyPath": "/no/key"}, ["/no/cert", "/no/key", "No such file"]),
    ({"sslPort": 7503, "sslCertPath": "c.pem"}, ["sslKeyPath"]),
    ({"sslPort": 7503, "tls": {"certificates": ["x"]}}, ["tls.certificates[0]", "certPath and keyPath"]),
    ({"sslPort": 7503, "tls": {"certificates": [{"certPath": "a", "keyPath": "b", "c": 1}]}}, ['"c"', "certPath, keyPath"]),
    ({"sslPort": 7503, "tls": {"certificates": [{"certPath": 1, "keyPath": ""}]}}, ["certPath no path", "keyPath no path"]),
    ({"socketPort": 0}, ["socketPort", "sslPort"]),
    ({"tls": {"ticketSeconds": -1}}, ["tls.ticketSeconds", "604800"]),
])
def test_errors_name_the_key_and_what_is_allowed(directory, bad, expected):
    path = directory / "bad.json"
    path.write_text(json.dumps(bad))
    result = harness.command("check-config", "--config", path, check=False)
    assert result.returncode == 2
    for each in expected:
        assert each in result.stderr, result.stderr


# ------------------------------------------------------------------------------------------------------------ ends

@pytest.mark.parametrize("days, what", [(13, "ends-soon"), (-1, "ended"), (15, None)])
def test_a_certificate_is_watched_for_its_end(server, directory, days, what):
    tls = Tls(directory, "a.example", "b.example", "10.0.0.1", days=days)
    post = server(1, tls.config())
    shown = post.status()["certificates"]
    ends = datetime.datetime.utcnow() + datetime.timedelta(days=days)
    assert [each["names"] for each in shown] == [["a.example", "b.example", "10.0.0.1"]]
    assert abs(datetime.datetime.fromisoformat(shown[0]["endsAt"].rstrip("Z")) - ends) < datetime.timedelta(minutes=5)
    assert shown[0]["daysLeft"] in (days - 1, days)
    text = harness.command("status", "--pid-file", post.pid_file).stdout
    assert f"certificate a.example,b.example,10.0.0.1: ends {shown[0]['endsAt']}" in text
    checked = check_config(post)
    assert checked.returncode == 0 and (shown[0]["endsAt"] in checked.stderr) == bool(what), checked.stderr
    if what:
        harness.wait_until(lambda: re.search(f'certificate_ends what={what} .*names="a.example,b.example,10.0.0.1"',
                                             post.log()), "the log warns")
    else:
        assert "certificate_ends" not in post.log()
    assert presented(tls.port, None)[0] == "a.example", "an ended certificate is served all the same"
    tls.pair("main", "a.example", days=3)
    lines = post.log().count("certificate_ends")
    post.reload()
    harness.wait_until(lambda: post.log().count("certificate_ends") == lines + 1, "a reload warns too")
    assert post.status()["certificates"][0]["daysLeft"] in (2, 3)


# ------------------------------------------------------------------------------------------------------------ the key

def test_the_private_keys_text_is_in_no_workers_memory(server, directory):
    if os.geteuid() != 0 or harness.SANITIZED:
        pytest.skip("only root reads a worker's memory, and a sanitizer's memory is no place to look for secrets")
    tls = Tls(directory)
    post = server(2, tls.config())
    needles = [line.encode() for line in tls.key.read_text().splitlines()[1:3]]
    for _ in range(2):
        for pid in post.worker_pids().values():
            memory = read_memory(pid)
            for needle in needles:
                assert needle not in memory, "the text of the private key"
        tls.pair("extra", "extra.example")
        post.reload(tls={"certificates": [{"certPath": str(tls.directory / "extra.crt"),
                                           "keyPath": str(tls.directory / "extra.key")}]})
        harness.wait_until(lambda: presented(tls.port, "extra.example") == ["extra.example"], "the reload is applied")
        needles += [line.encode() for line in (tls.directory / "extra.key").read_text().splitlines()[1:3]]


def read_memory(pid):
    pieces = []
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, _, device, _ = line.split()[:5]
            if "w" not in rights or device != "00:00":
                continue
            first, last = (int(each, 16) for each in span.split("-"))
            try:
                memory.seek(first)
                pieces.append(memory.read(last - first))
            except OSError:
                continue
    return b"".join(pieces)
