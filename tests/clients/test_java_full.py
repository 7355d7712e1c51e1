"""A Java client that has as many messages waiting as may wait still hears the answers that somebody waits for.

java.net.http gives out what comes in order: an answer lies behind the mail that was sent before it. A client that only
stopped reading would wait for ever for an answer that it does not read.
"""

import pytest

import office
from drivers import LIBRARIES

JAVA = [library for library in LIBRARIES if library.name == "java"]
BIG = "x" * 40_000  # a backlog of these is more than the sockets hold

pytestmark = [pytest.mark.parametrize("library, variant", [pytest.param(JAVA[0], office.FEW[0], id="java")]),
              pytest.mark.xdist_group("java-full")]


def backlog(world, address, count=150):
    """So much mail for somebody who is not there."""
    alice = world.client("alice")
    sends = [alice.begin_send(address, f"{number} {BIG}") for number in range(count)]
    for send in sends:
        send.result()
    return [f"{number}" for number in range(count)]


def test_a_handler_that_waits_for_its_answer_gets_through_a_backlog_larger_than_may_wait(world):
    address = world.address("bob")
    expected = backlog(world, address)
    bob = world.client(address, connect=False, handle="none", maxWaiting=5)
    bob.do("serve", concurrency=1, mode="echo")
    bob.connect()
    assert [text.split()[0] for text in bob.texts(len(expected))] == expected


def test_a_client_without_a_handler_sends_though_its_mailbox_is_full_of_mail(world):
    address = world.address("bob")
    backlog(world, address)
    bob, carol = world.client(address, handle="none", maxWaiting=5), world.client("carol")
    for number in range(20):
        assert bob.send(carol.address, f"{number}")["state"] == 1
    assert carol.texts(20) == [f"{number}" for number in range(20)]


def test_what_was_let_go_comes_when_there_is_a_handler(world):
    address = world.address("bob")
    expected = backlog(world, address)
    bob = world.client(address, handle="none", maxWaiting=5)
    bob.do("presence", addresses=[address])
    bob.do("serve", concurrency=1, mode="echo")
    assert [text.split()[0] for text in bob.texts(len(expected))] == expected
