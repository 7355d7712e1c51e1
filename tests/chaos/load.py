#!/usr/bin/python3
"""Two hundred people write to each other as fast as the server answers, while workers, hosts and Redis die.

    load.py PLAN.json JOURNAL

The plan names the ports, the people with their devices and tokens, and how long the people write. Each device drops its
connection at random and comes back, acknowledges at random positions, and sends unanswered messages again under the
same id, as docs/protocol.md asks. Each device writes its steps into the journal, one JSON array in a line (Journal);
check_journals.py reads the journal. The first message of each shape goes into JOURNAL.shapes (schema.py). The exit status is 0 when every message had an answer and every device had all
messages accepted for it, without a further reconnect; otherwise the load prints what is missing and ends with 1.
"""

import asyncio
import base64
import collections
import contextlib
import json
import os
import random
import struct
import sys
import time
import urllib.parse

import websockets

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import schema  # noqa: E402

KEY = base64.b64encode(b"sixteen bytes ok").decode()
UPGRADE = ("GET /ws?{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer {{token}}\r\n\r\n")


class Refused(Exception):
    """The attempt led to no session: nobody listens, or the answer is not 101."""


class Journal:
    """One line for each event. The first members are always kind and time (CLOCK_MONOTONIC, which the whole machine
    shares); `conn` counts the connections of a device.

    ["device", t, address, device]
    ["open", t, address, device, conn, since]        since: "" or a seq
    ["welcome", t, address, device, conn, cursor, seq, epoch, recovered, node, slot]
    ["replayed", t, address, device, conn]
    ["send", t, address, device, conn, id, [to, …]]
    ["accepted", t, address, device, conn, id, [refused, …]]
    ["rejected", t, address, device, conn, id, code]
    ["got", t, address, device, conn, from, fromTag, id, seq]
    ["ack", t, address, device, conn, seq]   and   ["acked", t, address, device, conn, cursor]
    ["closed", t, address, device, conn, code]
    ["event", t, what, …]    of the killer: "worker-killed", node, slot; "redis-down"; "redis-up"
    ["end", t]               everything was resolved and had arrived
    """

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8", buffering=1 << 20)

    def write(self, kind, *rest):
        self.file.write(json.dumps([kind, round(time.monotonic(), 4), *rest], separators=(",", ":")) + "\n")


# ------------------------------------------------------------------------------------------------------ two clients


class OwnWire(asyncio.Protocol):
    """A minimal, fast WebSocket client. Its mask is zero; for the server that is a mask like any other."""

    def __init__(self):
        self.buffer = bytearray()
        self.transport = None
        self.upgraded = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self.on_text = self.on_open = None
        self.code = 1006

    @classmethod
    async def open(cls, port, query, token, device):
        loop = asyncio.get_running_loop()
        try:
            _, self = await asyncio.wait_for(loop.create_connection(cls, "127.0.0.1", port), 20)
            self.on_text, self.on_open = device.heard, device.opened
            self.transport.write(UPGRADE.format(query=query, token=token).encode())
            await asyncio.wait_for(asyncio.shield(self.upgraded), 20)
        except (OSError, asyncio.TimeoutError) as error:
            raise Refused(str(error)) from None
        return self

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        if not self.upgraded.done():
            self.upgraded.set_exception(ConnectionError("cut in the handshake"))
            self.upgraded.exception()  # reads the exception, as there may be no waiter any more
        if not self.ended.done():
            self.ended.set_result(self.code)

    def data_received(self, data):
        self.buffer += data
        if not self.upgraded.done() and not self.take_head():
            return
        at = 0
        while True:
            used = self.take_frame(at)
            if not used:
                break
            at += used
        del self.buffer[:at]

    def take_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if self.buffer.startswith(b"HTTP/1.1 101 "):
            del self.buffer[:end + 4]
            self.upgraded.set_result(None)
            self.on_open(self)  # before the welcome is read: the welcome may lie in the same bytes
            return True
        self.upgraded.set_exception(ConnectionError(self.buffer[:40].decode("latin-1")))
        self.transport.abort()
        return False

    def take_frame(self, at):
        have = len(self.buffer) - at
        if have < 2:
            return 0
        length, head = self.buffer[at + 1], 2
        if length == 126 and have >= 4:
            length, head = struct.unpack_from("!H", self.buffer, at + 2)[0], 4
        elif length == 127 and have >= 10:
            length, head = struct.unpack_from("!Q", self.buffer, at + 2)[0], 10
        elif length > 125:
            return 0
        if have < head + length:
            return 0
        payload = bytes(self.buffer[at + head:at + head + length])
        self.take_payload(self.buffer[at] & 15, payload)
        return head + length

    def take_payload(self, opcode, payload):
        if opcode == 1 and self.on_text:
            self.on_text(payload)
        elif opcode == 9:
            self.send_frame(10, payload)
        elif opcode == 8:
            self.code = struct.unpack_from("!H", payload)[0] if payload else 1005
            self.transport.close()

    def send_frame(self, opcode, payload):
        length = len(payload)
        if length < 126:
            head = struct.pack("!BBI", 0x80 | opcode, 0x80 | length, 0)
        elif length < 65536:
            head = struct.pack("!BBHI", 0x80 | opcode, 0x80 | 126, length, 0)
        else:
            head = struct.pack("!BBQI", 0x80 | opcode, 0x80 | 127, length, 0)
        self.transport.write(head + payload)

    def send(self, text):
        if not self.transport.is_closing():
            self.send_frame(1, text.encode())

    def drop(self, how):
        self.on_text = None
        if how == "bye" and not self.transport.is_closing():
            self.send_frame(8, b"\x03\xe8")
        if how == "reset":
            self.transport.abort()  # unsent bytes are lost
        else:
            self.transport.close()


