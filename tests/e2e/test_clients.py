"""Clients nobody here wrote: each connects with a header, a subprotocol pair and a query token, over ws
and wss, with and without compression, sends, receives, acknowledges and closes. The programs are in foreign/; what is missing is skipped, and named in the closing lines.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import clients
import harness
from tls import Tls

HERE = pathlib.Path(__file__).resolve().parent / "foreign"
NODE_PATH = os.pathsep.join(["/usr/share/nodejs", "/usr/lib/nodejs"])
GOCODE = "/usr/share/gocode"
CONTENT = clients.b64("Grüße 📮 \0" + "\u4e2d" * 40_000)


def has_module(name):
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def has_own_websocket():
    result = subprocess.run(["node", "--experimental-websocket", "-e", "new WebSocket('ws://127.0.0.1:1').onerror = () => {}"],
                            capture_output=True, check=False)
    return result.returncode == 0


def toolchain(name):
    """Compilers take seconds, so they run in .ci/run alone."""
    if not os.environ.get("POSTOFFICE_TOOLCHAINS"):
        return f"{name} runs where POSTOFFICE_TOOLCHAINS is set, as in .ci/run"
    return None


class Client:
    """One program. missing: why it cannot run here; None when it can. compresses: whether it can offer compression, and
    whether it can leave that out."""

    def __init__(self, name, command, missing=lambda: None, env=None, compresses=(False, True)):
        self.name, self.command, self.missing, self.env = name, command, missing, env or {}
        self.compresses = compresses

    def run(self, order, trust):
        env = {**os.environ, **self.env, **trust}
        result = subprocess.run(self.command, input=json.dumps(order), capture_output=True, text=True, cwd=HERE, env=env,
                                timeout=120, check=False)
        assert result.returncode == 0, result.stderr[-2000:]
        return json.loads(result.stdout)


def python(program, module, **options):
    return Client(program.removesuffix(".py"), [sys.executable, program],
                  lambda: None if has_module(module) else f"no {module}", {"PYTHONDONTWRITEBYTECODE": "1"}, **options)


def java_missing():
    return toolchain("Java") or (None if shutil.which("javac") else "no JDK")


def go(name, package):
    def missing():
        if not shutil.which("go"):
            return toolchain("Go") or "no Go"
        if not pathlib.Path(GOCODE, "src", package).is_dir():
            return toolchain("Go") or f"no {package} in {GOCODE}"
        return toolchain("Go")

    return Client(name, ["go", "run", "talk.go", f"{name}.go"], missing,
                  {"GO111MODULE": "off", "GOPATH": GOCODE, "GOFLAGS": "", "GOPROXY": "off"})


RUST = harness.ROOT / "build" / "tungstenite"


def rust_missing():
    """Builds the program from the crates that cargo has on this machine already."""
    if toolchain("Rust") or not shutil.which("cargo"):
        return toolchain("Rust") or "no cargo"
    built = subprocess.run(["cargo", "build", "--offline", "--quiet", "--target-dir", RUST], cwd=HERE / "tungstenite",
                           capture_output=True, text=True, check=False)
    if "error[" in built.stderr:  # of the compiler
        return None
    return None if built.returncode == 0 else "cargo has no tungstenite with native-tls here (cargo fetch in foreign/tungstenite)"


CLIENTS = [
    python("python_websockets.py", "websockets"),
    python("python_websocket_client.py", "websocket", compresses=(False,)),
    python("python_aiohttp.py", "aiohttp"),
    Client("node_ws", ["node", "node_ws.js"], lambda: None if shutil.which("node") else "no node", {"NODE_PATH": NODE_PATH}),
    Client("node_own", ["node", "--experimental-websocket", "--no-warnings", "node_own.js"],
           lambda: None if has_own_websocket() else "this node has no WebSocket of its own", compresses=(True,)),
    Client("java_net_http", ["java", "Java.java"], java_missing, compresses=(False,)),
    go("gorilla", "github.com/gorilla/websocket"),
    go("coder", "nhooyr.io/websocket"),
    Client("tungstenite", [RUST / "debug" / "tungstenite-talk"], rust_missing, compresses=(False,)),
]
WAYS = ["header", "subprotocol", "query"]
CASES = [pytest.param(client, scheme, way, compress, id=f"{client.name}-{scheme}-{way}{'-compressed' if compress else ''}")
         for client in CLIENTS for scheme in ("ws", "wss") for way in WAYS for compress in client.compresses]


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    tls = Tls(directory)
    server = harness.Server(directory, redis, 2, tls.config()).start()
    server.tls = tls
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


@pytest.fixture(scope="module")
def trust(post):
    """The environment in which Node, Go, Java and Rust trust the server's certificate."""
    env = {"NODE_EXTRA_CA_CERTS": str(post.tls.cert), "SSL_CERT_FILE": str(post.tls.cert)}
    if not java_missing():
        store = post.tls.directory / "trust.p12"
        subprocess.run(["keytool", "-importcert", "-noprompt", "-file", post.tls.cert, "-keystore", store, "-storetype", "PKCS12",
                        "-storepass", "changeit"], check=True, capture_output=True)
        env["JAVA_TOOL_OPTIONS"] = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
    return env


@pytest.fixture(scope="module")
def missing():
    """Why each client cannot run here, asked once."""
    return {client.name: client.missing() for client in CLIENTS}


@pytest.mark.parametrize("client,scheme,way,compress", CASES)
def test_a_client_of_another_project_connects_sends_acknowledges_and_closes(post, missing, trust, client, scheme, way, compress):
    if missing[client.name]:
        pytest.skip(missing[client.name])
    address = f"{client.name}-{scheme}-{way}-{compress}"
    url, headers, protocols = clients.target(post, address, token_in=way)
    secure = scheme == "wss"
    told = client.run({"url": clients.secure(url, post.tls) if secure else url, "headers": headers, "protocols": protocols,
                       "address": address, "content": CONTENT, "ca": str(post.tls.cert) if secure else None,
                       "compress": compress}, trust)
    assert told["content"] == CONTENT
    assert told["cursor"] == told["seq"]
    assert told["code"] == 1000
    assert told["protocol"] == ("postoffice.v1" if way == "subprotocol" else "")
    assert told["compressed"] == compress


def test_curl_sees_the_101_and_the_welcome(post):
    """A curl without WebSocket, as Debian's, is what people look at a server with."""
    if not shutil.which("curl"):
        pytest.skip("no curl")
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
               ("Sec-WebSocket-Key", clients.KEY), ("Authorization", f"Bearer {post.token('curl')}")]
    url = f"http://127.0.0.1:{post.port}/ws"
    with subprocess.Popen(["curl", "--silent", "--include", "--no-buffer", "--http1.1",
                           *[part for name, value in headers for part in ("--header", f"{name}: {value}")], url],
                          stdout=subprocess.PIPE) as process:
        seen = b""
        while b'"welcome"' not in seen:
            data = process.stdout.read1()
            assert data, seen
            seen += data
        process.terminate()
    assert seen.startswith(b"HTTP/1.1 101 ") and clients.ACCEPT.encode() in seen
    for arguments, status in ([], 426), (["--head"], 405), (["--request", "OPTIONS"], 405), (["--request", "POST"], 405):
        result = subprocess.run(["curl", "--silent", "--show-error", "--max-time", str(harness.DEADLINE), "--write-out",
                                 "%{http_code}", "--output", os.devnull, *arguments, url], capture_output=True, text=True,
                                check=False)
        assert (result.returncode, result.stdout) == (0, str(status)), (arguments, result.stderr)
