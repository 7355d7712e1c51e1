"""docs/openapi.yaml and the server say the same, in both directions."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import time

import pytest

import admin
import clients
import harness
import openapi
from admin import Admin, Answer, quoted
from harness import wait_until

MAIL = {"from": "erp", "to": ["alice"], "subject": "invoice", "content": clients.b64("hello"), "type": 1}
REVOCATIONS = 3
# What no request from outside can bring about.
UNPROVOKED = {
    ("POST", "/api/v1/messages", "500"): "an error of the server",
    ("POST", "/api/v1/messages", "504"): "no answer in 60 s",
    ("DELETE", "/api/v1/messages/{from}/{id}", "504"): "no answer in 60 s",
    ("POST", "/api/v1/reload", "503"): "the master stops in this very moment",
    ("POST", "/api/v1/reload", "504"): "no answer in 30 s",
}


def mail(**over):
    return {**MAIL, **over}


@pytest.fixture(scope="module")
def document():
    return openapi.Document()


class Asking(Admin):
    """Judges every answer by the document."""

    def __init__(self, document, *more, **options):
        super().__init__(*more, **options)
        self.document = document

    def ask(self, method, path, body=None, headers=None):
        answer = super().ask(method, path, body, headers)
        self.document.judge(method, path, answer)
        return answer


# -- the file itself


def test_the_file_names_every_route_of_the_clerk_and_no_other(document):
    described = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path, _, _ in document.operations()}
    assert described == openapi.routes()


def test_every_schema_and_reference_of_the_file_is_good(document):
    def walk(part):
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                document.at(part["$ref"])
            for value in part.values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(document.whole)
    for schema in document.whole["components"]["schemas"].values():
        document.validator(schema).check_schema(schema)


def test_every_operation_of_the_file_is_whole(document):
    names = [operation["operationId"] for _, _, operation, _ in document.operations()]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document.whole["tags"]}
    for method, path, operation, parameters in document.operations():
        assert {one["name"] for one in parameters if one["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path)), path
        assert set(operation["tags"]) <= tags and operation["summary"], path
        assert "default" in operation["responses"], f"{method} {path}: the server's own refusals"
        assert ("401" in operation["responses"]) == (operation.get("security") != []), f"{method} {path}: a token or none"
        for one in parameters:
            if "example" in one:
                document.validator(one["schema"]).validate(one["example"])
        for media in operation.get("requestBody", {}).get("content", {}).values():
            document.validator(media["schema"]).validate(media["example"])


# -- the server


def test_every_operation_judges_origin_and_token_as_the_file_says(server, document):
    port = harness.free_port()
    post = server(1, admin.config(port))
    wait_until(lambda: Admin(post).get("/health/ready").status == 200, "ready")
    tokens = {"none": None, "plain": post.token("alice"), "admin": post.token("root", po={"admin": True})}
    for method, path, operation, _ in document.operations():
        target, body = re.sub(r"\{\w+\}", "x", path), (mail() if method in ("POST", "PUT") else None)
        for who, token in tokens.items():
            with Asking(document, post, port, token) as clerk:
                answer = clerk.ask(method, target, body)
                assert (answer.status == 401) == (who == "none" and operation.get("security") != []), (method, path, who)
                assert clerk.ask(method, target, body, {"Origin": "http://evil.example"}).code == "origin"


def test_what_is_not_described_is_refused_as_the_file_says(server, document):
    post = server(1, admin.config())
    refusal = document.whole["components"]["responses"]["Server"]
    with Admin(post) as clerk:
        for path in document.whole["paths"]:
            target = re.sub(r"\{\w+\}", "x", path)
            for method in openapi.METHODS:
                if not document.path_of(method.upper(), target):
                    answer = clerk.ask(method.upper(), target)
                    assert answer.code == "method-not-allowed", (method, path)
                    document.judge_response(refusal, answer)
                    allowed = {known for known, other, _, _ in document.operations() if document.path_of(known, target) == path and other == path}
                    assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == allowed, (method, path)
        document.judge_response(refusal, clerk.get("/api/v1/nothing"))
    for head in ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                 "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
                 "GET /x HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n",
                 f"GET /x HTTP/1.1\r\nHost: x\r\nX: {'y' * 20000}\r\n\r\n"):
        answer = raw_answer(clerk.path, head)
        document.judge_response(refusal, answer)
        assert document.resolved(refusal)["description"].find(f"`{answer.code}`") >= 0, answer.text


def raw_answer(path, head):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(str(path))
        raw.sendall(head.encode())
        text = b""
        while more := raw.recv(65536):
            text += more
    lines, _, body = text.decode().partition("\r\n\r\n")
    first, *rest = lines.split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
    return Answer(int(first.split()[1]), headers, body)


def test_good_requests_are_answered_as_the_file_says(server, document):
    post = server(2, admin.config())

    async def talk():
        many = [await clients.PythonClient.open(post, f"u{n}", "phone") for n in range(3)]
        with Asking(document, post) as clerk:
            wait_until(lambda: clerk.get("/health/ready").status == 200, "ready")
            clerk.get("/health/live")
            clerk.get("/metrics")
            clerk.get("/metrics", headers={"Accept": "application/openmetrics-text"})
            clerk.get("/api/v1/nodes")
            assert clerk.post("/api/v1/reload?plan=1", None).json()["applied"] is False
            assert len(clerk.get("/api/v1/sessions").json()["sessions"]) == 3
            assert "cursor" in clerk.get("/api/v1/sessions?limit=1").json()
            assert clerk.post("/api/v1/messages", mail(id="m1")).status == 202
            assert clerk.post("/api/v1/messages", mail(type=2, to=["u0"])).json()["outcome"] == "sent"
            clerk.post("/api/v1/messages", [mail(), mail(to=[]), 7, mail(to=["$x"]), mail(type=2)], headers={"Idempotency-Key": "k"})
            assert clerk.get("/api/v1/messages/erp/m1").json()["recipients"][0]["state"] == "stored"
            assert clerk.delete("/api/v1/messages/erp/m1").json()["recalled"] == ["alice"]
            row = clerk.get("/api/v1/sessions?address=u0").json()["sessions"][0]
            assert clerk.delete(f"/api/v1/sessions/{quoted(row['id'])}").status == 204
        for one in many:
            await one.close()

    clients.run(talk())


def test_mailboxes_and_groups_are_answered_as_the_file_says(server, document):
    post = server(2, admin.config())

    async def talk():
        alice = await clients.PythonClient.open(post, "alice", "phone")
        with Asking(document, post) as clerk:
            wait_until(lambda: clerk.get("/api/v1/addresses/alice").status == 200, "the clerk has Redis")
            assert clerk.post("/api/v1/messages", mail(id="m1", receipt=3)).status == 202
            assert clerk.post("/api/v1/messages", mail(id="m2")).status == 202
            await alice.order("ack", references=(await alice.message(id="m1"))["seq"])
            await clients.eventually(lambda: "deliveredAt" in clerk.get("/api/v1/messages/erp/m1").json()["recipients"][0], "the receipt")
            mailbox = clerk.get("/api/v1/addresses/alice").json()
            assert mailbox["devices"][0]["acknowledged"] and mailbox["sessions"] and mailbox["messages"] == 2
            page = clerk.get("/api/v1/addresses/alice/messages?limit=1").json()
            assert clerk.get(f"/api/v1/addresses/alice/messages?after=0-0&cursor={page['cursor']}").json()["messages"][0]["id"] == "m2"
            assert clerk.delete(f"/api/v1/addresses/alice/messages?before={mailbox['newest']}").json()["removed"] == 1
            assert clerk.delete("/api/v1/addresses/alice/messages").json()["removed"] == 1
            assert "lost" in clerk.get("/api/v1/addresses/alice").json()
            assert clerk.post("/api/v1/messages", mail(type=3, to=["#all"])).status == 202
            group = clerk.get(f"/api/v1/groups/{quoted('#all')}").json()
            assert group["subscribers"] == 1 and group["workers"], group
        await alice.close()

    clients.run(talk())


def test_revocations_are_answered_as_the_file_says(server, document):
    post = server(1, admin.config(revocations=REVOCATIONS))
    path = "/api/v1/revocations"
    with Asking(document, post) as clerk:
        wait_until(lambda: clerk.get(path).json()["redis"] == "up", "the clerk has Redis")
        body = {"until": int(time.time()) + 3600, "before": 1795770000, "reason": "laptop stolen"}
        assert clerk.ask("PUT", f"{path}/{quoted('sub:/mallory')}", body).status == 204
        assert body.items() <= clerk.get(f"{path}/{quoted('sub:/mallory')}").json().items()
        for number in range(1, REVOCATIONS):
            assert clerk.ask("PUT", f"{path}/jti:{number}").status == 204
        assert clerk.ask("PUT", f"{path}/jti:x").code == "revocations-full"
        assert "cursor" in clerk.get(f"{path}?limit=1").json()
        assert clerk.delete(f"{path}/jti:1").status == 204
        assert clerk.delete(f"{path}/jti:1").code == "not-found" == clerk.get(f"{path}/jti:1").code
        assert clerk.get(f"{path}?limit=0").code == "bad-field"
        for method in ("GET", "PUT", "DELETE"):
            assert clerk.ask(method, f"{path}/alice").code == "bad-field", method


def test_bad_requests_are_answered_as_the_file_says(server, document):
    post = server(1, {**admin.config(bodyBytes=1 << 20), "limits": {"messageBytes": 100000},
                      "mailbox": {"maxMessages": 1, "full": "reject", "addresses": "known", "knownAddresses": ["alice"]}})
    with Asking(document, post) as clerk:
        assert clerk.post("/api/v1/messages", b"{").code == "bad-json"
        assert clerk.post("/api/v1/messages", mail(to=[])).code == "bad-field"
        assert clerk.post("/api/v1/messages", mail(content=clients.b64("x" * 90000))).code == "too-large"
        assert clerk.post("/api/v1/messages", mail(**{"from": "postmaster"})).code == "forbidden-from"
        assert clerk.post("/api/v1/messages", mail(to=["nobody"])).code == "not-found"
        assert clerk.post("/api/v1/messages", mail()).status == 202
        assert clerk.post("/api/v1/messages", mail()).code == "mailbox-full"
        assert clerk.delete("/api/v1/messages/erp/none").code == "not-found"
        assert clerk.delete(f"/api/v1/messages/{'x' * 400}/m1").code == "bad-field"
        assert clerk.get("/api/v1/messages/erp/none").code == "not-found"
        assert clerk.get(f"/api/v1/messages/{'x' * 400}/m1").code == "bad-field"
        assert clerk.get("/api/v1/addresses/nobody").code == "not-found"
        assert clerk.get("/api/v1/addresses/%20").code == "bad-field"
        assert clerk.get("/api/v1/addresses/alice/messages?limit=0").code == "bad-field"
        assert clerk.delete("/api/v1/addresses/alice/messages?befor=1-0").code == "bad-field"
        assert clerk.get(f"/api/v1/groups/{quoted('#none')}").code == "not-found"
        assert clerk.get("/api/v1/groups/alice").code == "bad-field"
        assert clerk.get("/api/v1/sessions?limit=x").code == "bad-field"
        assert clerk.delete("/api/v1/sessions/x").code == "bad-field"
        assert clerk.post("/api/v1/reload?plan=2", None).code == "bad-field"
        post.config_file.write_text('{"workers": "x"}')
        assert clerk.post("/api/v1/reload", None).code == "bad-config"
        run = clerk.get("/api/v1/nodes").json()["node"]
        assert clerk.delete(f"/api/v1/sessions/{quoted(run + ':0:1/1')}").code == "not-found"


def test_a_token_that_sends_too_fast_is_answered_as_the_file_says(server, document):
    port = harness.free_port()
    post = server(1, {**admin.config(port), "limits": {"messagesPerSecond": 2, "burst": 2}})
    with Asking(document, post, port, post.token("erp", po={"send": ["*"]})) as clerk:
        assert 429 in {clerk.post("/api/v1/messages", mail()).status for _ in range(20)}
        assert 429 in {clerk.delete("/api/v1/messages/erp/none").status for _ in range(20)}


def test_redis_away_is_answered_as_the_file_says(server_with_own_redis, own_redis, document):
    post = server_with_own_redis(1, admin.config())
    with Asking(document, post) as clerk:
        own_redis.stop()
        wait_until(lambda: clerk.get("/health/ready").status == 503, "not ready")
        wait_until(lambda: clerk.post("/api/v1/messages", mail()).status == 503, "mail is rejected")
        wait_until(lambda: clerk.delete("/api/v1/messages/erp/m1").status == 503, "recalls are rejected")
        for target in ("messages/erp/m1", "addresses/alice", "addresses/alice/messages", "groups/%23all"):
            assert clerk.get(f"/api/v1/{target}").code == "storage-unavailable", target
        assert clerk.delete("/api/v1/addresses/alice/messages").code == "storage-unavailable"
        assert clerk.get("/api/v1/revocations").json()["redis"] == "away"
        assert clerk.ask("PUT", "/api/v1/revocations/sub:mallory").status == 202
        assert clerk.delete("/api/v1/revocations/sub:mallory").status == 202
        assert clerk.delete("/api/v1/revocations/sub:nobody").code == "storage-unavailable"
        assert clerk.get("/api/v1/nodes").status == 200


def test_too_many_questions_are_answered_as_the_file_says(server, document):
    """The questions wait for a worker that is stopped."""
    post = server(1, {**admin.config(connections=1000), "watchdog": {"seconds": 0}})
    stopped = next(iter(post.worker_pids().values()))
    with Asking(document, post) as clerk, contextlib.ExitStack() as opened:
        worker = clerk.get("/api/v1/nodes").json()
        place = f"{worker['node']}:{worker['workers'][0]['worker']}:{worker['workers'][0]['run']}"
        os.kill(stopped, signal.SIGSTOP)
        try:
            asked = []
            for _ in range(300):
                raw = opened.enter_context(socket.socket(socket.AF_UNIX))
                raw.connect(str(clerk.path))  # waits while the clerk's backlog is full
                raw.sendall(b"GET /api/v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n")
                asked.append(raw)
            select.select(asked, [], [], 30)  # one is refused, so as many as may wait do
            assert clerk.get("/api/v1/sessions").code == "busy"
            assert clerk.delete(f"/api/v1/sessions/{quoted(place + '/1')}").code == "busy"
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_a_master_that_is_busy_is_answered_as_the_file_says(server, document):
    post = server(1, admin.config())
    with Asking(document, post) as clerk, Admin(post) as other:
        clerk.get("/health/live")
        other.get("/health/live")
        post.process.send_signal(signal.SIGSTOP)
        try:
            other.connection.request("POST", "/api/v1/reload?plan=1")
            wait_until(lambda: clerk.post("/api/v1/reload?plan=1", None).code == "conflict", "a reload is under way")
        finally:
            post.process.send_signal(signal.SIGCONT)
        assert other.connection.getresponse().status == 200


def test_every_status_of_the_file_has_been_provoked(document):
    """The last test: the others have filled document.seen. A part of them, run alone, cannot judge."""
    if len(document.seen) < 20:
        pytest.skip("runs behind the other tests of this file")
    assert document.seen | set(UNPROVOKED) == document.promised(), json.dumps(sorted(document.promised() ^ document.seen))
    assert not document.seen & set(UNPROVOKED)
