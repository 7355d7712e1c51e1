"""HTTP to the clerk (admin.listen), by Python's own http.client."""

import contextlib
import dataclasses
import http.client
import json
import os
import socket
import urllib.parse

from harness import wait_until


class _Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _Far(http.client.HTTPConnection):
    """By TLS, to an address of another namespace (hosts.Alone)."""

    def __init__(self, host, port, context, timeout):
        super().__init__(host.address, port, timeout=timeout)
        self.host_alone, self.context = host, context

    def connect(self):
        plain = self.host_alone.dial(self.port)
        plain.settimeout(self.timeout)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    text: str

    def json(self):
        return json.loads(self.text)

    @property
    def code(self):
        """The code of a problem (RFC 9457)."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.text)
        problem = self.json()
        assert problem["status"] == self.status
        return problem["code"]


class Admin:
    """A connection to a server's clerk: by its socket beside the pid file, to a port of 127.0.0.1, or, with a context of TLS, to a
    port of the server's own host."""

    def __init__(self, server, port=None, token=None, timeout=30, context=None):
        self.path = server.pid_file.with_suffix(".admin")
        self.token = token
        if port is None:
            wait_until(self.path.exists, "the admin socket is there")
        if server.has_storage() and not server.clerk_stores and "unix:" in server.config["admin"]["listen"]:
            wait_until(self.stores, "the clerk has its Redis")
            server.clerk_stores = True
        if context:
            self.connection = _Far(server.host, port, context, timeout)
        elif port:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        else:
            self.connection = _Unix(self.path, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def stores(self):
        """Whether the clerk has its Redis: as a worker does, it serves without when Redis has not answered in a second."""
        with contextlib.closing(_Unix(self.path, 30)) as connection, contextlib.suppress(OSError):
            connection.request("GET", "/api/v1/revocations?limit=1")
            return json.loads(connection.getresponse().read()).get("redis") != "away"
        return False

    def ask(self, method, path, body=None, headers=None):
        """body: bytes as they are, anything else as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode())

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body, **more):
        return self.ask("POST", path, body, **more)

    def delete(self, path, **more):
        return self.ask("DELETE", path, **more)


def quoted(text):
    """A segment of a path: slashes are encoded too."""
    return urllib.parse.quote(text, safe="")


def clerk_pid(server):
    """The process of the server that is no worker."""
    workers = {row["pid"] for row in server.status()["workers"]}
    return next(process.pid for process in server.processes()[1:]
                if process.pid not in workers and os.path.basename(process.exe()) == "websocket-server")


def config(port=None, **more):
    """The part of the configuration that starts a clerk."""
    return {"admin": {"listen": ["unix:"] + ([f"127.0.0.1:{port}"] if port else []), **more}}
