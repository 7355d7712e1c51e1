"""Two versions at one Redis: nodes are upgraded and rolled back one by one while mail flows, and nothing is lost or repeated.

tests/packages/previous names the other version. tests/chaos/load.py plays the people, tests/chaos/check_journals.py judges
from the journals. POSTOFFICE_UPGRADE_SECONDS (5) is the time that each mixture of versions has.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(pathlib.Path(__file__).parent)]

import harness  # noqa: E402
import previous  # noqa: E402
from clients import PythonClient, eventually, run  # noqa: E402

SECONDS = int(os.environ.get("POSTOFFICE_UPGRADE_SECONDS", "5"))
PEOPLE = 60
CONFIG = {"redis": {"reconnectMinMs": 20, "reconnectMaxMs": 300}, "mailbox": {"maxMessages": 1000000}, "log": {"level": "info"}}
BOTH_KNOW = {"socketPort", "listen", "maxWebSocketConnections", "workers", "pidFile", "auth", "limits", "log", "dataSource", "redis",
             "mailbox", "node"}
MEMBER = {"send": ["*"], "groups": ["#*"], "broadcast": True}


@pytest.fixture(scope="module")
def versions():
    """The two programs by name."""
    if previous.commit() is None:
        pytest.skip(f"the previous version ({previous.revision()}) is not in this clone")
    return {"old": previous.binary(), "new": harness.BINARY}


class Node(harness.Server):
    """A server whose program is replaced between a stop and a start."""

    lives = 0

    def write_config(self, over):
        """Only keys that both versions know: an unknown key is an error."""
        self.config = {name: value for name, value in harness.merge(self.config, over).items() if name in BOTH_KNOW}
        self.config_file.write_text(json.dumps(self.config))

    def start_as(self, program):
        self.program = program
        self.log_file = self.directory / f"server{self.lives}.log"
        self.lives += 1
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([program, "serve", "--config", str(self.config_file)], env=self.env,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)
        self.wait_serving()

    def status(self, check=True):
        result = subprocess.run([self.program, "status", "--json", "--pid-file", str(self.pid_file)], capture_output=True,
                                text=True, check=False, env=self.env)
        assert result.returncode == 0 or not check, result.stderr
        return json.loads(result.stdout) if result.returncode == 0 else None

    def replaced_by(self, program):
        """The upgrade of a node as docs/operations.md has it: stop, another program, start."""
        bad = self.total("bus_bad")
        assert self.stop() == 0
        self.judge()
        self.start_as(program)
        return bad


@pytest.fixture
def nodes():
    """Two nodes of two workers at one Redis, with one key; nothing runs yet."""
    directory = harness.make_directory()
    redis = harness.Redis(directory)
    made = []
    for number in range(2):
        home = directory / f"node{number}"
        home.mkdir()
        home.chmod(0o755)
        made.append(Node(home, redis, 2, {**CONFIG, "node": {"id": f"node{number}"}}))
    made[1].keys.secret = made[0].keys.secret
    made[1].keys.add_secret("outside", made[0].keys.secret)
    yield made
    for node in made:
        node.stop()
    redis.stop()
    for node in made:
        node.judge()
    harness.remove_directory(directory)


def know_each_other(nodes):
    """Each worker knows the two workers of the other node; a newer version may have a clerk besides."""
    harness.wait_until(lambda: all(row["workersElsewhere"] >= 2 for node in nodes for row in node.status()["workers"]
                                   if row["pid"]), "the nodes know each other")


# ---------------------------------------------------------------------------------------------------- mail flows


def plan_of(nodes, seconds):
    people = [{"address": f"p{number}", "devices": ["APP", "TAB", "QQ"][:1 + number % 3], "library": number % 10 == 0,
               "token": nodes[0].token(f"p{number}")} for number in range(PEOPLE)]
    return {"ports": [node.port for node in nodes], "people": people, "seconds": seconds, "seed": random.random(),
            "window": 4, "lifeSeconds": 4, "awaySeconds": 0.3, "patienceSeconds": 60, "acks": True}


def test_nodes_are_upgraded_and_rolled_back_one_by_one_while_mail_flows(nodes, versions):
    steps = [(0, "new"), (1, "new"), (0, "old"), (1, "old")]
    directory = nodes[0].directory
    for node in nodes:
        node.start_as(versions["old"])
    know_each_other(nodes)
    (directory / "plan.json").write_text(json.dumps(plan_of(nodes, SECONDS * (len(steps) + 1) + 10)))
    load = subprocess.Popen([sys.executable, ROOT / "tests" / "chaos" / "load.py", directory / "plan.json",
                             directory / "load.jsonl"])
    bad = 0
    try:
        for which, version in steps:
            time.sleep(SECONDS)  # how long this mixture runs; the sleep orders no events
            assert load.poll() is None, "the load ended early"
            bad += nodes[which].replaced_by(versions[version])
            know_each_other(nodes)
        status = load.wait(SECONDS * 5 + 120)
    finally:
        load.kill()
        load.wait()
    checked = subprocess.run([sys.executable, ROOT / "tests" / "chaos" / "check_journals.py", directory / "load.jsonl"],
                             capture_output=True, text=True, check=False)
    print(checked.stdout)
    assert checked.returncode == 0, checked.stdout[-3000:] + checked.stderr[-2000:]
    assert status == 0, "the load did not come to its end"
    assert bad + sum(node.total("bus_bad") for node in nodes) == 0, "a version did not understand the other"


# ------------------------------------------------------------------------------------- everything across versions


async def conversation(one, two):
    """What two people on two nodes can do with each other; `one` and `two` in turn are of each version."""
    alice = await PythonClient.open(one, "alice", device="APP", token=one.token("alice", po=MEMBER))
    bob = await PythonClient.open(two, "bob", device="APP", token=two.token("bob", po=MEMBER))
    for sender, reader in ((alice, bob), (bob, alice)):
        await mail_receipt_recall(sender, reader)
        signals = [(await sender.send(reader.address, str(n), type=2))["id"] for n in range(20)]
        assert [(await reader.message(type=2))["id"] for _ in signals] == signals
        await group_post(sender, reader)
        assert (await sender.order("presence", tags=[reader.address]))["online"] == {reader.address: ["APP"]}
    newer = await PythonClient.open(one, "bob", device="APP", token=one.token("bob", po=MEMBER))
    assert (await bob.closed())[1] == 4500  # the older session of a device gives way, wherever
    await eventually(lambda: newer.welcome, "the newer one stays")
    return [alice, newer]


async def mail_receipt_recall(sender, reader):
    large = await sender.send([reader.address, "carol"], "l" * 9000, type=1, receipt=2)  # a shared body
    got = await reader.message(type=1, id=large["id"])
    assert got["content"] == large["content"]
    assert (await reader.order("ack", references=got["seq"]))["subject"] == "result"
    receipt = await sender.take(lambda m: m["type"] == 4 and m.get("inReplyTo") == large["id"] and m["from"] != "postmaster",
                                what="a receipt")
    assert receipt["state"] == 2
    taken_back = await sender.send("carol", "x", type=1)
    await sender.said("accepted", inReplyTo=taken_back["id"])
    assert (await sender.order("recall", inReplyTo=taken_back["id"]))["subject"] == "result"


async def group_post(sender, reader):
    group = f"#of-{sender.address}"
    assert (await reader.order("subscribe", tags=[group]))["subject"] == "result"
    post = await sender.send(group, "news", type=3)
    assert (await reader.message(type=3, id=post["id"]))["log"] == group


@pytest.mark.parametrize("first, second", [("old", "new"), ("new", "old")])
def test_people_on_nodes_of_two_versions_notice_nothing(nodes, versions, first, second):
    nodes[0].start_as(versions[first])
    nodes[1].start_as(versions[second])
    know_each_other(nodes)
    run(conversation(*nodes))
    for node in nodes:
        assert node.total("bus_bad") == node.total("mailbox_bad") == node.total("mailbox_errors") == 0


@pytest.mark.parametrize("first, second", [("old", "new"), ("new", "old")])
def test_one_host_goes_on_with_what_the_other_version_has_stored(nodes, versions, first, second):
    """An upgrade, or a rollback, of a single host: cursors, history, receipts that wait and shared bodies."""
    node = nodes[0]
    node.start_as(versions[first])

    async def before():
        alice = await PythonClient.open(node, "alice")
        bob = await PythonClient.open(node, "bob", device="APP")
        sent = [(await alice.send(["bob", "carol"], "l" * size, type=1, id=f"before-{size}", receipt=2))["id"]
                for size in (1, 9000, 2, 3)]
        got = [await bob.message(type=1) for _ in sent]
        await bob.order("ack", references=got[1]["seq"])
        return sent, bob.welcome["epoch"]

    async def after(sent, epoch):
        bob = await PythonClient.open(node, "bob", device="APP")
        assert bob.welcome["epoch"] == epoch and bob.welcome["recovered"] is True
        assert [m["id"] for m in bob.inbox if m["type"] == 1] == sent[2:]
        history = await bob.order("history")
        assert [m["id"] for m in history["messages"]] == sent[::-1]
        carol = await PythonClient.open(node, "carol", device="NEW")
        letters = [m for m in carol.inbox if m["type"] == 1]
        assert [m["id"] for m in letters] == sent and len(letters[1]["content"]) == 12000
        await carol.order("ack", references=letters[-1]["seq"])
        alice = await PythonClient.open(node, "alice", query={"since": "0-0"})
        receipts = [m for m in alice.inbox if m["type"] == 4 and m["from"] == "carol"]
        while len(receipts) < 4:
            receipts.append(await alice.take(lambda m: m["type"] == 4 and m["from"] == "carol" and m not in receipts,
                                             what="a receipt of carol"))
        repeated = await alice.send(["bob", "carol"], "l", type=1, id="before-1", receipt=2)
        await alice.said("accepted", inReplyTo=repeated["id"])
        await bob.settle()
        assert not [m for m in bob.inbox if m["type"] == 1 and m["id"] == "before-1"]  # recognised as a repetition

    sent, epoch = run(before())
    node.replaced_by(versions[second])
    run(after(sent, epoch))
    assert node.total("mailbox_bad") == node.total("mailbox_errors") == 0
