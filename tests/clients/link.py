"""The network between a client and the server: a TCP forwarder that cuts, freezes, refuses and holds back answers.

A Link passes bytes, so that ws and wss pass alike. Each new connection goes to the next of its targets, as behind a
load balancer: with two nodes a client that comes back meets the other node.
"""

import contextlib
import itertools
import socket
import struct
import threading
import time

import harness


class _Pair:
    """One connection of a client, and the connection to the server that belongs to it."""

    def __init__(self, link, near, far):
        self.link, self.near, self.far = link, near, far
        self.frozen = False
        self.answers_held = link.answers_held
        link.pairs.append(self)  # before a byte passes: a client that has heard something can be cut
        for source, sink, answers in ((near, far, False), (far, near, True)):
            threading.Thread(target=self._pass, args=(source, sink, answers), daemon=True).start()

    def _pass(self, source, sink, answers):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.frozen or answers and self.answers_held:
                    continue  # lost with this connection
                sink.sendall(data)
                if not answers:
                    self.link.bytes_sent += len(data)
        if not self.frozen:
            self.close()

    def close(self, abruptly=False):
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                if abruptly:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                end.close()


class Link:
    """Listens on `port` of 127.0.0.1. `attempts` are the times (CLOCK_MONOTONIC) at which clients connected."""

    def __init__(self, targets):
        self.targets = itertools.cycle(targets)
        self.port = harness.free_port()
        self.attempts = []
        self.bytes_sent = 0
        self.answers_held = False
        self.refusing = False
        self.pairs = []
        self.listener = None
        self._listen()

    def _listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.attempts.append(time.monotonic())
            if self.refusing:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", next(self.targets)), timeout=harness.DEADLINE)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Pair(self, near, far)

    def cut(self):
        """Every connection is reset."""
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            pair.close(abruptly=True)

    def refuse(self):
        """Every connection is reset, and new ones end at once, until `allow`."""
        self.refusing = True
        self.cut()

    def allow(self):
        self.refusing = False

    def freeze(self):
        """The connections of this moment pass nothing any more and stay open; new ones are well."""
        for pair in self.pairs:
            pair.frozen = True

    def hold_answers(self):
        """What the server says is lost, and what the client says arrives, until `let_answers`; meanwhile for new connections too."""
        self.answers_held = True
        for pair in self.pairs:
            pair.answers_held = True

    def let_answers(self):
        """For new connections. Bytes of the old ones are missing, so that these are cut."""
        self.answers_held = False
        self.cut()

    def heal(self):
        """New connections are well, whatever was asked for before; old ones that lack bytes are cut."""
        self.allow()
        if self.answers_held:
            self.let_answers()

    def wait_attempts(self, count):
        harness.wait_until(lambda: len(self.attempts) >= count, f"{count} attempts to connect")

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
