"""A backup that was taken while mail flowed is restored as docs/operations.md prints, and clients are told what is gone."""

import asyncio
import os
import pathlib
import re
import subprocess

import pytest

import harness
from clients import PythonClient, run
from test_mailbox import ack, all_accepted, backlog, has, ids, mails, post_mail

PAGE = (harness.ROOT / "docs" / "operations.md").read_text()
KINDS = ["dump", "append-only"]


def blocks(heading):
    """The blocks of commands of a section, in order."""
    section = re.search(rf"^### {heading}\n(.*?)^##", PAGE, re.S | re.M).group(1)
    return re.findall(r"^```sh\n(.*?)^```", section, re.S | re.M)


class Machine:
    """Runs printed commands where `redis-cli` reaches the test's Redis, services are the test's own, and the paths of Debian
    are folders of the test."""

    def __init__(self, directory, redis):
        self.home, self.redis = directory, redis
        self.backups = directory / "backups"
        self.tools = directory / "tools"
        for folder in (self.backups, self.tools):
            folder.mkdir()
        self.tool("redis-cli", f'case " $* " in *" -s "*) exec {found("redis-cli")} "$@" ;; esac\n'
                               f'exec {found("redis-cli")} -s {redis.socket} "$@"')
        self.tool("service", ":")
        self.tool("postoffice-restore", f'exec {harness.ROOT}/scripts/postoffice-restore "$@"')

    def tool(self, name, text):
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, block):
        for debian, here in (("/var/backups", self.backups), ("/var/lib/redis", self.redis.directory)):
            block = block.replace(debian, str(here))
        result = subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True, check=False,
                                timeout=harness.DEADLINE * 3, env={**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}"})
        assert result.returncode == 0, f"{block}\n{result.stdout}{result.stderr}"
        return result.stdout


