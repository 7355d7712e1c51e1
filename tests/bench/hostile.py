"""One hostile token at full speed: the loads of tests/bench/fair.py, each a function by name.

Every load is the address `mallory` with one good token, from one source address, and begins again at once when the
server closes a connection. A load runs in a process of its own, which says when it begins: `hostile.py NAME SECONDS TARGET`, TARGET in JSON.
The process stands for another machine, so it has the time that nobody else wants (SCHED_IDLE): whatever work a load makes
for the server is the server's, but the load's own computing takes no time from the server and from the innocent clients.
(With nice 19 it does: a process that wakes does not find its core idle, and waits for the slice of another one.)
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import random
import resource
import select
import socket
import sys
import threading
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import clients  # noqa: E402

MILLION = 700_000  # bytes of content whose envelope is nearly limits.messageBytes
SOURCE = "127.0.0.66"
_numbers = itertools.count(int(time.time() * 1000) * 1000)


class Target:
    """Where the server is, and who mallory is."""

    def __init__(self, port, token, address="mallory", worker=None):
        self.port, self.token, self.address, self.worker = port, token, address, worker

    def text(self):
        return json.dumps(self.__dict__)


# ---------------------------------------------------------------------------------------------------------- lines


def path(target, **query):
    return "/ws?" + "&".join(f"{name}={value}" for name, value in {"clientID": target.address, **query}.items())


def dial(target, compressed=False, **query):
    """A connection that has sent its request; None when the server does not take it."""
    over = {"Sec-WebSocket-Extensions": "permessage-deflate"} if compressed else None
    try:
        line = clients.Raw(target.port, SOURCE)
        line.send(clients.request(path(target, **query), token=target.token, over=over))
        return line
    except OSError:
        return None


def begin(target, **query):
    """An open session, after its `welcome`; None when there is none. With target.worker on that worker alone. With
    compressed=True the session has agreed on compression. A welcome is too short to be compressed.
    """
    aside = []
    try:
        for _ in range(40):
            line = dial(target, **query)
            if not line:
                return None
            line.socket.settimeout(60)
            if line.answer().status != 101:
                return None
            welcome = json.loads(line.message())
            if target.worker is None or welcome.get("worker") == target.worker:
                return line
            aside.append(line)
            query = {**query, "device": f"again{len(aside)}"}
        return None
    except (OSError, EOFError, AssertionError, ValueError, IndexError):
        return None
    finally:
        for line in aside:
            line.socket.close()


def text_frame(data):
    """With a mask of zeros the payload goes out as it is, so a large one is made once."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else \
        bytes([0x80 | 126]) + size.to_bytes(2, "big") if size < 65536 else bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return b"".join([b"\x81", length, b"\0\0\0\0", data])


