"""The tables of framing once more over TLS (wss): a row must read the same, however records cut it.

Each write is a record of its own, so `bytes` is a record for each byte, and `cuts` two records. Each row comes in
one record, too, whose bytes go out in two writes: cut in its head, behind its head, within, before its end. A connection
costs a handshake, so a row is cut near the ends of its frames and at few places by chance. The server must end each connection with close_notify.
"""

import ssl

import pytest

import clients
import play
import test_closing
import test_fragments
import test_framing
from conftest import Echo

CUTS_MAX = 12
RECORD_MAX = 1 << 14
RECORD_HEAD = 5  # bytes (RFC 8446 5.1)
ROWS = [*test_framing.ALL, *test_fragments.GOOD, *test_fragments.BAD, *test_closing.ROWS, *test_closing.BAD]


class Sealed(clients.Raw):
    """A connection over TLS whose records the test can cut on their way to the socket."""

    def __init__(self, port, context):
        super().__init__(port)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while not self.shaken():
            self.incoming.write(self.socket.recv(1 << 16))

    def shaken(self):
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            self.socket.sendall(self.outgoing.read())

    def seal(self, data):
        for at in range(0, len(data), RECORD_MAX):
            self.tls.write(data[at:at + RECORD_MAX])
        return self.outgoing.read()

    def send(self, data):
        self.socket.sendall(self.seal(data if isinstance(data, bytes) else data.encode()))

    def fill(self):
        while True:
            try:
                data = self.tls.read(1 << 16)
                self.input += data
                return bool(data)
            except ssl.SSLZeroReturnError:
                return False
            except ssl.SSLWantReadError:
                pass
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                return False
            assert data, "the stream ends without close_notify"
            self.incoming.write(data)


class TlsTarget(play.EchoTarget):
    def __init__(self, port, context):
        super().__init__(port, connect=lambda port: Sealed(port, context))

    def places(self, row):
        return play.places(row, CUTS_MAX)


@pytest.fixture(scope="module")
def tls_echo():
    """`echo-test --tls`."""
    instance = Echo(tls=True)
    target = TlsTarget(instance.port, instance.context)
    yield target
    target.end()
    instance.stop()


@play.table(ROWS)
def test_row(tls_echo, row, way):
    play.check(tls_echo, row, way)


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_row_in_a_record_that_comes_in_two_pieces(tls_echo, row):
    data = b"".join(row.sent)
    length = len(data) + 22  # head, type and tag of a record
    cuts = sorted({1, RECORD_HEAD, RECORD_HEAD + 1, length // 2, length - 1})
    connections = tls_echo.open(len(cuts))
    sealed = [connection.seal(data) for connection in connections]
    for connection, record, at in zip(connections, sealed, cuts):
        connection.socket.sendall(record[:at])
    tls_echo.has_read()
    for connection, record, at in zip(connections, sealed, cuts):
        connection.socket.sendall(record[at:])
        if row.fails is None:
            play.send_or_closed(connection, play.close(1000))
        play.judge_echo(row, play.frames_to_the_end(connection), [at, len(record) - at])
        connection.socket.close()
