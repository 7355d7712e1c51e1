"""Every wrong envelope is rejected with its code and the session stays."""

import json

import pytest

import clients
import harness
from clients import PythonClient, b64, frame, run, upgrade


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    server = harness.Server(directory, redis, 1).start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


BASE = {"from": "alice", "to": ["bob"], "subject": "s", "content": "aGk=", "type": 2, "id": "m1"}


def text(**over):
    message = {**BASE, **over}
    return json.dumps({name: value for name, value in message.items() if value is not ...})


def raw_text(insert):
    """BASE with a piece of raw JSON before its closing brace."""
    return json.dumps(BASE)[:-1] + ", " + insert + "}"


CASES = [
    ("no JSON", "hello", "bad-json", None),
    ("nothing", "", "bad-json", None),
    ("an array", "[]", "bad-json", None),
    ("a number", "1", "bad-json", None),
    ("cut", text()[:-1], "bad-json", None),
    ("something behind it", text() + "x", "bad-json", None),
    ("two objects", text() + text(), "bad-json", None),
    ("a comma too many", text()[:-1] + ",}", "bad-json", None),
    ("a duplicate key", raw_text('"to": ["carol"]'), "bad-json", None),
    ("a duplicate key, escaped", raw_text('"t\\u006f": ["carol"]'), "bad-json", None),
    ("an unknown key twice", raw_text('"x": 1, "x": 2'), "bad-json", None),
    ("a leading zero", raw_text('"x": 01'), "bad-json", None),
    ("a number that ends in a dot", raw_text('"x": 1.'), "bad-json", None),
    ("NaN", raw_text('"x": NaN'), "bad-json", None),
    ("a raw tab in a string", raw_text('"x": "a\tb"'), "bad-json", None),
    ("a form feed as white space", raw_text('\f"x": 1'), "bad-json", None),
    ("a lone surrogate", raw_text('"x": "\\ud800"'), "bad-json", None),
    ("a bad escape", raw_text('"x": "\\x41"'), "bad-json", None),
    ("too deep", raw_text('"x": ' + "[" * 40 + "]" * 40), "bad-json", None),
    ("a comment", raw_text('/* c */ "x": 1'), "bad-json", None),
    *[(f"no {name}", text(**{name: ...}), "missing-field", name)
      for name in ("from", "to", "subject", "content", "type")],
    ("from is a number", text(**{"from": 1}), "bad-field", "from"),
    ("from is empty", text(**{"from": ""}), "bad-field", "from"),
    ("to is a number", text(to=1), "bad-field", "to"),
    ("to holds a number", text(to=["bob", 1]), "bad-field", "to"),
    ("to holds an empty address", text(to=[""]), "bad-field", "to"),
    ("to holds NUL", text(to=["bob\0x"]), ("bad-field", "bad-json"), None),
    ("to holds a line feed", text(to=["bob\nx"]), "bad-field", "to"),
    ("to ends in a space", text(to=["bob "]), "bad-field", "to"),
    ("an address of 256 bytes", text(to=["b" * 256]), "bad-field", "to"),
    ("cc is an object", text(cc={}), "bad-field", "cc"),
    ("nobody at all", text(to=[]), ("missing-field", "bad-field"), "to"),
    ("a subject of 999 bytes", text(subject="s" * 999), "bad-field", "subject"),
    ("content is no base64", text(content="a*b="), "bad-field", "content"),
    ("content without padding", text(content="aGk"), "bad-field", "content"),
    ("content of the URL alphabet", text(content="_-8="), "bad-field", "content"),
    ("content with white space", text(content="aG k="), "bad-field", "content"),
    ("content not canonical", text(content="aGl="), "bad-field", "content"),
    ("content is null", text(content=None), "bad-field", "content"),
    ("type 0", text(type=0), "bad-field", "type"),
    ("type 5", text(type=5), "bad-field", "type"),
    ("type is text", text(type="2"), "bad-field", "type"),
    ("type is 2.5", text(type=2.5), "bad-field", "type"),
    ("level 10", text(level=10), "bad-field", "level"),
    ("level -10", text(level=-10), "bad-field", "level"),
    ("tags is a string", text(tags="a"), "bad-field", "tags"),
    ("tags hold a number", text(tags=[1]), "bad-field", "tags"),
    ("attachments hold a string", text(attachments=["a"]), "bad-field", "attachments"),
    ("contentType is text", text(contentType="text/plain"), "bad-field", "contentType"),
    ("charset is a number", text(charset=8), "bad-field", "charset"),
    ("createTime is text", text(createTime="now"), "bad-field", "createTime"),
    ("inReplyTo is a number", text(inReplyTo=1), "bad-field", "inReplyTo"),
    ("id with a space", text(id="a b"), "bad-field", "id"),
    ("id of 65", text(id="i" * 65), "bad-field", "id"),
    ("id is empty", text(id=""), "bad-field", "id"),
    ("receipt 1", text(receipt=1), "bad-field", "receipt"),
    ("expiresAt is text", text(expiresAt="x"), "bad-field", "expiresAt"),
    ("token is a number", text(token=1), "bad-field", "token"),
    ("from is somebody else", text(**{"from": "carol"}), "forbidden-from", "from"),
    ("to is reserved", text(to=["$x"]), ("forbidden-to", "bad-field"), "to"),
    ("to a group", text(to=["#team"]), ("forbidden-to", "not-found"), "to"),
    ("a post to a group", text(to=["#team"], type=3), ("forbidden-to", "not-found"), "to"),
    ("a post to a user", text(type=3), ("forbidden-to", "bad-field"), "to"),
    ("a token that is none", text(**{"from": "carol"}, token="x"), "bad-token", "token"),
    ("1001 recipients", text(to=[f"u{n}" for n in range(1001)]), "too-many-recipients", None),
    ("an unknown command", text(to=["postmaster"], type=4, subject="dance"), "unknown-command", "subject"),
]


