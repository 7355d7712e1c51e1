"""Large messages, small fragments, small writes, many messages: what comes back is what was sent (RFC 6455 5.2, 5.4, 10.4)."""

import threading

import pytest

import harness
import play
from clients import frame
from play import BINARY, TEXT, binary, close, text

KIB, MIB = 1 << 10, 1 << 20
SIZES = [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB]
LARGEST = 16 * MIB if not harness.SANITIZED else 4 * MIB
PATTERN = "BAsd7&jh23 0123456789 \u00e9\u4e2d\U0001f600 abcdefghijklmnopqr".encode()


def payload(opcode, size):
    if opcode == BINARY:
        return bytes(range(256)) * (size // 256)
    data = (PATTERN * (size // len(PATTERN) + 1))[:size]
    return data.decode(errors="ignore").encode().ljust(size, b".")


def converse(echo, writes):
    """Sends on a thread of its own while it reads: a server may answer before all has come."""
    connection, = echo.open()

    def send():
        for data in writes:
            play.send_or_closed(connection, data)

    sender = threading.Thread(target=send)
    sender.start()
    return connection, sender


def comes_back(echo, writes, expected):
    connection, sender = converse(echo, writes)
    for opcode, data in expected:
        fin, got, answer = read_large(connection)
        assert (fin, got, len(answer)) == (True, opcode, len(data))
        assert answer == data
    sender.join()
    connection.send(close(1000))
    assert play.code_of(play.frames_to_the_end(connection)) == [(8, b"\x03\xe8")]


def read_large(connection):
    """As Raw.frame, in linear time for many megabytes."""
    connection.need(2)
    second = connection.input[1]
    head = 10 if second == 127 else 4 if second == 126 else 2
    connection.need(head)
    length = second if head == 2 else int.from_bytes(connection.input[2:head], "big")
    parts, have = [connection.input[:head + length]], min(len(connection.input), head + length)
    connection.input = connection.input[head + length:]
    while have < head + length:
        data = connection.socket.recv(min(1 << 20, head + length - have))
        assert data, "the stream ends within a frame"
        parts.append(data)
        have += len(data)
    whole = b"".join(parts)
    return bool(whole[0] & 0x80), whole[0] & 0x0f, whole[head:]


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("size", SIZES)
def test_5_2_a_message_of_this_size_in_one_frame(echo, opcode, size):
    if size > LARGEST:
        pytest.skip("too large for a sanitizer")
    data = payload(opcode, size)
    comes_back(echo, [frame(opcode, data)], [(opcode, data)])


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("piece", [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB])
def test_5_4_4_mib_in_fragments_of_this_size(echo, opcode, piece):
    size = 4 * MIB if not harness.SANITIZED or piece >= KIB else 256 * KIB
    data = payload(opcode, size)
    wire = b"".join(frame(opcode if at == 0 else 0, data[at:at + piece], fin=at + piece >= size, mask=b"\0\0\0\0")
                    for at in range(0, size, piece))
    comes_back(echo, [wire], [(opcode, data)])


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("chop", [64, 128, 256, 512, 1024, 2048])
def test_5_2_1_mib_in_writes_of_this_size(echo, opcode, chop):
    size = MIB if not harness.SANITIZED else 256 * KIB
    data = payload(opcode, size)
    wire = frame(opcode, data)
    comes_back(echo, [wire[at:at + chop] for at in range(0, len(wire), chop)], [(opcode, data)])


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("size", [0, 16, 64, 256, KIB, 4 * KIB, 16 * KIB])
def test_5_6_a_thousand_round_trips_of_this_size(echo, opcode, size):
    data = payload(opcode, max(size, 256))[:size] if opcode == BINARY else b"*" * size
    connection, = echo.open()
    for _ in range(harness.scaled(1000)):
        connection.send(frame(opcode, data))
        assert read_large(connection) == (True, opcode, data)
    connection.socket.close()


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_5_6_a_thousand_messages_without_waiting_for_answers(echo, opcode):
    messages = [(opcode, b"%d " % n * (n % 97)) for n in range(1000)]
    comes_back(echo, [b"".join(frame(*message) for message in messages)], messages)


def test_5_4_64_kib_in_fragments_of_1300_bytes(echo):
    data = b"*" * 65536
    comes_back(echo, [frame(TEXT if at == 0 else 0, data[at:at + 1300], fin=at + 1300 >= len(data))
                      for at in range(0, len(data), 1300)], [(TEXT, data)])


@pytest.mark.parametrize("pieces", [1, 2, 1000], ids=["one frame", "two fragments", "a thousand fragments"])
def test_10_4_a_message_of_32_mib_is_the_largest_for_echo_test(echo, pieces):
    """One byte more is 1009, from the head of the frame that passes the limit."""
    if harness.SANITIZED:
        pytest.skip("too large for a sanitizer")
    size = 32 * MIB
    data = bytes(size)
    step = -(-size // pieces)
    wire = [frame(BINARY if at == 0 else 0, data[at:at + step], fin=at + step >= size, mask=b"\0\0\0\0")
            for at in range(0, size, step)]
    comes_back(echo, wire, [(BINARY, data)])
    connection, sender = converse(echo, [*[frame(BINARY if at == 0 else 0, data[at:at + step], fin=False, mask=b"\0\0\0\0")
                                           for at in range(0, size, step)], frame(0, b"x", mask=b"\0\0\0\0")])
    assert play.code_of(play.frames_to_the_end(connection)) == [(8, (1009).to_bytes(2, "big"))]
    sender.join()


def test_10_4_empty_fragments_without_an_end_are_1008(echo):
    connection, sender = converse(echo, [text("", fin=False), *[frame(0, "", fin=False) * 1000] * 100])
    assert play.code_of(play.frames_to_the_end(connection)) == [(8, (1008).to_bytes(2, "big"))]
    sender.join()


def test_10_4_a_length_alone_costs_no_memory(echo, echo_process):
    import psutil
    process = psutil.Process(echo_process.process.pid)
    connections = echo.open(100)
    before = process.memory_info().rss
    for connection in connections:
        connection.send(binary(b"")[:1] + b"\xff" + (32 * MIB).to_bytes(8, "big") + b"\0\0\0\0x")
    echo.has_read()
    assert process.memory_info().rss - before < 8 * MIB
    for connection in connections:
        connection.socket.close()
