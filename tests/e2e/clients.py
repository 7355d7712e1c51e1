"""WebSocket clients of other projects (python3-websockets, Node's ws), and a raw socket for bytes that
no correct client sends. Both kinds of client have the same methods, so a test can take either.
"""

import asyncio
import base64
import collections
import contextlib
import functools
import itertools
import json
import os
import re
import socket
import struct
import urllib.parse

import websockets

import harness
import schema

HERE = os.path.dirname(os.path.abspath(__file__))
_numbers = itertools.count(1)
_open_sockets = []


def run(coroutine, deadline=None):
    """Runs one coroutine to its end; a test that hangs fails instead."""
    limit = deadline or 600

    async def limited():
        try:
            return await asyncio.wait_for(coroutine, limit)
        finally:
            # A client that is still connected is cut, so that no test has to wait for a close handshake.
            while _open_sockets:
                _open_sockets.pop().transport.abort()
            await asyncio.sleep(0)

    return asyncio.run(limited())


async def eventually(check, what, deadline=None):
    """As harness.wait_until, while the event loop runs; check may block for a moment."""
    end = asyncio.get_running_loop().time() + (deadline or harness.DEADLINE)
    while True:
        value = check()
        if value:
            return value
        assert asyncio.get_running_loop().time() < end, f"waited in vain: {what}"
        await asyncio.sleep(0.02)


def next_number():
    """A number that no other caller of this process gets."""
    return next(_numbers)


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def envelope(sender, to, content="", **fields):
    """The five required fields, an id, and the given fields; a field given as None is left out."""
    message = {"from": sender, "to": [to] if isinstance(to, str) else to, "subject": "", "content": b64(content),
               "type": 2, "id": f"m{next(_numbers)}", **fields}
    return {name: value for name, value in message.items() if value is not None}


def stamped(sender, to, identity):
    """Mail as a worker stores it."""
    return envelope(sender, to, type=1, id=identity, subjectId=identity, createTime=1, lastUpdateTime=1, state=0)


class Closed(Exception):
    """The server ended the session."""

    def __init__(self, code, reason):
        super().__init__(f"closed: {code} {reason}")
        self.code, self.reason = code, reason


class Client:
    """The shared part of both kinds: keeps every message in order; a test takes messages by a condition."""

    def __init__(self, address):
        self.address = address
        self.inbox = collections.deque()
        self.welcome = None
        self.close_code = None
        self.close_reason = ""
        self.changed = asyncio.Event()

    @functools.cached_property
    def conversation(self):
        return schema.Conversation(self.address)

    # -- called by the transport

    def arrived(self, message):
        self.conversation.received(message)
        self.inbox.append(message)
        self.changed.set()

    def ended(self, code, reason):
        self.close_code, self.close_reason = code, reason
        self.changed.set()

    # -- taking

    async def take(self, wanted=lambda message: True, deadline=None, what="a message"):
        """The first message that meets the condition; others stay. Closed when the session ended without one."""
        end = asyncio.get_running_loop().time() + (deadline or harness.DEADLINE)
        looked_at = 0
        while True:
            for index in range(looked_at, len(self.inbox)):
                if wanted(self.inbox[index]):
                    message = self.inbox[index]
                    del self.inbox[index]
                    return message
            looked_at = len(self.inbox)
            if self.close_code is not None:
                raise Closed(self.close_code, self.close_reason)
            self.changed.clear()
            left = end - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self.changed.wait(), max(left, 0.001))
            except asyncio.TimeoutError:
                raise AssertionError(f"{self.address} waited in vain for {what}; has {list(self.inbox)[-3:]}") \
                    from None

    async def message(self, **wanted):
        """The next message that is not of the postmaster (or that matches)."""
        return await self.take(lambda m: (wanted or m["from"] != "postmaster")
                               and all(m.get(k) == v for k, v in wanted.items()), what=f"a message {wanted}")

    async def said(self, subject, **wanted):
        """The next message of the postmaster with this subject."""
        return await self.take(lambda m: m["from"] == "postmaster" and m["subject"] == subject
                               and all(m.get(k) == v for k, v in wanted.items()), what=f"{subject} {wanted}")

    async def rejected(self, message=None):
        return await self.said("rejected", **({"inReplyTo": message["id"]} if message else {}))

    async def begun(self):
        """`welcome`; with a mailbox also the backlog up to `replayed`, which stays in the inbox."""
        self.welcome = await self.said("welcome")
        if self.welcome["epoch"]:
            await self.said("replayed")

    async def closed(self):
        """Waits for the end; returns (the goodbye or None, the close code)."""
        while self.close_code is None:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), harness.DEADLINE)
        goodbye = [m for m in self.inbox if m["from"] == "postmaster" and m["subject"] == "goodbye"]
        return (goodbye[-1] if goodbye else None), self.close_code

    # -- sending

    async def send(self, to, content="", **fields):
        message = envelope(self.address, to, content, **fields)
        await self.send_text(json.dumps(message, ensure_ascii=False))
        return message

    async def order(self, subject, **fields):
        """A command to the postmaster; returns its answer, `result` or `rejected`."""
        sent = await self.send("postmaster", type=4, subject=subject, **fields)
        return await self.take(lambda m: m["from"] == "postmaster" and m.get("inReplyTo") == sent["id"],
                               what=f"the answer to {subject}")

    async def settle(self):
        """Sends a command and waits for its answer: the server has then handled all that was sent before."""
        answer = await self.order("presence", tags=[self.address])
        assert answer["subject"] == "result", answer


