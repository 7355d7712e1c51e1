"""Hosts: network namespaces, each joined by a cable of its own to the namespace of Redis.

Clients stay in the test's process; their sockets are opened inside the namespace. Hosts need root and
`ip netns`; where these are not permitted, `why_not` gives the reason and tests skip.
"""

import contextlib
import ctypes
import os
import random
import socket
import subprocess

import redis as redis_client

import harness

PASSWORD = "between-hosts"
CLONE_NEWNET = 0x40000000


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=harness.DEADLINE, check=True)


def why_not():
    """None where namespaces can be made; else the reason, for pytest.skip."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    name = f"po-probe-{random.getrandbits(32):x}"
    try:
        ip("netns", "add", name)
        try:
            ip("-n", name, "link", "add", "name", "probe0", "type", "veth", "peer", "name", "probe1")
            with inside(name):
                pass
        finally:
            ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces here: {getattr(error, 'stderr', None) or error}"
    return None


@contextlib.contextmanager
def inside(name):
    """Moves this thread into the namespace; sockets made inside stay in the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def go(fd):
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{name}", "rb") as there:
        go(there.fileno())
        try:
            yield
        finally:
            go(home.fileno())


class Host:
    """A namespace with a loopback, and a cable to the middle."""

    def __init__(self, net, number):
        self.net = net
        self.name = f"{net.name}-{number}"
        self.address = f"10.77.{number}.2"
        self.redis_address = f"10.77.{number}.1"
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", net.name, "link", "add", "name", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", net.name, "addr", "add", f"{self.redis_address}/24", "dev", f"to{number}")
        ip("-n", net.name, "link", "set", f"to{number}", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.plug()

    def plug(self):
        ip("-n", self.name, "link", "set", "eth0", "up")

    def unplug(self):
        ip("-n", self.name, "link", "set", "eth0", "down")

    def inside(self):
        return ["ip", "netns", "exec", self.name]

    def dial(self, port):
        """A socket of this host, connected to its own port."""
        with inside(self.name):
            return socket.create_connection(("127.0.0.1", port), timeout=harness.DEADLINE)

    def config(self, name):
        uri = f"redis://:{PASSWORD}@{self.redis_address}:6379"
        return {"node": {"id": name}, "dataSource": {"redis": {"shared": {"uri": uri}}}}


class Alone:
    """A namespace of its own, with a loopback and one address that is not loopback."""

    address = "10.77.99.1"

    def __init__(self):
        self.name = f"po{random.getrandbits(24):06x}"
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/32", "dev", "lo")

    def close(self):
        ip("netns", "del", self.name)

    def inside(self):
        return ["ip", "netns", "exec", self.name]

    def dial(self, port, address=None):
        with inside(self.name):
            return socket.create_connection((address or self.address, port), timeout=harness.DEADLINE)


class Network:
    """The middle, with its Redis on the network behind a password, and the hosts around it."""

    def __init__(self, count, directory):
        self.name = f"po{random.getrandbits(24):06x}"
        ip("netns", "add", self.name)
        try:
            ip("-n", self.name, "link", "set", "lo", "up")
            self.hosts = [Host(self, number) for number in range(1, count + 1)]
            self.redis = SharedRedis(directory, self)
        except BaseException:
            self.close()
            raise

    def close(self):
        if getattr(self, "redis", None):
            self.redis.stop()
        for name in [self.name, *(host.name for host in getattr(self, "hosts", []))]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class SharedRedis(harness.Redis):
    """Redis for all hosts; the test itself speaks to it through its unix socket."""

    def __init__(self, directory, net):
        self.net = net
        super().__init__(directory)

    def command(self):
        addresses = [host.redis_address for host in self.net.hosts]
        return ["ip", "netns", "exec", self.net.name, "redis-server", "--port", "6379", "--bind", *addresses,
                "--requirepass", PASSWORD]

    def client(self):
        return redis_client.Redis(unix_socket_path=str(self.socket), password=PASSWORD)
