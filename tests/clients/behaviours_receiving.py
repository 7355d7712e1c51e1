"""Rows about receiving: order, once, acknowledgement, replay, gaps, history, copies."""

from table import Table

ROWS = Table()


def numbers(count, first=0):
    return [f"{number}" for number in range(first, first + count)]


def send_all(client, to, texts):
    for send in [client.begin_send(to, text) for text in texts]:
        send.result()


@ROWS.row("handlers run one at a time, in order")
def one_at_a_time(world):
    alice, bob = world.client("alice"), world.client("bob", handle="hold")
    send_all(alice, bob.address, numbers(3))
    assert bob.texts() == ["0"]
    # An answer of the server comes behind the mail that it has sent before; the handler is still busy.
    bob.do("presence", addresses=[bob.address])
    assert len(bob.all("message")) == 1
    bob.do("release", count=1)
    assert bob.texts() == ["1"]
    bob.do("release", count=2)
    assert bob.texts() == ["2"]


@ROWS.row("a handler that waits for a send of its own does not block the answer")
def sends_go_on_while_handling(world):
    alice, bob = world.client("alice"), world.client("bob", handle="hold")
    alice.send(bob.address, "question")
    bob.texts()
    bob.send(alice.address, "answer")
    assert alice.texts() == ["answer"]
    bob.do("release", count=1)


@ROWS.row("a message is acknowledged when its handler has returned, and not before")
def acknowledged_after(world):
    address = world.address("bob")
    alice, bob = world.client("alice"), world.client(address, device="APP", handle="hold")
    send_all(alice, address, ["first", "second"])
    bob.texts()
    bob.do("release", count=1)
    assert bob.texts() == ["second"]
    bob.acked(bob.all("message")[0]["seq"])
    # A newer session of the device: what it gets is what the older one had not acknowledged.
    again = world.client(address, device="APP")
    alice.send(address, "end")
    assert again.until("end") == ["second", "end"]


@ROWS.row("close() acknowledges what was handled before it leaves")
def close_acknowledges(world):
    address = world.address("bob")
    alice, bob = world.client("alice"), world.client(address, device="APP", ackDelay=60_000, ackBatch=1000)
    send_all(alice, address, numbers(5))
    for _ in range(5):
        bob.take("handled")
    bob.close()
    again = world.client(address, device="APP")
    alice.send(address, "end")
    assert again.until("end") == ["end"]


@ROWS.row("acknowledgements are gathered, and the last message is acknowledged too")
def batched(world):
    alice, bob = world.client("alice"), world.client("bob", ackBatch=16, ackDelay=2_000)
    send_all(alice, bob.address, numbers(48))
    bob.texts(48)
    bob.acked(bob.all("message")[-1]["seq"])
    assert len(bob.all("acked")) <= 12


@ROWS.row("a batch that is full is acknowledged without waiting for the delay")
def batch_full(world):
    alice, bob = world.client("alice"), world.client("bob", ackBatch=4, ackDelay=600_000)
    send_all(alice, bob.address, numbers(4))
    bob.texts(4)
    bob.acked(bob.all("message")[3]["seq"])


@ROWS.row("what comes again after a broken connection is not handled again")
def once_over_reconnects(world):
    link = world.link()
    alice, bob = world.client("alice"), world.client("bob", link=link, ackDelay=60_000, ackBatch=1000)
    bob.state("open")
    send_all(alice, bob.address, numbers(10))
    bob.texts(10)
    link.cut()
    bob.state("open")
    send_all(alice, bob.address, ["end"])
    assert bob.until("end") == ["end"]


@ROWS.row("a handler that is at work while the connection breaks finishes, and its message counts as handled")
def cut_while_handling(world):
    link = world.link()
    alice, bob = world.client("alice"), world.client("bob", link=link, handle="hold")
    bob.state("open")
    send_all(alice, bob.address, ["long", "next"])
    assert bob.texts() == ["long"]
    link.cut()
    bob.state("open")
    bob.do("presence", addresses=[bob.address])
    bob.do("release", count=10)
    send_all(alice, bob.address, ["end"])
    assert bob.until("end") == ["next", "end"]


@ROWS.row("a message whose handler failed comes again, before those behind it")
def handler_fails(world):
    alice, bob = world.client("alice"), world.client("bob", handle="fail:2")
    send_all(alice, bob.address, ["first", "second"])
    assert bob.take("error")["message"]
    texts = bob.until("second")
    assert texts == ["first", "first", "first", "second"]
    bob.acked(bob.all("message")[-1]["seq"])


@ROWS.row("a message whose handler failed is passed over when the application says so")
def handler_fails_skip(world):
    alice, bob = world.client("alice"), world.client("bob", handle="fail:1", onHandlerError="skip")
    send_all(alice, bob.address, ["bad", "good"])
    assert bob.take("error")["message"]
    assert bob.until("good") == ["bad", "good"]
    bob.acked(bob.all("message")[-1]["seq"])


@ROWS.row("messages can be taken one by one with an iterator")
def iterator(world):
    address = world.address("bob")
    alice, bob = world.client("alice"), world.client(address, device="APP", handle="iterate")
    send_all(alice, address, numbers(20))
    assert bob.texts(20) == numbers(20)
    bob.acked(bob.all("message")[18]["seq"])


@ROWS.row("without a handler messages wait, unacknowledged")
def no_handler(world):
    address = world.address("bob")
    alice, bob = world.client("alice"), world.client(address, device="APP", handle="none")
    send_all(alice, address, numbers(3))
    bob.do("presence", addresses=[address])
    bob.close()
    again = world.client(address, device="APP")
    assert again.texts(3) == numbers(3)


