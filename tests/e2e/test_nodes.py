"""Nodes that share one Redis are one post office."""

import asyncio

from clients import PythonClient, run
from test_mailbox import all_accepted, has, ids, post_mail


def test_mail_reaches_sessions_on_another_node_at_once(server):
    one, two = server(2, {"node": {"id": "one"}}), server(2, {"node": {"id": "two"}})

    async def scene():
        alice = await PythonClient.open(one, "alice")
        bob = await PythonClient.open(two, "bob")
        sent = await post_mail(alice, "bob", 20)
        got = await has(bob, 20)
        assert ids(got) == sent

    run(scene())
