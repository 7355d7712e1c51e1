"""SIGTERM and SIGINT: every session gets `goodbye`, and no process and no file is left behind."""

import asyncio
import pathlib
import signal

import psutil
import pytest

import harness
from clients import Closed, NodeClient, PythonClient, node, run, upgrade
import clients


def leftovers(post):
    """Processes that still run this server's binary with its config."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(post.config_file) in (process.info["cmdline"] or []):
            found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 4])
def test_under_load_every_client_sees_goodbye_and_1001(server, workers, number):
    post = server(workers)
    maps = "".join(pathlib.Path(f"/proc/{each.pid}/maps").read_text() for each in post.processes())
    assert "/memfd:postoffice" in maps and "/dev/shm/" not in maps, "the shared memory has no name that could stay"

    async def scene():
        async with node() as process:
            people = [await PythonClient.open(post, f"p{n}") for n in range(12)]
            people += [await NodeClient.open(post, f"p{n}", process=process) for n in range(12, 24)]
            stop = asyncio.Event()

            async def load(person, to):
                while not stop.is_set():
                    try:
                        await person.send(to, "load")
                        await person.message()
                    except (Closed, ConnectionError):
                        return
                    except Exception as error:
                        if type(error).__name__.startswith("ConnectionClosed"):
                            return
                        raise

            talks = [asyncio.ensure_future(load(person, people[-1 - i].address)) for i, person in enumerate(people)]
            await asyncio.sleep(0.2)
            post.process.send_signal(number)
            endings = await asyncio.gather(*(person.closed() for person in people))
            stop.set()
            await asyncio.gather(*talks)
            for goodbye, code in endings:
                assert code == 1001
                assert goodbye is not None and goodbye["code"] == 1001
                assert goodbye["type"] == 4

    run(scene())
    assert post.process.wait(harness.DEADLINE) == 0
    assert not leftovers(post)
    assert not pathlib.Path(post.pid_file).exists() or not post.pid_file.read_text().strip()


def test_peers_that_never_answer_the_close_do_not_hold_it_up_for_ever(server):
    post = server(2, {"shutdown": {"seconds": 1}})
    silent = [upgrade(post, f"s{n}") for n in range(4)]
    post.process.terminate()
    assert post.process.wait(harness.DEADLINE) == 0
    for raw in silent:
        assert raw.close_code() == 1001
        assert raw.ended() == b""


def test_a_second_signal_ends_it_at_once(server):
    post = server(2, {"shutdown": {"seconds": 60}})
    silent = [upgrade(post, f"s{n}") for n in range(4)]
    post.process.terminate()
    assert silent[0].close_code() == 1001  # the first SIGTERM has been handled
    post.process.terminate()
    post.expected_status = None
    post.process.wait(harness.DEADLINE)
    harness.wait_until(lambda: not leftovers(post), "no worker stays")


def test_whatever_was_queued_is_flushed_before_the_end(server):
    post = server(1)
    reader, sender = upgrade(post, "bob"), upgrade(post, "alice")
    text = "x" * 60000
    for _ in range(250):  # 20 MB: more than the kernel keeps for a socket
        sender.send(clients.frame(1, clients.json.dumps(clients.envelope("alice", "bob", text))))
    harness.wait_until(lambda: post.total("messages_in") >= 250, "all of it is taken in")
    post.process.terminate()
    got = 0
    while True:
        message = clients.json.loads(reader.message())
        if message["subject"] == "goodbye":
            break
        got += message["from"] == "alice"
    assert got == 250
    assert reader.close_code() == 1001
    reader.socket.close()
    sender.socket.close()
    assert post.process.wait(harness.DEADLINE) == 0


def test_nobody_new_is_taken_while_it_stops(server):
    post = server(1, {"shutdown": {"seconds": 5}})
    silent = upgrade(post, "s")
    post.process.terminate()
    assert silent.close_code() == 1001
    try:
        with clients.Raw(post.port) as raw:
            raw.send(clients.request("/ws", token=post.token("alice")))
            assert raw.answer().status == 503
    except (ConnectionError, AssertionError) as error:
        assert "101" not in str(error)
    silent.send(clients.frame(8, b"\x03\xe9"))
    assert post.process.wait(harness.DEADLINE) == 0


def test_the_pid_file_lets_no_second_server_start(server):
    post = server(1)
    result = harness.command("serve", "--config", post.config_file, check=False)
    assert result.returncode not in (0, None)
    assert result.stderr
    assert post.alive() and post.is_serving()
