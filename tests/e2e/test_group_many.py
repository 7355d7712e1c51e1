"""One post to a group of 10,000 sessions on 4 workers: 10,000 deliveries, one publish a worker. Raw sockets, since
10,000 clients of a library would be slower than the server. Under a sanitizer there are 1,000.
"""

import contextlib
import json
import resource
import select
import socket
import time

import pytest

import harness
from clients import PythonClient, envelope, frame, request, run

SESSIONS = harness.scaled(10000)
WORKERS = 4
BATCH = 250


class Crowd:
    """Sessions that send `subscribe` in the same segment as the handshake, and then only listen."""

    def __init__(self, port, token):
        self.port, self.token = port, token
        self.epoll = select.epoll()
        self.sockets, self.heard = {}, {}

    def open(self, address, group):
        command = envelope(address, "postmaster", type=4, subject="subscribe", tags=[group])
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=harness.DEADLINE)
        connection.sendall(request(f"/ws?clientID={address}", token=self.token).encode() +
                           frame(1, json.dumps(command)))
        connection.setblocking(False)
        self.sockets[connection.fileno()] = connection
        self.heard[connection.fileno()] = bytearray()
        self.epoll.register(connection, select.EPOLLIN)

    def listen(self, timeout):
        for fd, _ in self.epoll.poll(timeout, 1024):
            with contextlib.suppress(BlockingIOError):
                data = self.sockets[fd].recv(1 << 16)
                assert data, f"a session was closed; it had heard {bytes(self.heard[fd][-500:])}"
                self.heard[fd] += data

    def until_all_heard(self, text, fds=None):
        """Listens until every session has the post."""
        waiting = set(fds if fds is not None else self.sockets)
        end = time.monotonic() + 6 * harness.DEADLINE
        while waiting:
            assert time.monotonic() < end, f"{len(waiting)} of {len(self.sockets)} have not heard {text}"
            self.listen(0.1)
            waiting = {fd for fd in waiting if text not in self.heard[fd]}

    def close(self):
        for connection in self.sockets.values():
            connection.close()


def test_one_post_reaches_ten_thousand_sessions_on_four_workers_with_one_publish_each(server):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < SESSIONS + 1000:
        pytest.skip(f"{SESSIONS} sessions need as many descriptors; the hard limit here is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 16), hard))
    post = server(WORKERS, {"limits": {"pingSeconds": 3600}})
    token = post.token("crowd", po={"relay": ["user*"], "groups": ["#crowd"]})
    crowd = Crowd(post.port, token)

    async def scene():
        poster = await PythonClient.open(post, "poster", token=post.token("poster", po={"groups": ["#crowd"]}))
        before = post.status()
        assert all(row["sessions"] >= SESSIONS / WORKERS / 2 for row in before["workers"] if row["pid"])
        first = await poster.send("#crowd", "to everybody", type=3, id="the-post")
        assert (await poster.said("accepted", inReplyTo=first["id"]))["state"] == 1
        crowd.until_all_heard(b'"the-post"')
        after = post.status()
        assert 1 <= after["totals"]["publishes"] - before["totals"]["publishes"] <= WORKERS
        assert after["totals"]["group_deliveries"] - before["totals"]["group_deliveries"] == SESSIONS
        assert after["totals"]["group_pages"] == 0  # no page of the log was read
        last = await poster.send("#crowd", "", type=3, id="the-last")
        assert (await poster.said("accepted", inReplyTo=last["id"]))["state"] == 1
        crowd.until_all_heard(b'"the-last"')  # a post that came twice would be here by now
        for text in (b'"id": "the-post"', b'"id": "the-last"'):
            assert [heard.count(text) for heard in crowd.heard.values()] == [1] * SESSIONS
        assert post.status()["totals"]["group_deliveries"] - before["totals"]["group_deliveries"] == 2 * SESSIONS

    try:
        for begin in range(0, SESSIONS, BATCH):
            known = set(crowd.sockets)
            for number in range(begin, min(begin + BATCH, SESSIONS)):
                crowd.open(f"user{number}", "#crowd")
            crowd.until_all_heard(b'"tags":["#crowd"],"seq"', set(crowd.sockets) - known)
        run(scene(), 600)
    finally:
        crowd.close()
