"""scripts/postoffice-address: all that Redis has of one address is written out, or is gone; nobody else notices."""

import json
import subprocess

import harness
from clients import PythonClient, run
from test_mailbox import ack, backlog, has, ids, mails, post_mail

SCRIPT = harness.ROOT / "scripts" / "postoffice-address"
NAME = "bob {of} 100% [x]*"  # every byte that a key, a pattern or the script could take for its own
LARGE = "l" * 9000  # with two recipients its body is shared


def address(post, *arguments, check=True):
    result = subprocess.run([SCRIPT, *arguments, "--config", post.config_file], capture_output=True, text=True,
                            timeout=harness.DEADLINE, check=False, cwd=post.directory)
    assert not check or result.returncode == 0, result.stderr
    return result


def export(post, name, *more):
    items = [json.loads(line) for line in address(post, "export", name, *more).stdout.splitlines()]
    assert items[-1]["kind"] == "end"
    found = {}
    for item in items[:-1]:
        found.setdefault(item["kind"], []).append(item)
    assert items[-1]["counts"] == {kind: len(of_kind) for kind, of_kind in found.items()}
    return found


async def live(post):
    """The address gets, sends, acknowledges, asks for receipts, expires and subscribes; alice too."""
    alice = await PythonClient.open(post, "alice", device="APP", token=post.token("alice", po={"send": ["*"]}))
    token = post.token(NAME, po={"send": ["*"], "groups": ["#news"]})
    bob = await PythonClient.open(post, NAME, device="PHONE", token=token)
    sent = await post_mail(alice, NAME, 3)
    await ack(bob, (await has(bob, 3))[0])
    await alice.send([NAME, "carol"], LARGE, type=1, id="large")
    await alice.send(NAME, "x", type=1, id="ends", expiresAt=4070908800, receipt=2)
    for _ in range(2):
        await alice.said("accepted")
    mine = ["mine-0", "mine-1"]
    for one in mine:
        await bob.send(["alice", "carol"], "x", type=1, id=one)
        await bob.said("accepted", inReplyTo=one)
    await bob.order("subscribe", tags=["#news"])
    await bob.send("#news", "hello", type=3, id="post")
    post_message = await bob.message(log="#news")
    assert (await bob.order("ack", tags=["#news"], references=post_message["seq"]))["subject"] == "result"
    await bob.settle()
    return bob, alice, sent, mine


def keys_that_name(store, name):
    """Everything in Redis in which the name occurs, but other people's mailboxes, their logs and ids."""
    escaped = "".join(f"%{ord(c):02X}" if c in "{}%" else c for c in name).encode()
    found = []
    for key in store.scan_iter():
        kind, text = store.type(key), b""
        if kind == b"zset":
            text = b"\n".join(store.zrange(key, 0, -1))
        elif kind == b"hash" and key.endswith((b":cur", b":at")):
            text = b"\n".join(b"%s %s" % pair for pair in store.hgetall(key).items())
        if escaped in key + text or name.encode() in text:
            found.append(key)
    return sorted(found)


def test_an_export_has_the_mail_the_log_the_devices_and_the_groups(server):
    post = server(2)

    async def scene():
        _, _, sent, mine = await live(post)
        found = export(post, NAME, "--everywhere")
        assert [item["id"] for item in found["mail"]] == [*sent, "large", "ends"]
        large = next(item["message"] for item in found["mail"] if item["id"] == "large")
        assert large["from"] == "alice" and len(large["content"]) == 12000  # the shared body, in place
        assert [(item["id"], item["to"]) for item in found["sent"]][:2] == [(one, ["alice", "carol"]) for one in mine]
        assert [item["device"] for item in found["device"]] == ["PHONE"]
        assert [(item["group"], item["device"]) for item in found["group"]] == [("#news", "PHONE")]
        assert [item["device"] for item in found["session"]] == ["PHONE"]
        assert len(found["expires"]) == 1
        assert sorted((item["mailbox"], item["id"]) for item in found["copy"]) == \
            sorted([("#news", "post"), *((to, one) for to in ("alice", "carol") for one in mine)])

    run(scene())


