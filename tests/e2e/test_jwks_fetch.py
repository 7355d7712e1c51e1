"""scripts/jwks-fetch: the provider's set is put in place whole, or the file stays as it was."""

import http.server
import json
import os
import subprocess
import threading

import pytest

import harness

SCRIPT = harness.ROOT / "scripts" / "jwks-fetch"
KEY = {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
GOOD = json.dumps({"keys": [KEY]}).encode()


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers with what `answer` holds: status, headers, body."""

    answer = (200, {}, GOOD)

    def do_GET(self):
        status, headers, body = self.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def provider():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Provider.answer = (200, {}, GOOD)
    yield f"http://127.0.0.1:{server.server_port}/certs"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(url, path, *options):
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run([SCRIPT, *options, url, path], capture_output=True, text=True, timeout=harness.DEADLINE,
                          check=False, env=clean)


def test_a_set_is_fetched_and_the_same_set_is_not_written_again(provider, directory):
    path = directory / "jwks.json"
    assert fetch(provider, path, "--plain-http").returncode == 0
    assert path.read_bytes() == GOOD and path.stat().st_mode & 0o777 == 0o644
    before = path.stat()
    assert fetch(provider, path, "--plain-http").returncode == 0
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    Provider.answer = (200, {}, json.dumps({"keys": [{**KEY, "kid": "b"}]}).encode())
    assert fetch(provider, path, "--plain-http").returncode == 0
    assert b'"b"' in path.read_bytes() and path.stat().st_ino != before.st_ino
    assert sorted(directory.iterdir()) == [path], "nothing else is left behind"


@pytest.mark.parametrize("answer", [
    (500, {}, GOOD),
    (404, {}, b""),
    (200, {}, b""),
    (200, {}, b"<html>"),
    (200, {}, GOOD[:-3]),
    (200, {}, b"[]"),
    (200, {}, b'{"keys":[]}'),
    (200, {}, b'{"keys":{}}'),
    (200, {}, b'{"keys":[7]}'),
    (200, {}, json.dumps({"keys": [{**KEY, "d": "sesame"}]}).encode()),
    (200, {}, json.dumps({"keys": [{"kty": "oct", "k": "sesame"}]}).encode()),
    (200, {}, b" " * (257 << 10) + GOOD),
    (200, {"Content-Length": "1000"}, GOOD),
    (302, {"Location": "ftp://127.0.0.1/certs"}, b""),
    (302, {"Location": "file:///etc/hostname"}, b""),
])
def test_anything_else_leaves_the_file_as_it_was(provider, directory, answer):
    path = directory / "jwks.json"
    path.write_text("old")
    Provider.answer = answer
    result = fetch(provider, path, "--plain-http")
    assert result.returncode == 1 and "stays as it was" in result.stderr and "Traceback" not in result.stderr
    assert "sesame" not in result.stderr
    assert path.read_text() == "old" and list(directory.iterdir()) == [path]


def test_only_https_is_taken_unless_asked_for(provider, directory):
    path = directory / "jwks.json"
    result = fetch(provider, path)
    assert result.returncode == 1 and "https://" in result.stderr and not path.exists()
    assert fetch("file:///etc/hostname", path, "--plain-http").returncode == 1 and not path.exists()


def test_a_provider_that_is_away_leaves_the_file_as_it_was(directory):
    path = directory / "jwks.json"
    path.write_text("old")
    result = fetch(f"http://127.0.0.1:{harness.free_port()}/", path, "--plain-http", "--seconds", "5")
    assert result.returncode == 1 and path.read_text() == "old" and "Traceback" not in result.stderr
