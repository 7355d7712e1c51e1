"""Connections spread over the workers."""

import asyncio

import pytest

import clients
import harness
from clients import run

CONNECTIONS = harness.scaled(4000)


async def open_all(post, count, at_once):
    """Raw upgrades, `at_once` under way at any time; returns the open streams."""
    token = post.token("crowd", po={"relay": ["*"]})
    gate = asyncio.Semaphore(at_once)
    streams = []

    async def one(number):
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", post.port)
            writer.write(clients.request(f"/ws?clientID=c{number}", token=token).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head, head
            streams.append((reader, writer))

    await asyncio.gather(*(one(number) for number in range(count)))
    return streams


@pytest.mark.parametrize("at_once", [1, 500])
def test_no_worker_holds_more_than_1_3_times_anothers(server, at_once):
    post = server(4)
    count = CONNECTIONS if at_once > 1 else CONNECTIONS // 4

    async def scene():
        streams = await open_all(post, count, at_once)
        rows = [row["sessions"] for row in post.status()["workers"]]
        assert sum(rows) == count, rows
        assert max(rows) <= 1.3 * min(rows), rows
        for _, writer in streams:
            writer.transport.abort()

    run(scene())
