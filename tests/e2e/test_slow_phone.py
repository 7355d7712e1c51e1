"""Ten thousand mails wait for a phone on a line of 64 KB/s: the server holds a part of them, not all.

The held part is the growth of the worker's private memory (RssAnon) during the replay, plus the send queue of the
connection in the kernel. The worker is fresh, so no growth hides in memory that was freed before. Another phone of the
same worker already stands in the middle of the same backlog, so the shared buffers of the worker (for reading from
Redis and for writing) exist before, and the growth is that of this one session.

The whole backlog takes more than a minute at 64 KB/s. The test reads POSTOFFICE_SLOW_SECONDS (6) at that rate, and the
rest at full speed; the measurement covers both.
"""

import json
import os
import signal
import socket
import time

import pytest

import clients
import harness
from clients import PythonClient, b64, eventually, run

MAILS = harness.scaled(10000)
BYTES_A_SECOND = 64 * 1024
SLOW_SECONDS = float(os.environ.get("POSTOFFICE_SLOW_SECONDS", "1" if harness.SANITIZED else "6"))
LIMIT = 512 * 1024
CHUNK = 4096


async def fill(post, count, content):
    """Sends mail to an absent recipient; a window of answers keeps the sender from running ahead of Redis."""
    alice = await PythonClient.open(post, "alice")
    text = json.dumps({**clients.envelope("alice", "phone", "", type=1), "content": b64(content), "id": "ID"})
    for number in range(count):
        await alice.send_text(text.replace('"ID"', f'"{number}"'))
        if number % 500 == 499:
            await eventually(lambda n=number: len(alice.inbox) >= n - 1000, "answers")
    await eventually(lambda: len(alice.inbox) >= count, "all answers")
    assert all(m["subject"] == "accepted" for m in alice.inbox)
    await alice.close()


def private_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def send_queue(server_port, client_port):
    """Bytes that the server's kernel holds for this connection, sent or not."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            _, local, remote, _, queues = line.split()[:5]
            if local.endswith(f":{server_port:04X}") and remote.endswith(f":{client_port:04X}"):
                return int(queues.split(":")[0], 16)
    return 0


class Phone(clients.Raw):
    """Reads in small pieces, at a rate, into a small buffer; takes samples of the held part."""

    def __init__(self, port, pid):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self.socket.settimeout(harness.DEADLINE)
        self.socket.connect(("127.0.0.1", port))
        self.input = b""
        self.port, self.pid = port, pid
        self.own_port = self.socket.getsockname()[1]
        self.begun, self.read = time.monotonic(), 0
        self.before = private_bytes(pid)
        self.most = self.most_private = self.most_queue = self.samples = 0

    def fill(self):
        elapsed = time.monotonic() - self.begun
        if elapsed < SLOW_SECONDS:
            time.sleep(max(0, self.read / BYTES_A_SECOND - elapsed))  # the rate of the line is part of the test
        data = self.socket.recv(CHUNK)
        self.input += data
        self.read += len(data)
        if elapsed < SLOW_SECONDS or self.read // CHUNK % 16 == 0:
            self.sample()
        return bool(data)

    def sample(self):
        private, queue = private_bytes(self.pid) - self.before, send_queue(self.port, self.own_port)
        self.most = max(self.most, private + queue)
        self.most_private, self.most_queue = max(self.most_private, private), max(self.most_queue, queue)
        self.samples += 1


    def open(self, post, device):
        self.send(clients.request(f"/ws?clientID=phone&device={device}", token=post.token("phone")))
        assert self.answer().status == 101

    def mails(self):
        """ids, as they come, up to `replayed`."""
        while True:
            _, opcode, payload = self.frame()
            message = json.loads(payload) if opcode == 1 else {"type": 0, "subject": ""}
            if message["type"] == 1:
                yield message["id"]
            elif message["subject"] == "replayed":
                return


@pytest.mark.parametrize("size", [300, 4000])
def test_a_phone_on_a_slow_line_costs_the_server_a_part_of_its_backlog(server, size):
    limits = {"queueBytes": 1 << 20, "slowConsumerSeconds": 3600, "pingSeconds": 3600}  # one phone hangs on purpose
    post = server(1, {"limits": limits, "log": {"level": "info"}})
    run(fill(post, MAILS, "x" * size))
    filler = post.worker_pids()[0]
    os.kill(filler, signal.SIGTERM)
    harness.wait_until(lambda: post.has_replaced(0, filler), "a fresh worker serves")
    pid = post.worker_pids()[0]
    with Phone(post.port, pid) as other:
        other.open(post, "HANGS")
        for _, mail in zip(range(MAILS // 10), other.mails()):
            assert mail
        with Phone(post.port, pid) as phone:
            phone.open(post, "SLOW")
            assert list(phone.mails()) == [str(number) for number in range(MAILS)]
        print(f"{phone.read} bytes in {time.monotonic() - phone.begun:.0f} s, {phone.samples} samples: "
              f"at most {phone.most} held ({phone.most_private} private, {phone.most_queue} in the kernel)")
        if not harness.SANITIZED:
            assert phone.most < LIMIT
        assert list(other.mails())[-1] == str(MAILS - 1), "who hung goes on where it was"
