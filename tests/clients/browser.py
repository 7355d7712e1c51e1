"""Chromium, steered over its DevTools protocol: tabs that are opened, asked, reloaded, crashed and closed."""

import itertools
import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request

import websocket

import harness

CHROMIUM = shutil.which("chromium")
LOADED = "Boolean(window.office)"  # of test_page.py's page


class PageError(Exception):
    """What a page threw, or what the browser says of a page that is not there (yet, or any more)."""


class Tab:
    """One tab. `ask` evaluates an expression, and waits for its promise."""

    def __init__(self, browser, target):
        self.browser, self.id = browser, target["id"]
        self.numbers = itertools.count(1)
        self.socket = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=harness.DEADLINE, suppress_origin=True)

    def call(self, method, **parameters):
        number = self.tell(method, **parameters)
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == number:
                if "error" in said:
                    raise PageError(said["error"]["message"])
                return said["result"]

    def tell(self, method, **parameters):
        """Asks, and does not wait for the answer."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return number

    def ask(self, expression, gesture=False):
        said = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=gesture)
        if "exceptionDetails" in said:
            details = said["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return said["result"].get("value")

    def until(self, expression, what=None):
        """The first true value of the expression, over loading and reloading of the page. A page that flushes to a slow
        disk is given its time."""

        def look():
            try:
                return self.ask(expression)
            except PageError:
                return None

        return harness.wait_until(look, what or expression, deadline=6 * harness.DEADLINE)

    def reload(self):
        self.ask("window.old = true")
        self.call("Page.reload")
        self.until(f"!window.old && {LOADED}", "the page is loaded again")

    def crash(self):
        """Ends the process of the page, and loads the page again."""
        self.tell("Page.crash")
        self.said("Inspector.targetCrashed")
        self.call("Page.reload")
        self.until(f"!window.old && {LOADED}", "the page is loaded again")

    def said(self, event):
        """Waits for an event of the browser."""
        while json.loads(self.socket.recv()).get("method") != event:
            pass

    def front(self):
        self.call("Page.bringToFront")

    def close(self):
        self.browser.get(f"/json/close/{self.id}")
        harness.wait_until(lambda: self.id not in self.browser.tabs(), "the tab is gone")
        self.socket.close(timeout=1)


class Browser:
    """A browser with a profile of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.profile = directory / "chromium"
        self.process = None
        self.port = None

    def start(self):
        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
             f"--user-data-dir={self.profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self.directory)}, start_new_session=True)
        self.port = harness.wait_until(self._port, "chromium tells its port", deadline=3 * harness.DEADLINE)
        return self

    def _port(self):
        file = self.profile / "DevToolsActivePort"
        lines = file.read_text().splitlines() if file.exists() else []
        return int(lines[0]) if len(lines) > 1 else None

    def get(self, path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=harness.DEADLINE) as answer:
            return answer.read()

    def tab(self, url, ready=LOADED):
        """A new tab, loaded as far as `ready` is true."""
        target = json.loads(self.get(f"/json/new?{urllib.parse.quote(url, safe='')}", "PUT"))
        return self.attach(target["id"], ready)

    def attach(self, target, ready=LOADED):
        """The tab of that id."""
        tab = Tab(self, self.tabs()[target])
        tab.call("Inspector.enable")
        tab.until(ready, "the page is loaded")
        return tab

    def tabs(self):
        """The ids of all pages."""
        return {each["id"]: each for each in json.loads(self.get("/json/list")) if each["type"] == "page"}

    def kill(self):
        """SIGKILL to the browser and its children."""
        os.killpg(self.process.pid, 9)
        self.process.wait(harness.DEADLINE)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.kill()
