"""A browser: a page in Chromium talks with the WebSocket that every page has."""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import queue
import shutil
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import harness
from tls import Tls

CHROMIUM = shutil.which("chromium")
PAGES = {name: (harness.ROOT / "tests" / "e2e" / f"{name}.html").read_bytes() for name in ("page", "refused")}

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium: scripts/setup --browser installs it")


class Site(http.server.ThreadingHTTPServer):
    """Serves the pages, and takes what they post."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.said = queue.Queue()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = PAGES.get(self.path[1:])
        self.answer(200 if page else 404, page or b"")

    def do_POST(self):
        self.server.said.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(200, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    instance = Site()
    yield instance
    instance.shutdown()
    instance.server_close()


@contextlib.contextmanager
def browser(directory, url, *more):
    """A page in a browser of its own, with an empty profile."""
    process = subprocess.Popen(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", f"--user-data-dir={directory / 'chromium'}",
         *more, url], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(directory)})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(harness.DEADLINE)


def trust(tls):
    """The browser takes this one key without an issuer that it knows; any other certificate stays refused."""
    spki = x509.load_pem_x509_certificate(tls.cert.read_bytes()).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "--ignore-certificate-errors-spki-list=" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


def visit(directory, site, post, host="127.0.0.1", page="page", by="protocol", tls=None):
    """Opens the page; returns the result that the page posts."""
    base = f"wss://localhost:{tls.port}" if tls else f"ws://127.0.0.1:{post.port}"
    query = f"port={post.port}&base={base}&by={by}&alice={post.token('alice')}&bob={post.token('bob')}"
    with browser(directory, f"http://{host}:{site.server_address[1]}/{page}#{query}", *([trust(tls)] if tls else [])):
        return site.said.get(timeout=2 * harness.DEADLINE)


@pytest.mark.parametrize("compression", [True, False], ids=["compressed", "plain"])
@pytest.mark.parametrize("by", ["protocol", "query"])
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_a_page_talks_through_several_workers(server, directory, site, secure, by, compression):
    tls = Tls(directory) if secure else None
    post = server(2, {"auth": {"origins": [f"http://127.0.0.1:{site.server_address[1]}"]},
                      "compression": {"enabled": compression}, **(tls.config() if tls else {})})
    said = visit(directory, site, post, by=by, tls=tls)
    assert said["error"] is None, said
    assert said["protocol"] == "postoffice.v1"
    assert ("permessage-deflate" in said["extensions"]) == compression
    assert said["welcome"]["subject"] == "welcome" and said["welcome"]["to"] == ["alice"]
    assert said["got"] == said["sent"] == said["accepted"], "in order, each once"
    assert said["content"] == "Grüße \U0001f4ee " + "ü" * 100000, "a long one, as it was sent"
    assert said["replayed"] == said["sent"][10:], "who comes back gets what it had not acknowledged"
    assert said["closed"] == {"code": 1000, "clean": True}


def test_a_page_of_another_origin_is_not_let_in(server, directory, site):
    post = server(1, {"auth": {"origins": [f"http://127.0.0.1:{site.server_address[1]}"]}})
    said = visit(directory, site, post, host="localhost")
    assert said["error"] == "closed 1006", said
    assert post.total("handshake_403") >= 1


def test_a_page_that_asks_for_it_reads_why_it_is_refused(server, directory, site):
    post = server(1)
    plain, bad, other, path, device = visit(directory, site, post, page="refused")
    assert plain["code"] == 1006 and not plain["opened"] and not plain["goodbye"]
    for said, code in ((bad, 4401), (other, 4403), (path, 4404), (device, 4400)):
        assert said["opened"] and said["clean"] and said["code"] == code == said["goodbye"]["code"], said
        assert said["reason"] == said["goodbye"]["message"]
    assert post.total("sessions_opened") == 0