@ROWS.row("more messages than may wait arrive all the same, in order")
def more_than_wait(world):
    alice, bob = world.client("alice"), world.client("bob", handle="hold", maxWaiting=4)
    for first in range(0, 100, 50):
        send_all(alice, bob.address, numbers(50, first))
    bob.do("release", count=100)
    assert bob.texts(100) == numbers(100)


@ROWS.row("the backlog comes first, then replayed, then what is new")
def backlog(world):
    alice, address = world.client("alice"), world.address("bob")
    send_all(alice, address, numbers(30))
    bob = world.client(address)
    bob.take("replayed")
    send_all(alice, address, ["new"])
    assert bob.until("new") == [*numbers(30), "new"]


@ROWS.row("after a pause a client goes on where it had acknowledged")
def goes_on(world):
    address = world.address("bob")
    alice, bob = world.client("alice"), world.client(address, device="APP")
    send_all(alice, address, ["seen"])
    bob.texts()
    bob.close()
    send_all(alice, address, ["missed"])
    again = world.client(address, device="APP")
    send_all(alice, address, ["end"])
    assert again.until("end") == ["missed", "end"]


@ROWS.row("each device of an address gets each message")
def devices(world):
    address = world.address("bob")
    first, second = world.client(address, device="APP"), world.client(address, device="TAB")
    send_all(world.client("alice"), address, numbers(3))
    assert first.texts(3) == second.texts(3) == numbers(3)


@ROWS.row("what another device of mine sent comes as a copy that says so")
def copies(world):
    address = world.address("alice")
    app, tab, bob = world.client(address, device="APP"), world.client(address, device="TAB"), world.client("bob")
    app.send(bob.address, "from my phone")
    copy = tab.take("message")
    assert copy["mine"] is True and copy["text"] == "from my phone" and copy["to"] == [bob.address]
    assert bob.take("message")["mine"] is False
    tab.send(address, "end")
    assert app.until("end") == ["end"]


@ROWS.row("mail to oneself arrives")
def to_oneself(world):
    alice = world.client("alice")
    alice.send(alice.address, "note to self")
    assert alice.texts() == ["note to self"]


@ROWS.row("two senders may use one id: these are two messages")
def one_id_of_two(world):
    bob = world.client("bob")
    world.client("alice").send(bob.address, "of alice", id="same")
    world.client("carol").send(bob.address, "of carol", id="same")
    assert bob.texts(2) == ["of alice", "of carol"]


@ROWS.row("a missing part of the mailbox is told as a gap, and the rest comes")
def gap(world):
    address = world.address("bob")
    alice, bob = world.client("alice"), world.client(address, device="APP")
    send_all(alice, address, ["seen"])
    bob.acked(bob.take("message")["seq"])
    bob.close()
    send_all(alice, address, numbers(3))
    with world.office.admin() as office:
        assert office.delete(f"/api/v1/addresses/{address}/messages").status == 200
    send_all(alice, address, ["rest"])
    again = world.client(address, device="APP")
    assert again.take("gap") == {"log": None, "epochChanged": False}
    assert again.until("rest") == ["rest"]


@ROWS.row("no gap is told where nothing is missing")
def no_gap(world):
    link = world.link()
    alice, bob = world.client("alice"), world.client("bob", link=link)
    bob.state("open")
    send_all(alice, bob.address, ["one"])
    bob.texts()
    link.cut()
    bob.state("open")
    send_all(alice, bob.address, ["two"])
    bob.until("two")
    assert not bob.all("gap")


@ROWS.row("history pages through the mailbox, newest first, and acknowledges nothing")
def history(world):
    address = world.address("bob")
    alice, bob = world.client("alice"), world.client(address, device="APP", handle="none")
    send_all(alice, address, numbers(35))
    found = bob.do("history", limit=10)["messages"]
    assert [message["text"] for message in found] == numbers(35)[::-1]
    bob.close()
    assert world.client(address, device="APP").texts(35) == numbers(35)


@ROWS.row("history can be left early, begin before a message, and be of one thread")
def history_parts(world):
    alice, bob = world.client("alice"), world.client("bob")
    for number in range(6):
        alice.send(bob.address, f"{number}", subjectId=f"thread-{number % 2}")
    bob.texts(6)
    seqs = [message["seq"] for message in bob.all("message")]
    assert [message["text"] for message in bob.do("history", limit=2, max=3)["messages"]] == ["5", "4", "3"]
    assert [message["text"] for message in bob.do("history", before=seqs[2])["messages"]] == ["1", "0"]
    assert [message["text"] for message in bob.do("history", subjectId="thread-1", limit=1)["messages"]] == ["5", "3", "1"]


@ROWS.row("a reply goes to the sender, and names the message and its thread")
def reply(world):
    alice, bob = world.client("alice"), world.client("bob")
    done = alice.send(bob.address, "question", subject="about")
    question = bob.take("message")
    bob.do("reply", id=done["id"], message={"text": "answer"})
    answer = alice.take("message")
    assert (answer["text"], answer["inReplyTo"], answer["from"]) == ("answer", done["id"], bob.address)
    assert answer["subjectId"] == question["subjectId"]


@ROWS.row("a hundred clients live in one process")
def hundred(world):
    clients = [world.client(f"c{number}", connect=False) for number in range(100)]
    for each in [client.begin("connect") for client in clients]:
        each.result()
    sends = [client.begin_send(clients[number - 1].address, f"{number}") for number, client in enumerate(clients)]
    for send in sends:
        send.result()
    for number, client in enumerate(clients):
        assert client.texts() == [f"{(number + 1) % 100}"]
