"""The examples in Python do what they say: a bot that answers, a device on a slow line."""

import asyncio
import contextlib

import served
from served import client, office, run, url  # noqa: F401  a fixture

EXAMPLES = served.ROOT / "examples"
BYTES_A_SECOND = 3000


async def heard(messages, count):
    """The texts of the next messages."""
    return [(await messages.__anext__()).text for _ in range(count)]


def test_the_bot_answers_over_restarts_of_the_server_and_of_itself(office):  # noqa: F811
    server = office()
    bot = [EXAMPLES / "bot.py", url(server)]
    token = {"TOKEN": server.token("bot", po=served.RIGHTS)}

    async def play():
        async with client(server, "alice") as alice:
            messages = alice.messages()
            with served.Program(bot, **token):
                await alice.send("bot", text="one")
                assert await heard(messages, 1) == ["You said: one"]
                server.stop()
                server.start()
                await alice.send("bot", text="two")
                assert await heard(messages, 1) == ["You said: two"]
            await alice.send("bot", text="three")  # nobody is there
            with served.Program(bot, **token):
                assert await heard(messages, 1) == ["You said: three"]
                await alice.send("bot", text="four", in_reply_to="nothing")
                await alice.send("bot", text="five")
                assert await heard(messages, 1) == ["You said: five"]

    run(play())


class SlowLine:
    """A forwarder that lets so many bytes a second pass, each way; `cut` ends its connections."""

    def __init__(self, port):
        self.target = port
        self.tasks = set()
        self.server = None

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.cut()

    def url(self):
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/ws"

    def cut(self):
        for task in self.tasks:
            task.cancel()

    async def carry(self, near_in, near_out):
        self.tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await asyncio.gather(self.drip(near_in, far_out), self.drip(far_in, near_out))
            finally:
                for end in (near_out, far_out):
                    end.transport.abort()
        self.tasks.discard(asyncio.current_task())

    @staticmethod
    async def drip(source, sink):
        while data := await source.read(BYTES_A_SECOND // 10):
            sink.write(data)
            await sink.drain()
            await asyncio.sleep(0.1)
        raise ConnectionResetError


class Device(served.Program):
    """The example with its standard input in our hands."""

    def __init__(self, line, server, file):
        super().__init__([EXAMPLES / "device.py", line.url(), file, "sink"], stdin=True,
                         TOKEN=server.token("device", po=served.RIGHTS))

    def read(self, *values):
        for value in values:
            self.process.stdin.write(f"{value}\n")
        self.process.stdin.flush()


def values(message):
    return [value for _, value in message.json()]


def test_the_device_loses_no_batch_on_a_slow_line_and_takes_commands_once(office):  # noqa: F811
    server = office()
    file = office.folder / "device.sqlite3"

    async def play():
        async with SlowLine(server.port) as line, client(server, "sink", device="sink") as sink:
            messages = sink.messages()
            await sink.send("device", json={"batch": 7})  # before the first start of the device: not for it
            with Device(line, server, file) as device:
                device.read(*range(20))
                got = [values(await messages.__anext__()) for _ in range(2)]
                assert got == [list(range(10)), list(range(10, 20))]
                line.cut()
                device.read(*range(20, 40))
                assert values(await messages.__anext__()) == list(range(20, 30))
                assert values(await messages.__anext__()) == list(range(30, 40))
            await sink.send("device", json={"batch": 4})  # while it is off
            with Device(line, server, file) as device:
                number = 100
                while True:  # until the command has come, batches are of ten
                    device.read(*range(number, number + 20))
                    number += 20
                    batch = values(await messages.__anext__())
                    if len(batch) == 4:
                        break
                device.process.stdin.close()  # the rest leaves, and the device ends
                seen = batch[-1]
                while seen < number - 1:
                    rest = values(await messages.__anext__())
                    assert not rest or rest[0] == seen + 1, "in order, none twice, none missing"
                    seen = rest[-1] if rest else seen
                assert await asyncio.get_running_loop().run_in_executor(None, device.process.wait, 60) == 0

    run(play())
