"""Rows about sending: the promise of a send, the outbox, what a message carries, receipts and recall."""

import base64
import time

from table import Table

ROWS = Table()


def b64(data):
    return base64.b64encode(data).decode()


@ROWS.row("a send settles when the server has accepted it")
def accepted(world):
    alice, bob = world.client("alice"), world.client("bob")
    done = alice.send(bob.address, "hello", subject="greeting")
    assert done["id"] and done["state"] == 1 and not done["refused"], done
    message = bob.take("message")
    assert (message["id"], message["from"], message["text"], message["subject"]) == (done["id"], alice.address, "hello", "greeting")


@ROWS.row("a message to several, and to cc, comes to each once")
def several(world):
    alice, bob, carol, dave = (world.client(name) for name in ("alice", "bob", "carol", "dave"))
    alice.send([bob.address, carol.address, bob.address], "first", cc=[dave.address])
    alice.send([bob.address, carol.address, dave.address], "last")
    for each in (bob, carol, dave):
        assert each.until("last") == ["first", "last"]


@ROWS.row("mail for who is not connected waits")
def waits(world):
    alice, address = world.client("alice"), world.address("bob")
    alice.send(address, "while you were out")
    assert world.client(address).texts() == ["while you were out"]


@ROWS.row("a final rejection fails the send with its code, and the session goes on")
def rejected(world):
    address = world.address("alice")
    bob = world.client("bob")
    alice = world.client(address, tokens=[world.token(address, po={"send": [bob.address]})])
    error = alice.begin_send(world.address("carol"), "no").error()
    assert (error.name, error.code) == ("RejectedError", "forbidden-to")
    assert error.error["id"]
    alice.send(bob.address, "yes")
    assert bob.texts() == ["yes"]


@ROWS.row("a recipient who was refused is named, and the others have the message", everywhere=False)
def refused_by_recipient(world):
    bob, unknown = world.client("bob"), world.address("nobody")
    alice = world.client("alice")
    with world.office.changed(mailbox={"addresses": "known"}):
        done = alice.send([bob.address, unknown], "half")
        assert done["refused"] == [{"address": unknown, "code": "not-found"}]
        assert alice.begin_send(unknown, "none").error().code == "not-found"
    assert bob.texts() == ["half"]


@ROWS.row("a message above the server's limit fails before it is sent, and the connection stays")
def too_large(world):
    link = world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    assert alice.begin_send(bob.address, "x" * (1 << 20)).error().code == "too-large"
    alice.send(bob.address, "small")
    assert bob.texts() == ["small"]
    assert len(link.attempts) == 1


@ROWS.row("a message that the server will not take (1009) fails, and those behind it arrive", everywhere=False)
def limit_lowered(world):
    alice, bob = world.client("alice"), world.client("bob")
    with world.office.changed(limits={"messageBytes": 65536}):
        big = alice.begin_send(bob.address, "x" * 100_000)
        small = alice.begin_send(bob.address, "small")
        error = big.error()
        assert error.name in ("RejectedError", "ClosedError", "Error"), error
        small.result()
        assert bob.texts() == ["small"]


@ROWS.row("a large message goes through whole")
def large(world):
    alice, bob = world.client("alice"), world.client("bob")
    text = "".join(chr(0x4e00 + number % 5000) for number in range(200_000))
    alice.send(bob.address, text)
    assert bob.texts() == [text]


@ROWS.row("many sends at once arrive once each, in the order of the calls")
def many(world):
    alice, bob = world.client("alice"), world.client("bob")
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(100)]
    for send in sends:
        send.result()
    assert bob.texts(100) == [f"{number}" for number in range(100)]


@ROWS.row("an id that the application gives is the message's id, and a second send under it is the same message")
def own_id(world):
    alice, bob = world.client("alice"), world.client("bob")
    assert alice.send(bob.address, "once", id="order-1")["id"] == "order-1"
    alice.send(bob.address, "once", id="order-1")
    alice.send(bob.address, "end")
    assert bob.until("end") == ["once", "end"]


@ROWS.row("a send whose answer was lost is repeated under its id and arrives once")
def answer_lost(world):
    link = world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    link.hold_answers()
    send = alice.begin_send(bob.address, "once")
    assert bob.texts() == ["once"]
    assert not send.done
    link.let_answers()
    done = send.result()
    alice.send(bob.address, "end")
    assert bob.until("end") == ["end"]
    assert done["state"] == 1


@ROWS.row("all unanswered sends are repeated in their order")
def answers_lost(world):
    link = world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    link.hold_answers()
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(50)]
    assert bob.texts() == ["0"]
    link.let_answers()
    for send in sends:
        send.result()
    alice.send(bob.address, "end")
    assert bob.until("end") == [f"{number}" for number in range(1, 50)] + ["end"]


@ROWS.row("what is sent without a connection waits and leaves in order when there is one")
def sent_offline(world):
    link = world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    alice.state("open")
    link.refuse()
    alice.state("waiting")
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(10)]
    assert not any(send.done for send in sends)
    link.allow()
    for send in sends:
        send.result()
    assert bob.texts(10) == [f"{number}" for number in range(10)]


