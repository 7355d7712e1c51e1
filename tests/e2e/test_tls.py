"""wss: the same sessions over TLS. What may be said, and how fast, is the same as in plain text."""

import asyncio
import json
import os
import signal
import socket
import ssl
import struct

import pytest

import clients
import harness
import schema
from clients import NodeClient, PythonClient, frame, node, run
from tls import Slices, Tls, TlsRaw, upgrade


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    tls = Tls(directory)
    server = harness.Server(directory, redis, 2, tls.config()).start()
    server.tls = tls
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


def big(length):
    return os.urandom(length // 2).hex()


# ------------------------------------------------------------------------------------------------------------ both ways

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_megabyte_passes_both_ways_between_wss_and_ws(post, version):
    async def story():
        context = post.tls.context(version)
        text = big(700000)  # its base64 is nearly limits.messageBytes
        secure = await PythonClient.open(post, f"secure{version.value}", tls=post.tls, context=context)
        plain = await PythonClient.open(post, f"plain{version.value}")
        assert secure.socket.transport.get_extra_info("ssl_object").version() == f"TLSv1.{int(version) - 0x301}"
        for sender, recipient in ((secure, plain), (plain, secure)):
            sent = await sender.send(recipient.address, text, type=1)
            got = await recipient.take(lambda m, sent=sent: m.get("id") == sent["id"])
            assert got["content"] == clients.b64(text)
        await secure.close()
        assert secure.close_code == 1000

    run(story())


def test_many_small_messages_share_records_and_arrive_in_order(post):
    async def story():
        secure = await PythonClient.open(post, "many", tls=post.tls)
        for number in range(3000):
            await secure.send("many", f"n{number}", type=2)
        got = []
        while len(got) < 3000:
            message = await secure.take(lambda m: m["from"] == "many")
            got.append(message["content"])
        assert got == [clients.b64(f"n{number}") for number in range(3000)]

    run(story())


def test_compressed_messages_pass_over_tls(post):
    async def story():
        packed = await PythonClient.open(post, "packed", tls=post.tls, compression="deflate")
        assert packed.socket.extensions
        text = "the same words again and again " * 20000
        for _ in range(5):
            sent = await packed.send("packed", text, type=2)
            got = await packed.take(lambda m, sent=sent: m.get("id") == sent["id"] and m["from"] == "packed")
            assert got["content"] == clients.b64(text)
        await packed.close()

    run(story())


def test_node_speaks_wss(post):
    async def story():
        async with node() as process:
            options = {"ca": "".join(post.tls.trusted), "servername": "localhost", "family": 4}
            secure = await NodeClient.open(post, "noded", process=process, tls=post.tls, ws_options=options)
            text = big(300000)
            sent = await secure.send("noded", text, type=1)
            got = await secure.take(lambda m: m.get("id") == sent["id"] and m["from"] == "noded")
            assert got["content"] == clients.b64(text)
            await secure.close()

    run(story())


# ------------------------------------------------------------------------------------------------------------ odd pieces

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_that_comes_byte_by_byte_is_one(post, version):
    slices = Slices(post.tls.port, post.tls.context(version))
    slices.shake_hands(1)
    slices.write(clients.request("/ws?clientID=bytewise", token=post.token("bytewise")).encode(), record=1, size=1)
    assert slices.read().startswith(b"HTTP/1.1 101 ")
    slices.socket.close()


def test_records_need_not_begin_where_frames_do(post):
    """The head of the request in one record, the rest with frames behind it; frames cut into records of any size."""
    slices = Slices(post.tls.port, post.tls.context())
    slices.shake_hands(1 << 16)
    text = clients.request("/ws?clientID=cut", token=post.token("cut")).encode()
    message = json.dumps(clients.envelope("cut", "cut", "a" * 40000, type=2)).encode()
    whole = text + frame(1, message) * 3
    for at, record in ((0, 100), (100, 7), (107, len(whole))):
        slices.write(whole[at:at + record], record=min(record, 16000))
    for size in (1, 3, 1000, 16384):
        slices.write(frame(1, message), record=size if size > 1 else 2, size=1 << 16 if size > 1 else 997)
    seen = b""
    mark = json.dumps({"content": clients.b64("a" * 40000)})[1:-1].encode()
    while seen.replace(b'":"', b'": "').count(mark) < 7:
        seen += slices.read()
    slices.socket.close()


def test_a_cut_in_the_middle_of_a_record_ends_the_session_alone(post):
    before = post.sessions()
    slices = Slices(post.tls.port, post.tls.context())
    slices.shake_hands(1 << 16)
    slices.write(clients.request("/ws?clientID=half", token=post.token("half")).encode())
    assert slices.read().startswith(b"HTTP/1.1 101 ")
    slices.tls.write(frame(1, "x" * 1000))
    record = slices.outgoing.read()
    slices.socket.sendall(record[:500])
    slices.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    slices.socket.close()
    harness.wait_until(lambda: post.sessions() == before, "the session has ended")


def test_a_damaged_record_ends_the_session_alone(post):
    before = post.sessions()
    slices = Slices(post.tls.port, post.tls.context())
    slices.shake_hands(1 << 16)
    slices.write(clients.request("/ws?clientID=bent", token=post.token("bent")).encode())
    assert slices.read().startswith(b"HTTP/1.1 101 ")
    slices.tls.write(frame(1, "x" * 1000))
    record = bytearray(slices.outgoing.read())
    record[100] ^= 1
    slices.socket.sendall(record)
    harness.wait_until(lambda: post.sessions() == before, "the session has ended")
    slices.socket.close()


def test_the_end_is_said_in_tls_too(post):
    """A close frame is followed by close_notify: the client can tell the end from a cut."""
    raw = upgrade(post, post.tls, "polite")
    raw.send(frame(8, struct.pack("!H", 1000)))
    assert raw.close_code() == 1000
    raw.socket.suppress_ragged_eofs = False
    assert raw.socket.recv(100) == b""
    raw.socket.close()


# ------------------------------------------------------------------------------------------------------------ pressure

def test_a_slow_reader_over_tls_costs_its_queue_and_gets_everything(post):
    async def story():
        slow = await PythonClient.open(post, "slow", tls=post.tls)
        plain = await PythonClient.open(post, "talker")
        slow.socket.transport.pause_reading()
        text = big(200000)
        names = []
        for _ in range(60):  # 16 MB of base64: more than the kernel's buffers take
            names.append((await plain.send("slow", text, type=1))["id"])
        for name in names:
            await plain.take(lambda m, name=name: m.get("inReplyTo") == name)
        slow.socket.transport.resume_reading()
        for name in names:
            got = await slow.take(lambda m, name=name: m.get("id") == name)
            assert got["content"] == clients.b64(text)

    run(story())


def test_a_client_that_reads_no_answers_is_not_read_either(post):
    """256 KiB of answers wait; then TLS holds what it has read ahead, and goes on when they have left."""
    raw = upgrade(post, post.tls, "deaf")
    asked = json.dumps(clients.envelope("deaf", "postmaster", type=4, subject="presence", tags=["x" * 200] * 5))
    count = 20000
    block = b"".join(frame(1, asked.replace('"id": "', f'"id": "{number:02d}-')) for number in range(100))
    raw.socket.setblocking(False)
    rest = stalled = 0
    data = block * (count // 100)
    while rest < len(data) and stalled < 50:
        try:
            rest += raw.socket.send(data[rest:rest + 16384])
            stalled = 0
        except (ssl.SSLWantWriteError, BlockingIOError):
            stalled += 1
            harness.time.sleep(0.02)
    assert rest < len(data), "the server reads from who does not read"
    raw.socket.setblocking(True)
    raw.socket.settimeout(harness.DEADLINE)
    whole = rest // (len(block) // 100)
    answers = 0
    while answers < whole - 1:
        message = json.loads(raw.message())
        answers += message["subject"] in ("result", "rejected")
    raw.socket.close()


# ------------------------------------------------------------------------------------------------------------ processes

def test_a_killed_worker_costs_its_wss_sessions_alone(server, directory):
    tls = Tls(directory)
    post = server(2, tls.config())

    async def story():
        stay = [await PythonClient.open(post, f"stay{number}", tls=tls) for number in range(12)]
        slots = {client.welcome["worker"] for client in stay}
        assert len(slots) == 2
        os.kill(post.worker_pids()[0], signal.SIGKILL)
        for client in stay:
            if client.welcome["worker"] == 0:
                await client.closed()
        post.wait_serving()
        for client in stay:
            if client.welcome["worker"] == 1:
                await client.settle()
        again = await PythonClient.open(post, "again", tls=tls)
        await again.settle()

    run(story())


def test_wss_alone_is_served_without_a_plain_port(server, directory):
    tls = Tls(directory)
    post = server(1, tls.config(socketPort=0))
    raw = upgrade(post, tls, "alone")
    assert '"welcome"' in raw.message()
    raw.socket.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", post.port)) != 0


def test_an_orderly_stop_says_goodbye_over_tls(server, directory):
    tls = Tls(directory)
    post = server(1, tls.config())
    raw = upgrade(post, tls, "leaver")
    assert '"welcome"' in raw.message()
    post.process.terminate()
    assert '"goodbye"' in raw.message()
    assert raw.close_code() == 1001
    raw.socket.close()
    assert post.stop() == 0


def test_both_echoes_speak_tls(directory):
    tls = Tls(directory)
    both = directory / "both.pem"
    both.write_bytes(tls.cert.read_bytes() + tls.key.read_bytes())
    echo = harness.subprocess.Popen([harness.BINARY, "echo-test", "--port", str(tls.port), "--tls", str(both)],
                                    stdout=harness.subprocess.PIPE, text=True, env=harness.environment())
    try:
        assert echo.stdout.readline() == f"echo-test: wss://127.0.0.1:{tls.port}/\n"
        raw = TlsRaw(tls.port, tls.context())
        raw.conversation = schema.NoConversation()
        raw.send(clients.request("/"))
        assert raw.answer().status == 101
        text = big(3 << 20)
        raw.send(frame(1, text))
        assert raw.message() == text
        raw.socket.close()
    finally:
        echo.terminate()
        assert echo.wait(harness.DEADLINE) == 0
        echo.stdout.close()
