"""A worker dies under load: only its own sessions end, and new sessions are accepted again after a moment."""

import asyncio
import os
import random
import signal
import socket

import pytest

import harness
from clients import Closed, NodeClient, PythonClient, eventually, node, open_on, run

KILLS = 10


class Load:
    """Pairs that talk without pause; pairs on living workers must lose no message."""

    def __init__(self, post):
        self.post = post
        self.clients = {}
        self.stopped = False

    async def person(self, address, maker):
        """A client that writes from one of its devices to the other, and comes back when its worker dies."""
        while not self.stopped:
            try:
                client = await maker(self.post, address)
            except Exception:  # its worker died in the handshake
                await asyncio.sleep(0.05)
                continue
            self.clients[address] = client
            number = 0
            try:
                while not self.stopped:
                    await client.send(address, str(number), id=f"{address}-{number}")
                    got = await client.message()
                    assert got["id"] == f"{address}-{number}", "out of order or lost on a living worker"
                    number += 1
                await client.close()
            except Closed:
                self.deaths += 1
            except ConnectionError:
                self.deaths += 1
            except Exception as error:
                if type(error).__name__.startswith("ConnectionClosed"):
                    self.deaths += 1
                    continue
                raise

    deaths = 0


@pytest.mark.parametrize("workers", [2, 4])
def test_killing_a_random_worker_ten_times_touches_nobody_else(server, workers):
    post = server(workers)
    chance = random.Random(workers)
    refused = []

    async def knock(stop):
        """Checks that the port never refuses a connection."""
        while not stop.is_set():
            probe = socket.socket()
            probe.setblocking(False)
            try:
                await asyncio.wait_for(
                    asyncio.get_running_loop().sock_connect(probe, ("127.0.0.1", post.port)), harness.DEADLINE)
            except (OSError, asyncio.TimeoutError) as error:
                refused.append(error)
            finally:
                probe.close()
            await asyncio.sleep(0.005)

    async def scene():
        async with node() as process:
            async def open_node(server_, address, **options):
                return await NodeClient.open(server_, address, process=process, **options)

            load = Load(post)
            people = [asyncio.ensure_future(load.person(f"p{n}", PythonClient.open if n % 2 else open_node))
                      for n in range(16)]
            # These clients never reconnect: a session on a living worker must stay.
            stop = asyncio.Event()
            knocking = asyncio.ensure_future(knock(stop))
            await eventually(lambda: len(load.clients) == 16, "everybody talks")
            for _ in range(KILLS):
                rows = {row["slot"]: row for row in post.serving(post.status())}
                slot = chance.choice(sorted(rows))
                watcher = await open_on(post, (slot + 1) % workers, "watcher", PythonClient.open)
                victim = await open_on(post, slot, "victim", PythonClient.open)
                os.kill(rows[slot]["pid"], signal.SIGKILL)
                await eventually(lambda: gone(post, slot, rows[slot]["pid"]), "the dead one's sessions are gone")
                _, code = await victim.closed()
                assert code in (1006, None)
                online = (await watcher.order("presence", tags=["victim", "watcher"]))["online"]
                assert not online.get("victim"), "presence still knows a session of the dead worker"
                assert online["watcher"]
                await watcher.close()
                await eventually(post.is_serving, "the worker is replaced")
            load.stopped = True
            results = await asyncio.gather(*people, return_exceptions=True)
            failures = [r for r in results if isinstance(r, BaseException)]
            assert not failures, failures
            stop.set()
            await knocking
            assert not refused, refused[:3]
            assert load.deaths > 0
            assert post.status()["restarts"] == KILLS

    run(scene())


def gone(post, slot, pid):
    """Whether the row no longer names the dead process."""
    row = next((r for r in post.status()["workers"] if r["slot"] == slot), None)
    return row is None or row["pid"] != pid


@pytest.mark.parametrize("workers", [2])
def test_sessions_on_living_workers_stay_open_and_in_order(server, workers):
    post = server(workers)

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        bob = await open_on(post, 0, "bob", PythonClient.open)
        for round_number in range(5):
            pid = post.worker_pids()[1]
            await open_on(post, 1, f"victim{round_number}", PythonClient.open)
            os.kill(pid, signal.SIGKILL)
            for number in range(200):
                await alice.send("bob", str(number), id=f"r{round_number}-{number}")
            for number in range(200):
                assert (await bob.message())["id"] == f"r{round_number}-{number}"
            await eventually(post.is_serving, "the worker is replaced")
            # The new worker takes sessions, and messages from the old one reach them.
            carol = await open_on(post, 1, "carol", PythonClient.open)
            await alice.send("carol", "hello")
            await carol.message()
            await carol.close()
        assert alice.close_code is None and bob.close_code is None

    run(scene())


def test_a_worker_that_hangs_is_replaced(server):
    """SIGSTOP stands for an endless loop: the heartbeat stops and the master notices."""
    post = server(2, {"watchdog": {"seconds": 5}})
    pid = post.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    harness.wait_until(lambda: post.has_replaced(0, pid), "the hanging worker is replaced")

    async def scene():
        alice = await open_on(post, 0, "alice", PythonClient.open)
        await alice.settle()

    run(scene())
