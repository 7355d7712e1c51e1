"""Rows about connecting, tokens, coming back, and the ends that are final."""

import json
import time

import pytest

from admin import quoted
from drivers import DriverError
from table import Table

ROWS = Table()


@ROWS.row("connect() settles with what welcome says of the session")
def connect_settles(world):
    alice = world.client("alice", connect=False)
    welcome = alice.connect()
    assert welcome["session"] and welcome["epoch"], welcome
    assert welcome["seq"] == "0-0" and welcome["recovered"] is True and not welcome["service"], welcome


@ROWS.row("the states of a session are told as events, up to closed with 1000")
def states(world):
    alice = world.client("alice")
    alice.state("connecting")
    alice.state("open")
    alice.close()
    assert alice.state("closed")["code"] == 1000


@ROWS.row("the address may be left to the token")
def address_of_the_token(world):
    address = world.address("alice")
    world.client(address, address=None)
    peer = world.peer("bob")
    assert len(peer.command("presence", tags=[address])["online"][address]) == 1


@ROWS.row("an address of any characters is written into the query")
def address_of_any_characters(world):
    address = world.address("/家/a b+c&d=e%25#ü")
    odd = world.client(address)
    assert odd.take("welcome")["address"] == address
    world.client("bob").send(address, "hello")
    assert odd.texts() == ["hello"]


@ROWS.row("two clients of an address without a device of their own do not turn each other out")
def devices_of_their_own(world):
    address = world.address("alice")
    first, second = world.client(address), world.client(address)
    world.client("bob").send(address, "both")
    assert first.texts() == second.texts() == ["both"]
    assert len(world.peer("bob").command("presence", tags=[address])["online"][address]) == 2


@ROWS.row("a device that was given is the session's device")
def device_given(world):
    alice = world.client("alice", device="APP")
    assert world.peer("bob").command("presence", tags=[alice.address])["online"][alice.address] == ["APP"]


@ROWS.row("a device that the library made lasts in storage")
def device_lasts(world):
    first = world.client("alice", storage=world.folder())
    device = first.take("welcome")["device"]
    assert device
    first.close()
    again = world.client(first.address, storage=world.folder())
    assert again.take("welcome")["device"] == device


@ROWS.row("a refused token is asked for again, and a good one connects")
def refused_token(world):
    address = world.address("alice")
    alice = world.client(address, tokens=[world.token(address, ttl=-60), world.token(address)])
    assert [alice.take("token")["n"], alice.take("token")["n"]] == [1, 2]


@ROWS.row("the same refused token a second time is the end")
def refused_token_twice(world):
    address = world.address("alice")
    alice = world.client(address, tokens=[world.token(address, ttl=-60)], connect=False)
    assert alice.begin("connect").error().code == 4401
    assert alice.state("closed")["code"] == 4401


@ROWS.row("an address that the token does not cover is the end, after one attempt")
def address_not_covered(world):
    link = world.link()
    alice = world.client("alice", tokens=[world.token(world.address("bob"))], link=link, connect=False)
    assert alice.begin("connect").error().code == 4403
    assert alice.state("closed")["code"] == 4403
    assert len(link.attempts) == 1


@ROWS.row("a path that is not served is the end, after one attempt")
def path_not_served(world):
    link = world.link()
    alice = world.client("alice", url=world.url(link, "/nowhere"), connect=False)
    assert alice.begin("connect").error().code == 4404
    assert len(link.attempts) == 1


@ROWS.row("a device that cannot be is the end, after one attempt at most")
def device_too_long(world):
    link = world.link()
    alice = world.client("alice", device="d" * 65, link=link, connect=False)
    alice.begin("connect").error()
    assert len(link.attempts) <= 1


@ROWS.row("connect() waits for a server that is not there yet")
def server_not_there(world):
    link = world.link()
    link.refuse()
    alice = world.client("alice", link=link, connect=False)
    pending = alice.begin("connect")
    link.wait_attempts(3)
    assert not pending.done
    link.allow()
    assert pending.result()["session"]


@ROWS.row("a connection that breaks is made again by itself")
def cut(world):
    link = world.link()
    alice = world.client("alice", link=link)
    alice.state("open")
    link.cut()
    alice.state("waiting")
    alice.state("open")
    world.client("bob").send(alice.address, "still here?")
    assert alice.texts() == ["still here?"]


@ROWS.row("attempts go on for as long as it takes")
def attempts_go_on(world):
    link = world.link()
    alice = world.client("alice", link=link, maxBackoff=100)
    alice.state("open")
    link.refuse()
    link.wait_attempts(8)
    link.allow()
    alice.state("open")


@ROWS.row("a link that is dead without a word is found by the library's own heartbeat")
def dead_link(world):
    link = world.link()
    alice = world.client("alice", link=link, heartbeat=1, heartbeatTimeout=1)
    alice.state("open")
    link.freeze()
    world.client("bob").send(alice.address, "through the new link")
    assert alice.texts() == ["through the new link"]
    assert len(link.attempts) > 1


@ROWS.row("a quiet link that lives is left alone by the heartbeat", everywhere=False)
def quiet_link(world):
    link = world.link()
    alice = world.client("alice", link=link, heartbeat=1, heartbeatTimeout=5)
    sent = link.bytes_sent
    for _ in range(2):
        world.settled(lambda before=sent: link.bytes_sent > before, "the library asks for a sign of life")
        sent = link.bytes_sent
    world.client("bob").send(alice.address, "hello")
    assert alice.texts() == ["hello"]
    assert len(link.attempts) == 1


