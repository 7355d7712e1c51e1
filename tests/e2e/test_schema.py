"""docs/schema: the schemas are good ones and name what the code names; the judgement of every end-to-end run (schema.py,
conftest.py) finds a message that breaks a rule, and a definition that nothing meets.
"""

import copy
import json
import os
import random
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest

import clients
import schema
from clients import PythonClient, run
from schema import ROOT

HERE = ROOT / "tests/e2e"
MAIL = {"seq": "1764300000000-0", "id": "m1", "subjectId": "m1", "createTime": 1, "lastUpdateTime": 1, "state": 0, "from": "bob",
        "to": ["alice"], "subject": "", "content": "aGk=", "type": 1}
SAID = {"from": "postmaster", "to": ["alice"], "content": "", "type": 4, "createTime": 1764300000}
ACCEPTED = {**SAID, "subject": "accepted", "inReplyTo": "m1", "state": 1}
REJECTED = {**SAID, "subject": "rejected", "code": "bad-field", "message": "must be", "field": "to", "inReplyTo": "m1", "state": 9}
HISTORY = {**SAID, "subject": "result", "inReplyTo": "c1", "messages": [MAIL], "more": True, "references": "1764300000000-0"}
ACK = {"from": "alice", "to": ["postmaster"], "subject": "ack", "type": 4, "id": "c2", "references": "1764300000000-0"}


@pytest.fixture
def schemas():
    return schema.Schemas()


def keywords(part):
    """The words of a schema that are rules."""
    if not isinstance(part, dict):
        return
    for name, value in part.items():
        yield name
        if name in ("properties", "$defs"):
            for inner in value.values():
                yield from keywords(inner)
        elif name in ("allOf", "anyOf", "oneOf"):
            for inner in value:
                yield from keywords(inner)
        elif name in ("items", "additionalProperties", "unevaluatedProperties", "propertyNames", "not"):
            yield from keywords(value)


def test_each_file_is_a_schema_of_2020_12_whose_references_lead_somewhere():
    files = schema.load()
    assert set(files) == {"client.json", "command.json", "common.json", "delivered.json", "server.json"}
    names = schema.Schemas(files).definitions() | set(files)
    for name, content in files.items():
        jsonschema.Draft202012Validator.check_schema(content)
        assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert content["$id"].endswith("/" + name)
        for part in schema.parts(content):
            if isinstance(part, dict) and "$ref" in part:
                assert (name if part["$ref"].startswith("#") else "") + part["$ref"] in names, part


def test_every_rule_in_the_files_is_one_that_the_shapes_of_messages_show():
    assert {word for content in schema.load().values() for word in keywords(content)} <= schema.Shapes.KNOWN


def test_the_schemas_name_the_codes_and_subjects_of_the_code():
    server, command = schema.load()["server.json"], schema.load()["command.json"]
    rejects = re.findall(r'X\([A-Z_]+, "([a-z-]+)", rejected_', (ROOT / "worker/envelope/envelope.h").read_text())
    assert rejects == server["$defs"]["rejected"]["properties"]["code"]["enum"]
    closes = {int(code) for code in re.findall(r"WS_CLOSE_\w+ = (\d+)", (ROOT / "common/close_code.h").read_text())}
    assert closes - {1000, 1005} == set(server["$defs"]["goodbye"]["properties"]["code"]["enum"])
    commands = re.findall(r'COMMAND\("(\w+)",', (ROOT / "worker/router/commands.c").read_text())
    assert sorted(commands) == sorted(part["$ref"].rsplit("/", 1)[1] for part in command["oneOf"])


@pytest.mark.parametrize("definition, message, where, rule", [
    ("server.json", {**MAIL, "state": 1}, "state", "properties/state/const"),
    ("server.json", {**MAIL, "token": "secret"}, "token", "properties/token"),
    ("server.json", {**MAIL, "log": "#team"}, "log", "properties/log"),
    ("server.json", {**MAIL, "content": "aGk"}, "content", "properties/content/pattern"),
    ("server.json", {name: value for name, value in MAIL.items() if name != "id"}, "the message", "required"),
    ("server.json", {**ACCEPTED, "state": 3}, "state", "properties/state/enum"),
    ("server.json", {**ACCEPTED, "news": 1}, "the message", "unevaluatedProperties"),
    ("server.json", {**REJECTED, "code": "no-idea"}, "code", "properties/code/enum"),
    ("server.json", {**SAID, "subject": "news"}, "the message", "oneOf"),
    ("server.json#/$defs/historyResult", {**HISTORY, "messages": [{**MAIL, "type": 9}]}, "messages/0", "properties/messages/items"),
    ("client.json", {**ACK, "references": "yesterday"}, "references", "properties/references/pattern"),
    ("client.json", [], "the message", "oneOf"),
])
def test_a_message_that_breaks_a_rule_is_named_with_the_rule(schemas, definition, message, where, rule):
    wrong = schemas.judge(definition, message)
    assert f"  {where}: " in wrong and rule in wrong, wrong


def test_two_messages_of_one_shape_are_both_good_or_both_not(schemas):
    choose = random.Random(13)
    values = ["", "x", "alice", "#team", "postmaster", "1-0", "1764300000000-7", "now", "a\u0007b", "aGk=", "aGk", "y" * 999, 0, 1, 2, 3, 4,
              9, -9, -10, 1.5, True, None, [], ["alice"], ["#team"], ["postmaster"], ["a", "b"], {}, {"x": 1}]
    verdicts = {}
    for _ in range(4000):
        message = copy.deepcopy(choose.choice([MAIL, ACCEPTED, REJECTED, HISTORY]))
        name = choose.choice([*message, "token", "log", "inReplyTo", "refused", "level", "anything"])
        message[name] = choose.choice(values)
        verdicts.setdefault(schemas.shapes.of(message), []).append(message)
    pairs = [messages for messages in verdicts.values() if len(messages) > 1 and messages[0] != messages[-1]]
    assert len(pairs) >= 40
    for messages in choose.sample(pairs, 40):
        first, last = (schemas.errors("server.json", message) == "" for message in (messages[0], messages[-1]))
        assert first == last, (messages[0], messages[-1])


