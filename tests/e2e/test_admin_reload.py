"""POST /api/v1/reload: the configuration is read again, or only judged (docs/admin.md)."""

import os
import signal

import pytest

import admin
import clients
import harness
from admin import Admin
from harness import wait_until


def plan(clerk):
    return clerk.post("/api/v1/reload?plan=1", None)


def apply(clerk):
    return clerk.post("/api/v1/reload", None)


def lists(answer):
    assert answer.status == 200, answer.text
    said = answer.json()
    return said["applied"], said["live"], said["swapped"], said["restart"]


def test_a_plan_says_how_each_key_would_be_applied_and_does_nothing(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        assert lists(plan(clerk)) == (False, [], [], [])
        before, pids = post.status()["configGeneration"], post.worker_pids()
        post.write_config({"limits": {"burst": 77}, "mailbox": {"durability": "memory"}, "redis": {"prefix": "other:"},
                           "maxWebSocketConnections": 321})
        for _ in range(3):
            assert lists(plan(clerk)) == (False, ["limits.burst"], ["redis.prefix"], ["maxWebSocketConnections"])
        assert post.status()["configGeneration"] == before and post.worker_pids() == pids
        assert post.status()["reload"] is None or post.status()["reload"]["outcome"] != "applied"


def test_a_reload_does_what_the_plan_said(server):
    post = server(1, admin.config())

    async def talk():
        alice = await clients.PythonClient.open(post, "alice")
        with Admin(post) as clerk:
            before = post.status()["configGeneration"]
            post.write_config({"limits": {"messageBytes": 5000}, "maxWebSocketConnections": 321})
            assert lists(apply(clerk)) == (True, ["limits.messageBytes"], [], ["maxWebSocketConnections"])
            assert post.status()["configGeneration"] == before + 1
            # What waits for a restart is named until then.
            assert lists(apply(clerk)) == (True, [], [], ["maxWebSocketConnections"])
            assert 'what=reload on="the configuration" by="local"' in post.log()
            mail = {"from": "erp", "to": ["alice"], "subject": "s", "content": clients.b64("x" * 6000), "type": 1}
            wait_until(lambda: clerk.post("/api/v1/messages", mail).status == 413, "the new limit holds")
        await alice.close()

    clients.run(talk())


def test_workers_are_replaced_and_the_clerk_too(server):
    post = server(2, admin.config())
    with Admin(post) as clerk:
        pids, clerk_pid = set(post.worker_pids().values()), admin.clerk_pid(post)
        post.write_config({"redis": {"prefix": "other:"}})
        assert lists(apply(clerk)) == (True, [], ["redis.prefix"], [])
    wait_until(lambda: post.is_serving() and not pids & set(post.worker_pids().values()), "other workers serve")
    wait_until(lambda: _clerk_is_another(post, clerk_pid), "another clerk answers")
    with Admin(post) as clerk:
        assert lists(plan(clerk)) == (False, [], [], [])


def _clerk_is_another(post, before):
    try:
        return admin.clerk_pid(post) != before
    except StopIteration:
        return False


@pytest.mark.parametrize("path", ["/api/v1/reload?plan=1", "/api/v1/reload"])
def test_a_configuration_with_errors_is_refused_with_their_places(server, path):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        before = post.status()["configGeneration"]
        post.config_file.write_text('{\n  "workers": "x",\n  "limits": { "burst": -1 }\n}\n')
        answer = clerk.post(path, None)
        assert answer.status == 422 and answer.code == "bad-config"
        errors = answer.json()["errors"]
        assert [(error["line"], error["column"]) for error in errors] == [(2, 14), (3, 24)]
        assert errors[0]["message"].startswith("workers: found a string, allowed a whole number")
        post.config_file.write_text('{"a": [1 }')
        assert clerk.post(path, None).json()["errors"][0]["column"] == 10
        post.config_file.unlink()
        assert clerk.post(path, None).json()["errors"]
        assert post.status()["configGeneration"] == before
        post.write_config({})
        assert lists(apply(clerk)) == (True, [], [], [])


def test_a_token_without_po_admin_may_not_reload(server):
    port = harness.free_port()
    post = server(1, admin.config(port))
    with Admin(post, port, post.token("alice")) as clerk:
        assert plan(clerk).code == "forbidden" and apply(clerk).code == "forbidden"
    with Admin(post, port, post.token("root", po={"admin": True})) as clerk:
        assert lists(apply(clerk)) == (True, [], [], [])
        assert 'what=reload on="the configuration" by="root"' in post.log()


def test_a_clerk_that_dies_while_the_master_reloads_costs_nothing(server):
    post = server(1, admin.config())
    with Admin(post) as clerk:
        clerk.get("/health/live")
        before, generation = admin.clerk_pid(post), post.status()["configGeneration"]
        post.process.send_signal(signal.SIGSTOP)
        try:
            clerk.connection.request("POST", "/api/v1/reload")
            wait_until(lambda: "what=reload" in post.log(), "the master has been asked")
            os.kill(before, signal.SIGKILL)
        finally:
            post.process.send_signal(signal.SIGCONT)
    wait_until(lambda: _clerk_is_another(post, before), "another clerk runs")
    with Admin(post) as clerk:
        assert lists(plan(clerk)) == (False, [], [], [])
        wait_until(lambda: post.status()["configGeneration"] == generation + 1, "the reload was carried out")