def target(server, address, device="", path="/ws", query=None, token=None, token_in="header"):
    """url, headers and subprotocols that open a session."""
    parameters = {"clientID": address}
    if device:
        parameters["device"] = device
    headers, protocols = {}, []
    token = server.token(address) if token is None else token
    if token_in == "header":
        headers["Authorization"] = f"Bearer {token}"
    elif token_in == "subprotocol":
        protocols = ["postoffice.v1", f"bearer.{token}"]
    elif token_in == "query":
        parameters["token"] = token
    parameters.update(query or {})
    parameters = {name: value for name, value in parameters.items() if value is not None}
    url = f"ws://127.0.0.1:{server.port}{path}?{urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)}"
    return url, headers, protocols


def secure(url, tls):
    """The same over TLS; tls: a tls.Tls."""
    return re.sub(r"^ws://127\.0\.0\.1:\d+", f"wss://localhost:{tls.port}", url)


class PythonClient(Client):
    """python3-websockets. Without compression unless a test asks: tests count bytes that wait, and most of their text
    would compress to nothing. Node's client offers compression, as it does by default."""

    kind = "python"

    @classmethod
    async def open(cls, server, address, device="", headers=None, protocols=None, welcome=True, compression=None, tls=None,
                   context=None, **options):
        self = cls(address)
        url, own_headers, own_protocols = target(server, address, device, **options)
        more = {"sock": server.host.dial(server.port)} if server.host else {}
        if tls:
            url, more["ssl"] = secure(url, tls), context or tls.context()
        self.socket = await websockets.connect(
            url, extra_headers={**own_headers, **(headers or {})}, subprotocols=protocols or own_protocols or None,
            compression=compression, max_size=None, max_queue=None, ping_interval=None, open_timeout=harness.DEADLINE,
            close_timeout=harness.DEADLINE, **more)
        _open_sockets.append(self.socket)
        self.reader = asyncio.ensure_future(self._read())
        if welcome:
            await self.begun()
        return self

    async def _read(self):
        try:
            async for data in self.socket:
                self.arrived(json.loads(data))
        except websockets.ConnectionClosed:
            pass
        finally:
            self.ended(self.socket.close_code, self.socket.close_reason)

    async def send_text(self, text):
        self.conversation.sent(text)
        await self.socket.send(text)

    async def close(self, code=1000):
        await self.socket.close(code)
        await self.reader


