"""docs/schema: every message that the test clients receive is judged by it, and every message that they sent and the
server took.

Judging a message costs a millisecond, and a run has a million. So a message is judged once a shape: two messages have the
same shape when no rule of the schemas can tell the two apart (class Shapes).

A violation does not stop the client that found it, for clients read in tasks of their own. conftest.py fails the test at
its end, and fails the whole run when a definition of a schema has met no message.
"""

import bisect
import functools
import json
import pathlib
import re

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/schema"
LONG = 4096  # characters of a text, of which only both ends are looked at


def load():
    """File name to schema."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def parts(schema):
    """Every object and list in a schema, from the outside in."""
    yield schema
    if isinstance(schema, (dict, list)):
        for part in schema.values() if isinstance(schema, dict) else schema:
            yield from parts(part)


class Shapes:
    """What the rules of some schemas can see of a value: which patterns a text matches, between which bounds a number
    lies, which constant a value is. Two messages of one shape are both valid or both not.
    """

    # A rule of another kind could see more: class Shapes has to learn the rule first.
    KNOWN = {"$schema", "$id", "$ref", "$defs", "title", "description", "type", "const", "enum", "pattern", "minLength", "maxLength",
             "minimum", "maximum", "minItems", "maxItems", "items", "properties", "additionalProperties", "unevaluatedProperties",
             "propertyNames", "required", "dependentRequired", "allOf", "anyOf", "oneOf", "not"}

    def __init__(self, schemas):
        rules = [part for schema in schemas for part in parts(schema) if isinstance(part, dict)]
        self.names = {name for rule in rules for name in rule.get("properties", {})}
        self.patterns = [re.compile(text) for text in sorted({rule["pattern"] for rule in rules if isinstance(rule.get("pattern"), str)})]
        self.constants = {value for rule in rules for part in parts([rule.get("const"), rule.get("enum")])
                          if not isinstance(part, (dict, list)) for value in [part] if value is not None}
        self.bounds = {kind: sorted({edge for rule in rules for name in names if isinstance(rule.get(name), int)
                                     for edge in (rule[name], rule[name] + 1)})
                       for kind, names in {"text": ("minLength", "maxLength"), "number": ("minimum", "maximum"),
                                           "list": ("minItems", "maxItems")}.items()}
        self.of_text = functools.lru_cache(1 << 14)(self._of_text)

    def _of_text(self, text):
        if text in self.constants:
            return text
        if len(text) > LONG:
            text = text[:LONG // 2] + text[-LONG // 2:]  # keeps base64 apart from other text: both halves are fours
        return (bisect.bisect(self.bounds["text"], len(text)), *[bool(pattern.search(text)) for pattern in self.patterns])

    def of(self, value):
        kind = type(value)
        if kind is str:
            return self.of_text(value)
        if kind is dict:
            return frozenset([(name if name in self.names else self.of_text(name), self.of(member)) for name, member in value.items()])
        if kind is list:
            return (bisect.bisect(self.bounds["list"], len(value)), frozenset([self.of(member) for member in value]))
        if kind is int and value not in self.constants:
            return (bisect.bisect(self.bounds["number"], value),)
        return (kind, value)


class Schemas:
    """The schemas of a folder, compiled once; `met` names the definitions that a valid message has gone through."""

    def __init__(self, schemas=None):
        self.files = schemas or load()
        self.shapes = Shapes(self.files.values())
        self.met = set()
        self.judged = {}
        self._trail = []
        # jsonschema evaluates $ref by this function; a reference counts only where everything around it is valid.
        kinds = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"$ref": self._follow})
        # Without "$schema", for which jsonschema would take its own class again instead of this one.
        store = {schema["$id"]: {name: part for name, part in schema.items() if name != "$schema"} for schema in self.files.values()}
        self.base = next(iter(store)).rsplit("/", 1)[0] + "/"
        self.validator = kinds({}, resolver=jsonschema.RefResolver(self.base, {}, store=store))
        self._follow_plainly = jsonschema.Draft202012Validator.VALIDATORS["$ref"]

    def definitions(self):
        """FILE of each file that is a schema itself, and FILE#/$defs/NAME of each definition."""
        return {name for name, schema in self.files.items() if set(schema) & {"oneOf", "anyOf", "type"}} | \
            {f"{name}#/$defs/{inner}" for name, schema in self.files.items() for inner in schema.get("$defs", {})}

    def dead(self, met):
        return sorted(self.definitions() - set(met))

    def _follow(self, validator, reference, instance, schema):
        before = len(self._trail)
        errors = list(self._follow_plainly(validator, reference, instance, schema))
        if errors:
            del self._trail[before:]
        else:
            self._trail.append(validator.resolver._urljoin_cache(validator.resolver.resolution_scope, reference).removeprefix(self.base))
        yield from errors

    def errors(self, definition, message):
        """What is wrong with the message, as text; "" for nothing."""
        self._trail = []
        errors = list(self.validator.evolve(schema={"$ref": self.base + definition}).iter_errors(message))
        if not errors:
            self.met.update(self._trail)
            return ""
        return "\n".join(f"  {'/'.join(map(str, error.absolute_path)) or 'the message'}: {error.message[:300]}\n"
                         f"    by {'/'.join(map(str, error.absolute_schema_path))}" for error in errors)

    def explained(self, definition, message):
        """As errors(), by the one definition that the message is meant to follow: a oneOf says only that none fits."""
        narrow = kind_of(message, definition) if definition in ("client.json", "server.json") and isinstance(message, dict) else definition
        return self.errors(definition, message) and (self.errors(narrow, message) or self.errors(definition, message))

    def judge(self, definition, message):
        """As errors(); each shape once."""
        key = (definition, self.shapes.of(message))
        if key not in self.judged:
            self.judged[key] = self.explained(definition, message)
        return self.judged[key]


