"""Mailboxes, messages' states and groups by HTTP (docs/admin.md)."""

import time

import admin
import clients
import harness
from admin import Admin, quoted
from harness import wait_until
from test_gaps import PATIENT, Paused, judge, pour

MB = clients.b64("x" * 700000)
FREE = {"limits": {"messagesPerSecond": 0}, "sessions": {"copyToSender": False}}


def mail(to, one, **over):
    return {"from": "erp", "to": to if isinstance(to, list) else [to], "id": one, "subject": "s", "content": clients.b64(one), "type": 1, **over}


def fill(clerk, to, count, first=0, **over):
    for at in range(first, first + count, 1000):
        rows = clerk.post("/api/v1/messages", [mail(to, f"n{n}", **over) for n in range(at, min(at + 1000, first + count))]).json()["results"]
        assert {row["outcome"] for row in rows} == {"accepted"}


def read_all(clerk, address, query=""):
    """All messages, and the sizes of the answers."""
    messages, sizes, cursor = [], [], ""
    while cursor is not None:
        answer = clerk.get(f"/api/v1/addresses/{quoted(address)}/messages?limit=200{query}{cursor}")
        assert answer.status == 200, answer.text
        page = answer.json()
        messages += page["messages"]
        sizes.append((len(answer.text), len(page["messages"])))
        cursor = f"&cursor={page['cursor']}" if "cursor" in page else None
    return messages, sizes