@pytest.mark.parametrize("name,message,code,field", CASES, ids=[case[0] for case in CASES])
def test_it_is_rejected_and_the_session_stays(post, name, message, code, field):
    raw = upgrade(post, "alice")
    assert json.loads(raw.message())["subject"] == "welcome"
    raw.send(frame(1, message))
    answer = json.loads(raw.message())
    assert answer["from"] == "postmaster" and answer["type"] == 4 and answer["to"] == ["alice"]
    assert answer["subject"] == "rejected" and answer["state"] == 9
    assert answer["code"] in ((code,) if isinstance(code, str) else code), answer
    assert answer["message"]
    if field:
        assert answer.get("field") == field, answer
    if answer["code"] != "bad-json" and '"m1"' in message:
        assert answer["inReplyTo"] == "m1"
    raw.send(frame(1, json.dumps(clients.envelope("alice", "alice", "still here", id="after"))))
    assert json.loads(raw.message())["id"] == "after"
    raw.socket.close()


def test_what_is_at_the_edge_is_taken(post):
    async def scene():
        alice = await PythonClient.open(post, "alice", device="edge")
        for fields in ({"subject": "s" * 998}, {"subject": ""}, {"content": ""}, {"level": 9}, {"level": -9},
                       {"id": "i" * 64}, {"id": "aZ09._:-"}, {"contentType": 1000}, {"to": ["alice", "b" * 255]},
                       {"to": ["alice", "Ünïcödé \U0001f600"]}, {"to": ["alice", *[f"u{n}" for n in range(999)]]},
                       {"x": json.loads("[" * 30 + "]" * 30)}, {"createTime": 0}, {"state": 3},
                       {"state": 6}, {"state": -1}, {"state": 10 ** 30}, {"lastUpdateTime": -1}):
            sent = clients.envelope("alice", "alice", "x")
            sent.update(fields)
            await alice.send_text(json.dumps(sent))
            got = await alice.take()
            assert got.get("id") == sent["id"], got
            assert got["state"] == 0, "the server sets the state"
        await alice.close()

    run(scene())


def test_an_id_that_cannot_be_read_is_not_named(post):
    raw = upgrade(post, "alice")
    raw.message()
    raw.send(frame(1, '{"id": "m1"'))
    assert "inReplyTo" not in json.loads(raw.message())


def test_bad_utf8_in_a_binary_message_is_never_relayed(post):
    raw = upgrade(post, "alice")
    raw.message()
    raw.send(frame(2, json.dumps(BASE).encode().replace(b'"s"', b'"\xff\xfe"')))
    answer = json.loads(raw.message())
    assert answer["subject"] == "rejected" and answer["code"] == "bad-json"
    raw.send(frame(1, json.dumps(BASE).encode().replace(b'"s"', b'"\xff\xfe"')))
    assert raw.close_code() == 1007


def test_addresses_are_never_part_of_a_redis_command(post, redis):
    """Any text of a client reaches Redis as an argument."""
    strange = ["a b", "a*?[x]", "{tag}", "%s%n%b", 'a"b', "a\\b", "x:y:z", "PUBLISH", "-1", "a${x}", "é\U0001f600"]

    async def scene():
        for address in strange:
            one = await PythonClient.open(post, address)
            await one.send(address, "x")
            assert (await one.message())["to"] == [address]
            await one.close()

    run(scene())
