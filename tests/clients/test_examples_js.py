"""The bot in JavaScript does what the bot in Python does."""

import shutil

import pytest

import served
from served import client, office, run, url  # noqa: F401  a fixture

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="no node")


async def heard(messages):
    return (await messages.__anext__()).text


def test_the_bot_answers_over_restarts_of_the_server_and_of_itself(office):  # noqa: F811
    server = office()
    bot = [served.ROOT / "examples" / "bot.mjs", url(server)]
    token = {"TOKEN": server.token("bot", po=served.RIGHTS)}

    async def play():
        async with client(server, "alice") as alice:
            messages = alice.messages()
            with served.Program(bot, by=["node"], **token):
                await alice.send("bot", text="one")
                assert await heard(messages) == "You said: one"
                server.stop()
                server.start()
                await alice.send("bot", text="two")
                assert await heard(messages) == "You said: two"
            await alice.send("bot", text="three")  # nobody is there
            with served.Program(bot, by=["node"], **token):
                assert await heard(messages) == "You said: three"
                await alice.send("bot", text="four", in_reply_to="nothing")
                await alice.send("bot", text="five")
                assert await heard(messages) == "You said: five"

    run(play())
