"""The recipes of docs/operations.md, "Behind a proxy": each block is taken from the page and run with Debian's package.

`replaced` puts in the ports and paths that a test can have; all else is as it stands. Around the block comes what
Debian's main file has around it.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

import clients
import harness
from clients import PythonClient, run

PAGE = (harness.ROOT / "docs" / "operations.md").read_text()
HOST = "post.example.org"
CLIENT = "127.0.0.3"  # where the tests connect from; the proxies connect from 127.0.0.1


def section(title):
    return PAGE.split(f"\n### {title}\n")[1].split("\n## ")[0].split("\n### ")[0]


def block(title, language):
    """The one block of this language in a recipe."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, (title, language, len(found))
    return found[0]


def replaced(text, table):
    """text with each key of the table, which must be there, replaced."""
    for old, new in table.items():
        assert old in text, f"{old} is not in the recipe any more"
        text = text.replace(old, str(new))
    return text


def make_certificate(directory):
    """A certificate of its own for HOST: .crt, .key, and both in .pem."""
    crt, key = directory / "site.crt", directory / "site.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", crt, "-days", "2", "-subj", f"/CN={HOST}", "-addext",
                    f"subjectAltName=DNS:{HOST}"], check=True, capture_output=True)
    (directory / "site.pem").write_text(crt.read_text() + key.read_text())
    for name in ("site.key", "site.pem"):
        (directory / name).chmod(0o644)  # the folder is the test's own
    return crt


