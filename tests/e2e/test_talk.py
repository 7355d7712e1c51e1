"""A message of one client reaches the others, on the same worker or on another, with either client library."""

import contextlib
import json
import time

import pytest

import clients
from clients import NodeClient, PythonClient, b64, node, open_on, run

ALL_FIELDS = {
    "subject": "Grüße \U0001f4ee", "content": b64("# hello"), "type": 2, "contentType": 1, "charset": "utf-8",
    "level": 3, "tags": ["a", "b"], "attachments": [{"name": "x.txt", "size": 3}], "references": "thread-7",
    "inReplyTo": "m-0", "subjectId": "thread-1", "createTime": 1700000000, "fromTag": "TAB",
}
SERVER_SETS = {"lastUpdateTime", "state"}


@contextlib.asynccontextmanager
async def makers():
    """Both kinds of client, as functions with the same parameters."""
    async with node() as process:
        async def open_node(server, address, **options):
            return await NodeClient.open(server, address, process=process, **options)

        yield {"python": PythonClient.open, "node": open_node}


@pytest.mark.parametrize("sender,recipient", [("python", "node"), ("node", "python"), ("python", "python")])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_signal_reaches_its_recipient_on_every_worker(server, workers, sender, recipient):
    post = server(workers)

    async def scene():
        async with makers() as make:
            alice = await make[sender](post, "alice")
            for slot in range(workers):
                bob = await open_on(post, slot, "bob", make[recipient])
                for number in range(20):
                    await alice.send("bob", f"number {number}")
                got = [await bob.message(**{"from": "alice"}) for _ in range(20)]
                assert [m["content"] for m in got] == [b64(f"number {n}") for n in range(20)]
                await bob.send("alice", "and back")
                assert (await alice.message())["content"] == b64("and back")
                await bob.close()
            await alice.close()

    run(scene())


@pytest.mark.parametrize("kind", ["python", "node"])
def test_the_first_frame_is_a_welcome_that_says_where_one_is(server, kind):
    post = server(2)

    async def scene():
        async with makers() as make:
            client = await make[kind](post, "alice", device="TAB", token_in="subprotocol")
            welcome = client.welcome
            assert (welcome["from"], welcome["type"], welcome["subject"]) == ("postmaster", 4, "welcome")
            assert (welcome["address"], welcome["device"]) == ("alice", "TAB")
            assert welcome["session"] and welcome["node"] and welcome["worker"] in (0, 1)
            assert welcome["heartbeat"] > 0
            assert welcome["limits"]["messageBytes"] == 1 << 20
            await client.close()
            assert client.close_code == 1000

    run(scene())


@pytest.mark.parametrize("workers", [1, 2])
def test_all_nineteen_fields_arrive_as_they_were_sent(server, workers):
    post = server(workers)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bobs = [await open_on(post, slot, "bob", PythonClient.open, device=f"d{slot}") for slot in range(workers)]
        carol = await PythonClient.open(post, "carol")
        sent = await alice.send(["bob"], cc=["carol"], token=post.token("alice"), **ALL_FIELDS)
        for reader in [*bobs, carol]:
            got = await reader.message(id=sent["id"])
            assert "token" not in got, "a token was shown to somebody else"
            for name, value in sent.items():
                if name != "token":
                    assert got[name] == value, name
            assert got["state"] == 0
            assert abs(got["lastUpdateTime"] - time.time()) < 60

    run(scene())


def test_what_the_sender_leaves_out_the_server_sets(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice", device="APP")
        bob = await PythonClient.open(post, "bob")
        await alice.send("bob", "x", id=None)
        got = await bob.message()
        assert got["subjectId"] == got["id"], "a new thread begins with the message's own id"
        assert len(got["id"]) == 36 and got["id"][14] == "7", "the server's ids are UUIDv7"
        assert got["fromTag"] == "APP"
        assert abs(got["createTime"] - time.time()) < 60
        await alice.send("bob", "y", inReplyTo="m-1")
        assert "subjectId" not in await bob.message(), "an answer belongs to the thread of what it answers"

    run(scene())


def test_unknown_fields_and_the_text_of_numbers_are_carried_untouched(server):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        for slot in (0, 1):
            bob = await open_on(post, slot, "bob", PythonClient.open)
            text = json.dumps(clients.envelope("alice", "bob", "x"))[:-1] + \
                ', "price": 1.10, "big": 9007199254740993, "huge": 1e400, "x": {"deep": [1, {"y": null}]}, ' \
                '"escaped": "\\u00e9\\/\\n", "TO": "not an address"}'
            await alice.send_text(text)
            await bob.message()
            await bob.close()

    # Parsing would hide the text, so the raw bytes are checked too.
    run(scene())
    reader = clients.upgrade(post, "bob")
    sender = clients.upgrade(post, "alice")
    reader.message(), sender.message()
    base = json.dumps(clients.envelope("alice", "bob", "x"))[:-1]
    extra = ', "price": 1.10, "big": 9007199254740993, "huge": 1e400, "escaped": "\\u00e9\\/\\n"'
    sender.send(clients.frame(1, base + extra + "}"))
    got = reader.message()
    for piece in ("1.10", "9007199254740993", "1e400", "\\u00e9\\/\\n"):
        assert piece in got, piece


def test_a_lone_string_is_an_array_of_one_and_a_name_twice_is_one_delivery(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        await alice.send_text(json.dumps({**clients.envelope("alice", "bob", "1"), "to": "bob", "cc": "bob"}))
        await alice.send(["bob", "bob"], "2", cc=["bob"])
        await alice.send("bob", "3")
        got = [(await bob.message())["content"] for _ in range(3)]
        assert got == [b64("1"), b64("2"), b64("3")]

    run(scene())


def test_a_message_in_binary_frames_or_fragments_is_a_message(server):
    post = server(1)
    reader, sender = clients.upgrade(post, "bob"), clients.upgrade(post, "alice")
    reader.message(), sender.message()
    text = json.dumps(clients.envelope("alice", "bob", "x", id="whole")).encode()
    sender.send(clients.frame(2, text))
    assert json.loads(reader.message())["id"] == "whole"
    sender.send(clients.frame(1, text[:10], fin=False) + clients.frame(9, b"in between")
                + clients.frame(0, text[10:20], fin=False) + clients.frame(0, text[20:]))
    assert json.loads(reader.message())["id"] == "whole"
    assert sender.control() == (10, b"in between")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_device_of_an_address_hears_and_one_may_write_to_oneself(server, workers):
    post = server(workers)

    async def scene():
        devices = [await PythonClient.open(post, "alice", device=f"d{n}") for n in range(6)]
        sent = await devices[0].send("alice", "to all my devices")
        for device in devices:
            assert (await device.message())["id"] == sent["id"]

    run(scene())


def test_a_signal_to_nobody_is_no_error(server):
    post = server(2)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        await alice.send("nobody-is-there")
        await alice.settle()
        assert not alice.inbox

    run(scene())


def test_messages_of_a_higher_level_and_the_rest_both_arrive(server):
    post = server(1)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob")
        for number in range(100):
            await alice.send("bob", str(number), level=9 if number % 10 == 0 else -9)
        got = [await bob.message() for _ in range(100)]
        for level in (9, -9):
            numbers = [m["content"] for m in got if m["level"] == level]
            assert numbers == [b64(str(n)) for n in range(100) if (n % 10 == 0) == (level == 9)]

    run(scene())
