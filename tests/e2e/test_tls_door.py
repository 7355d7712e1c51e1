"""The handshake: who is refused, how, and what a handshake may cost."""

import json
import ssl
import subprocess
import threading
import time

import pytest

import clients
import harness
from clients import Raw
from tls import Slices, Tls, TlsRaw, blind_context, upgrade


def serving(redis, handshake_seconds):
    directory = harness.make_directory()
    tls = Tls(directory)
    server = harness.Server(directory, redis, 2, tls.config(limits={"handshakeSeconds": handshake_seconds})).start()
    server.tls = tls
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


@pytest.fixture(scope="module")
def post(redis):
    yield from serving(redis, 60)


@pytest.fixture(scope="module")
def hasty(redis):
    yield from serving(redis, 3)


def grows(post, counter, act):
    before = post.total(counter)
    result = act()
    harness.wait_until(lambda: post.total(counter) == before + 1, f"{counter} counts it")
    return result


def s_client(post, *options):
    """openssl s_client: an independent view of what is offered."""
    return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{post.tls.port}", *options], text=True, check=False,
                          input="", capture_output=True, timeout=harness.DEADLINE)


# ------------------------------------------------------------------------------------------------------------ refused

def test_an_http_request_in_plain_text_is_told_so(post):
    def ask():
        with Raw(post.tls.port) as raw:
            raw.send(clients.request(token=post.token("plain")))
            return raw.answer()

    answer = grows(post, "tls_failed_plain", ask)
    assert answer.status == 400 and "wss://" in answer.json()["message"]


def test_bytes_that_are_no_tls_are_refused(post):
    def send():
        with Raw(post.tls.port) as raw:
            raw.send(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
            assert len(raw.ended()) < 50  # an alert at most

    grows(post, "tls_failed_not_tls", send)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_versions_before_1_2_are_refused(post, version):
    def connect():
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|protocol version|UNSUPPORTED"):
            TlsRaw(post.tls.port, blind_context(version))

    grows(post, "tls_failed_no_common", connect)
    name = "-tls1" if version == ssl.TLSVersion.TLSv1 else "-tls1_1"
    assert "Cipher is (NONE)" in s_client(post, name, "-cipher", "ALL:@SECLEVEL=0").stdout


def test_every_cipher_that_is_accepted_is_one_of_the_six_or_three(post):
    good = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}
    good_13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
    known = subprocess.run(["openssl", "ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"], capture_output=True, text=True,
                           check=True).stdout.strip().split(":")
    accepted = set()
    for cipher in known:
        context = blind_context()
        if cipher.startswith("TLS_"):
            continue
        try:
            context.set_ciphers(f"{cipher}:@SECLEVEL=0")
        except ssl.SSLError:
            continue
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            with TlsRaw(post.tls.port, context) as raw:
                accepted.add(raw.socket.cipher()[0])
        except (ssl.SSLError, ConnectionError):
            continue
    assert accepted == good
    for cipher in good_13:
        assert cipher in s_client(post, "-tls1_3", "-ciphersuites", cipher).stdout
    for cipher in ("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"):
        assert "Cipher is (NONE)" in s_client(post, "-tls1_3", "-ciphersuites", cipher).stdout


def test_nothing_is_compressed_renegotiated_or_early(post):
    shown = s_client(post, "-tls1_2").stdout
    assert "Compression: NONE" in shown
    result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{post.tls.port}", "-tls1_2"], text=True, check=False,
                            input="R\n", capture_output=True, timeout=harness.DEADLINE)
    assert "no renegotiation" in result.stdout + result.stderr
    shown = s_client(post, "-tls1_3").stdout
    assert "Max Early Data: 0" in shown or "Max Early Data" not in shown
    assert "X25519" in shown


@pytest.mark.parametrize("curve, good", [("X25519", True), ("P-256", True), ("P-384", True), ("P-521", False)])
def test_curves_are_three(post, curve, good):
    assert ("Cipher is (NONE)" not in s_client(post, "-curves", curve).stdout) == good


def test_http_1_1_is_chosen_and_another_protocol_alone_refused(post):
    with TlsRaw(post.tls.port, blind_context(alpn=["h2", "http/1.1"])) as raw:
        assert raw.socket.selected_alpn_protocol() == "http/1.1"

    def connect():
        with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
            TlsRaw(post.tls.port, blind_context(alpn=["h2"]))

    grows(post, "tls_failed_no_common", connect)


def test_a_client_that_distrusts_the_certificate_is_counted(post):
    def connect():
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsRaw(post.tls.port, ssl.create_default_context())

    grows(post, "tls_failed_distrust", connect)


def test_refusals_of_http_come_over_tls_as_they_come_in_plain_text(post):
    for text, status in ((clients.request("/nowhere"), 404), (clients.request("/ws?clientID=x", token="bad"), 401),
                         ("x" * 20000, 431), (clients.request("/ws", more=["X: " + "y" * 9000]), 431)):
        with TlsRaw(post.tls.port, post.tls.context()) as raw:
            raw.send(text)
            assert raw.answer().status == status


def test_a_large_head_in_one_record_is_read_whole(post):
    with TlsRaw(post.tls.port, post.tls.context()) as raw:
        raw.send(clients.request("/ws?clientID=wide", token=post.token("wide"), more=["X: " + "y" * 7000]))
        assert raw.answer().status == 101


# ------------------------------------------------------------------------------------------------------------ time, number