class LibraryWire:
    """The same methods over python3-websockets, a client of another project."""

    def __init__(self, socket, on_text):
        self.socket = socket
        self.on_text = on_text
        self.ended = asyncio.get_running_loop().create_future()
        self.out = collections.deque()
        self.more = asyncio.Event()
        self.tasks = [asyncio.ensure_future(self.read()), asyncio.ensure_future(self.write())]

    @classmethod
    async def open(cls, port, query, token, device):
        try:
            socket = await websockets.connect(
                f"ws://127.0.0.1:{port}/ws?{query}", extra_headers={"Authorization": f"Bearer {token}"},
                max_size=None, max_queue=None, ping_interval=None, open_timeout=20, close_timeout=5)
        except (OSError, EOFError, asyncio.TimeoutError, websockets.WebSocketException) as error:
            raise Refused(str(error)) from None
        self = cls(socket, device.heard)
        device.opened(self)
        return self

    async def read(self):
        try:
            async for text in self.socket:
                if self.on_text:
                    self.on_text(text)
        except websockets.ConnectionClosed:
            pass
        if not self.ended.done():
            self.ended.set_result(self.socket.close_code or 1006)

    async def write(self):
        try:
            while True:
                await self.more.wait()
                self.more.clear()
                while self.out:
                    await self.socket.send(self.out.popleft())
        except websockets.ConnectionClosed:
            pass

    async def say_bye(self):
        with contextlib.suppress(OSError, websockets.ConnectionClosed):
            await self.socket.close()

    def send(self, text):
        self.out.append(text)
        self.more.set()

    def drop(self, how):
        self.on_text = None
        self.tasks[1].cancel()
        if how == "bye":
            self.tasks.append(asyncio.ensure_future(self.say_bye()))
        else:
            self.socket.transport.abort()


# -------------------------------------------------------------------------------------------------------- a device


class Letter:
    """One message on its way to an answer."""

    def __init__(self, name, text, to):
        self.id, self.text, self.to = name, text, to
        self.unanswered = False  # an attempt had no answer: the letter may be stored, although later attempts fail
        self.refused = False     # the last attempt was refused; the letter must be sent again