def compressed_frame(data):
    """The same, compressed by itself (RFC 7692 7.2.1)."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (squeezer.compress(data) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    frame = bytearray(text_frame(packed))
    frame[0] |= 0x40
    return bytes(frame)


def message(target, to, subject="", content="", **fields):
    """One frame with an envelope under a fresh id."""
    fields = {"type": 2, **fields}
    return text_frame(json.dumps({"from": target.address, "to": to, "subject": subject, "content": content,
                                  "id": f"h{next(_numbers)}", **fields}).encode())


def order(target, subject, **fields):
    return message(target, ["postmaster"], subject, type=4, **fields)


def pump(target, make, end, reads=True, fresh=False, **query):
    """Writes what make() gives as fast as the socket takes it, reads and drops what comes, and connects again when the
    connection ends; with `fresh` also as soon as the server says `rate-limited`. Each load is a device of its own.
    """
    query.setdefault("device", sys.argv[1])
    while time.monotonic() < end:
        line = begin(target, **query)
        if not line:
            time.sleep(0.05)
            continue
        line.socket.setblocking(False)
        left = b""
        try:
            while time.monotonic() < end:
                ready, writable, _ = select.select([line.socket] if reads else [], [line.socket], [], 0.1)
                if ready:
                    data = line.socket.recv(1 << 20)
                    if not data or (fresh and b"rate-limited" in data):
                        break
                if writable:
                    left = left or make()
                    left = left[line.socket.send(left):]
        except OSError:
            pass
        line.socket.close()


def hold(target, count, end, **query):
    """Keeps so many sessions open that read nothing; one that ends is opened again."""
    lines = {}
    while time.monotonic() < end:
        for number in range(count):
            if number not in lines:
                line = dial(target, device=f"silent{number}", **query)
                if line:
                    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    lines[number] = line
        time.sleep(0.05)
        poller = select.poll()
        by_fd = {line.socket.fileno(): number for number, line in lines.items()}
        for fd in by_fd:
            poller.register(fd, select.POLLHUP | select.POLLRDHUP)
        for fd, _ in poller.poll(0):
            lines.pop(by_fd[fd]).socket.close()


# ---------------------------------------------------------------------------------------------------------- loads


def history_bursts(target, end):
    """Forty `history` at once, and again."""
    pump(target, lambda: b"".join(order(target, "history", limit=200) for _ in range(40)), end, since="9999999999999-0")


def thread_histories(target, end):
    pump(target, lambda: b"".join(order(target, "history", subjectId="thread") for _ in range(10)), end,
         since="9999999999999-0")


def silent_replays(target, end):
    """Twelve sessions of a full mailbox, from its beginning, that read nothing."""
    hold(target, 12, end, since="0-0")


def opens(target, end):
    """Sessions of a full mailbox, one behind the other."""
    for number in itertools.count():
        if time.monotonic() >= end:
            return
        line = begin(target, device=f"d{number % 4}", since="9999999999999-0")
        if line:
            line.socket.close()


def invented_addresses(target, end):
    """1 MB to a thousand addresses that nobody has, fresh ones each time."""
    body = base64.b64encode(b"x" * MILLION).decode()

    def make():
        first = next(_numbers)
        return message(target, [f"nobody-{first}-{i}" for i in range(1000)], content=body, type=1)

    pump(target, make, end)


def empty_mails(target, end):
    """Nothing, to a thousand fresh addresses."""
    def make():
        first = next(_numbers)
        return message(target, [f"empty-{first}-{i}" for i in range(1000)], type=1)

    pump(target, make, end)


def fresh_buckets(target, end):
    """Mail at full speed, on a new connection as soon as the bucket of the old one is empty."""
    content = base64.b64encode(b"x" * 200).decode()
    pump(target, lambda: b"".join(message(target, ["sink"], content=content, type=1) for _ in range(50)), end, fresh=True)


def expiring_mails(target, end):
    """Mail that expires tomorrow, to one address: each is noted beside the mailbox."""
    later = int(time.time()) + 86400
    pump(target, lambda: b"".join(message(target, ["sink"], type=1, expiresAt=later) for _ in range(50)), end, fresh=True)


def many_devices(target, end):
    """Every session is a device of its own, with a cursor: each acknowledges the one mail that is there."""
    while time.monotonic() < end:
        line = begin(target, device=f"device-{next(_numbers)}", since="0-0")
        if not line:
            continue
        with contextlib.suppress(OSError, EOFError, ValueError, AssertionError):
            line.socket.settimeout(0.5)
            line.send(message(target, [target.address], type=1, id="the-one-mail"))
            seq = None
            while not seq:
                seq = json.loads(line.message()).get("seq")
            line.send(order(target, "ack", references=seq))
            line.message()
        line.socket.close()


def recall_bursts(target, end):
    """A hundred mails that were never sent."""
    pump(target, lambda: b"".join(order(target, "recall", inReplyTo=f"never-{next(_numbers)}") for _ in range(100)), end)


def presence_bursts(target, end):
    """A thousand addresses that differ at their ends alone."""
    tags = ["n" * 200 + f"{i:04d}" for i in range(1000)]
    pump(target, lambda: order(target, "presence", tags=tags), end)


def slow_heads(target, end):
    """Requests that never end; the oldest are given up for new ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    most = min(9000, min(hard, 20000) - 100)
    lines = []
    while time.monotonic() < end:
        try:
            line = socket.create_connection(("127.0.0.1", target.port), timeout=1, source_address=(SOURCE, 0))
            line.send(b"GET /ws?clientID=mallory HTTP/1.1\r\nHost: localhost\r\n")
            lines.append(line)
        except OSError:
            time.sleep(0.01)
        while len(lines) > most:
            lines.pop(0).close()