class Proxy:
    """A proxy with the block of its recipe, in front of a server with the configuration of the recipe."""

    title = language = binary = None
    config_file = "proxy.conf"

    def __init__(self, server, directory, **config):
        self.directory = directory / "proxy"
        self.directory.mkdir()
        self.directory.chmod(0o777)  # the proxies' users write logs and pid files there
        self.port = harness.free_port()
        self.crt = make_certificate(self.directory)
        self.post = server(2, start=False)
        own = replaced(block(self.title, "json"), self.replaced_in_config())
        self.post.write_config({**json.loads(own), **config})
        self.post.start()
        self.process = None

    def replaced_in_config(self):
        return {"127.0.0.1:7502": f"127.0.0.1:{self.post.port}"}

    def start(self):
        (self.directory / self.config_file).write_text(self.text())
        with open(self.directory / "proxy.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.directory, env={**os.environ, "HOME": str(self.directory)})
        harness.wait_until(self.answers, f"{self.binary} passes a health check on", pause=0.1)

    def answers(self):
        assert self.process.poll() is None, (self.directory / "proxy.log").read_text()
        with contextlib.suppress(OSError):
            return self.ask("/healthz").startswith(b"HTTP/1.1 200")
        return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(harness.DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # -- clients

    def tls(self):
        return ssl.create_default_context(cafile=self.crt)

    def dial(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=harness.DEADLINE, source_address=(CLIENT, 0))

    def ask(self, path):
        with self.tls().wrap_socket(self.dial(), server_hostname=HOST) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while data := raw.recv(65536):
                answer += data
            return answer

    async def open(self, address, **options):
        """A session through the proxy, over TLS."""
        url, headers, protocols = clients.target(self.post, address, **options.pop("target", {}))
        url = url.replace(f"ws://127.0.0.1:{self.post.port}", f"wss://{HOST}:{self.port}")
        client = PythonClient(address)
        raw = self.dial()
        raw.setblocking(False)
        client.socket = await clients.websockets.connect(
            url, extra_headers={**headers, **options.pop("headers", {})}, subprotocols=protocols or None, ssl=self.tls(),
            sock=raw, server_hostname=HOST, max_size=None, max_queue=None, ping_interval=None,
            open_timeout=harness.DEADLINE, close_timeout=harness.DEADLINE)
        client.reader = asyncio.ensure_future(client._read())  # pylint: disable=protected-access
        return client


class Nginx(Proxy):
    title, language, binary = "nginx", "nginx", "nginx"

    def replaced_in_config(self):
        return {"/run/postoffice/front.sock": self.directory / "front.sock"}

    def text(self):
        recipe = replaced(block(self.title, self.language), {
            "/run/postoffice/front.sock": self.directory / "front.sock",
            "listen 443 ssl": f"listen {self.port} ssl", "listen [::]:443 ssl": f"listen [::]:{self.port} ssl",
            "/etc/ssl/private/post.example.org.crt": self.crt,
            "/etc/ssl/private/post.example.org.key": self.directory / "site.key",
            "/var/log/nginx/postoffice.log": self.directory / "access.log"})
        (self.directory / "postoffice.conf").write_text(recipe)
        return f"""
user www-data;
pid {self.directory}/nginx.pid;
error_log {self.directory}/error.log;
events {{ worker_connections 768; }}
http {{
    access_log off;
    client_body_temp_path {self.directory}/body; proxy_temp_path {self.directory}/proxied;
    fastcgi_temp_path {self.directory}/fastcgi; uwsgi_temp_path {self.directory}/uwsgi;
    scgi_temp_path {self.directory}/scgi;
    include {self.directory}/postoffice.conf;
}}
"""

    def command(self):
        return ["nginx", "-c", str(self.directory / self.config_file), "-g", "daemon off;"]


class HAProxy(Proxy):
    title, language, binary = "HAProxy", "haproxy", "haproxy"

    def text(self):
        recipe = replaced(block(self.title, self.language), {
            ":::443": f":::{self.port}", "/etc/haproxy/post.example.org.pem": self.directory / "site.pem",
            "127.0.0.1:7502": f"127.0.0.1:{self.post.port}"})
        return f"""
global
    stats socket {self.directory}/admin.sock mode 600 level admin
    log stdout format raw local0
defaults
    log global
    timeout connect 5000
    timeout client 50000
    timeout server 50000
{recipe}"""

    def command(self):
        return ["haproxy", "-db", "-f", str(self.directory / self.config_file)]

    def state_of_host(self):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(self.directory / "admin.sock"))
            raw.sendall(b"show stat\n")
            text = b""
            while data := raw.recv(65536):
                text += data
        names = text.decode().lstrip("# ").splitlines()[0].split(",")
        rows = [dict(zip(names, line.split(","))) for line in text.decode().splitlines()[1:]]
        return next(row["status"] for row in rows if row.get("svname") == "host1")


class Caddy(Proxy):
    title, language, binary = "Caddy", "caddy", "caddy"
    config_file = "Caddyfile"

    def text(self):
        recipe = replaced(block(self.title, self.language), {
            f"{HOST} {{": f"{HOST}:{self.port} {{", "/etc/caddy/post.example.org.crt": self.crt,
            "/etc/caddy/post.example.org.key": self.directory / "site.key",
            "127.0.0.1:7502": f"127.0.0.1:{self.post.port}"})
        return f"{{\n    admin off\n    auto_https disable_redirects\n    storage file_system {self.directory}/caddy\n}}\n{recipe}"

    def command(self):
        return ["caddy", "run", "--config", str(self.directory / self.config_file), "--adapter", "caddyfile"]


def may_run(kind):
    missing = pytest.mark.skipif(not shutil.which(kind.binary),
                                 reason=f"no {kind.binary}: scripts/setup --proxies installs it")
    no_root = pytest.mark.skipif(kind is Nginx and os.geteuid() != 0,
                                 reason="needs root: only root gives a socket to the group www-data")
    return pytest.param(kind, marks=[missing, no_root], id=kind.binary)


PROXIES = [may_run(kind) for kind in (Nginx, HAProxy, Caddy)]


@pytest.fixture
def behind(server, directory):
    made = []

    def make(kind, **config):
        proxy = kind(server, directory, **config)
        made.append(proxy)
        proxy.start()
        return proxy

    yield make
    for proxy in made:
        proxy.stop()


def peers(post):
    return re.findall(r"event=handshake_accepted .*peer=(\S+)", post.log())


@pytest.mark.parametrize("kind", PROXIES)
def test_sessions_talk_through_the_proxy_and_their_address_is_known(behind, kind):
    proxy = behind(kind)
    post = proxy.post

    async def scene():
        forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example"}
        alice = await proxy.open("alice", headers=forged)
        await alice.begun()
        bob = await proxy.open("bob", target={"token_in": "subprotocol"})
        await bob.begun()
        assert bob.socket.subprotocol == "postoffice.v1"
        carol = await proxy.open("carol", target={"token_in": "query"})
        await carol.begun()
        for size in (10, 700_000):
            sent = await alice.send("bob", "x" * size, type=1)
            await alice.said("accepted", inReplyTo=sent["id"])
            got = await bob.message(id=sent["id"])
            assert got["content"] == sent["content"]
            await bob.order("ack", references=got["seq"])
        for client in (alice, bob, carol):
            await client.close()

    run(scene())
    assert peers(post) == [CLIENT] * 3
    assert post.total("forwarded_bad") == post.total("proxy_bad") == post.total("proxy_untrusted") == 0


@pytest.mark.parametrize("kind", PROXIES)
def test_the_limit_of_an_address_counts_the_client(behind, kind):
    proxy = behind(kind, limits={"connectionsPerIP": 2, "messagesPerSecond": 0, "queueBytes": 64 << 20})

    async def scene():
        inside = [await proxy.open("alice", target={"device": f"D{number}"}) for number in range(2)]
        for client in inside:
            await client.begun()
        with pytest.raises(clients.websockets.InvalidStatusCode) as refused:
            await proxy.open("alice", target={"device": "D2"}, headers={"X-Forwarded-For": "203.0.113.9"})
        assert refused.value.status_code == 503
        for client in inside:
            await client.close()

    run(scene())


@pytest.mark.parametrize("kind", PROXIES)
def test_a_cookie_is_taken_from_the_sites_own_page_alone(behind, kind):
    proxy = behind(kind, auth={"keyDir": "keys", "cookie": "session"})

    async def scene():
        cookie = {"Cookie": f"session={proxy.post.token('alice')}"}
        nobody = {"token": "", "token_in": "nowhere"}
        own = await proxy.open("alice", target=nobody, headers={**cookie, "Origin": f"https://{HOST}:{proxy.port}"})
        await own.begun()
        await own.close()
        foreign = {**cookie, "Origin": "https://evil.example"}
        with pytest.raises(clients.websockets.InvalidStatusCode) as refused:
            await proxy.open("alice", target=nobody, headers=foreign)
        assert refused.value.status_code == 403

    run(scene())


@pytest.mark.parametrize("kind", PROXIES)
def test_refusals_by_close_frames_pass_the_proxy(behind, kind):
    proxy = behind(kind)

    async def scene():
        client = await proxy.open("alice", target={"token": "x.y.z", "token_in": "query", "query": {"refusals": "close"}})
        goodbye, code = await client.closed()
        assert code == 4401 == goodbye["code"]

    run(scene())


@pytest.mark.parametrize("kind", PROXIES)
def test_the_proxy_logs_no_token(behind, kind):
    proxy = behind(kind)

    async def scene():
        client = await proxy.open("alice", target={"token_in": "query"})
        await client.begun()
        await client.close()

    run(scene())
    proxy.stop()
    secret = proxy.post.keys.issued[-1].rsplit(".", 1)[-1]
    logs = [path for path in proxy.directory.glob("*.log") if path.is_file()]
    assert logs and not any(secret in path.read_text(errors="replace") for path in logs)


@pytest.mark.parametrize("kind", PROXIES)
def test_the_time_outs_are_longer_than_the_pings(kind):
    text = block(kind.title, kind.language)
    explained = harness.command("explain-config").stdout
    pings = sum(int(re.search(rf"^limits\.{name}\n.*\n +default +(\d+)$", explained, re.MULTILINE).group(1))
                for name in ("pingSeconds", "pongSeconds"))
    found = [int(seconds) for seconds in re.findall(
        r"(?:proxy_(?:read|send)_timeout|timeout (?:client|server|tunnel)) +(\d+)s", text)]
    assert all(seconds > pings for seconds in found) and (len(found) >= 2 or kind is Caddy), found


@pytest.mark.parametrize("kind", PROXIES[1:2])
def test_haproxy_takes_a_host_that_drains_out_and_a_new_one_in(behind, kind):
    proxy = behind(kind)
    post = proxy.post
    harness.wait_until(lambda: proxy.state_of_host() == "UP", "the host is up")
    assert post.total("health_checks") > 0 and post.total("proxy_bad") == 0, "checks have PROXY headers, too"
    stubborn = clients.Raw(post.port)  # keeps the drain going
    stubborn.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + clients.request(token=post.token("alice")).encode())
    assert stubborn.answer().status == 101
    post.write_config({"shutdown": {"seconds": 30}})
    post.reload()
    post.process.send_signal(signal.SIGTERM)
    harness.wait_until(lambda: proxy.state_of_host() == "DOWN", "the host is taken out", pause=0.2)
    assert proxy.ask("/healthz").startswith(b"HTTP/1.1 503")
    stubborn.socket.close()
    assert post.stop() == 0
    post.log_file.write_text("")  # its second run has a log of its own
    post.start()
    harness.wait_until(lambda: proxy.state_of_host() == "UP", "the host is back", pause=0.2)

    async def scene():
        client = await proxy.open("alice")
        await client.begun()
        await client.close()

    run(scene())


def test_every_block_of_the_page_is_tested():
    text = PAGE.split("\n## Behind a proxy\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^```(\w+)$", text, re.MULTILINE)) == ["caddy", "haproxy", "json", "json", "json", "nginx"]