def test_a_definition_counts_as_met_only_where_all_of_the_message_is_good(schemas):
    assert schemas.errors("server.json", {**HISTORY, "messages": [{**MAIL, "type": 9}]})
    assert schemas.met == set()
    assert schemas.errors("server.json", MAIL) == ""
    assert {"server.json", "delivered.json#/$defs/mail", "common.json#/$defs/seq"} <= schemas.met
    assert "delivered.json#/$defs/post" in schemas.dead(schemas.met)


def judged(conversation, *steps):
    """The violations of a conversation: ("sent" or "received", message) each."""
    schema.violations.clear()
    for way, message in steps:
        conversation.sent(json.dumps(message)) if way == "sent" else conversation.received(message)
    found = list(schema.violations)
    schema.violations.clear()
    return found


def test_a_clients_message_is_judged_when_the_server_has_taken_it_and_not_when_it_was_rejected():
    bad = {**clients.envelope("alice", "bob", type=1, id="m1"), "level": "high"}
    assert judged(schema.Conversation(), ("sent", bad)) == []
    assert judged(schema.Conversation(), ("sent", bad), ("received", REJECTED)) == []
    [found] = judged(schema.Conversation("alice"), ("sent", bad), ("received", ACCEPTED))
    assert "alice sent, and the server took" in found and "level: 'high' is not of type 'integer'" in found


def test_a_signal_is_judged_when_a_later_message_is_accepted_and_forgotten_when_it_may_be_the_rejected_one():
    signal = {**clients.envelope("alice", "bob", type=2, id="s1"), "level": "high"}
    mail = clients.envelope("alice", "bob", type=1, id="m1")
    assert len(judged(schema.Conversation(), ("sent", signal), ("sent", mail), ("received", ACCEPTED))) == 1
    nameless = {name: value for name, value in REJECTED.items() if name != "inReplyTo"}
    assert judged(schema.Conversation(), ("sent", signal), ("received", nameless), ("sent", mail), ("received", ACCEPTED)) == []


def test_a_result_is_judged_as_the_answer_to_the_command_that_was_sent():
    answer = {**SAID, "subject": "result", "inReplyTo": "c2"}
    assert judged(schema.Conversation(), ("sent", ACK), ("received", {**answer, "cursor": "1-0"})) == []
    [found] = judged(schema.Conversation(), ("sent", ACK), ("received", answer))
    assert "ackResult" in found and "'cursor' is a required property" in found


def test_messages_in_raw_frames_are_seen():
    conversation = schema.Conversation()
    conversation.sent_bytes(b"GET / HTTP/1.1\r\n\r\n")
    texts = [json.dumps(clients.envelope("alice", "bob", "x" * size, id=f"m{size}")) for size in (1, 200, 70000)]
    conversation.sent_bytes(b"".join(clients.frame(1, text) for text in texts) + clients.frame(1, "cut off")[:-3])
    assert list(conversation.pending) == ["m1", "m200", "m70000"]


def test_the_clients_of_these_tests_hand_every_message_over(server):
    post = server(workers=1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        await alice.send("alice", "hello", type=1, id="hello")
        assert "hello" in alice.conversation.pending
        await alice.said("accepted")
        await alice.message()
        assert "hello" not in alice.conversation.pending

    run(scene())
    with clients.upgrade(post, "bob") as bob:
        bob.message()
        bob.send(clients.frame(1, json.dumps({**ACK, "from": "bob"})))
        assert list(bob.conversation.pending) == ["c2"]
        bob.message()
        assert not bob.conversation.pending
    keys = [key for key in schema.SCHEMAS.judged if key[0] == "server.json#/$defs/ackResult"]
    assert keys


@pytest.mark.parametrize("workers", [0, 2])
def test_a_whole_run_that_meets_no_message_fails_and_names_the_dead_definitions(directory, workers):
    for path in HERE.glob("*.py"):
        if not path.name.startswith("test_"):
            shutil.copy(path, directory / path.name)
    text = (directory / "schema.py").read_text().replace("pathlib.Path(__file__).resolve().parents[2]", f"pathlib.Path({str(ROOT)!r})")
    (directory / "schema.py").write_text(text)
    mail = json.dumps(MAIL)
    (directory / "test_one.py").write_text(f"import schema\n\ndef test_one():\n    schema.judge('server.json', {mail}, 'bob')\n")
    (directory / "test_two.py").write_text("import schema\n\ndef test_two():\n    schema.judge('server.json', {}, 'bob')\n")

    def pytest_ends(*more):
        result = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), *more], text=True,
                                cwd=directory, capture_output=True, check=False, timeout=180,
                                env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")})
        return result.returncode, result.stdout

    status, output = pytest_ends()
    assert status == 1 and "bob: not what docs/schema/server.json says" in output, output
    (directory / "test_two.py").unlink()
    status, output = pytest_ends()
    assert status == 1 and "server.json#/$defs/welcome: no message of the whole run met this definition" in output, output
    assert "delivered.json#/$defs/mail:" not in output and "1 passed" in output
    if workers == 0:
        assert pytest_ends("test_one.py")[0] == 0
        assert pytest_ends("-k", "one")[0] == 0
