"""What a row of behaviours.py is given: addresses nobody else has, clients of the library, peers of no library, links.

Everything a World made ends with `end`. Times that an application would leave at seconds are short here, unless a row
is about them.
"""

import itertools
import json
import random
import ssl
import time
import urllib.parse

import websocket

import clients
import harness
import schema
from drivers import DEADLINE, Driver
from link import Link

SHORT = {"minBackoff": 50, "maxBackoff": 400, "ackDelay": 30}


class Peer:
    """A WebSocket client of another project (websocket-client): says exactly what a row says, and acknowledges nothing
    by itself. It reads when it is asked. docs/schema judges what it hears, which the libraries have said in part."""

    def __init__(self, url, address, token, trust):
        options = {"ca_certs": str(trust), "cert_reqs": ssl.CERT_REQUIRED} if url.startswith("wss") else None
        self.address = address
        self.socket = websocket.create_connection(url, header=[f"Authorization: Bearer {token}"], timeout=harness.DEADLINE,
                                                  sslopt=options)
        self.kept = []
        self.conversation = schema.Conversation(address)
        self.welcome = self.said("welcome")

    def say(self, to, text="", **fields):
        """Sends an envelope; returns it."""
        message = clients.envelope(self.address, to, text, **{"type": 1, **fields})
        text = json.dumps(message, ensure_ascii=False)
        self.conversation.sent(text)
        self.socket.send(text)
        return message

    def send(self, to, text="", **fields):
        """A mail, and `accepted` for it."""
        message = self.say(to, text, **fields)
        answer = self.take(lambda m: m["from"] == "postmaster" and m.get("inReplyTo") == message["id"])
        assert answer["subject"] == "accepted", answer
        return message

    def take(self, where=lambda message: message["from"] != "postmaster"):
        """The next message that meets the condition; others stay."""
        for index, message in enumerate(self.kept):
            if where(message):
                return self.kept.pop(index)
        while True:
            message = json.loads(self.socket.recv())
            self.conversation.received(message)
            if where(message):
                return message
            self.kept.append(message)

    def said(self, subject):
        return self.take(lambda message: message["from"] == "postmaster" and message["subject"] == subject)

    def command(self, subject, **fields):
        sent = self.say("postmaster", subject=subject, **{"type": 4, **fields})
        return self.take(lambda message: message["from"] == "postmaster" and message.get("inReplyTo") == sent["id"])

    def close(self):
        self.socket.close(timeout=1)


class World:
    """One row's world."""

    _numbers = itertools.count(1)

    def __init__(self, office, driver, directory):
        self.office, self.driver, self.directory = office, driver, directory
        self.number = next(World._numbers)
        self.salt = f"{random.getrandbits(40):x}"
        self.nodes = itertools.count()
        self.names = itertools.count(1)
        self.clients, self.peers, self.links, self.drivers = [], [], [], []

    # -- names

    def address(self, stem):
        """An address of this row's own."""
        return f"{stem}-{self.salt}"

    def group(self, stem="group"):
        return f"#{stem}-{self.salt}"

    def token(self, address, **claims):
        return self.office.token(address, **claims)

    # -- parts

    def link(self):
        made = Link([self.office.port(node) for node in range(len(self.office.servers))])
        self.links.append(made)
        return made

    def another_driver(self):
        """A process of its own, that a row may kill."""
        made = Driver(self.driver.library, self.office.trust)
        self.drivers.append(made)
        return made

    def folder(self, stem="storage"):
        """A folder for a client's file storage."""
        path = self.directory / f"{stem}-{self.salt}"
        path.mkdir(exist_ok=True)
        return str(path)

    def url(self, link=None, path="/ws"):
        return self.office.url(link.port if link else self.office.port(next(self.nodes)), path)

    def client(self, stem, connect=True, link=None, tokens=None, driver=None, handle="auto", url=None, **options):
        """A client of the library, connected; `stem` is an address when it is one of this row's, else its stem.

        With two nodes the clients of a row are on the one and the other by turns."""
        address = stem if self.salt in stem else self.address(stem)
        options = {**SHORT, "url": url or self.url(link), "address": address, "tokens": tokens or [self.token(address)],
                   "storage": "memory", **options}
        if options["address"] is None:
            del options["address"]
        if self.office.variant.secure:
            options["caFile"] = str(self.office.trust)
        made = (driver or self.driver).open(f"{address}/{next(self.names)}", address, options=options, handle=handle)
        self.clients.append(made)
        if connect:
            made.connect()
        return made

    def peer(self, stem, device="peer", token=None):
        address = stem if self.salt in stem else self.address(stem)
        query = urllib.parse.urlencode({"clientID": address, "device": device}, quote_via=urllib.parse.quote)
        made = Peer(f"{self.url()}?{query}", address, token or self.token(address), self.office.trust)
        self.peers.append(made)
        return made

    # -- the end

    def settled(self, check, what):
        return harness.wait_until(check, what)

    def until_time(self, unix):
        """Waits for a time that the protocol names."""
        harness.wait_until(lambda: time.time() > unix, f"it is {unix}", deadline=DEADLINE)

    def end(self):
        for link in self.links:
            link.heal()  # close() waits for acknowledgements that can still be said
        living = [each for each in self.clients if each.open and each.driver.alive]
        for each in living:
            if each.holds:
                each.do("release", count=1000)  # close() waits for handlers that are at work
        for closing in [each.begin("close") for each in living]:
            closing.result()
        for each in [*self.peers, *self.links]:
            (each.close if isinstance(each, Peer) else each.stop)()
        for each in self.drivers:
            each.stop()
