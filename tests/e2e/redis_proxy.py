"""A proxy between a server and its Redis: delays answers, or cuts connections, as the test asks."""

import contextlib
import socket
import threading
import time

import redis as redis_client


class Proxy:
    """Listens on a unix socket and passes all bytes on. Each chunk of answers waits `delay_s`. When
    `cuts(data)` is true, the connection ends and these bytes of commands are not passed on.
    """

    def __init__(self, path, target):
        self.socket = path  # as harness.Redis has it
        self.target = str(target)
        self.delay_s = 0.0
        self.cuts = None
        self.passed = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        path.chmod(0o777)
        self.listener.listen(64)
        self.open = set()
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def client(self):
        """The test's own connection, past the proxy."""
        return redis_client.Redis(unix_socket_path=self.target)

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.target)
            except OSError:
                near.close()
                continue
            self.open |= {near, far}
            threading.Thread(target=self._pass, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, False), daemon=True).start()

    def _pass(self, source, sink, commands):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if commands and self.cuts and self.cuts(data):
                    break
                if not commands and self.delay_s:
                    time.sleep(self.delay_s)  # the delay is the purpose of this class
                sink.sendall(data)
                self.passed += 1
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