class Device:
    """One device of one person: sends, receives, acknowledges, vanishes, comes back."""

    def __init__(self, load, address, device, token, wire):
        self.load, self.address, self.device, self.token, self.wire_class = load, address, device, token, wire
        self.me = (address, device)
        self.wire = None
        self.conn = 0
        self.number = 0
        self.pending = {}
        self.have = set()
        self.processed = []  # seqs of this session, in order
        self.last_seq = self.epoch = ""
        self.paused = False
        self.replayed = None
        load.journal.write("device", *self.me)

    # -- connections

    async def session(self, life, sends, since=""):
        """One connection; life is in seconds, None: until the server or load.over ends the connection."""
        self.conn += 1
        self.processed = []
        self.sends = sends
        self.replayed = asyncio.get_running_loop().create_future()
        query = {"clientID": self.address, "device": self.device}
        if since:
            query.update(since=since, epoch=self.epoch)
        self.load.journal.write("open", *self.me, self.conn, since)
        code = 0
        try:
            port = random.choice(self.load.plan["ports"])
            await self.wire_class.open(port, urllib.parse.urlencode(query), self.token, self)
            ended = asyncio.shield(self.wire.ended)
            over = asyncio.ensure_future(self.load.over.wait())
            await asyncio.wait({ended, over} if sends else {ended, over, self.replayed}, timeout=life,
                               return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            code = self.wire.ended.result() if self.wire.ended.done() else 0
            self.wire.drop(random.choice(["bye", "fin", "reset"]))
        except Refused:
            code = -1
            await asyncio.sleep(random.uniform(0.02, 0.2))
        self.wire = None
        self.begun = False
        for letter in self.pending.values():
            letter.unanswered = letter.unanswered or not letter.refused
            letter.refused = False
        self.load.journal.write("closed", *self.me, self.conn, code)
        return code

    begun = False

    def opened(self, wire):
        self.wire = wire
        if self.sends and random.random() < 0.2:
            self.begin_sending()  # a client may send before the welcome

    async def live(self):
        """Until the load is over: connections that end at random while the device sends, then one that stays."""
        plan = self.load.plan
        while not self.load.over.is_set():
            life = random.expovariate(1 / plan["lifeSeconds"]) if self.load.sending else None
            since = self.last_seq if self.load.acks and random.random() < 0.3 else ""
            await self.session(life, True, since)
            if self.load.sending:
                await asyncio.sleep(random.expovariate(1 / plan["awaySeconds"]))

    # -- sending

    def begin_sending(self):
        """Sends unanswered letters again, in the order of their first attempt; then new letters."""
        if self.begun:
            return
        self.begun = True
        for letter in self.pending.values():
            self.attempt(letter)
        self.fill()

    def attempt(self, letter):
        letter.refused = False
        self.load.journal.write("send", *self.me, self.conn, letter.id, letter.to)
        self.wire.send(letter.text)

    def fill(self):
        while self.load.sending and not self.paused and self.wire and len(self.pending) < self.load.plan["window"]:
            self.number += 1
            letter = self.load.letter(self, f"{self.address}.{self.device}-{self.number}")
            self.pending[letter.id] = letter
            self.attempt(letter)

    def pause(self, seconds):
        if not self.paused:
            self.paused = True
            asyncio.get_running_loop().call_later(seconds, self.resume)

    def resume(self):
        self.paused = False
        if not self.wire or not self.begun:
            return
        for letter in [one for one in self.pending.values() if one.refused]:
            self.attempt(letter)
        self.fill()

    # -- receiving

    def heard(self, text):
        message = json.loads(text)
        self.load.show("server.json", message)
        if message["from"] != "postmaster":
            self.got(message)
        else:
            getattr(self, "said_" + message["subject"])(message)

    def got(self, message):
        seq = message["seq"]
        self.load.journal.write("got", *self.me, self.conn, message["from"], message["fromTag"], message["id"], seq)
        self.have.add((message["from"], message["id"]))
        self.processed.append(seq)
        self.last_seq = seq
        if self.load.acks and self.sends and random.random() < 0.03:
            seq = self.processed[-1] if random.random() < 0.7 else random.choice(self.processed)
            self.load.journal.write("ack", *self.me, self.conn, seq)
            self.wire.send(json.dumps({"from": self.address, "to": ["postmaster"], "subject": "ack", "content": "",
                                       "type": 4, "references": seq}))

    def said_welcome(self, message):
        self.epoch = message["epoch"] or self.epoch
        self.load.journal.write("welcome", *self.me, self.conn, message["cursor"], message["seq"], message["epoch"],
                                message["recovered"], message["node"], message["worker"])
        if self.sends:
            self.begin_sending()

    def said_replayed(self, _):
        self.load.journal.write("replayed", *self.me, self.conn)
        if not self.replayed.done():
            self.replayed.set_result(None)

    def said_result(self, message):
        self.load.journal.write("acked", *self.me, self.conn, message["cursor"])

    def said_goodbye(self, message):
        pass

    def said_accepted(self, message):
        refused = [one["address"] for one in message.get("refused", [])]
        self.load.journal.write("accepted", *self.me, self.conn, message["inReplyTo"], refused)
        letter = self.pending.pop(message["inReplyTo"], None)
        if letter:
            self.load.accepted(self.address, letter, refused)
        if refused:
            self.pause(0.2)
        self.fill()

    def said_rejected(self, message):
        self.load.journal.write("rejected", *self.me, self.conn, message.get("inReplyTo", ""), message["code"])
        letter = self.pending.get(message.get("inReplyTo"))
        if letter and letter.unanswered:
            letter.refused = True  # the attempt without an answer may be stored: only `accepted` ends this
        elif letter:
            del self.pending[letter.id]
        self.pause(random.uniform(0.1, 0.3))


# --------------------------------------------------------------------------------------------------------- the load


class Load:
    def __init__(self, plan, journal):
        self.plan, self.journal = plan, journal
        self.shown = {}
        self.acks = plan["acks"]
        self.sending = True
        self.over = asyncio.Event()
        self.expected = collections.defaultdict(set)
        self.addresses = [person["address"] for person in plan["people"]]
        self.contents = [base64.b64encode(os.urandom(size)).decode() for size in (3, 60, 200, 200, 300, 4000)]

    def letter(self, sender, name):
        count = 3 if random.random() < 0.1 else 1
        to = random.sample(self.addresses, count + 1)
        to = [address for address in to if address != sender.address][:count]
        text = json.dumps({"from": sender.address, "to": to, "subject": "", "type": 1, "id": name,
                           "content": random.choice(self.contents)})
        return Letter(name, text, to)

    def show(self, definition, message):
        self.shown.setdefault((definition, schema.SCHEMAS.shapes.of(message)), message)

    def write_shapes(self, path):
        """One line for each shape of message: [a definition of docs/schema, the message]."""
        with open(path, "w", encoding="utf-8") as file:
            for (definition, _), message in self.shown.items():
                file.write(json.dumps([definition, message]) + "\n")

    def accepted(self, sender, letter, refused):
        self.show("client.json", json.loads(letter.text))
        for address in letter.to:
            if address not in refused:
                self.expected[address].add((sender, letter.id))

    async def run(self):
        people = self.plan["people"]
        devices = [Device(self, person["address"], device, person["token"],
                          LibraryWire if person["library"] else OwnWire)
                   for person in people for device in person["devices"]]
        lives = [asyncio.ensure_future(device.live()) for device in devices]
        await asyncio.sleep(self.plan["seconds"])
        self.sending = False
        print("sending is over", flush=True)  # the killer stops now
        good = await self.wait(lambda: self.unresolved(devices), "without an answer")
        good = good and await self.wait(lambda: self.missing(devices), "not delivered")
        self.over.set()
        await asyncio.gather(*lives)
        good = good and await self.read_all(self.auditors(people) if self.acks else devices)
        if good:
            self.journal.write("end")
        self.journal.file.close()
        return good

    async def wait(self, left, what):
        """Waits until nothing is left, at most as long as the plan's patience."""
        end = time.monotonic() + self.plan["patienceSeconds"]
        while True:
            found = left()
            if not found:
                return True
            if time.monotonic() > end:
                print(f"{what}: {len(found)} devices, such as {found[:10]}", flush=True)
                return False
            await asyncio.sleep(0.3)

    @staticmethod
    def unresolved(devices):
        return [(device.me, list(device.pending)[:3]) for device in devices if device.pending]

    def missing(self, devices):
        return [(device.me, sorted(self.expected[device.address] - device.have)[:3]) for device in devices
                if not self.expected[device.address] <= device.have]

    def auditors(self, people):
        """A new device for each mailbox: a new device gets the whole mailbox."""
        return [Device(self, person["address"], "AUDIT", person["token"], OwnWire) for person in people]

    async def read_all(self, devices):
        """One connection for each device, from its cursor (else from the beginning) to `replayed`."""
        self.over.clear()
        room = asyncio.Semaphore(16)
        failed = []

        async def read(device):
            async with room:
                for _ in range(3):
                    await device.session(self.plan["patienceSeconds"], False)
                    if device.replayed.done():
                        return
                failed.append(device.me)

        await asyncio.gather(*(read(device) for device in devices))
        if failed:
            print(f"never heard `replayed`: {failed[:10]}", flush=True)
        return not failed


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    random.seed(plan["seed"])

    async def work():
        load = Load(plan, Journal(sys.argv[2]))
        try:
            return await load.run()
        finally:
            load.write_shapes(sys.argv[2] + ".shapes")

    sys.exit(0 if asyncio.run(work()) else 1)


if __name__ == "__main__":
    main()