class Clerk(Admin):
    """An admin connection whose first question finds Redis."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        wait_until(lambda: self.get("/api/v1/addresses/nobody").status != 503, "the clerk has Redis")


# -- a mailbox


def test_a_mailbox_shows_its_ends_its_devices_and_its_sessions(server):
    post = server(2, {**admin.config(), "serviceAddresses": ["/service/*"]})

    async def talk():
        alice = await clients.PythonClient.open(post, "/a lice", "phone")
        with Clerk(post) as clerk:
            path = f"/api/v1/addresses/{quoted('/a lice')}"
            empty = clerk.get(path).json()
            assert (empty["messages"], empty["service"], "oldest" in empty) == (0, False, False)
            fill(clerk, "/a lice", 3)
            got = [await alice.message(id=f"n{n}") for n in range(3)]
            found = clerk.get(path).json()
            assert (found["address"], found["messages"], found["oldest"], found["newest"]) == ("/a lice", 3, got[0]["seq"], got[2]["seq"])
            assert found["devices"] == [{"device": "phone", "acknowledged": False, "currentEpoch": True}]
            await alice.order("ack", references=got[1]["seq"])
            await clients.eventually(lambda: clerk.get(path).json()["devices"] == [
                {"device": "phone", "cursor": got[1]["seq"], "acknowledged": True, "currentEpoch": True}], "the cursor is shown")
            session = clerk.get(path).json()["sessions"][0]
            assert session["device"] == "phone" and abs(session["since"] - time.time()) < 60
            assert clerk.delete(f"/api/v1/sessions/{quoted(session['id'])}").status == 204, "the id is one of GET /sessions"
            fill(clerk, "/service/x", 1)
            assert clerk.get(f"/api/v1/addresses/{quoted('/service/x')}").json()["service"] is True

    clients.run(talk())


def test_an_address_of_which_nothing_is_known_is_not_found(server):
    post = server(1, admin.config())
    with Clerk(post) as clerk:
        assert clerk.get("/api/v1/addresses/nobody").code == "not-found"
        assert clerk.get("/api/v1/addresses/nobody/messages").json()["messages"] == []
        assert clerk.delete("/api/v1/addresses/nobody/messages").json() == {"removed": 0, "bytes": 0, "more": False}
        assert clerk.get("/api/v1/addresses/nobody").code == "not-found", "a look leaves nothing behind"


def test_the_messages_of_a_mailbox_come_in_pages_bounded_by_bytes(server):
    post = server(2, {**admin.config(), **FREE})
    with Clerk(post, timeout=120) as clerk:
        fill(clerk, "alice", 5000)
        fill(clerk, "alice", 6, first=5000, content=MB)
        fill(clerk, "alice", 200, first=5006, content=clients.b64("y" * 4000))
        messages, sizes = read_all(clerk, "alice")
        assert [message["id"] for message in messages] == [f"n{n}" for n in range(5206)]
        assert all(size < 300000 or count == 1 for size, count in sizes), sizes
        assert clerk.get("/api/v1/addresses/alice").json()["messages"] == 5206
        after = messages[5200]["seq"]
        assert [message["id"] for message in read_all(clerk, "alice", f"&after={after}")[0]] == [f"n{n}" for n in range(5201, 5206)]


def test_hostile_parameters_are_refused(server):
    post = server(1, admin.config())
    with Clerk(post) as clerk:
        fill(clerk, "alice", 2)
        path = "/api/v1/addresses/alice/messages"
        for query in ("after=x", "after=-1", "after=1-2-3", "after=99999999999999999999999", "cursor=%ff", "limit=0", "limit=201", "limit=-1",
                      "limit=1&limit=1", "after=", "after=1-1&after=1-1"):
            assert clerk.get(f"{path}?{query}").code == "bad-field", query
        for query in ("before=", "before=x", "befor=5-0", "before=0", "before=0-0", "before=5-0&before=5-0", "limit=1", "before=(5-0", "x"):
            assert clerk.delete(f"{path}?{query}").code == "bad-field", query
        for address in ("%20a", "a%0a", "x" * 256, "%7f"):
            assert clerk.get(f"/api/v1/addresses/{address}").code == "bad-field", address
        for address in ("%00", "%ff", "", "a/b"):
            assert clerk.get(f"/api/v1/addresses/{address}").code == "not-found", address
        assert clerk.get("/api/v1/groups/alice").code == "bad-field"
        assert clerk.get("/api/v1/messages/erp/" + "x" * 65).code == "not-found"
        assert clerk.get("/api/v1/messages/erp/%0a").code == "not-found"
        assert len(read_all(clerk, "alice")[0]) == 2, "nothing was removed"
        last = "18446744073709551615-18446744073709551615"
        assert clerk.get(f"{path}?after={last}").json()["messages"] == []


# -- a purge


def test_a_purge_removes_all_or_what_is_before_a_seq(server):
    post = server(2, {**admin.config(), **FREE})
    with Clerk(post, timeout=120) as clerk:
        fill(clerk, "alice", 3000)
        fill(clerk, "alice", 4, first=3000, content=MB)
        messages, _ = read_all(clerk, "alice")
        path = "/api/v1/addresses/alice/messages"
        assert clerk.delete(f"{path}?before={messages[1000]['seq']}").json()["removed"] == 1000
        found = clerk.get("/api/v1/addresses/alice").json()
        assert (found["messages"], found["oldest"], found["lost"]) == (2004, messages[1000]["seq"], messages[999]["seq"])
        assert found["countedBytes"] > 2800000
        answer = clerk.delete(path).json()
        assert (answer["removed"], answer["more"]) == (2004, False) and answer["bytes"] > 2800000
        found = clerk.get("/api/v1/addresses/alice").json()
        assert (found["messages"], found["countedBytes"], found["newest"]) == (0, 0, messages[-1]["seq"])
        assert post.total("mail_purged") == 3004
        assert 'what=mailbox_purge on="alice" by="local"' in post.log()
        assert f'on="alice before {messages[1000]["seq"]}"' in post.log()
        fill(clerk, "alice", 1, first=9000)
        assert [message["id"] for message in read_all(clerk, "alice")[0]] == ["n9000"], "the mailbox goes on"


def test_a_reader_that_had_not_had_them_is_told_of_a_gap(server):
    post = server(1, {**admin.config(), **FREE})

    async def talk():
        alice = await clients.PythonClient.open(post, "alice", "phone")
        with Clerk(post) as clerk:
            fill(clerk, "alice", 5)
            got = [await alice.message(id=f"n{n}") for n in range(5)]
            await alice.order("ack", references=got[1]["seq"])
            await alice.close()
            assert clerk.delete(f"/api/v1/addresses/alice/messages?before={got[4]['seq']}").json()["removed"] == 4
        again = await clients.PythonClient.open(post, "alice", "phone", welcome=False)
        welcome = await again.said("welcome")
        assert welcome["recovered"] is False
        assert (await again.message(**{"from": "erp"}))["id"] == "n4"
        await again.close()

    clients.run(talk())


def test_a_connected_session_that_reads_slowly_is_told_of_the_gap_at_its_place(server):
    post = server(1, {**admin.config(), **PATIENT})
    with Clerk(post, timeout=120) as clerk, Paused(post, "bob") as bob:
        bob.until(lambda m: m["subject"] == "replayed")
        sender = pour(post, "bob", 200)
        messages, _ = read_all(clerk, "bob")
        assert clerk.delete(f"/api/v1/addresses/bob/messages?before={messages[-1]['seq']}").json()["removed"] == 199
        got = bob.until(lambda m: m["subject"] == "replayed")
        assert judge(got) == 1
        assert [m["subject"] for m in got if m["type"] == 1][-1] == "199"
        pour(post, "bob", 1, sender=sender, content="")
        assert bob.next()["subject"] == "200", "then live mail"


def test_a_live_session_that_has_had_them_is_told_of_no_gap(server):
    post = server(1, {**admin.config(), **FREE})

    async def talk():
        alice = await clients.PythonClient.open(post, "alice", "phone")
        with Clerk(post) as clerk:
            fill(clerk, "alice", 5)
            for n in range(5):
                await alice.message(id=f"n{n}")
            assert clerk.delete("/api/v1/addresses/alice/messages").json()["removed"] == 5
            fill(clerk, "alice", 1, first=5)
            message = await alice.message(id="n5")
            assert not [one for one in alice.inbox if one.get("subject") == "gap"]
            await alice.order("ack", references=message["seq"])
        await alice.close()

    clients.run(talk())


# -- the state of a message


def states(clerk, sender, one):
    answer = clerk.get(f"/api/v1/messages/{quoted(sender)}/{quoted(one)}")
    assert answer.status == 200, answer.text
    return {row["address"]: row for row in answer.json()["recipients"]}


def test_each_recipients_state_of_a_message_is_told(server):
    post = server(2, {**admin.config(), **FREE})

    async def talk():
        alice = await clients.PythonClient.open(post, "alice", "phone")
        carol = await clients.PythonClient.open(post, "carol", "phone")
        with Clerk(post) as clerk:
            many = ["alice", "bob", "carol", "dave"]
            assert clerk.post("/api/v1/messages", mail(many, "m1", receipt=3, expiresAt=int(time.time()) + 3600)).status == 202
            rows = states(clerk, "erp", "m1")
            assert sorted(rows) == many and {row["state"] for row in rows.values()} == {"stored"}
            assert all(abs(row["storedAt"] - time.time()) < 60 and row["expiresAt"] > time.time() for row in rows.values())
            for one in (alice, carol):
                message = await one.message(id="m1")
                await one.order("ack", references=message["seq"])
            await carol.send(["erp"], type=4, state=3, subject="read", inReplyTo="m1")
            await clients.eventually(lambda: (rows := states(clerk, "erp", "m1"))["carol"]["state"] == "read" and
                                     "deliveredAt" in rows["alice"], "the receipts are there")
            rows = states(clerk, "erp", "m1")
            assert rows["alice"]["state"] == "delivered" and abs(rows["carol"]["readAt"] - time.time()) < 60
            assert clerk.delete("/api/v1/addresses/dave/messages").json()["removed"] == 1
            assert sorted(clerk.delete("/api/v1/messages/erp/m1").json()["recalled"]) == ["bob"]
            await clients.eventually(lambda: states(clerk, "erp", "m1")["bob"]["state"] == "recalled", "the recall is known")
            rows = states(clerk, "erp", "m1")
            assert {name: row["state"] for name, row in rows.items()} == {
                "alice": "delivered", "bob": "recalled", "carol": "read", "dave": "gone"}
        await alice.close()
        await carol.close()

    clients.run(talk())


def test_an_expired_message_says_so_when_its_sender_asked(server):
    post = server(1, {**admin.config(), **FREE})
    with Clerk(post) as clerk:
        soon = int(time.time()) + 2
        assert clerk.post("/api/v1/messages", [mail("bob", "asked", receipt=2, expiresAt=soon), mail("bob", "not", expiresAt=soon)]).status == 200
        wait_until(lambda: states(clerk, "erp", "asked")["bob"]["state"] == "expired", "it expired")
        wait_until(lambda: states(clerk, "erp", "not")["bob"]["state"] == "removed", "it was removed")


def test_a_message_that_was_never_sent_is_not_found(server):
    post = server(1, {**admin.config(), **FREE})
    with Clerk(post) as clerk:
        assert clerk.get("/api/v1/messages/erp/none").code == "not-found"
        fill(clerk, "alice", 3000)
        assert states(clerk, "erp", "n0")["alice"]["state"] == "stored", "the log is searched on"
        assert clerk.get("/api/v1/messages/alice/n0").code == "not-found"


def test_a_token_sees_the_messages_of_those_it_may_speak_for(server):
    port = harness.free_port()
    post = server(1, admin.config(port))
    with Clerk(post) as clerk:
        for sender in ("erp", "shop", "other"):
            assert clerk.post("/api/v1/messages", mail("alice", "m1", **{"from": sender})).status == 202
    with Clerk(post, port, post.token("shop", po={"relay": ["erp"]})) as clerk:
        assert states(clerk, "erp", "m1") and states(clerk, "shop", "m1")
        assert clerk.get("/api/v1/messages/other/m1").code == "forbidden-from"
        for path in ("/api/v1/addresses/shop", "/api/v1/addresses/shop/messages", "/api/v1/groups/%23g"):
            assert clerk.get(path).code == "forbidden", path
        assert clerk.delete("/api/v1/addresses/alice/messages").code == "forbidden"
    with Clerk(post, port) as clerk:
        assert clerk.get("/api/v1/messages/erp/m1").code == "unauthorized"


# -- groups


def test_a_group_shows_its_subscribers_on_each_worker_and_its_log(server):
    post = server(2, {**admin.config(), **FREE})

    async def talk():
        members = [await clients.open_on(post, n % 2, f"u{n}", clients.PythonClient.open, token=post.token(f"u{n}", po={"groups": ["#*"]}))
                   for n in range(3)]
        with Clerk(post) as clerk:
            assert clerk.get("/api/v1/groups/%23team").code == "not-found"
            for one in members:
                await one.order("subscribe", tags=["#team"])
            assert clerk.post("/api/v1/messages", mail("#team", "p1", type=3)).status == 202
            await clients.eventually(lambda: clerk.get("/api/v1/groups/%23team").json()["subscribers"] == 3, "all are counted")
            found = clerk.get("/api/v1/groups/%23team").json()
            assert sorted(row["subscribers"] for row in found["workers"]) == [1, 2] and found["workersMissing"] == 0
            assert found["messages"] == 1 and found["oldest"] == found["newest"]
            page = clerk.get("/api/v1/addresses/%23team/messages").json()
            assert [message["id"] for message in page["messages"]] == ["p1"]
        for one in members:
            await one.close()

    clients.run(talk())


# -- trouble


def test_without_redis_the_answer_is_503_with_the_reason(server_with_own_redis, own_redis):
    post = server_with_own_redis(1, admin.config())
    calls = [("GET", "/api/v1/addresses/alice"), ("GET", "/api/v1/addresses/alice/messages"), ("DELETE", "/api/v1/addresses/alice/messages"),
             ("GET", "/api/v1/messages/erp/m"), ("GET", "/api/v1/groups/%23g")]
    with Clerk(post) as clerk:
        own_redis.stop()
        for method, path in calls:
            wait_until(lambda: clerk.ask(method, path).status == 503, "Redis is away")
            answer = clerk.ask(method, path)
            assert answer.code == "storage-unavailable" and "Redis" in answer.json()["detail"] and answer.headers["retry-after"] == "1"
        assert clerk.get("/health/live").status == 200


def test_a_redis_that_does_not_answer_costs_a_call_its_time_and_no_more(server_with_own_redis, own_redis):
    post = server_with_own_redis(1, {**admin.config(), **harness.FAST})
    with Clerk(post) as clerk:
        fill(clerk, "alice", 1)
        own_redis.pause()
        try:
            assert clerk.get("/api/v1/addresses/alice").code == "storage-unavailable"
        finally:
            own_redis.resume()
        wait_until(lambda: clerk.get("/api/v1/addresses/alice").status == 200, "Redis is back")