def test_an_address_with_a_session_is_not_deleted(server):
    post = server(1)

    async def scene():
        bob, *_ = await live(post)
        before = export(post, NAME)
        refused = address(post, "delete", NAME, check=False)
        assert refused.returncode == 1 and "1 sessions" in refused.stderr and not refused.stdout
        assert export(post, NAME) == before
        assert bob.close_code is None

    run(scene())


def test_a_deleted_address_leaves_nothing_and_nobody_else_notices(server, redis):
    post = server(2, {"auth": {"revoked": "revoked.txt"}}, start=False)
    (post.directory / "revoked.txt").write_text("")
    post.start()

    async def scene():
        bob, alice, _, mine = await live(post)
        (post.directory / "revoked.txt").write_text(f"sub:{json.dumps(NAME)}\n")
        post.reload()
        assert (await bob.closed())[1] == 4501
        epoch = redis.client().get("po:epoch")
        assert len(keys_that_name(redis.client(), NAME)) > 5
        harness.wait_until(lambda: address(post, "delete", NAME, check=False).returncode == 0, "its session has left Redis")
        # What is left: the empty mailbox and the mark of what is gone, for an hour.
        left = keys_that_name(redis.client(), NAME)
        assert [key[-4:] for key in left] == [b":box", b":ids"]
        assert redis.client().xlen(left[0]) == 0 and all(0 < redis.client().ttl(key) <= 3600 for key in left)
        assert export(post, NAME) == {}
        # Others keep their mail, and a reader of the large body still gets the body.
        assert alice.close_code is None
        carol = await backlog(post, "carol")
        assert ids(carol) == ["large", *mine]
        assert len(next(m for m in carol if m["id"] == "large")["content"]) == 12000
        # A worker that connects to Redis again does not take the deletion for a loss of data.
        redis.client().client_kill_filter(_type="normal", skipme=True)
        await post_mail_again(alice)
        assert redis.client().get("po:epoch") == epoch and "stored_data_lost" not in post.log()

    run(scene())


async def post_mail_again(sender):
    """Mail is taken again once the worker is connected."""
    while True:
        message = await sender.send("carol", "again", type=1)
        answer = await sender.take(lambda m: m.get("inReplyTo") == message["id"], what="an answer")
        if answer["subject"] == "accepted":
            return


def test_mail_to_a_deleted_address_begins_a_new_mailbox_whose_gap_is_told(server):
    post = server(1)

    async def scene():
        bob, alice, *_ = await live(post)
        seen, epoch = mails(bob)[0]["seq"], bob.welcome["epoch"]
        await bob.close()
        harness.wait_until(lambda: address(post, "delete", NAME, check=False).returncode == 0, "its session has left Redis")
        sent = await post_mail(alice, NAME, 2)
        again = await PythonClient.open(post, NAME, query={"since": seen, "epoch": epoch})
        assert ids(mails(again)) == sent
        assert again.welcome["recovered"] is False

    run(scene())


def test_a_body_that_only_the_deleted_address_names_goes_too(server, redis):
    post = server(1)

    async def scene():
        bob, *_ = await live(post)
        await bob.close()
        bodies = redis.client().keys("po:body:*")
        assert len(bodies) == 1
        harness.wait_until(lambda: address(post, "delete", NAME, "--everywhere", check=False).returncode == 0, "deleted")
        assert redis.client().keys("po:body:*") == bodies  # carol's mailbox names the body
        said = address(post, "delete", "carol", "--everywhere").stdout
        assert "deleted 1 shared bodies; other mailboxes hold 0 messages" in said
        assert not redis.client().keys("po:body:*")

    run(scene())


def test_a_configuration_with_comments_and_commas_is_read(server):
    post = server(1)
    text = post.config_file.read_text()
    post.config_file.write_text("// one\n/* two */" + text.rstrip().rstrip("}") + ", /* three */ }\n")
    assert export(post, "nobody") == {}
    post.config_file.write_text(text)


def test_an_unreachable_redis_and_a_wrong_file_are_named(server):
    post = server(1)
    for arguments, said in ((["--redis", "unix:/nowhere.sock"], "cannot be reached"),
                            (["--config", "/nowhere.json"], "no dataSource")):
        result = subprocess.run([SCRIPT, "export", "bob", *arguments], capture_output=True, text=True, check=False,
                                cwd=post.directory)
        assert result.returncode == 1 and said in result.stderr and "Traceback" not in result.stderr
