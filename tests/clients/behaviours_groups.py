"""Rows about groups: subscriptions that last, posts in order, replay and gaps of a group's log."""

from behaviours_receiving import numbers
from table import Table

ROWS = Table()


def post_all(client, group, texts):
    for post in [client.begin_send(group, text, do="post") for text in texts]:
        post.result()


@ROWS.row("a post comes to every subscriber, with the group's name")
def posts(world):
    group = world.group()
    alice, bob, carol = world.client("alice"), world.client("bob"), world.client("carol")
    assert group in alice.do("subscribe", groups=[group])["groups"]
    bob.do("subscribe", groups=[group])
    done = carol.post(group, "to all of you")
    assert done["id"] and done["state"] == 1
    for each in (alice, bob):
        message = each.take("message")
        assert (message["text"], message["group"], message["type"]) == ("to all of you", group, 3)
    carol.send(alice.address, "end")
    assert alice.take("message")["group"] is None


@ROWS.row("a group that the token does not allow is refused")
def forbidden_group(world):
    address = world.address("alice")
    alice = world.client(address, tokens=[world.token(address, po={"groups": ["#other"]})])
    assert alice.begin("subscribe", groups=[world.group()]).error().code == "forbidden-to"
    assert alice.begin_send(world.group(), "x", do="post").error().code == "forbidden-to"


@ROWS.row("a subscription is kept over a reconnect, without a gap and without repetition")
def kept(world):
    group, link = world.group(), world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    alice.do("subscribe", groups=[group])
    alice.state("open")
    post_all(bob, group, numbers(5))
    assert alice.texts(5) == numbers(5)
    link.refuse()
    alice.state("waiting")
    post_all(bob, group, numbers(5, 5))
    link.allow()
    alice.state("open")
    post_all(bob, group, ["end"])
    assert alice.until("end") == [*numbers(5, 5), "end"]


@ROWS.row("what was posted before the first subscription is not told, unless the application asks")
def since(world):
    group = world.group()
    bob = world.client("bob")
    post_all(bob, group, ["old"])
    alice, carol = world.client("alice"), world.client("carol")
    alice.do("subscribe", groups=[group])
    carol.do("subscribe", groups=[group], since="0-0")
    post_all(bob, group, ["new"])
    assert alice.until("new") == ["new"]
    assert carol.until("new") == ["old", "new"]


@ROWS.row("a device goes on in a group where it had acknowledged")
def goes_on(world):
    group, address = world.group(), world.address("alice")
    bob, alice = world.client("bob"), world.client(address, device="APP")
    alice.do("subscribe", groups=[group])
    post_all(bob, group, ["seen"])
    seen = alice.take("message")
    alice.driver.wait(lambda: any(data.get("log") == group for kind, data in alice.events if kind == "acked"), f"{seen} is acknowledged")
    alice.close()
    post_all(bob, group, ["missed"])
    again = world.client(address, device="APP")
    again.do("subscribe", groups=[group])
    assert again.texts() == ["missed"]


@ROWS.row("after unsubscribe nothing of the group comes, nor after a reconnect")
def unsubscribed(world):
    group, link = world.group(), world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    alice.do("subscribe", groups=[group])
    alice.state("open")
    alice.do("unsubscribe", groups=[group])
    post_all(bob, group, ["unheard"])
    link.cut()
    alice.state("open")
    post_all(bob, group, ["unheard too"])
    bob.send(alice.address, "end")
    assert alice.until("end") == ["end"]


@ROWS.row("many groups and the mailbox are each in order")
def several_groups(world):
    groups = [world.group(f"g{number}") for number in range(4)]
    alice, bob = world.client("alice"), world.client("bob")
    alice.do("subscribe", groups=groups)
    pending = []
    for number in range(10):
        pending += [bob.begin_send(group, f"{number}", do="post") for group in groups] + [bob.begin_send(alice.address, f"{number}")]
    for each in pending:
        each.result()
    heard = [alice.take("message") for _ in pending]
    for log in [*groups, None]:
        assert [message["text"] for message in heard if message["group"] == log] == numbers(10)


@ROWS.row("a poster who is subscribed hears itself, once")
def own_post(world):
    group = world.group()
    alice = world.client("alice")
    alice.do("subscribe", groups=[group])
    alice.post(group, "echo")
    alice.post(group, "end")
    assert alice.until("end") == ["echo", "end"]


@ROWS.row("a signal to a group reaches who is subscribed")
def group_signal(world):
    group = world.group()
    alice, bob = world.client("alice"), world.client("bob")
    alice.do("subscribe", groups=[group])
    bob.signal(group, "typing")
    assert alice.take("signal")["text"] == "typing"


@ROWS.row("a post to #all comes to everybody")
def to_all(world):
    address = world.address("alice")
    alice, bob = world.client(address, tokens=[world.token(address, po={"broadcast": True})]), world.client("bob")
    text = world.address("to everybody")
    alice.post("#all", text)
    assert bob.take("message", lambda message: message["text"] == text)["group"] == "#all"


@ROWS.row("history of a group pages through its log")
def group_history(world):
    group = world.group()
    alice = world.client("alice")
    post_all(alice, group, numbers(12))
    found = alice.do("history", group=group, limit=5)["messages"]
    assert [message["text"] for message in found] == numbers(12)[::-1]
    assert {message["group"] for message in found} == {group}


@ROWS.row("a missing part of a group's log is told as a gap of that group")
def group_gap(world):
    group, link = world.group(), world.link()
    alice, bob = world.client("alice", link=link), world.client("bob")
    alice.do("subscribe", groups=[group])
    alice.state("open")
    post_all(bob, group, ["seen"])
    alice.texts()
    link.refuse()
    alice.state("waiting")
    post_all(bob, group, ["lost"])
    with world.office.admin() as office:
        assert office.delete(f"/api/v1/addresses/{group.replace('#', '%23')}/messages").status == 200
    post_all(bob, group, ["rest"])
    link.allow()
    assert alice.take("gap") == {"log": group, "epochChanged": False}
    assert alice.until("rest") == ["rest"]