def found(program):
    return subprocess.run(["which", program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def machine(directory, own_redis):
    own_redis.stop()
    own_redis.durable = True
    own_redis.start()
    return Machine(directory, own_redis)


def back_up(machine, kind):
    dump, append_only = blocks("Backup")[:2]
    machine.run(dump if kind == "dump" else append_only)
    assert any(pathlib.Path(machine.backups).iterdir())


def restore(machine, post, kind):
    """Servers and Redis are down in between."""
    post.stop()
    machine.redis.stop()
    block = blocks("Restore")[KINDS.index(kind)]
    said = machine.run(block)
    assert "has the" in said
    machine.redis.start()
    post.log_file.rename(post.log_file.with_suffix(".before"))
    post.start()


async def post_large(sender, to, count):
    """Mail whose bodies the mailboxes share."""
    sent = [(await sender.send(to, "l" * 9000, type=1))["id"] for _ in range(count)]
    await all_accepted(sender, sent)
    return sent


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_mailbox_is_that_of_the_backup_and_who_has_seen_more_is_told(machine, server_with_own_redis, kind):
    post = server_with_own_redis(2)

    async def before():
        alice = await PythonClient.open(post, "alice")
        bob = await PythonClient.open(post, "bob", device="APP")
        first = await post_mail(alice, "bob", 20)
        await ack(bob, (await has(bob, 20))[9])
        large = await post_large(alice, ["bob", "carol"], 3)
        back_up(machine, kind)
        lost = await post_mail(alice, "bob", 5)  # newer than the backup
        got = await has(bob, 28)
        await ack(bob, got[-1])
        unseen = await post_mail(alice, "dave", 2)
        return first + large, large, lost, unseen, got[-1]["seq"], bob.welcome["epoch"]

    async def after(kept, large, lost, seen, epoch):
        alice = await PythonClient.open(post, "alice")
        new = await post_mail(alice, "bob", 1)  # so that `seen` is not beyond the newest message any more
        bob = await PythonClient.open(post, "bob", device="APP", query={"since": seen, "epoch": epoch})
        assert bob.welcome["recovered"] is False and bob.welcome["epoch"] != epoch
        assert ids(mails(bob)) == kept + new and not set(lost) & set(ids(mails(bob)))
        by_cursor = await PythonClient.open(post, "bob", device="APP")  # a cursor of the old epoch
        assert by_cursor.welcome["recovered"] is False and ids(mails(by_cursor)) == kept + new
        assert ids(await backlog(post, "carol")) == large  # shared bodies are there
        assert await backlog(post, "dave") == []
        # From here on all is as ever.
        await ack(by_cursor, mails(by_cursor)[-1])
        await by_cursor.order("history", limit=1)  # its answer comes from Redis, behind the cursor
        await by_cursor.close()
        again = await PythonClient.open(post, "bob", device="APP")
        assert again.welcome["recovered"] is True and mails(again) == []
        assert (await alice.order("presence", tags=["dave", "carol"]))["online"] == {"dave": [], "carol": []}

    kept, large, lost, _, seen, epoch = run(before())
    restore(machine, post, kind)
    run(after(kept, large, lost, seen, epoch))


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_that_is_taken_while_mail_flows_has_every_message_whole(machine, server_with_own_redis, kind):
    """Whatever moment the backup caught: a prefix of what each sender sent, in order."""
    post = server_with_own_redis(2)
    count = harness.scaled(400)

    async def pour():
        senders = [await PythonClient.open(post, f"sender{number}") for number in range(4)]
        loop = asyncio.get_running_loop()
        flowing = [asyncio.ensure_future(post_mail(sender, "bob", count)) for sender in senders]
        await asyncio.wait(flowing, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
        await loop.run_in_executor(None, back_up, machine, kind)
        return dict(zip((sender.address for sender in senders), await asyncio.gather(*flowing)))

    sent = run(pour())
    restore(machine, post, kind)

    async def look():
        got = {}
        for message in await backlog(post, "bob"):
            got.setdefault(message["from"], []).append(message["id"])
        for sender, found_ids in got.items():
            assert found_ids == sent[sender][:len(found_ids)]

    run(look())


def test_a_redis_that_is_restored_under_running_servers_is_noticed_too(machine, server_with_own_redis):
    """Nobody should; the servers find data that is older than they know, and tell every session."""
    post = server_with_own_redis(1, {"redis": {"reconnectMinMs": 20, "reconnectMaxMs": 200}})

    async def scene():
        alice, bob = await PythonClient.open(post, "alice"), await PythonClient.open(post, "bob")
        kept = await post_mail(alice, "bob", 5)
        back_up(machine, "dump")
        await post_mail(alice, "bob", 5)
        await has(bob, 10)
        bob.inbox.clear()
        machine.redis.stop()
        machine.run(blocks("Restore")[0])
        machine.redis.start()
        again = await bob.said("welcome")
        assert again["recovered"] is False and again["epoch"] != bob.welcome["epoch"]
        await bob.said("replayed")
        assert ids(mails(bob)) == kept

    run(scene())


def test_a_broken_backup_changes_nothing(machine, server_with_own_redis):
    post = server_with_own_redis(1)

    async def store():
        return await post_mail(await PythonClient.open(post, "alice"), "bob", 3)

    sent = run(store())
    post.stop()
    machine.redis.stop()
    (machine.backups / "postoffice.rdb").write_bytes(b"REDIS0009 and then nothing")
    before = sorted(path.name for path in machine.redis.directory.iterdir())
    result = subprocess.run([harness.ROOT / "scripts" / "postoffice-restore", machine.backups / "postoffice.rdb",
                             machine.redis.directory], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "Redis cannot read the backup" in result.stderr
    assert sorted(path.name for path in machine.redis.directory.iterdir()) == before
    machine.redis.start()
    post.log_file.rename(post.log_file.with_suffix(".before"))
    post.start()
    assert ids(run(backlog(post, "bob"))) == sent
