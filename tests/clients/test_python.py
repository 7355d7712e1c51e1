"""The Python package as a developer meets it: built, installed, typed, its README run, its storage killed."""

import ast
import asyncio
import importlib.util
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile

import pytest

import served
from served import PACKAGE, client, office, postoffice, run, url  # noqa: F401  a fixture
from postoffice.link import LinkFailed  # served has set the path

BLOCKS = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
SOURCES = sorted((PACKAGE / "src" / "postoffice").glob("*.py"))


def needs(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"no Python module {module}")


# ---------------------------------------------------------------------------------------------- the package


def test_wheel_and_source_archive_are_built_without_network_and_work(tmp_path):
    for module in ("build", "wheel", "setuptools"):
        needs(module)
    source, out, target = tmp_path / "source", tmp_path / "out", tmp_path / "target"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("*.egg-info", "build", "dist", "__pycache__"))
    # The wheel is built out of the source archive, so the archive is whole.
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], check=True,
                   capture_output=True, timeout=300)
    assert sorted(path.name for path in out.iterdir()) == ["postoffice-0.1.0-py3-none-any.whl",
                                                           "postoffice-0.1.0.tar.gz"]
    with zipfile.ZipFile(out / "postoffice-0.1.0-py3-none-any.whl") as wheel:
        wheel.extractall(target)  # a wheel of pure Python is installed by unpacking it
    metadata = (target / "postoffice-0.1.0.dist-info" / "METADATA").read_text(encoding="utf-8")
    assert "Requires-Dist: websockets" in metadata and "Requires-Python: >=3.9" in metadata
    assert (target / "postoffice" / "py.typed").exists()
    found = subprocess.run([sys.executable, "-c", "import postoffice; print(postoffice.__file__, *postoffice.__all__)"],
                           env={"PYTHONPATH": str(target)}, cwd=tmp_path, capture_output=True, text=True, check=True,
                           timeout=60).stdout.split()
    assert found[0].startswith(str(target)) and "PostOffice" in found
    assert sorted(path.name for path in (target / "postoffice").glob("*.py")) == [path.name for path in SOURCES]