@ROWS.row("what is sent before connect() leaves with the first session")
def sent_before(world):
    bob = world.client("bob")
    alice = world.client("alice", connect=False)
    send = alice.begin_send(bob.address, "early")
    alice.connect()
    send.result()
    assert bob.texts() == ["early"]


@ROWS.row("an outbox that has its number of messages takes no more, and loses none")
def outbox_full(world):
    link = world.link()
    link.refuse()
    alice, bob = world.client("alice", link=link, outboxMessages=3, connect=False), world.client("bob")
    connecting = alice.begin("connect")
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(4)]
    assert sends[3].error().name != "TimeoutError"
    link.allow()
    connecting.result()
    for send in sends[:3]:
        send.result()
    alice.send(bob.address, "again")
    assert bob.until("again") == ["0", "1", "2", "again"]


@ROWS.row("an outbox that has its bytes takes no more, and loses none")
def outbox_bytes(world):
    link = world.link()
    link.refuse()
    alice, bob = world.client("alice", link=link, outboxBytes=50_000, connect=False), world.client("bob")
    connecting = alice.begin("connect")
    first, second = alice.begin_send(bob.address, "a" * 25_000), alice.begin_send(bob.address, "b" * 25_000)
    assert second.error().name != "TimeoutError"
    link.allow()
    connecting.result()
    first.result()
    assert bob.texts() == ["a" * 25_000]


@ROWS.row("what a rate limit turned away is sent again by the library, each once")
def rate_limited(world):
    alice, bob = world.client("alice"), world.client("bob")
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(150)]
    for send in sends:
        assert send.result()["state"] == 1
    assert sorted(bob.texts(150), key=int) == [f"{number}" for number in range(150)]


@ROWS.row("with one message under way at a time a rate limit changes no order", everywhere=False)
def rate_limited_in_order(world):
    alice, bob = world.client("alice", sendWindow=1), world.client("bob")
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(150)]
    for send in sends:
        send.result()
    assert bob.texts(150) == [f"{number}" for number in range(150)]


@ROWS.row("text of any script goes as UTF-8 and comes as text")
def text(world):
    alice, bob, peer = world.client("alice"), world.client("bob"), world.peer("carol")
    said = "你好, Grüße, 📮 \0 \"\\ \u2028"
    alice.send([bob.address, peer.address], said)
    assert bob.texts() == [said]
    heard = peer.take()
    assert base64.b64decode(heard["content"]).decode("utf-8") == said
    assert heard.get("contentType", 0) == 0


@ROWS.row("an empty text is a message")
def empty(world):
    alice, bob = world.client("alice"), world.client("bob")
    alice.send(bob.address, "")
    assert bob.texts() == [""]


@ROWS.row("JSON goes in as a value and comes out as one")
def json_values(world):
    alice, bob, peer = world.client("alice"), world.client("bob"), world.peer("carol")
    value = {"total": 12.5, "lines": [1, None, True, "ü"], "empty": {}}
    alice.send([bob.address, peer.address], json=value)
    assert bob.take("message")["json"] == value
    assert peer.take()["contentType"] == 3


@ROWS.row("bytes come out as they went in")
def plain_bytes(world):
    alice, bob = world.client("alice"), world.client("bob")
    data = bytes(range(256)) * 20
    alice.send(bob.address, bytes=b64(data), contentType=7)
    message = bob.take("message")
    assert base64.b64decode(message["bytes"]) == data and message["contentType"] == 7


@ROWS.row("text in another charset is decoded by its charset")
def charset(world):
    bob, peer = world.client("bob"), world.peer("carol")
    peer.send(bob.address, "你好".encode("gb18030"), charset="gb18030")
    peer.send(bob.address, "café".encode("iso-8859-1"), charset="iso-8859-1", contentType=0)
    assert bob.texts(2) == ["你好", "café"]


@ROWS.row("what a message carries arrives as it was sent")
def carried(world):
    alice, bob = world.client("alice"), world.client("bob")
    fields = {"subject": "s", "contentType": 1001, "level": 3, "tags": ["a", "b"], "references": "r-1", "subjectId": "thread-1",
              "inReplyTo": "m-0"}
    alice.send(bob.address, "x", **fields)
    message = bob.take("message")
    assert {name: message[name] for name in fields} == fields


@ROWS.row("fields that the library does not know arrive too")
def unknown_fields(world):
    bob, peer = world.client("bob"), world.peer("carol")
    peer.send(bob.address, "x", mood="fine", deep={"a": [1]})
    assert bob.take("message")["other"] == {"mood": "fine", "deep": {"a": [1]}}


@ROWS.row("files go as attachments and come as bytes")
def files(world):
    alice, bob, peer = world.client("alice"), world.client("bob"), world.peer("carol")
    file = {"name": "räksmörgås.bin", "type": "application/octet-stream", "bytes": b64(bytes(range(256)))}
    alice.send([bob.address, peer.address], "see the file", files=[file, {**file, "name": "empty", "bytes": ""}])
    message = bob.take("message")
    assert message["text"] == "see the file"
    assert message["files"] == [file, {**file, "name": "empty", "bytes": ""}]
    attachment = peer.take()["attachments"][0]
    assert (attachment["name"], attachment["contentType"], attachment["size"]) == (file["name"], file["type"], 256)
    assert base64.b64decode(attachment["content"]) == bytes(range(256))


