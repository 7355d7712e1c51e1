"""Rows about services and requests: one of several processes gets each message, answers, and only then acknowledges."""

from behaviours_receiving import numbers, send_all
from table import Table

ROWS = Table()


def service(world, address, concurrency=1, mode="upper", **options):
    made = world.client(address, connect=False, handle="none", **options)
    made.do("serve", concurrency=concurrency, mode=mode)
    assert made.connect()["service"] is True
    return made


@ROWS.row("a request settles with the answer of a service")
def request(world):
    address = world.address("/service/upper")
    service(world, address)
    alice = world.client("alice")
    answer = alice.do("request", message={"to": [address], "text": "hello"}, timeout=60_000)
    assert (answer["text"], answer["from"]) == ("HELLO", address)
    alice.send(alice.address, "end")
    assert alice.until("end") == ["end"]


@ROWS.row("many requests at once are each given their own answer")
def many_requests(world):
    address = world.address("/service/upper")
    for _ in range(2):
        service(world, address, concurrency=4)
    alice = world.client("alice")
    pending = [alice.begin("request", message={"to": [address], "text": f"r{number}"}, timeout=60_000) for number in range(40)]
    assert [each.result()["text"] for each in pending] == [f"R{number}" for number in range(40)]


@ROWS.row("each message of a service comes to exactly one of its processes")
def exactly_one(world):
    address = world.address("/service/work")
    workers = [service(world, address, mode="echo") for _ in range(3)]
    alice = world.client("alice")
    send_all(alice, address, numbers(30))
    assert sorted((alice.take("message")["text"] for _ in range(30)), key=int) == numbers(30)
    done = [message["text"] for worker in workers for message in worker.all("message")]
    assert sorted(done, key=int) == numbers(30)
    assert all(worker.all("message") for worker in workers)


@ROWS.row("a service handles as many at once as it said, and no more")
def concurrency(world):
    address = world.address("/service/slow")
    worker = service(world, address, concurrency=3, mode="hold")
    alice = world.client("alice")
    send_all(alice, address, numbers(5))
    assert sorted(worker.texts(3)) == numbers(3)  # side by side: who tells first is nobody's promise
    worker.do("presence", addresses=[alice.address])
    assert len(worker.all("message")) == 3
    worker.do("release", count=1)
    assert worker.texts() == ["3"]
    worker.do("release", count=10)
    assert worker.texts() == ["4"]
    assert sorted(alice.texts(5)) == numbers(5)


@ROWS.row("what a process had not finished when it went goes to another")
def handed_over(world):
    address, link = world.address("/service/work"), world.link()
    first = service(world, address, mode="hold", link=link)
    alice = world.client("alice")
    send_all(alice, address, ["work"])
    assert first.texts() == ["work"]
    link.refuse()
    second = service(world, address)
    assert second.texts() == ["work"]
    assert alice.texts() == ["WORK"]


@ROWS.row("what was handled and answered is acknowledged, and given to nobody again")
def done_is_done(world):
    address = world.address("/service/work")
    first = service(world, address)
    alice = world.client("alice")
    send_all(alice, address, numbers(5))
    assert alice.texts(5) == numbers(5)
    first.acked(first.all("message")[-1]["seq"])
    first.close()
    second = service(world, address)
    send_all(alice, address, ["end"])
    assert second.until("end") == ["end"]


@ROWS.row("an answer names the message that it answers")
def answers_name(world):
    address = world.address("/service/echo")
    service(world, address, mode="echo")
    alice = world.client("alice")
    done = alice.send(address, "x", subject="about")
    answer = alice.take("message")
    assert (answer["inReplyTo"], answer["from"], answer["text"]) == (done["id"], address, "x")


@ROWS.row("a request without an answer in time fails, and the late answer is an ordinary message")
def too_late(world):
    address = world.address("/service/slow")
    worker = service(world, address, mode="hold")
    alice = world.client("alice")
    assert alice.begin("request", message={"to": [address], "text": "quick?"}, timeout=300).error().name == "TimeoutError"
    worker.texts()
    worker.do("release", count=1)
    assert alice.texts() == ["quick?"]


@ROWS.row("a request that is rejected fails with its code")
def request_rejected(world):
    address = world.address("alice")
    alice = world.client(address, tokens=[world.token(address, po={"send": []})])
    error = alice.begin("request", message={"to": [world.address("/service/x")], "text": "x"}, timeout=60_000).error()
    assert (error.name, error.code) == ("RejectedError", "forbidden-to")


@ROWS.row("a request outlives a broken connection on either side")
def request_over_cuts(world):
    address, link, other = world.address("/service/slow"), world.link(), world.link()
    worker = service(world, address, mode="hold", link=other)
    alice = world.client("alice", link=link)
    pending = alice.begin("request", message={"to": [address], "text": "still there?"}, timeout=120_000)
    assert worker.texts() == ["still there?"]
    link.cut()
    other.cut()
    worker.do("release", count=10)
    assert pending.result()["text"] == "still there?"


@ROWS.row("an answer to a request comes by any client, not only by a service")
def request_to_a_person(world):
    alice, bob = world.client("alice"), world.client("bob")
    pending = alice.begin("request", message={"to": [bob.address], "text": "lunch?"}, timeout=60_000)
    question = bob.take("message")
    bob.do("reply", id=question["id"], message={"text": "yes"})
    assert pending.result()["text"] == "yes"