def test_types_are_strict(tmp_path):
    mypy = shutil.which("mypy")
    if mypy is None:
        pytest.skip("no mypy")
    examples = [served.ROOT / "examples" / name for name in ("bot.py", "device.py")]
    result = subprocess.run([mypy, "--strict", "--python-version", "3.9", "--cache-dir", tmp_path,
                             PACKAGE / "src" / "postoffice", *examples],
                            env={"MYPYPATH": str(PACKAGE / "src"), "PATH": "/usr/bin:/bin"}, capture_output=True,
                            text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_sources_are_python_3_9_and_small(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    assert ast.get_docstring(tree), "says what it is"
    assert text.count("\n") < 450


# ---------------------------------------------------------------------------------------------- README


def test_the_ten_lines_of_the_readme_survive_a_restart_of_the_server(office, tmp_path):  # noqa: F811
    assert len(BLOCKS[0].strip().splitlines()) <= 11
    program = tmp_path / "ten_lines.py"
    program.write_text(BLOCKS[0], encoding="utf-8")
    server = office()
    environment = {"URL": url(server), "TOKEN": server.token("readme", po=served.RIGHTS), "TO": "readme"}

    async def say(text):
        async with client(server, "bob") as bob:
            sending = bob.send("readme", text=text, receipt=2)
            await sending.receipt(2)  # the program has acknowledged the message

    with served.Program([program], **environment) as running:
        assert running.line() == "connected as readme"
        assert running.line() == "readme says 你好"
        server.stop()
        server.start()
        run(say("after the restart"))
        assert running.line() == "bob says after the restart"
    with served.Program([program], **{**environment, "TO": "bob"}) as again:
        run(say("end"))
        assert "bob says after the restart" not in again.until("bob says end"), "it was acknowledged"


def block(text, *given):
    """A block of the README as a coroutine function of the names that it takes for granted; returns its names."""
    body = textwrap.indent(text, "    ")
    source = f"async def body({', '.join(given)}):\n{body}\n    return locals()\n"
    names = {"postoffice": postoffice, "asyncio": asyncio}
    exec(compile(source, "README.md", "exec"), names)  # pylint: disable=exec-used
    return names["body"]


def test_the_other_blocks_of_the_readme_work(office):  # noqa: F811
    server = office()
    ten_lines, sending, receiving, serving, keeping = BLOCKS
    assert "async for message" in ten_lines

    async def play():
        async with client(server, "alice") as alice, client(server, "bob") as bob:
            alice.on("message", lambda message: None)
            assert (await block(sending, "client")(bob))["receipt"].from_ == "alice"
        async with client(server, "echo") as echo, client(server, "carol") as carol:
            await block(receiving, "client")(echo)
            assert (await carol.request("echo", text="hello")).text == "You said: hello"
        worker = client(server, "/service/upper", device="")
        await worker.connect()
        serve = asyncio.ensure_future(block(serving, "client")(worker))
        async with client(server, "dave") as dave:
            assert (await dave.request("/service/upper", text="hello", timeout=10)).text == "HELLO"
        await worker.close()
        await serve
        shop = client(server, "shop", device="shop", storage=postoffice.FileStorage(office.folder / "shop.sqlite3"))
        await block(keeping, "client")(shop)
        handled = asyncio.Event()
        shop.on("handled", lambda _: handled.set())
        async with shop, client(server, "erin") as erin:
            await erin.send("shop", text="order")
            await handled.wait()
            assert await shop.storage.kept("orders") == "1"

    run(play())


# ---------------------------------------------------------------------------------------------- promises of its own


COUNTING = """
import asyncio, os, postoffice
async def main():
    storage = postoffice.FileStorage(os.environ["FILE"])
    client = postoffice.PostOffice(os.environ["URL"], token=os.environ["TOKEN"], device="d", storage=storage,
                                   ack_delay=0.05, min_backoff=0.05)
    @client.on("message")
    async def count(message):
        before = await storage.kept("seen") or ""
        message.keep("seen", before + " " + message.text)
    client.on("handled", lambda one: print("handled", flush=True))
    await client.connect()
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_what_is_kept_with_a_message_is_exact_whatever_kills_the_process(office, tmp_path):  # noqa: F811
    program = tmp_path / "counting.py"
    program.write_text(COUNTING, encoding="utf-8")
    server = office()
    count, kills = 120, 8
    file = str(tmp_path / "counting.sqlite3")
    environment = {"URL": url(server), "TOKEN": server.token("counter"), "FILE": file}

    async def send():
        async with client(server, "bob") as bob:
            for each in [bob.send("counter", text=f"{number}") for number in range(count)]:
                await each

    run(send())
    handled = 0
    for _ in range(kills):
        with served.Program([program], **environment) as running:
            for _ in range(count // (kills + 1)):
                assert running.line() == "handled"

    async def rest():
        storage = postoffice.FileStorage(file)
        last = client(server, "counter", device="d", storage=storage)
        done = asyncio.Event()

        @last.on("message")
        async def count_on(message):
            message.keep("seen", (await storage.kept("seen") or "") + " " + message.text)
            if message.text == "end":
                done.set()

        async with last, client(server, "bob") as bob:
            await bob.send("counter", text="end")
            await done.wait()
        await storage.open()
        nonlocal handled
        handled = (await storage.kept("seen")).split()
        await storage.close()

    run(rest())
    assert handled == [f"{number}" for number in range(count)] + ["end"]


@pytest.mark.parametrize("early", [True, False], ids=["before connect", "after connect"])
def test_a_message_that_is_put_again_after_a_crash_is_one_message(office, early):  # noqa: F811
    server = office()
    file = office.folder / "alice.sqlite3"

    async def play():
        nowhere = "ws://127.0.0.1:1/"
        first = client(server, "alice", url=nowhere, storage=postoffice.FileStorage(file))
        connecting = asyncio.ensure_future(first.connect())
        sent = [first.send("bob", text=text, id=text) for text in ("order-1", "order-2")]
        while first.stats().outbox < 2:
            await asyncio.sleep(0.01)
        await first.close()
        for each in [connecting, *sent]:
            with pytest.raises(postoffice.ClosedError):
                await each
        again = client(server, "alice", storage=postoffice.FileStorage(file))
        if not early:
            await again.connect()
        sending = again.send("bob", text="order-1", id="order-1")
        assert again.send("bob", text="order-1", id="order-1") is sending
        async with again, client(server, "bob") as bob:
            assert (await sending).state == 1
            await again.send("bob", text="end")
            got = []
            async for message in bob.messages():
                got.append(message.text)
                if got[-1] == "end":
                    break
            assert sorted(got) == ["end", "order-1", "order-2"]

    run(play())


def test_a_storage_serves_one_client(tmp_path):
    async def play():
        first, second = (postoffice.FileStorage(tmp_path / "one.sqlite3") for _ in range(2))
        await first.open()
        await first.write({"device": "d"}, durable=True)
        with pytest.raises(postoffice.StorageError, match="locked"):
            await second.open()
        await first.close()
        await second.open()
        assert await second.read("dev") == {"device": "d"}
        await second.close()
        assert (tmp_path / "one.sqlite3").stat().st_mode & 0o077 == 0, "nobody else may read the mail"
        with pytest.raises(postoffice.StorageError):
            await postoffice.FileStorage(tmp_path / "nowhere" / "x").open()

    run(play())


def test_what_is_turned_away_for_a_while_is_not_overtaken(office):  # noqa: F811
    server = office({"limits": {"messagesPerSecond": 20, "burst": 5}})

    async def play():
        async with client(server, "alice") as alice, client(server, "bob") as bob:
            sent = [alice.send("bob", text=f"{number}") for number in range(40)]
            got = []
            async for message in bob.messages():
                got.append(message.text)
                if len(got) == 40:
                    break
            assert got == [f"{number}" for number in range(40)]
            for each in sent:
                assert (await each).state == 1

    run(play())


@pytest.mark.parametrize("waiting", [1, 10])
def test_a_handler_that_asks_is_answered_while_more_arrives_than_may_wait(office, waiting):  # noqa: F811
    server = office()
    count = 200

    async def play():
        worker = client(server, "/service/upper", device="")
        serve = asyncio.ensure_future(worker.serve(lambda message: message.text.upper()))
        await worker.connect()
        bob, got, done = client(server, "bob", max_waiting=waiting), [], asyncio.Event()

        @bob.on("message")
        async def ask(message):
            got.append((await bob.request("/service/upper", text=message.text)).text)
            if len(got) == count:
                done.set()

        async with client(server, "alice", recipient_window=32) as alice, bob:
            for each in [alice.send("bob", text=f"m{number}") for number in range(count)]:
                await each
            await done.wait()
        await worker.close()
        await serve
        assert got == [f"M{number}" for number in range(count)]

    run(play())


def test_a_service_whose_handler_fails_is_asked_again(office):  # noqa: F811
    server = office()

    async def play():
        failures = 2

        def handle(message):
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise RuntimeError("not yet")
            return {"asked": message.text}

        worker = client(server, "/service/moody", device="")
        worker.on("error", lambda error: None)
        serve = asyncio.ensure_future(worker.serve(handle, concurrency=4))
        await worker.connect()
        async with client(server, "alice") as alice:
            assert (await alice.request("/service/moody", text="please")).json() == {"asked": "please"}
        await worker.close()
        await serve

    run(play())


def test_a_request_that_nobody_waits_for_any_more_does_not_leave(office):  # noqa: F811
    server = office()

    async def play():
        alice = client(server, "alice")
        with pytest.raises(asyncio.TimeoutError):
            await alice.request("bob", text="too late", timeout=0.05)
        async with alice, client(server, "bob") as bob:
            await alice.send("bob", text="in time")
            async for message in bob.messages():
                assert message.text == "in time"
                break

    run(play())


def test_mistakes_are_told_at_the_line_that_makes_them(office):  # noqa: F811
    server = office()

    async def play():
        async with client(server, "alice") as alice:
            for wrong in ({"to": []}, {"to": "bob", "text": "a", "content": b"b"}, {"to": "bob", "id": "no space"},
                          {"to": "bob", "text": "\ud800"}, {"to": "bob", "json": float("nan")}):
                with pytest.raises(ValueError):
                    alice.send(**wrong)
            with pytest.raises(ValueError, match="no event"):
                alice.on("mesage", print)
            alice.messages()
            with pytest.raises(postoffice.PostOfficeError, match="takes the messages"):
                alice.on("message", print)
        for wrong in ({"url": "http://x"}, {"url": "ws://x", "ack_batch": 0}, {"url": "ws://x", "on_handler_error": "?"}):
            with pytest.raises(ValueError):
                postoffice.PostOffice(**wrong)

    run(play())


def test_close_ends_an_attempt_that_swallows_its_cancellation():
    """As asyncio.wait_for of Python 3.11 does when the cancellation meets the end of the attempt."""

    async def play():
        trying = asyncio.Event()

        async def opener(*_, **__):
            trying.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                raise LinkFailed("reset") from None

        alice = postoffice.PostOffice("ws://127.0.0.1:1/", opener=opener, min_backoff=0.01)
        connecting = asyncio.ensure_future(alice.connect())
        await trying.wait()
        await alice.close()
        with pytest.raises(postoffice.ClosedError) as closed:
            await connecting
        assert closed.value.code == 1000

    run(play())


def test_a_program_that_leaves_its_iterator_ends_without_complaint(office, caplog):  # noqa: F811
    server = office()

    async def play():
        async with client(server, "alice", storage=postoffice.FileStorage(office.folder / "a.sqlite3")) as alice:
            await alice.send("alice", text="note")
            async for _ in alice.messages():
                await alice.close()

    run(play())
    assert not caplog.records
