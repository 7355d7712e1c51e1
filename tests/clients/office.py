"""The post office that the client libraries are tried against: the built server, in eight variants.

An Office is one node or two nodes at one private Redis, in plain text or over TLS, with compression or without. All
rows of behaviours.py use the Office of their variant with addresses of their own, so that no row meets another's mail.
"""

import contextlib
import dataclasses
import itertools
import signal

import admin
import harness
import tls

# Fast where a row would wait, tight where a row wants to meet the limit: no row sends more than the burst by accident.
CONFIG = {
    "maxWebSocketConnections": 2000,
    "redis": {"reconnectMinMs": 20, "reconnectMaxMs": 200, "commandTimeoutMs": 2000},
    "node": {"leaseSeconds": 3},
    "auth": {"leewaySeconds": 0},
    "serviceAddresses": ["/service/*"],
    "sessions": {"replacementsPerSecond": 1000},
    "limits": {"messagesPerSecond": 50, "burst": 120},
    "log": {"level": "info"},
    "admin": {"listen": ["unix:"]},
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run the server: `secure` is wss, `deflate` compresses every message, `nodes` is 1 or 2."""

    secure: bool
    deflate: bool
    nodes: int

    def __str__(self):
        return "-".join(["wss" if self.secure else "ws", "deflate" if self.deflate else "plain",
                         "two" if self.nodes == 2 else "one"])


VARIANTS = [Variant(*each) for each in itertools.product((False, True), (False, True), (1, 2))]
# Between them these two have every value of every column.
FEW = [Variant(False, False, 1), Variant(True, True, 2)]


class Office:
    """The servers of a variant, started; `stop` ends and judges them."""

    def __init__(self, variant, config=None, durable=False):
        self.variant = variant
        self.directory = harness.make_directory()
        self.servers = []
        self.redis = self._redis(durable)
        self.tls = tls.Tls(self.directory, "localhost")
        self.trust = self.directory / "trust.pem"
        self.trust.write_text("".join(self.tls.trusted))
        try:
            for number in range(variant.nodes):
                self.servers.append(self._server(number, harness.merge(CONFIG, config or {})))
            self._meet()
        except BaseException:
            self.stop(judged=False)
            raise

    def _redis(self, durable):
        home = self.directory / "redis"
        home.mkdir()
        home.chmod(0o755)
        made = harness.Redis(home)
        if durable:
            made.stop()
            made.durable = True
            made.start()
        return made

    def _server(self, number, config):
        home = self.directory / f"node{number}"
        home.mkdir()
        home.chmod(0o755)
        more = {"node": {"id": f"node{number}"},
                "compression": {"enabled": True, "minBytes": 0} if self.variant.deflate else {"enabled": False}}
        if self.variant.secure:
            more |= self.tls.config(sslPort=harness.free_port())
        server = harness.Server(home, self.redis, 2, harness.merge(config, more))
        if self.servers:
            server.keys.secret = self.servers[0].keys.secret
            server.keys.add_secret("outside", server.keys.secret)
            for suffix in (".pub", server.keys.seed_file().suffix):
                (server.keys_directory / f"main{suffix}").write_bytes((self.servers[0].keys_directory / f"main{suffix}").read_bytes())
        return server.start()

    def _meet(self):
        """Waits until each worker knows the processes of the other node: two workers and the clerk."""
        elsewhere = 3 * (len(self.servers) - 1)
        for server in self.servers:
            harness.wait_until(lambda server=server: all(row["redis"] == "up" and row["workersElsewhere"] == elsewhere
                                                         for row in server.status()["workers"]),
                               f"each worker knows {elsewhere} processes of the other node")

    # -- what clients need

    def port(self, node):
        server = self.servers[node % len(self.servers)]
        return server.config["sslPort"] if self.variant.secure else server.port

    def url(self, port, path="/ws"):
        return f"{'wss' if self.variant.secure else 'ws'}://localhost:{port}{path}"

    def token(self, address, **claims):
        rights = {"send": ["*"], "groups": ["#*"]}
        return self.servers[0].token(address, **{"po": rights, **claims})

    # -- what happens to it

    @contextlib.contextmanager
    def changed(self, **config):
        """Every node with this configuration while the block runs, then as before."""
        before = [server.config for server in self.servers]
        for server in self.servers:
            server.reload(**config)
        try:
            yield
        finally:
            for server, old in zip(self.servers, before):
                server.config = old
                server.reload()

    def admin(self, node=0):
        return admin.Admin(self.servers[node])

    def restart(self, node=0):
        """SIGTERM, and the same server again at the same ports."""
        self.servers[node].stop()
        self.servers[node].start()

    def kill_worker(self, node=0, slot=0):
        server = self.servers[node % len(self.servers)]
        before = server.worker_pids()
        if slot not in before:
            return
        harness.os.kill(before[slot], signal.SIGKILL)
        harness.wait_until(lambda: server.worker_pids().get(slot, before[slot]) != before[slot], "the killed worker has a successor")

    def restart_redis(self):
        """SIGKILL, and Redis again with what it had written down: nothing, unless the Office is durable."""
        self.redis.kill()
        self.redis.start()

    def stop(self, judged=True):
        for server in self.servers:
            server.stop()
        self.redis.stop()
        if judged:
            for server in self.servers:
                server.judge()
        harness.remove_directory(self.directory)