class NodeProcess:
    """One Node process that holds any number of clients (node_client.js)."""

    def __init__(self):
        self.clients = {}
        self.process = self.reader = None

    async def start(self):
        path = os.pathsep.join(filter(None, ["/usr/share/nodejs", "/usr/lib/nodejs", os.environ.get("NODE_PATH")]))
        self.process = await asyncio.create_subprocess_exec(
            "node", os.path.join(HERE, "node_client.js"), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "NODE_PATH": path}, limit=128 << 20)
        self.reader = asyncio.ensure_future(self._read())
        return self

    async def _read(self):
        async for line in self.process.stdout:
            event = json.loads(line)
            self.clients[event["id"]].told(event)

    def tell(self, **what):
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    async def stop(self):
        self.process.stdin.close()
        await self.process.wait()
        await self.reader


@contextlib.asynccontextmanager
async def node():
    process = await NodeProcess().start()
    try:
        yield process
    finally:
        await process.stop()


class NodeClient(Client):
    """Node's ws."""

    kind = "node"

    def __init__(self, address, process):
        super().__init__(address)
        self.process, self.id = process, next(_numbers)
        self.opened = asyncio.get_running_loop().create_future()
        process.clients[self.id] = self

    @classmethod
    async def open(cls, server, address, device="", headers=None, welcome=True, process=None, tls=None, ws_options=None,
                   **options):
        self = cls(address, process)
        url, own_headers, protocols = target(server, address, device, **options)
        process.tell(op="open", id=self.id, url=secure(url, tls) if tls else url, headers={**own_headers, **(headers or {})},
                     protocols=protocols, options=ws_options or {})
        await asyncio.wait_for(self.opened, harness.DEADLINE)
        if welcome:
            await self.begun()
        return self

    def told(self, event):
        kind = event["event"]
        if kind == "message":
            self.arrived(json.loads(event["data"] if "data" in event else base64.b64decode(event["base64"])))
        elif kind == "open":
            self.protocol = event["protocol"]
            self.opened.set_result(event)
        elif kind == "close":
            self.ended(event["code"], event["reason"])
        if kind in ("refused", "error", "close") and not self.opened.done():
            self.opened.set_exception(ConnectionError(str(event)))

    async def send_text(self, text):
        self.conversation.sent(text)
        self.process.tell(op="send", id=self.id, data=text)
        await self.process.process.stdin.drain()

    async def close(self, code=1000):
        self.process.tell(op="close", id=self.id, code=code, reason="")
        await self.closed()


async def open_on(server, slot, address, open_client, **options):
    """Opens the session until it lands on the wanted worker. Decoys make the others the busier ones, which
    leave the next connection to it.
    """
    decoys = []
    try:
        for _ in range(100):
            client = await open_client(server, address, **options)
            if client.welcome["worker"] == slot:
                return client
            await client.close()
            decoys.append(await PythonClient.open(server, f"decoy{next(_numbers)}"))
    finally:
        for decoy in decoys:
            await decoy.close()
    raise AssertionError(f"no session of 100 landed on worker {slot}")


# ------------------------------------------------------------------------------------------------- raw

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Answer:
    """The server's answer to a request, taken apart."""

    def __init__(self, head, rest):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            assert name.lower() not in self.headers, f"{name} twice"
            self.headers[name.lower()] = value.strip()
        self.rest = rest

    def json(self):
        return json.loads(self.rest)

    def bearer_error(self):
        value = self.headers["www-authenticate"]
        assert value.startswith("Bearer"), value
        return value.split('error="', 1)[1].split('"', 1)[0] if "error=" in value else None


