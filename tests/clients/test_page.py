"""The JavaScript client in a page: killed and loaded again, with and without its server, offline, in several tabs."""

import base64
import http.server
import pathlib
import threading
import urllib.parse

import pytest

from e2e_fixtures import directory, redis, server  # noqa: F401  fixtures
import harness  # behind the path that e2e_fixtures sets
from browser import CHROMIUM, Browser
from conversation import Peer
from office import Office, Variant

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = harness.ROOT / "clients" / "js" / "src"
LIVES = harness.scaled(50, least=10)
MAILS_A_LIFE = 4

# One process runs all of them: a browser takes what two cores have.
pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.skipif(not CHROMIUM, reason="no chromium: scripts/setup --browser installs it")]


class Site(http.server.ThreadingHTTPServer):
    """Serves the page and the modules of the client."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, post, address, **options):
        options = {"url": f"ws://127.0.0.1:{post.port}/ws", "address": address, "token": post.token(address), **options}
        return f"http://127.0.0.1:{self.server_address[1]}/page.html#{urllib.parse.urlencode(options)}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = pathlib.PurePosixPath(self.path)
        file = HERE / "page.html" if self.path == "/page.html" else SOURCES / name.name
        found = name.parent.name in ("", "src") and file.exists()
        body = file.read_bytes() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html" if file.suffix == ".html" else "text/javascript")
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


@pytest.fixture
def browser(directory):
    instance = Browser(directory).start()
    yield instance
    instance.stop()


@pytest.fixture
def post(server):
    return server(2, {"sessions": {"replacementsPerSecond": 1000}})


class Sender(threading.Thread):
    """Alice, who writes to bob: the next few mails whenever `more` is called, one after the other."""

    def __init__(self, post):
        super().__init__(daemon=True)
        self.peer = Peer(post, "alice")
        self.permits = threading.Semaphore(0)
        self.sent = []
        self.failure = None
        self.ended = False
        self.start()

    def more(self, count):
        for _ in range(count):
            self.permits.release()

    def run(self):
        try:
            while True:
                self.permits.acquire()
                if self.ended:
                    return
                text = f"mail-{len(self.sent)}"
                self.peer.send("bob", text, id=text)
                self.sent.append(text)
        except Exception as error:  # the test tells it
            self.failure = error

    def end(self):
        self.ended = True
        self.permits.release()
        self.join(harness.DEADLINE)
        self.peer.close()
        assert self.failure is None, self.failure


def end_life(number, browser, tab, url):
    """Ends the page in one of three ways while it works; returns the tab in which it lives on. The browser itself lives:
    Chromium that is killed may begin with an empty IndexedDB, and then no page has anything to remember."""
    way = number % 5
    if way == 2:
        tab.close()
        return browser.tab(url)
    if way in (0, 3):
        tab.crash()
    else:
        tab.reload()
    return tab


def test_a_page_that_is_killed_50_times_while_mail_flows_handles_each_message_once_and_in_order(post, site, browser):
    url = site.url(post, "bob", device="page")
    alice = Sender(post)
    tab = browser.tab(url)
    queued = []
    for number in range(LIVES):
        alice.more(MAILS_A_LIFE)
        ids = [f"life-{number:03}-{each}" for each in range(2)]
        tab.ask(f"Promise.all({ids}.map((id) => office.send({{to: 'carol', id, text: id}}).stored))")
        queued += ids
        tab.until("window.handled >= 2", f"life {number} handles mail")
        tab = end_life(number, browser, tab, url)
    total = LIVES * MAILS_A_LIFE
    tab.until(f"office.kept('count').then((count) => count >= {total})", "all mail is handled")
    alice.end()
    assert [text for _, text in tab.ask("office.records('got/')")] == alice.sent == [f"mail-{each}" for each in range(total)]
    tab.until("office.pending().length === 0", "all that was queued is accepted")
    with Peer(post, "carol") as carol:
        heard = [message["id"] for message in carol.all(len(queued) + total)]
    assert [each for each in heard if each.startswith("life-")] == queued
    assert [each for each in heard if each.startswith("re:")] == [f"re:{each}" for each in alice.sent]
    assert not tab.ask("window.errors")


@pytest.fixture
def durable_office():
    instance = Office(Variant(False, False, 1), durable=True, config={"sessions": {"replacementsPerSecond": 1000}})
    yield instance
    instance.stop()


def test_two_pages_lose_nothing_while_pages_workers_and_redis_are_killed(durable_office, site, browser):
    """Alice and bob are pages; each life of theirs one more part of the office is killed beside them."""
    post = durable_office.servers[0]
    urls = [site.url(post, address, device="page") for address in ("alice", "bob")]
    alice, bob = (browser.tab(url) for url in urls)
    kills = [lambda: durable_office.kill_worker(0, 0), lambda: durable_office.kill_worker(0, 1), durable_office.restart_redis]
    sent = []
    for number in range(LIVES // 4):
        texts = [f"mail-{len(sent) + each:03}" for each in range(MAILS_A_LIFE)]
        alice.ask(f"(async () => {{ for (const id of {texts}) await office.send({{ to: 'bob', id, text: id }}).stored; }})()")
        sent += texts
        kills[number % len(kills)]()
        bob.until("window.handled >= 1", f"life {number} handles mail")
        alice, bob = end_life(number, browser, alice, urls[0]), end_life(number + 1, browser, bob, urls[1])
    bob.until(f"office.kept('count').then((count) => count >= {len(sent)})", "all mail is handled")
    assert [text for _, text in bob.ask("office.records('got/')")] == sent
    for tab in (alice, bob):
        tab.until("office.pending().length === 0", "all that was queued is accepted")
    with Peer(post, "carol") as carol:
        assert [message["id"] for message in carol.all(len(sent))] == [f"re:{text}" for text in sent]


def test_an_outbox_survives_reloads_of_its_page_while_the_server_is_away(post, site, browser):
    tab = browser.tab(site.url(post, "bob"))
    tab.until("office.state === 'open'")
    post.stop()
    ids = [f"kept-{number}" for number in range(5)]
    tab.ask(f"Promise.all({ids}.map((id) => office.send({{to: 'carol', id, text: '你好 ' + id}}).stored))")
    tab.reload()
    tab.crash()
    assert tab.until("office.kept('').then(() => office.pending().map(({ id }) => id))") == ids
    post.start()
    tab.until("office.pending().length === 0", "the outbox is empty")
    with Peer(post, "carol") as carol:
        got = carol.all(len(ids))
    assert [message["id"] for message in got] == ids
    assert base64.b64decode(got[0]["content"]).decode() == "你好 kept-0"


def test_a_page_comes_back_at_once_when_the_network_does_or_the_tab_is_seen_again(post, site, browser):
    tab = browser.tab(site.url(post, "bob", backoff=10**9))  # by itself it comes back after days

    def waits():
        tab.until("office.state === 'open'")
        post.stop()
        tab.until("office.state === 'waiting'")
        post.start()

    waits()
    tab.call("Network.enable")
    for offline in (True, False):
        tab.call("Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    waits()
    tab.ask("document.dispatchEvent(new Event('visibilitychange'))")
    tab.until("office.state === 'open'")
    with Peer(post, "alice") as alice:
        alice.send("bob", "hello")
    tab.until("office.kept('count')")


def test_each_tab_is_a_device_and_a_new_tab_takes_over_what_a_closed_one_left(post, site, browser):
    url = site.url(post, "bob")
    first, second = browser.tab(url), browser.tab(url)
    devices = [tab.until("office.state === 'open' && office.device") for tab in (first, second)]
    assert devices[0] != devices[1]

    with Peer(post, "alice") as alice:
        alice.send("bob", "to both")
    for tab in (first, second):
        tab.until("office.kept('count')")
    first.reload()
    assert first.until("office.device") == devices[0]

    before = browser.tabs()
    first.ask("void window.open(location.href)", gesture=True)  # a copy, with the session storage of the first
    opened = harness.wait_until(lambda: browser.tabs().keys() - before.keys(), "the copy of the tab is there").pop()
    copy = browser.attach(opened)
    assert copy.until("office.state === 'open' && office.device") not in devices

    second.close()
    with Peer(post, "alice") as alice:
        alice.send("bob", "to the one that is closed too")
    third = browser.tab(url)
    assert third.until("office.device") == devices[1]
    third.until("office.kept('count').then((count) => count === 2)")
    assert [text for _, text in third.ask("office.records('got/')")] == ["to both", "to the one that is closed too"]
    for tab in (first, third):
        assert tab.ask("office.state") == "open"