@ROWS.row("a receipt of delivery is told with the id of its mail, and is no message")
def delivered(world):
    alice, bob = world.client("alice"), world.client("bob")
    done = alice.send(bob.address, "tell me", receipt=2)
    assert alice.take("receipt") == {"id": done["id"], "from": bob.address, "state": 2}
    bob.send(alice.address, "end")
    assert alice.until("end") == ["end"]


@ROWS.row("read is said by the application, and told to the sender behind delivered")
def read(world):
    alice, bob = world.client("alice"), world.client("bob")
    done = alice.send(bob.address, "read me", receipt=3)
    assert alice.take("receipt")["state"] == 2
    bob.take("message")
    bob.do("read", id=done["id"])
    assert alice.take("receipt") == {"id": done["id"], "from": bob.address, "state": 3}


@ROWS.row("a receipt that comes after the sender was away is told too")
def receipt_later(world):
    link = world.link()
    alice, address = world.client("alice", link=link), world.address("bob")
    done = alice.send(address, "tell me", receipt=2)
    link.refuse()
    alice.state("waiting")
    world.client(address).take("message")
    link.allow()
    assert alice.take("receipt") == {"id": done["id"], "from": address, "state": 2}


@ROWS.row("a mail that expires unread is told to its sender and given to nobody", everywhere=False)
def expired(world):
    alice, address = world.client("alice"), world.address("bob")
    done = alice.send(address, "soon gone", expiresAt=int(time.time()) + 2, receipt=2)
    assert alice.take("receipt") == {"id": done["id"], "from": address, "state": 5}
    alice.send(address, "end")
    assert world.client(address).until("end") == ["end"]


@ROWS.row("recall takes an unread mail back")
def recall(world):
    alice, address = world.client("alice"), world.address("bob")
    done = alice.send(address, "oops", receipt=2)
    answer = alice.do("recall", id=done["id"])
    assert answer["recalled"] == [address] and not answer["notRecalled"], answer
    alice.send(address, "end")
    assert world.client(address).until("end") == ["end"]


@ROWS.row("recall says what it could not take back")
def recall_late(world):
    alice, bob = world.client("alice"), world.client("bob")
    done = alice.send(bob.address, "read", receipt=2)
    alice.take("receipt")
    answer = alice.do("recall", id=done["id"])
    assert answer["notRecalled"] == [{"address": bob.address, "code": "delivered"}] and not answer["recalled"], answer


@ROWS.row("who has a mail already is told that it was recalled")
def recall_told(world):
    alice, bob = world.client("alice"), world.client("bob")
    done = alice.send(bob.address, "read", receipt=2)
    alice.take("receipt")
    alice.do("recall", id=done["id"])
    assert bob.take("recalled") == {"from": alice.address, "id": done["id"]}


@ROWS.row("recall of what was never sent fails with not-found")
def recall_unknown(world):
    error = world.client("alice").begin("recall", id="never").error()
    assert (error.name, error.code) == ("RejectedError", "not-found")


@ROWS.row("a signal arrives where somebody is, and nowhere else")
def signal(world):
    alice, bob, absent = world.client("alice"), world.client("bob"), world.address("carol")
    assert alice.signal([bob.address, absent], "typing")["sent"] is True
    signal = bob.take("signal")
    assert (signal["text"], signal["from"], signal["type"]) == ("typing", alice.address, 2)
    alice.send(absent, "end")
    carol = world.client(absent)
    assert carol.until("end") == ["end"] and not carol.all("signal")


@ROWS.row("a signal without a connection is forgotten at once")
def signal_offline(world):
    link = world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    alice.state("open")
    link.refuse()
    alice.state("waiting")
    assert alice.signal(bob.address, "typing")["sent"] is False
    link.allow()
    alice.send(bob.address, "end")
    bob.until("end")
    assert not bob.all("signal")


@ROWS.row("presence names who is connected, by device")
def presence(world):
    alice, bob, absent = world.client("alice"), world.client("bob", device="APP"), world.address("carol")
    assert alice.do("presence", addresses=[bob.address, absent])["online"] == {bob.address: ["APP"], absent: []}


@ROWS.row("a command that is refused fails with its code")
def command_refused(world):
    address = world.address("alice")
    alice = world.client(address, tokens=[world.token(address, po={"send": [address]})])
    assert alice.begin("presence", addresses=[world.address("bob")]).error().code == "forbidden-to"


@ROWS.row("a command under way when the connection breaks is asked again or fails, and never hangs")
def command_cut(world):
    link = world.link()
    alice = world.client("alice", link=link)
    link.hold_answers()
    pending = alice.begin("presence", addresses=[alice.address])
    link.let_answers()
    try:
        assert alice.address in pending.result()["online"]
    except Exception as error:  # pylint: disable=broad-except  any failure that is the library's own
        assert type(error).__name__ == "DriverError", error
