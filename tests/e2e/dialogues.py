"""The dialogues of docs/protocol.md: blocks of lines between clients and the server, and the play of a block against a
server.

    C NAME: GET /ws?…              a request; the last word of NAME is the address whose token the request has. Lines that
                                   begin with white space go on with the line before: with headers below GET … HTTP/1.1
                                   the request is sent as printed
    C NAME: {…}   S NAME: {…}      a message      C NAME: close 1000   S NAME: close 1000   a close frame
    S NAME: 101                    a status, perhaps with the body
    -- …                           what happens (Play.DIRECTIONS)

A word in capitals in quotation marks, or TIME without them, stands for a value: with a number for the same value everywhere
in the block. "…" among the members of an object stands for any further ones. Every message that the server sends to a session
must be in the block.
"""

import json
import pathlib
import re
import socket
import struct
import time

import clients
import harness

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs/protocol.md"
WORD = re.compile(r"([A-Z]{2,})(\d*)")
SHAPES = {"SEQ": r"[0-9]+-[0-9]+", "EPOCH": r".+", "SESSION": r"[0-9]+-[0-9a-f]+", "NODE": r".+", "ID": r"[A-Za-z0-9._:-]{1,64}", "TEXT": r".+"}
MORE = "…"


class Block:
    """A block of code of the document."""

    def __init__(self, language, lines, line, heading, config):
        self.language, self.lines, self.line, self.heading, self.config = language, lines, line, heading, config

    def steps(self):
        """(number of the line, text): lines that go on with the line before are joined to it."""
        steps = []
        for number, text in enumerate(self.lines, self.line + 1):
            if text.startswith(" ") and steps:
                steps[-1][1] += "\n" + text.strip()
            else:
                steps.append([number, text])
        return steps


def blocks():
    """Every block of the document, in order. A comment right before a block may hold its configuration."""
    found, heading, config, inside = [], "", {}, None
    for number, text in enumerate(DOCUMENT.read_text().splitlines(), 1):
        if inside is not None:
            if text == "```":
                found.append(inside)
                inside, config = None, {}
            else:
                inside.lines.append(text)
        elif text.startswith("```"):
            inside = Block(text[3:], [], number, heading, config)
        elif text.startswith("#"):
            heading = text.lstrip("# ")
        elif text.startswith("<!-- config: "):
            config = json.loads(text[len("<!-- config: "):-len(" -->")])
    assert inside is None, f"the block of line {inside.line} has no end"
    return found


def read_message(text):
    """The object that a line prints, words still in it."""
    text = re.sub(r"(?<=[:\[, ])TIME\d*(?=[,}\]\s])", lambda word: f'"{word[0]}"', text)
    return json.loads(text.replace(MORE, f'"{MORE}": true'))


