"""The token endpoints of examples/ log people in, and PostOffice takes their tokens; the chat page works on them."""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from e2e_fixtures import directory, redis, server  # noqa: F401  fixtures
import clients  # behind the path that e2e_fixtures sets
import harness
from browser import CHROMIUM, Browser
from clients import PythonClient

EXAMPLES = harness.ROOT / "examples"
# Debian's modules, wherever the machine's node comes from.
NODE = {**os.environ, "NODE_PATH": os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), "/usr/share/nodejs"]))}
PASSWORDS = {"alice": "correct horse", "bob": "battery staple"}


def has_express():
    return shutil.which("node") and subprocess.run(["node", "-e", "require('express')"], env=NODE, capture_output=True,
                                                   check=False).returncode == 0


def has_fastapi():
    return all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "jwt", "itsdangerous"))


ENDPOINTS = [pytest.param(["node", str(EXAMPLES / "tokens.cjs")], id="express", marks=pytest.mark.skipif(
                 not has_express(), reason="no express for node: scripts/setup --clients installs it")),
             pytest.param([sys.executable, str(EXAMPLES / "tokens.py")], id="fastapi", marks=pytest.mark.skipif(
                 not has_fastapi(), reason="no fastapi: scripts/setup --clients installs it"))]


class Endpoint:
    def __init__(self, program, folder, key):
        self.port = harness.free_port()
        users = {user: subprocess.run([*program, "hash"], input=password + "\n", capture_output=True, text=True, env=NODE,
                                      check=True).stdout.strip() for user, password in PASSWORDS.items()}
        (folder / "users.json").write_text(json.dumps(users), encoding="utf-8")
        self.log = folder / "endpoint.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*program, str(folder / "users.json"), str(key), str(self.port)],
                                            stdout=log, stderr=log, env=NODE)
        harness.wait_until(lambda: self.post("/token", {})[0] == 401, "the endpoint serves", pause=0.2)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def post(self, path, body, cookie=None):
        """(status, answer, cookie)"""
        request = urllib.request.Request(self.url(path), json.dumps(body).encode(), {"Content-Type": "application/json"})
        if cookie:
            request.add_header("Cookie", cookie)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer), answer.headers.get("Set-Cookie")
        except urllib.error.HTTPError as refused:
            return refused.code, None, None
        except urllib.error.URLError:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            return 0, None, None

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def endpoint(request, server, tmp_path):
    """An endpoint, and the server that believes its key."""
    key_made = subprocess.run([harness.BINARY, "keygen", "--kty", "hmac", "--kid", "web", "--dir", str(tmp_path / "keys")],
                              capture_output=True, text=True, check=False)
    assert key_made.returncode == 0, key_made.stderr
    secret = pathlib.Path(tmp_path / "keys" / "web.secret")
    secret.chmod(0o600)
    post = server(1, {"auth": {"keys": [{"kid": "web", "kty": "hmac", "secretFile": str(secret)}]}})
    one = Endpoint(request.param, tmp_path, secret)
    yield one, post
    one.stop()


@pytest.mark.parametrize("endpoint", ENDPOINTS, indirect=True)
def test_who_has_logged_in_gets_a_token_that_the_server_takes(endpoint):
    one, post = endpoint
    assert one.post("/login", {"user": "alice", "password": "wrong"})[0] == 401
    assert one.post("/login", {"user": "mallory", "password": "correct horse"})[0] == 401
    assert one.post("/login", {"user": ["alice"], "password": {}})[0] in (401, 422)
    assert one.post("/token", {}, cookie="login=AAAA")[0] == 401
    status, _, cookie = one.post("/login", {"user": "alice", "password": PASSWORDS["alice"]})
    assert status == 200 and "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    token = one.post("/token", {}, cookie=cookie.split(";")[0])[1]["token"]

    async def talk():
        alice = await PythonClient.open(post, "alice", token=token)
        assert alice.welcome["address"] == "alice"
        await alice.close()

    clients.run(talk())


def log_in(browser, page, user):
    tab = browser.tab(page, ready="Boolean(document.getElementById('login')?.onsubmit)")
    tab.ask(f"""{{ const form = document.getElementById('login');
        form.elements.user.value = {json.dumps(user)}; form.elements.password.value = {json.dumps(PASSWORDS[user])};
        form.requestSubmit(); }}""")
    tab.until("!document.getElementById('say').hidden", f"{user} is in the room")
    return tab


def say(tab, text):
    tab.ask(f"""{{ const form = document.getElementById('say');
        form.elements.text.value = {json.dumps(text)}; form.requestSubmit(); }}""")


def shows(text):
    return f"[...document.querySelectorAll('li')].filter((one) => one.textContent === {json.dumps(text)}).length === 1"


@pytest.fixture
def browsers(tmp_path):
    """A browser for each person: each has a storage of its own."""
    started = []
    for user in PASSWORDS:
        (tmp_path / user).mkdir()
        started.append(Browser(tmp_path / user).start())
    yield started
    for one in started:
        one.stop()


@pytest.mark.xdist_group("page")
@pytest.mark.skipif(not CHROMIUM, reason="no chromium: scripts/setup --browser installs it")
@pytest.mark.parametrize("endpoint", ENDPOINTS, indirect=True)
def test_two_people_talk_on_the_chat_page(endpoint, browsers):
    one, post = endpoint
    page = one.url(f"/chat.html?server=ws://127.0.0.1:{post.port}/ws")
    alice = log_in(browsers[0], page, "alice")
    say(alice, "is anybody here?")
    alice.until("document.querySelector('li') && !document.querySelector('li.waiting')", "the room keeps it")
    bob = log_in(browsers[1], page, "bob")
    bob.until(shows("alice: is anybody here?"), "bob reads what was said before")
    say(bob, "<b>yes</b>")
    alice.until(shows("bob: <b>yes</b>"), "text stays text")
    say(alice, "@bob psst")
    bob.until(shows("alice (to you): psst"), "a word for bob alone")
    assert bob.ask(shows("you: <b>yes</b>"))