def test_a_handshake_has_the_time_of_a_request_head(hasty):
    def stall():
        slices = Slices(hasty.tls.port, hasty.tls.context())
        try:
            slices.tls.do_handshake()
        except ssl.SSLWantReadError:
            slices.socket.sendall(slices.outgoing.read()[:100])
        assert slices.socket.recv(100) == b""
        slices.socket.close()

    grows(hasty, "tls_failed_late", stall)


def test_one_time_covers_handshake_and_head(hasty):
    with TlsRaw(hasty.tls.port, hasty.tls.context()) as raw:
        raw.send("GET /ws HTTP/1.1\r\n")
        assert raw.answer().status == 408


def test_half_made_handshakes_keep_nobody_out(server, directory):
    tls = Tls(directory)
    post = server(1, tls.config(limits={"pendingHandshakes": 50}))
    slow = []
    for number in range(150):
        slow.append(Raw(tls.port))
        slow[-1].send(b"\x16\x03\x01")  # the head of a record that does not come
        if number % 50 == 49:
            upgrade(post, tls, f"fast{number}").socket.close()
    harness.wait_until(lambda: post.total("handshakes_displaced") >= 100, "the oldest gave way")
    assert slow[0].ended() == b""
    for raw in slow:
        raw.socket.close()


def test_pending_counts_the_handshakes(server, directory):
    tls = Tls(directory)
    post = server(1, tls.config())
    waiting = [Raw(tls.port) for _ in range(10)]
    harness.wait_until(lambda: sum(row["pending"] for row in post.status()["workers"]) == 10, "status shows them")
    for raw in waiting:
        raw.socket.close()
    harness.wait_until(lambda: sum(row["pending"] for row in post.status()["workers"]) == 0, "they have gone")
    harness.wait_until(lambda: post.total("tls_failed_cut") == 10, "each is counted")


def test_a_rush_of_handshakes_is_served_whole(post):
    """Each waits for its turn with the private key; none is forgotten."""
    before, failed = post.total("tls_handshakes"), []
    context = post.tls.context()

    def connect(name):
        try:
            raw = upgrade(post, post.tls, name, context)
            assert '"welcome"' in raw.message()
            raw.socket.close()
        except Exception as error:  # whatever it is, the main thread must know
            failed.append(error)

    threads = [threading.Thread(target=connect, args=(f"rush{number}",)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert post.total("tls_handshakes") == before + 100


# ------------------------------------------------------------------------------------------------------------ resumption

def come_back(post, tls, context, session, address):
    """Connects with the ticket; returns the connection, its worker, and its new ticket."""
    raw = upgrade(post, tls, address, context, session)
    welcome = json.loads(raw.message())
    return raw, welcome["worker"], raw.socket.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_by_every_worker(post, version):
    context = post.tls.context(version)
    raw, worker, session = come_back(post, post.tls, context, None, "resumer")
    assert not raw.socket.session_reused
    raw.socket.close()
    other, held, before = 0, [], post.total("tls_resumed")
    for number in range(20):
        raw, now, session = come_back(post, post.tls, context, session, f"resumer{number}")
        assert raw.socket.session_reused, f"connection {number}"
        other += now != worker
        worker = now
        held.append(raw)
    assert other >= 5, "some of the reconnects reached another worker"
    assert post.total("tls_resumed") == before + 20
    for raw in held:
        raw.socket.close()


def test_the_keys_of_tickets_change_and_old_ones_are_taken_for_their_time(server, directory):
    tls = Tls(directory)
    post = server(2, tls.config(tls={"ticketSeconds": 8}))  # a new key each two seconds
    context = tls.context(ssl.TLSVersion.TLSv1_2)  # whose ticket names its key in the clear
    raw, _, session = come_back(post, tls, context, None, "first")
    raw.socket.close()

    def key_name():
        made = tls.context(ssl.TLSVersion.TLSv1_2)
        raw, _, session = come_back(post, tls, made, None, "namer")
        raw.socket.close()
        return session

    began = time.monotonic()
    harness.wait_until(lambda: key_name().ticket_lifetime_hint <= 8 and time.monotonic() - began > 4.5,
                       "two new keys have been made")
    raw, _, _ = come_back(post, tls, context, session, "again")
    assert raw.socket.session_reused, "an old key is taken"
    raw.socket.close()
    harness.wait_until(lambda: time.monotonic() - began > 13, "the ticket has ended")
    raw, _, _ = come_back(post, tls, context, session, "late")
    assert not raw.socket.session_reused
    raw.socket.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_can_be_switched_off_by_a_reload(server, directory, version):
    tls = Tls(directory)
    post = server(1, tls.config())
    context = tls.context(version)
    raw, _, session = come_back(post, tls, context, None, "on")
    assert session.has_ticket
    raw.socket.close()
    post.reload(tls={"ticketSeconds": 0})

    def refused():
        raw, _, fresh = come_back(post, tls, context, session, "off")
        raw.socket.close()
        return not raw.socket.session_reused and not (fresh and fresh.has_ticket)

    harness.wait_until(refused, "no ticket is given or taken any more")


def test_a_resumed_session_survives_an_exchange_of_certificates(server, directory):
    tls = Tls(directory)
    post = server(1, tls.config())
    context = blind_context(ssl.TLSVersion.TLSv1_3)
    raw, _, session = come_back(post, tls, context, None, "before")
    raw.socket.close()
    tls.pair("main", "localhost")
    post.reload()
    raw, _, _ = come_back(post, tls, context, session, "after")
    assert raw.socket.session_reused
    raw.socket.close()
