"""The backends in examples/ send mail and read what became of it."""

import os
import pathlib
import subprocess

import pytest

import admin
import clients
import harness

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def run(name, url, token, *arguments):
    return subprocess.run([EXAMPLES / name, url, *arguments], env={**os.environ, "TOKEN": token},
                          capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["backend.py", "backend.sh"])
def test_a_backend_sends_mail_and_reads_what_became_of_it(server, name):
    port = harness.free_port()
    post = server(1, admin.config(port))
    admin.Admin(post).get("/health/live")  # the clerk answers
    url, token = f"http://127.0.0.1:{port}", post.token("erp", po={"send": ["*"]})
    for _ in range(2):
        result = run(name, url, token, "order-7", "alice", "Grüße")
        assert result.returncode == 0 and "order-7" in result.stdout and "accepted" in result.stdout, result.stderr
        assert "alice" in result.stdout and "stored" in result.stdout, "the state at the recipient"
    refused = run(name, url, post.token("erp", po={"send": []}), "order-8", "alice", "x")
    assert refused.returncode != 0 and "forbidden-to" in refused.stdout + refused.stderr
    assert run(name, url, "nonsense", "order-9", "alice", "x").returncode != 0
    assert run(name, url, token, "order-10", "alice", "second").returncode == 0

    async def read():
        alice = await clients.PythonClient.open(post, "alice")
        got = [await alice.message() for _ in range(2)]
        await alice.order("ack", references=got[1]["seq"])
        await alice.close()
        return got

    first, second = clients.run(read())
    assert (first["id"], first["from"], first["content"]) == ("order-7", "erp", clients.b64("Grüße"))
    assert second["id"] == "order-10", "what was sent again is there once"
    assert "delivered" in run(name, url, token, "order-7", "alice", "Grüße").stdout
