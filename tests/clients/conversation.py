"""A peer of the client libraries' own tests: a WebSocket client of another project, which says what it is told to."""

import base64
import itertools
import json
import urllib.parse

import websocket

import harness


class Peer:
    """One session. It reads when it is asked, and acknowledges nothing."""

    _numbers = itertools.count(1)

    def __init__(self, server, address, device="peer"):
        query = urllib.parse.urlencode({"clientID": address, "device": device}, quote_via=urllib.parse.quote)
        self.address = address
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{server.port}/ws?{query}", timeout=harness.DEADLINE,
                                                  header=[f"Authorization: Bearer {server.token(address)}"])

    def send(self, to, text, **fields):
        """A mail, and `accepted` for it."""
        message = {"from": self.address, "to": [to], "type": 1, "subject": "", "content": base64.b64encode(text.encode()).decode(),
                   "id": f"{self.address}-{next(self._numbers)}", **fields}
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("inReplyTo") == message["id"]:
                assert answer["subject"] == "accepted", answer
                return message

    def all(self, count):
        """The next messages that are none of the server's."""
        found = []
        while len(found) < count:
            message = json.loads(self.socket.recv())
            if message["from"] != "postmaster":
                found.append(message)
        return found

    def close(self):
        self.socket.close(timeout=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
