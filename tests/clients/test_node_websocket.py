"""The WebSocket that the JavaScript client brings for Node, against a server of another project (python3-websockets) and
against bytes that no correct server sends."""

import asyncio
import base64
import hashlib
import http
import json
import os
import shutil
import socket
import threading

import pytest
import websockets

from e2e_fixtures import directory  # noqa: F401  a fixture
import harness  # behind the path that e2e_fixtures sets

NODE = next((path for path in ("/usr/bin/node", shutil.which("node")) if path and os.path.exists(path)), None)
pytestmark = pytest.mark.skipif(not NODE, reason="no node: scripts/setup --test installs it")

HEAD = """
import { NodeWebSocket } from '%s';
const said = [];
const socket = new NodeWebSocket(process.env.URL, ['one', 'two'], { headers: { 'X-Hello': 'there' } });
socket.onclose = ({ code, reason, status, retryAfter, wasClean }) => {
  console.log(JSON.stringify({ said, code, reason, status, retryAfter, wasClean, protocol: socket.protocol, extensions: socket.extensions }));
};
""" % (harness.ROOT / "clients" / "js" / "src" / "node_websocket.js")


async def script(folder, url, body):
    """Runs the program to its end; what its close event told."""
    (folder / "program.mjs").write_text(HEAD + body)
    process = await asyncio.create_subprocess_exec(NODE, str(folder / "program.mjs"), stdout=asyncio.subprocess.PIPE,
                                                   env={**os.environ, "URL": url})
    out, _ = await asyncio.wait_for(process.communicate(), 3 * harness.DEADLINE)
    return json.loads(out)


def against(handler, folder, body, **options):
    """The program against a server of python3-websockets."""

    async def both():
        async with websockets.serve(handler, "127.0.0.1", 0, max_size=None, **options) as server:
            port = server.sockets[0].getsockname()[1]
            return await script(folder, f"ws://127.0.0.1:{port}/path?query=1", body)

    return asyncio.run(both())


ECHO = """
const texts = [0, 1, 125, 126, 127, 1023, 1024, 65535, 65536, 1 << 20].map((length) => (length % 2 ? 'x' : '你').repeat(length));
socket.onopen = () => {
  for (const text of texts) socket.send(text);
  socket.send(new Uint8Array([0, 255, 1]));
};
socket.onmessage = ({ data }) => {
  if (typeof data === 'string') said.push(data === texts[said.length]);
  else {
    said.push([...new Uint8Array(data)]);
    socket.close(4321, 'done');
  }
};
"""


async def echo(peer, _path=None):
    async for data in peer:
        await peer.send(data)


@pytest.mark.parametrize("compression", ["deflate", None], ids=["compressed", "plain"])
def test_messages_of_every_length_go_there_and_back(directory, compression):  # noqa: F811
    said = against(echo, directory, ECHO, compression=compression, subprotocols=["two"])
    assert said["said"] == [True] * 10 + [[0, 255, 1]]
    assert (said["code"], said["protocol"]) == (4321, "two")
    assert ("permessage-deflate" in said["extensions"]) == bool(compression)


def test_fragments_pings_headers_and_the_servers_close_are_understood(directory):  # noqa: F811
    seen = {}

    async def serve(peer, _path=None):
        seen["header"] = peer.request_headers["X-Hello"]
        seen["path"] = peer.path
        await peer.send(["你", "好", "", "!"])
        await (await peer.ping(b"are you there"))
        seen["pong"] = True
        await peer.recv()
        await peer.close(4001, "the token expired")

    said = against(serve, directory, """
socket.onpong = () => {
  said.push('pong');
  socket.send('enough');
};
socket.onmessage = ({ data }) => {
  said.push(data);
  socket.ping();
};
""")
    assert seen == {"header": "there", "path": "/path?query=1", "pong": True}
    assert said["said"] == ["你好!", "pong"]
    assert (said["code"], said["reason"], said["wasClean"]) == (4001, "the token expired", True)


def test_reading_stops_and_goes_on(directory):  # noqa: F811
    async def serve(peer, _path=None):
        for number in range(100):
            await peer.send(str(number))
        await peer.close(1000, "all")

    said = against(serve, directory, """
socket.onmessage = ({ data }) => {
  said.push(data);
  socket.pause();
  setTimeout(() => {
    said.push('on');
    socket.resume();
  }, 1);
};
""")
    assert said["said"] == [each for number in range(100) for each in (str(number), "on")]
    assert said["code"] == 1000


def test_a_refusal_tells_its_status_and_when_to_come_back(directory):  # noqa: F811
    async def refuse(_path, _headers):
        return http.HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "7"}, b"full"

    said = against(echo, directory, "", process_request=refuse)
    assert (said["code"], said["status"], said["retryAfter"]) == (1006, 503, 7000)


def test_nobody_there_is_a_close_event(directory):  # noqa: F811
    said = asyncio.run(script(directory, f"ws://127.0.0.1:{harness.free_port()}/", ""))
    assert (said["code"], said["wasClean"]) == (1006, False)


GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BAD = {
    "masked": (b"\x81\x81abcdx", 1002), "reserved": (b"\xa1\x01x", 1002), "compressed unasked": (b"\xc1\x01x", 1002), "opcode": (b"\x83\x00", 1002),
    "long ping": (b"\x89\x7e\x00\x7e" + b"x" * 126, 1002), "fragmented ping": (b"\x09\x00", 1002), "continuation first": (b"\x80\x01x", 1002),
    "text within text": (b"\x01\x01x\x81\x01y", 1002), "no utf-8": (b"\x81\x02\xc3\x28", 1007), "too large": (b"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00", 1009),
}


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_break_a_rule_end_the_connection_with_its_code(directory, name):  # noqa: F811
    """One byte at a time: a frame may be cut anywhere."""
    data, code = BAD[name]
    heard = []

    def serve(listener):
        peer, _ = listener.accept()
        with peer:
            request = b""
            while b"\r\n\r\n" not in request:
                request += peer.recv(4096)
            key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                         + accept + b"\r\n\r\n")
            for byte in data:
                peer.sendall(bytes([byte]))
            while chunk := peer.recv(4096):
                heard.append(chunk)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        said = asyncio.run(script(directory, f"ws://127.0.0.1:{listener.getsockname()[1]}/", "socket.onmessage = () => said.push('taken');"))
        thread.join(harness.DEADLINE)
    assert said["code"] == code and not said["said"], said
    frame = b"".join(heard)
    assert frame[0] == 0x88 and int.from_bytes(bytes(a ^ b for a, b in zip(frame[6:8], frame[2:4])), "big") == code
