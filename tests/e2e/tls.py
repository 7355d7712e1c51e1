"""Certificates, and clients that speak TLS, as the tests use them."""

import datetime
import ipaddress
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

import clients
import harness


def new_key(kind):
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, int(kind[3:]))


class Tls:
    """The files of a server's certificates, its port, and contexts that trust them."""

    def __init__(self, directory, *names, days=90, kind="ec"):
        self.directory = directory / "tls"
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self.port = harness.free_port()
        self.trusted = []
        self.cert, self.key = self.pair("main", *(names or ("localhost",)), days=days, kind=kind)

    def pair(self, file, *names, days=90, kind="ec", begins=-1):
        """Writes FILE.crt and FILE.key, a certificate of its own issuer for the names; returns both paths."""
        key = new_key(kind)
        now = datetime.datetime.utcnow().replace(microsecond=0)
        # Two certificates with one subject would be taken for one issuer.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0]),
                          x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"test {len(self.trusted)}")])
        alternatives = [x509.DNSName(each) if not each[0].isdigit() else x509.IPAddress(ipaddress.ip_address(each))
                        for each in names]
        made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now + datetime.timedelta(days=min(begins, days - 1)))
                .not_valid_after(now + datetime.timedelta(days=days))
                .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .sign(key, hashes.SHA256()))
        paths = self.directory / f"{file}.crt", self.directory / f"{file}.key"
        text = made.public_bytes(serialization.Encoding.PEM)
        self.trusted.append(text.decode())
        paths[0].write_bytes(text)
        paths[1].touch(mode=0o600)
        paths[1].chmod(0o600)
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        return paths

    def config(self, **more):
        return {"sslPort": self.port, "sslCertPath": str(self.cert), "sslKeyPath": str(self.key), **more}

    def context(self, version=None):
        """A client's context that trusts every certificate made here so far."""
        made = ssl.create_default_context(cadata="".join(self.trusted))
        if version:
            made.minimum_version = made.maximum_version = version
        return made


def blind_context(version=None, ciphers=None, alpn=None):
    """A client's context that takes any certificate, and offers whatever OpenSSL still knows."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if ciphers or version:
        made.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    if version:
        made.minimum_version = made.maximum_version = version
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


class TlsRaw(clients.Raw):
    """A connection over TLS that sends exactly the bytes of the test."""

    def __init__(self, port, context, name="localhost", session=None, source=None):
        super().__init__(port, source)
        self.socket = context.wrap_socket(self.socket, server_hostname=name, session=session)

    def fill(self):
        try:
            return super().fill()
        except ssl.SSLError:
            return False


def upgrade(server, tls, address, context=None, session=None, name="localhost", path=None):
    """A raw connection after a good upgrade; the welcome is still to be read."""
    raw = TlsRaw(tls.port, context or tls.context(), name, session)
    raw.send(clients.request(path or f"/ws?clientID={address}", token=server.token(address)))
    answer = raw.answer()
    assert answer.status == 101, (answer.status, answer.rest)
    return raw


def presented(port, name, context=None):
    """The names in the certificate that a client gets which asks for this name (None: for none)."""
    with socket.create_connection(("127.0.0.1", port), timeout=harness.DEADLINE) as plain:
        with (context or blind_context()).wrap_socket(plain, server_hostname=name) as secure:
            der = secure.getpeercert(binary_form=True)
    found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


class Slices:
    """A client's end of TLS in memory, whose bytes go to the socket as the test cuts them."""

    def __init__(self, port, context, name="localhost"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=harness.DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def push(self, size):
        """Sends what TLS has written, in pieces of that size."""
        data = self.outgoing.read()
        for at in range(0, len(data), size):
            self.socket.sendall(data[at:at + size])

    def pull(self):
        data = self.socket.recv(1 << 16)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def shake_hands(self, size):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.push(size)
                self.pull()
        self.push(size)

    def write(self, data, record=1 << 14, size=1 << 16):
        """Data in records of `record` bytes, on the wire in pieces of `size`."""
        for at in range(0, len(data), record):
            self.tls.write(data[at:at + record])
        self.push(size)

    def read(self):
        while True:
            try:
                return self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                self.pull()