class Raw:
    """A TCP connection that sends exactly the bytes of the test."""

    def __init__(self, port, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=harness.DEADLINE,
                                               source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    @functools.cached_property
    def conversation(self):
        return schema.Conversation("a raw client")

    def send(self, data):
        data = data if isinstance(data, bytes) else data.encode()
        self.conversation.sent_bytes(data)
        self.socket.sendall(data)

    def fill(self):
        """Reads more bytes; False at the end of the stream or when the connection was cut."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            return False
        self.input += data
        return bool(data)

    def ended(self):
        """Reads to the end of the stream; the end must come."""
        while self.fill():
            pass
        return self.input

    def answer(self, to_head=False):
        """The HTTP answer; of a refusal also its body, which HEAD gets none of, and the end of the connection."""
        while b"\r\n\r\n" not in self.input:
            if not self.fill():
                raise AssertionError(f"no whole answer: {self.input!r}")
        head, self.input = self.input.split(b"\r\n\r\n", 1)
        answer = Answer(head, b"")
        if answer.status != 101:
            answer.rest = self.ended()
            length = 0 if to_head else int(answer.headers["content-length"])
            assert len(answer.rest) == length, (answer.headers, answer.rest)
        return answer

    # -- frames (RFC 6455 5.2)

    def need(self, count):
        while len(self.input) < count:
            if not self.fill():
                raise EOFError(self.input)

    def frame(self):
        """The next frame from the server: (fin, opcode, payload). A server never masks."""
        self.need(2)
        first, second = self.input[0], self.input[1]
        assert not second & 0x80, "a masked frame from a server"
        assert not first & 0x70, "a reserved bit that was not negotiated"
        length, at = second, 2
        if second == 126:
            self.need(4)
            length, at = struct.unpack_from("!H", self.input, 2)[0], 4
            assert length > 125, "a longer length form than needed"
        elif second == 127:
            self.need(10)
            length, at = struct.unpack_from("!Q", self.input, 2)[0], 10
            assert length > 65535, "a longer length form than needed"
        self.need(at + length)
        payload, self.input = self.input[at:at + length], self.input[at + length:]
        self.conversation.received_frame(first & 0x0F, payload)
        return bool(first & 0x80), first & 0x0F, payload

    def control(self):
        """The next control frame, as (opcode, payload); messages in between are passed over."""
        while True:
            _, opcode, payload = self.frame()
            if opcode >= 8:
                return opcode, payload

    def message(self):
        """The next data message, as text or bytes; control frames in between are passed over."""
        while True:
            fin, opcode, payload = self.frame()
            if opcode in (1, 2):
                assert fin, "the server does not fragment"
                if payload.startswith(b'{"from":"postmaster"') and b'"subject":"replayed"' in payload:
                    continue  # the end of a backlog, which raw tests do not need
                return payload.decode() if opcode == 1 else payload

    def close_code(self):
        """The code of the close frame that ends the session; 0 for none given, None when simply cut."""
        try:
            while True:
                _, opcode, payload = self.frame()
                if opcode == 8:
                    return struct.unpack_from("!H", payload)[0] if payload else 0
        except EOFError:
            return None


def frame(opcode, payload=b"", fin=True, mask=b"\x37\xfa\x21\x3d", reserved=0, length_form=None):
    """A client's frame; every rule can be broken on purpose."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload)
    form = length_form or (7 if length < 126 else 16 if length < 65536 else 64)
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    bit = 0x80 if mask else 0
    if form == 7:
        head += bytes([bit | length])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    return head + (mask or b"") + (masked(payload, mask) if mask else payload)


def masked(payload, mask):
    if not payload:
        return b""
    key = (mask * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def request(path="/ws", method="GET", version="HTTP/1.1", token=None, over=None, more=()):
    """The text of an upgrade request; `over` replaces a header or, with None, leaves it out."""
    headers = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY,
               "Sec-WebSocket-Version": "13"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    headers.update(over or {})
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    lines += list(more)
    return "\r\n".join(lines) + "\r\n\r\n"


def upgrade(server, address, token=None, path=None, source=None, device=""):
    """A raw connection after a good upgrade; the welcome is still to be read."""
    raw = Raw(server.port, source)
    suffix = f"&device={urllib.parse.quote(device)}" if device else ""
    path = path or f"/ws?clientID={urllib.parse.quote(address, safe='')}{suffix}"
    raw.send(request(path, token=token or server.token(address)))
    answer = raw.answer()
    assert answer.status == 101, (answer.status, answer.rest)
    return raw
