"""Rows about what outlives a process, a server, a worker and Redis. Those with a process of their own kill it (SIGKILL)."""

import os
import signal

from behaviours_receiving import numbers, send_all
from table import Table

ROWS = Table()


@ROWS.row("sends that were not answered outlive the process, in order, once each")
def outbox_lasts(world):
    bob, address, link = world.client("bob"), world.address("alice"), world.link()
    link.refuse()
    first = world.another_driver()
    alice = world.client(address, driver=first, storage=world.folder(), link=link, connect=False)
    alice.begin("connect")
    for number in range(5):
        alice.begin_send(bob.address, f"{number}", id=f"id-{number}")
    world.settled(lambda: alice.do("stats")["outbox"] == 5, "five sends wait")
    first.kill()
    link.allow()
    again = world.client(address, driver=world.another_driver(), storage=world.folder(), link=link)
    again.send(bob.address, "end")
    assert bob.until("end") == [*numbers(5), "end"]
    assert [message["id"] for message in bob.all("message")][:5] == [f"id-{number}" for number in range(5)]


@ROWS.row("a send that was accepted unheard before the process died arrives once")
def outbox_lasts_unheard(world):
    bob, address, link = world.client("bob"), world.address("alice"), world.link()
    first = world.another_driver()
    alice = world.client(address, driver=first, storage=world.folder(), link=link)
    link.hold_answers()
    alice.begin_send(bob.address, "once")
    assert bob.texts() == ["once"]
    first.kill()
    link.let_answers()
    again = world.client(address, driver=world.another_driver(), storage=world.folder(), link=link)
    again.send(bob.address, "end")
    assert bob.until("end") == ["end"]


@ROWS.row("what was handled before the process died is not handled again")
def ids_last(world):
    alice, address = world.client("alice"), world.address("bob")
    first = world.another_driver()
    bob = world.client(address, driver=first, storage=world.folder(), ackDelay=600_000, ackBatch=1000)
    send_all(alice, address, numbers(5))
    for _ in range(5):
        bob.take("handled")
    first.kill()
    again = world.client(address, driver=world.another_driver(), storage=world.folder())
    send_all(alice, address, ["end"])
    assert again.until("end") == ["end"]
    again.acked(again.all("message")[-1]["seq"])


@ROWS.row("what was at work when the process died is handled by its successor")
def unfinished_comes_again(world):
    alice, address = world.client("alice"), world.address("bob")
    first = world.another_driver()
    bob = world.client(address, driver=first, storage=world.folder(), handle="hold")
    send_all(alice, address, ["unfinished", "behind"])
    assert bob.texts() == ["unfinished"]
    first.kill()
    again = world.client(address, driver=world.another_driver(), storage=world.folder())
    assert again.texts(2) == ["unfinished", "behind"]


@ROWS.row("a worker that is killed costs nobody a message", everywhere=False)
def worker_killed(world):
    alice, bob = world.client("alice"), world.client("bob")
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(50)]
    for node in range(world.office.variant.nodes):
        for slot in range(2):
            world.office.kill_worker(node, slot)
    for send in sends:
        send.result()
    assert bob.texts(50) == numbers(50)
    alice.send(bob.address, "end")
    assert bob.until("end") == ["end"]


@ROWS.row("a server that restarts is met again by itself", everywhere=False)
def server_restarts(world):
    clients = [world.client(name) for name in ("alice", "bob", "carol", "dave")]
    for each in clients:
        each.state("open")
    for node in range(world.office.variant.nodes):
        world.office.restart(node)
    for each in clients:
        each.state("open")
    alice, bob = clients[:2]
    alice.send(bob.address, "again")
    assert bob.texts() == ["again"]


@ROWS.row("workers that are replaced (4000) are left for others", everywhere=False)
def workers_replaced(world):
    alice, bob = world.client("alice"), world.client("bob")
    with world.office.changed(serviceAddresses=["/service/*", f"/other/{world.salt}"]):
        for each in (alice, bob):
            each.state("open")
            each.state("open")
        alice.send(bob.address, "through new workers")
        assert bob.texts() == ["through new workers"]
        sessions = len(alice.all("welcome"))
    assert sessions >= 2


@ROWS.row("mail that is sent while Redis hangs or is away is accepted when Redis is back", everywhere=False)
def redis_away(world):
    alice, bob = world.client("alice"), world.client("bob")
    alice.send(bob.address, "before")
    assert bob.texts() == ["before"]  # Redis loses its data here, with mail that nobody has been given yet
    world.office.redis.kill()
    sends = [alice.begin_send(bob.address, f"{number}") for number in range(5)]
    world.settled(lambda: any(
        server.total("rejected_storage_unavailable") for server in world.office.servers), "a server rejects mail")
    world.office.redis.start()
    for send in sends:
        send.result()
    assert sorted(bob.texts(5)) == numbers(5)


@ROWS.row("stored data that was lost is told as a gap of another epoch, and the mail goes on", everywhere=False)
def data_lost(world):
    alice, bob = world.client("alice"), world.client("bob")
    alice.send(bob.address, "before")
    bob.acked(bob.take("message")["seq"])
    world.office.restart_redis()
    assert bob.take("gap", lambda data: data["log"] is None)["epochChanged"] is True
    alice.send(bob.address, "after")
    assert bob.until("after") == ["after"]
    bob.acked(bob.all("message")[-1]["seq"])


@ROWS.row("a server that stops answering without a word is left, and met again", everywhere=False)
def worker_stopped(world):
    link = world.link()
    alice = world.client("alice", link=link, heartbeat=1, heartbeatTimeout=1)
    alice.state("open")
    stopped = [pid for server in world.office.servers for pid in server.worker_pids().values()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        alice.state("waiting")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    alice.state("open")
    alice.send(alice.address, "well again")
    assert alice.texts() == ["well again"]