def ring_bursts(target, end):
    """Signals of 16 KB to the address's own sessions, which read nothing, on all workers."""
    silent = [begin(Target(target.port, target.token), device=f"ring{i}") for i in range(4)]
    content = base64.b64encode(b"x" * 12000).decode()
    pump(target, lambda: b"".join(message(target, [target.address], content=content) for _ in range(50)), end, fresh=True,
         device="burst")
    del silent


def words(size):
    """Text that a compressor makes much smaller, and works on: words of a small vocabulary."""
    source = random.Random(1)
    vocabulary = ["".join(source.choices("etaoinshrdlu", k=source.randint(2, 9))) for _ in range(500)]
    text = " ".join(source.choices(vocabulary, k=size // 4))
    return text[:size]


def deflate_bursts(target, end):
    """Signals of 1 MiB of text, compressed, to sessions of the address that read, and have agreed on compression: the server
    inflates each, and compresses each.
    """
    envelope = json.dumps({"from": target.address, "to": [target.address], "type": 2, "subject": "", "id": "burst",
                           "content": base64.b64encode(words(750_000).encode()).decode()}).encode()
    frame = compressed_frame(envelope)
    readers = [begin(target, compressed=True, device=f"reader{i}") for i in range(3)]
    threading.Thread(target=swallow, args=([line.socket for line in readers if line],), daemon=True).start()
    pump(target, lambda: frame, end, device="burst", compressed=True)


def bombs(target, end):
    """Messages of a few hundred bytes that are 1 MiB of text, at full speed, in half as many sessions as an address may have:
    with more, those that look for the worker would turn others out.
    """
    frame = compressed_frame(json.dumps({"from": target.address, "to": ["nobody"], "type": 2, "subject": "", "id": "bomb",
                                         "content": "x" * 1_000_000}).encode())
    threads = [threading.Thread(target=pump, args=(target, lambda: frame * 16, end), kwargs={"device": f"bomb{i}",
               "compressed": True}, daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def swallow(sockets):
    """Reads and drops what comes, until all of them have ended."""
    while sockets:
        for each in select.select(sockets, [], [], 1)[0]:
            with contextlib.suppress(OSError):
                if each.recv(1 << 20):
                    continue
            sockets.remove(each)


def busy_core(_, end):
    """No client at all: one core is busy, as the core of a worker under attack is. The row shows how much of the other rows
    is the machine's: on two cores everybody else shares the core that is left.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # as urgent as the server
    while time.monotonic() < end:
        pass


def busy_pair(_, end):
    """No client at all: two processes that wait for each other, as a worker under attack and Redis do, half a millisecond of
    work each, and so one core together. The row shows what such a neighbour alone makes of a mail that passes three processes.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    mine, other = socket.socketpair()
    if os.fork() == 0:
        mine, other = other, mine
    else:
        mine.send(b"x")
    other.close()
    while time.monotonic() < end and mine.recv(1):
        until = time.thread_time() + 0.0005
        while time.thread_time() < until:
            pass
        mine.send(b"x")


LOADS = {load.__name__: load for load in (
    history_bursts, thread_histories, silent_replays, opens, invented_addresses, empty_mails, fresh_buckets, expiring_mails,
    many_devices, recall_bursts, presence_bursts, slow_heads, ring_bursts, deflate_bursts, bombs)}
CONTROLS = {control.__name__: control for control in (busy_core, busy_pair)}
# Eight sessions, as many as an address may have: more would turn each other out. slow_heads needs none.
TOGETHER = ["history_bursts", "thread_histories", "invented_addresses", "empty_mails", "fresh_buckets", "expiring_mails",
            "recall_bursts", "presence_bursts", "slow_heads"]
# These read a mailbox of 200 mails of 1 MB.
FULL_MAILBOX = {"history_bursts", "thread_histories", "silent_replays", "opens"}


def main():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    target = Target(**json.loads(sys.argv[3]))
    print("ready", flush=True)
    {**LOADS, **CONTROLS}[sys.argv[1]](target, time.monotonic() + float(sys.argv[2]))


if __name__ == "__main__":
    main()