class Play:
    """A block being played against a server."""

    def __init__(self, post, rights):
        self.post, self.rights = post, rights
        self.sessions = {}
        self.values = {}
        self.token_seconds = 3600

    def run(self, block):
        for number, text in block.steps():
            try:
                self.step(text)
            except Exception as error:
                raise AssertionError(f"docs/protocol.md:{number}: {text}\n{type(error).__name__}: {error}") from error
        for name, raw in self.sessions.items():
            self.step(f'C {name}: {{"from":"{address_of(name)}", "to":["postmaster"], "subject":"presence", "type":4, "id":"the-end",'
                      f' "tags":["{address_of(name)}"]}}')
            last = self.next_message(raw)
            assert last.get("inReplyTo") == "the-end", f"docs/protocol.md:{block.line}: {name} is sent more than is printed: {last}"
            raw.socket.close()

    def step(self, text):
        if text.startswith("-- "):
            return self.happen(text[3:])
        match = re.fullmatch(r"(C|S) ([^:]+): (.*)", text, re.S)
        assert match, "a line begins with C, S or --"
        side, name, what = match.groups()
        if what.startswith("GET "):
            return self.ask(name, what)
        if side == "C":
            return self.send(name, what)
        return self.expect(name, what)

    # -- what the client sends

    def token(self, address):
        return self.post.token(address, ttl=self.token_seconds, po=self.rights)

    def ask(self, name, what):
        raw = self.sessions[name] = clients.Raw(self.post.port)
        token = self.token(address_of(name))
        if " HTTP/1.1" in what:
            raw.send(what.replace("TOKEN", token).replace("\n", "\r\n") + "\r\n\r\n")
        else:
            raw.send(clients.request(self.filled(what[4:]), token=token))

    def send(self, name, what):
        raw = self.sessions[name]
        if what.startswith("close "):
            raw.send(clients.frame(8, struct.pack("!H", int(what[6:]))))
        else:
            raw.send(clients.frame(1, self.filled(" ".join(what.split("\n"))).replace("TOKEN", self.token(address_of(name)))))

    def filled(self, text):
        return re.sub(r"\b[A-Z]{2,}\d+\b", lambda word: str(self.values.get(word[0], word[0])), text)

    # -- what the server sends

    def expect(self, name, what):
        raw = self.sessions[name]
        if what.startswith("close "):
            frame = self.next_frame(raw)
            assert frame[0] == 8 and struct.unpack_from("!H", frame[1])[0] == int(what[6:]), frame
            del self.sessions[name]
        elif what[0].isdigit():
            status, _, body = what.partition(" ")
            answer = raw.answer()
            assert answer.status == int(status), (answer.status, answer.rest)
            if answer.status != 101:
                self.compare(read_message(body), answer.json(), "the body")
                del self.sessions[name]
        else:
            self.compare(read_message(what), self.next_message(raw), "the message")

    @staticmethod
    def next_frame(raw):
        while True:
            _, opcode, payload = raw.frame()
            if opcode not in (9, 10):
                return opcode, payload

    def next_message(self, raw):
        opcode, payload = self.next_frame(raw)
        assert opcode == 1, (opcode, payload)
        return json.loads(payload)

    def compare(self, printed, sent, where):
        word = WORD.fullmatch(printed) if isinstance(printed, str) else None
        if word:
            self.take(word, sent, where)
        elif isinstance(printed, dict):
            assert isinstance(sent, dict), f"{where}: {sent}"
            wanted = {name for name in printed if name != MORE}
            assert wanted <= set(sent) and (MORE in printed or wanted == set(sent)), f"{where}: sent was {sent}"
            for name in wanted:
                self.compare(printed[name], sent[name], f"{where}, {name}")
        elif isinstance(printed, list):
            assert isinstance(sent, list) and len(sent) == len(printed), f"{where}: sent was {sent}"
            for one, other in zip(printed, sent):
                self.compare(one, other, where)
        else:
            assert printed == sent and isinstance(printed, bool) == isinstance(sent, bool), f"{where}: sent was {sent!r}"

    def take(self, word, sent, where):
        """A word stands for a value of its kind; with a number for one value everywhere."""
        if word[1] == "TIME":
            assert isinstance(sent, int) and abs(sent - time.time()) < 2 * 86400, f"{where}: sent was {sent!r}, which is no time of now"
        else:
            assert isinstance(sent, str) and re.fullmatch(SHAPES[word[1]], sent), f"{where}: sent was {sent!r}, which is no {word[1]}"
        if word[2]:
            assert self.values.setdefault(word[0], sent) == sent, f"{where}: {word[0]} was {self.values[word[0]]}, and sent was {sent}"

    # -- what happens

    def happen(self, what):
        for pattern, happens in self.DIRECTIONS.items():
            match = re.fullmatch(pattern, what)
            if match:
                return happens(self, *match.groups())
        raise AssertionError(f"nobody knows how to do that: {what}")

    def break_connection(self, label):
        [name] = [name for name in self.sessions if name == label or name.split()[0] == label]
        raw = self.sessions.pop(name)
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.socket.close()
        harness.wait_until(lambda: self.post.sessions() == len(self.sessions), "the server has noticed the broken connection")

    def send_mails(self, sender, count, to):
        with clients.upgrade(self.post, sender) as raw:
            self.next_message(raw)
            self.next_message(raw)
            for number in range(1, int(count) + 1):
                raw.send(clients.frame(1, json.dumps(clients.envelope(sender, to, "", type=1, id=f"{sender}-{number}"))))
                answer = self.next_message(raw)
                assert answer["subject"] == "accepted", answer

    def give_short_token(self, _, seconds):
        self.token_seconds = int(seconds)

    def stop_server(self):
        self.post.process.terminate()

    DIRECTIONS = {
        r"the connection of (\w+) breaks": break_connection,
        r"(\w+) sends (\d+) mails to (\w+)": send_mails,
        r"(\w+) gets a token that ends in (\d+) seconds": give_short_token,
        r"(\d+) seconds pass": lambda self, seconds: None,  # the next line waits for what the server then says
        r"the server is told to stop": stop_server,
    }


def address_of(name):
    return name.split()[-1]