@ROWS.row("a token is renewed before its end, and the session goes on", everywhere=False)
def renewal(world):
    address, link = world.address("alice"), world.link()
    first = world.token(address, ttl=4)
    ends = time.time() + 5
    alice = world.client(address, tokens=[first, world.token(address)], link=link)
    while alice.take("token")["n"] < 2:
        pass
    world.until_time(ends)
    assert alice.do("presence", addresses=[address])["online"][address]
    assert len(link.attempts) == 1


@ROWS.row("a token that ends unforeseen is replaced, and the client comes back", everywhere=False)
def expiry(world):
    address = world.address("alice")
    # The library cannot read the end of a token that is not a JWT.
    short = world.office.servers[0].keys.inside(address, 3, "--format", "paseto")
    alice = world.client(address, tokens=[short, world.token(address)])
    alice.state("open")
    while alice.take("token")["n"] < 2:
        pass
    world.client("bob").send(address, "after the change")
    assert alice.texts() == ["after the change"]


@ROWS.row("a token that ends, and none to be had: closed with 4001", everywhere=False)
def expiry_for_good(world):
    address = world.address("alice")
    short = world.office.servers[0].keys.inside(address, 2, "--format", "paseto")
    alice = world.client(address, tokens=[short, None])
    assert alice.state("closed")["code"] in (4001, 4401)


@ROWS.row("a newer session of the same device ends the older one for good (4500)")
def replaced(world):
    link = world.link()
    first = world.client("alice", device="APP", link=link)
    second = world.client(first.address, device="APP")
    assert first.state("closed")["code"] == 4500
    assert first.begin_send(second.address, "late").error().name == "ClosedError"
    world.client("bob").send(second.address, "to the newer")
    assert second.texts() == ["to the newer"]
    assert len(link.attempts) == 1


@ROWS.row("a revoked address is out for good (4501)")
def revoked(world):
    link = world.link()
    alice = world.client("alice", link=link)
    with world.office.admin() as office:
        assert office.ask("PUT", f"/api/v1/revocations/sub:{alice.address}", b"").status in (202, 204)
    assert alice.state("closed")["code"] == 4501
    assert len(link.attempts) == 1


@ROWS.row("a session that an administrator closes does not come back (4502)")
def closed_by_administrator(world):
    link = world.link()
    alice = world.client("alice", link=link)
    with world.office.admin() as office:
        found = office.get(f"/api/v1/sessions?address={alice.address}").json()["sessions"]
        assert office.delete(f"/api/v1/sessions/{quoted(found[0]['id'])}").status == 204
    assert alice.state("closed")["code"] == 4502
    assert len(link.attempts) == 1


@ROWS.row("too many errors close for good (4503)", everywhere=False)
def too_many_errors(world):
    with world.office.changed(limits={"errorsPerMinute": 2}):
        address = world.address("alice")
        alice = world.client(address, tokens=[world.token(address, po={"send": []})])
        sends = [alice.begin_send(world.address("bob"), f"{number}") for number in range(5)]
        assert alice.state("closed")["code"] == 4503
        errors = [send.error() for send in sends]
        assert {error.name for error in errors} <= {"RejectedError", "ClosedError"}, errors


@ROWS.row("after close() nothing comes back, and a send fails at once")
def after_close(world):
    link = world.link()
    alice = world.client("alice", link=link)
    alice.close()
    assert alice.begin_send(world.address("bob"), "late").error().name == "ClosedError"
    assert len(link.attempts) == 1


@ROWS.row("close() before there was a connection ends the attempts")
def close_early(world):
    link = world.link()
    link.refuse()
    alice = world.client("alice", link=link, connect=False)
    pending = alice.begin("connect")
    link.wait_attempts(1)
    alice.close()
    with pytest.raises(DriverError):
        pending.result()


@ROWS.row("the server's word of when to come back is obeyed", everywhere=False)
def retry_after(world):
    with world.office.changed(limits={"connectionsPerIP": 1}):
        inside = world.peer("inside")  # takes the only place, of a single node; of two, both are taken
        others = [world.peer(f"inside{number}") for number in range(world.office.variant.nodes - 1)]
        link = world.link()
        alice = world.client("alice", link=link, connect=False)
        pending = alice.begin("connect")
        link.wait_attempts(2)
        for each in [inside, *others]:
            each.close()
        assert pending.result()["session"]
    # The server says one second or more; the library's own shortest pause is far shorter here.
    pauses = [later - earlier for earlier, later in zip(link.attempts, link.attempts[1:])]
    assert min(pauses) >= 0.9, pauses


@ROWS.row("since \"now\" leaves the backlog out")
def since_now(world):
    bob, address = world.client("bob"), world.address("alice")
    bob.send(address, "old")
    alice = world.client(address, since="now")
    bob.send(address, "new")
    assert alice.until("new") == ["new"]


@ROWS.row("a token never stands in what the library tells or logs")
def tokens_are_kept(world):
    address, link = world.address("alice"), world.link()
    token = world.token(address)
    alice = world.client(address, tokens=[token], link=link)
    link.cut()
    alice.state("waiting")
    alice.state("open")
    told = json.dumps(alice.events) + "".join(line for line in list(world.driver.said) if " > " not in line[:20])
    assert token.rsplit(".", 1)[1] not in told