RESULTS = {"online": "presence", "cursor": "ack", "messages": "history", "recalled": "recall", "groups": "subscribe"}


def kind_of(message, file):
    """The definition that a message is meant to follow, as far as can be told of a message that breaks a rule."""
    kind, subject, state = message.get("type"), message.get("subject"), message.get("state")
    if message.get("from") == "postmaster":
        if subject == "result":
            subject = next((name for member, name in RESULTS.items() if member in message), "renew") + "Result"
        return f"server.json#/$defs/{subject}" if f"server.json#/$defs/{subject}" in SCHEMAS.definitions() else "server.json#/$defs/said"
    if message.get("to") in ("postmaster", ["postmaster"]):
        return f"command.json#/$defs/{subject}" if f"command.json#/$defs/{subject}" in SCHEMAS.definitions() else "command.json"
    file = "delivered.json" if file == "server.json" else file
    name = {1: "mail", 2: "signal", 3: "post", 4: "readReceipt" if state == 3 or file == "client.json" else "serverReceipt"}.get(kind, "envelope")
    return f"{file}#/$defs/{name}"


SCHEMAS = Schemas()
violations = []


def judge(definition, message, who):
    wrong = SCHEMAS.judge(definition, message)
    if wrong:
        text = json.dumps(message, ensure_ascii=False)
        violations.append(f"{who}: not what docs/schema/{definition} says\n{wrong}\n  {text[:1500]}")


class Conversation:
    """One session's messages in both directions. A message of the client is judged when the server has taken it: when
    `accepted` or `result` names it. A signal has no answer; it is judged when an `accepted` comes for a later message,
    for a signal is rejected at once.
    """

    PENDING = 4096  # that the server never answered: the oldest are forgotten

    def __init__(self, who=""):
        self.who = who
        self.pending = {}

    def sent(self, text):
        try:
            message = json.loads(text)
        except ValueError:
            return
        if isinstance(message, dict) and isinstance(message.get("id"), str):
            self.pending.pop(message["id"], None)
            self.pending[message["id"]] = message
            if len(self.pending) > self.PENDING:
                del self.pending[next(iter(self.pending))]

    def sent_bytes(self, data):
        """Frames of a client; bytes that are no whole message in one frame are passed over."""
        while len(data) >= 6 and data[0] in (0x81, 0x82) and data[1] & 0x80:
            length, at = data[1] & 0x7F, 2
            if length > 125:
                size = 2 if length == 126 else 8
                length, at = int.from_bytes(data[2:2 + size], "big"), 2 + size
            mask, body = data[at:at + 4], data[at + 4:at + 4 + length]
            if len(body) < length or length == 0:
                return
            key = (mask * (length // 4 + 1))[:length]
            self.sent((int.from_bytes(body, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big"))
            data = data[at + 4 + length:]

    def received_frame(self, opcode, payload):
        if opcode == 1:
            self.received(json.loads(payload))
        elif opcode == 2:
            violations.append(f"{self.who} was sent a binary message: {payload[:200]!r}")

    def received(self, message):
        judge("server.json", message, f"{self.who} was sent")
        if isinstance(message, dict) and message.get("from") == "postmaster":
            self._answered(message)

    def _answered(self, answer):
        subject, about = answer.get("subject"), answer.get("inReplyTo")
        if subject == "rejected":
            if self.pending.pop(about, None) is None:  # about one that cannot be told: perhaps a signal
                self._drop_signals()
            return
        sent = self.pending.get(about)
        if subject not in ("accepted", "result") or sent is None:
            return
        if subject == "accepted":
            self._take_signals_before(about)
        del self.pending[about]
        judge("client.json", sent, f"{self.who} sent, and the server took,")
        if subject == "result":
            judge(f"server.json#/$defs/{sent['subject']}Result", answer, f"{self.who} asked {sent['subject']}, and was sent")

    def _drop_signals(self):
        for name in [name for name, message in self.pending.items() if message.get("type") == 2]:
            del self.pending[name]

    def _take_signals_before(self, about):
        for name in list(self.pending):
            if name == about:
                return
            if self.pending[name].get("type") == 2:
                judge("client.json", self.pending.pop(name), f"{self.who} sent, and the server took,")


class NoConversation:
    """Of a client that talks with something else than a server: nothing is judged."""

    def sent(self, text):
        pass

    def sent_bytes(self, data):
        pass

    def received_frame(self, opcode, payload):
        pass

    def received(self, message):
        pass
