"""Tokens (docs/protocol.md, section 6): every wrong token is refused as the protocol says, and no log shows a token."""

import base64
import json
import os
import time

import pytest

import clients
import harness
from clients import NodeClient, PythonClient, Raw, eventually, node, request, run
from harness import b64url, jwt_hs256


@pytest.fixture(scope="module")
def post(redis):
    directory = harness.make_directory()
    server = harness.Server(directory, redis, 2, {"auth": {"audience": "post", "issuer": "tests", "cookie": "sid"}})
    server.keys.add_secret("second", b"s" * 32)
    server.start()
    yield server
    server.stop()
    server.judge()
    harness.remove_directory(directory)


def made(post, sub="alice", **claims):
    return post.keys.outside(sub, **{"aud": "post", "iss": "tests", **claims})


def ask(post, token, address=None, over=None):
    path = "/ws" + (f"?clientID={address}" if address else "")
    with Raw(post.port) as raw:
        raw.send(request(path, token=token, over=over))
        return raw.answer()


def refused(post, token, **options):
    answer = ask(post, token, **options)
    assert answer.status == 401, answer.rest
    assert answer.bearer_error() == "invalid_token"
    assert answer.json()["code"] and answer.json()["message"]
    assert token not in answer.rest.decode() and token not in str(answer.headers)
    return answer.json()["message"]


@pytest.mark.parametrize("place", ["header", "subprotocol", "query"])
@pytest.mark.parametrize("kind", ["python", "node"])
def test_a_token_may_be_in_any_of_the_named_places(post, kind, place):
    async def scene():
        async with node() as process:
            options = {"token": made(post), "token_in": place}
            if kind == "python":
                client = await PythonClient.open(post, "alice", **options)
            else:
                client = await NodeClient.open(post, "alice", process=process, **options)
            assert client.welcome["address"] == "alice"
            await client.close()

    run(scene())


def test_a_token_may_be_in_the_configured_cookie(post):
    answer = ask(post, None, over={"Cookie": f"x=y; sid={made(post)}", "Origin": "http://localhost"})
    assert answer.status == 101


def test_the_header_counts_before_the_subprotocol_and_the_query(post):
    over = {"Sec-WebSocket-Protocol": f"postoffice.v1, bearer.{made(post, 'bob')}"}
    assert ask(post, made(post, "alice"), address="alice", over=over).status == 101
    assert ask(post, made(post, "alice"), address="bob", over=over).status == 403


@pytest.mark.parametrize("form", [(), ("--format", "paseto")])
def test_what_the_binary_issues_the_server_takes(post, form):
    token = post.keys.inside("alice", 600, "--aud", "post", "--iss", "tests", *form)
    assert token.startswith("v4.public." if form else "ey")
    assert ask(post, token, address="alice").status == 101
    head, tail = token[:-1], token[-1]
    refused(post, token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:])
    refused(post, head)
    refused(post, token + "A")
    if form:
        refused(post, token.replace("v4.", "v3."))
        refused(post, token.replace(".public.", ".local."))
        refused(post, ".".join(token.split(".")[:3]))  # the footer names the key


def test_an_issued_token_expires_and_verify_says_so(post):
    token = post.keys.inside("alice", 1, "--aud", "post", "--iss", "tests")
    verify = lambda: harness.command("token", "verify", "--config", post.config_file, check=False, input=token + "\n")
    good = verify()
    assert good.returncode == 0 and json.loads(good.stdout)["sub"] == "alice"
    harness.wait_until(lambda: verify().returncode == 1, "it expires, leeway included")
    result = verify()
    assert "expired" in result.stderr and token not in result.stderr + result.stdout


def test_no_token_is_401_with_its_own_error(post):
    for over in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}):
        answer = ask(post, None, over=over)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.bearer_error() in (None, "invalid_request")


NOW = time.time


@pytest.mark.parametrize("name,claims", [
    ("expired", lambda: {"exp": int(NOW()) - 60}),
    ("expired long ago", lambda: {"exp": 1}),
    ("no exp", lambda: {"exp": None}),
    ("exp is text", lambda: {"exp": "tomorrow"}),
    ("exp is null", lambda: {"exp": json.loads("null"), "nbf": "x"}),
    ("exp is negative", lambda: {"exp": -1}),
    ("exp is true", lambda: {"exp": True}),
    ("exp overflows", lambda: {"exp": 2 ** 70}),
    ("not yet valid", lambda: {"nbf": int(NOW()) + 600}),
    ("nbf is text", lambda: {"nbf": "now"}),
    ("issued in the future", lambda: {"iat": int(NOW()) + 600}),
    ("another audience", lambda: {"aud": "elsewhere"}),
    ("no audience", lambda: {"aud": None}),
    ("a list of other audiences", lambda: {"aud": ["a", "b"]}),
    ("another issuer", lambda: {"iss": "nobody"}),
    ("no issuer", lambda: {"iss": None}),
    ("no sub", lambda: {"sub": None}),
    ("sub is a number", lambda: {"sub": 7}),
    ("sub is empty", lambda: {"sub": ""}),
    ("sub is a group", lambda: {"sub": "#team"}),
    ("sub is reserved", lambda: {"sub": "postmaster"}),
    ("sub has a control character", lambda: {"sub": "a\nb"}),
    ("sub has NUL", lambda: {"sub": "alice\0x"}),
    ("po is no object", lambda: {"po": "admin"}),
    ("send is no list", lambda: {"po": {"send": "*"}}),
])
def test_wrong_claims_are_refused(post, name, claims):
    claims = claims()
    token = made(post, claims.pop("sub") if "sub" in claims else "alice", **claims)
    refused(post, token)


@pytest.mark.parametrize("name,claims", [
    ("just expired, within the leeway", lambda: {"exp": int(NOW()) - 1}),
    ("our audience among others", lambda: {"aud": ["x", "post"]}),
    ("valid since now", lambda: {"nbf": int(NOW())}),
    ("unknown claims", lambda: {"foo": {"bar": [1]}}),
])
def test_claims_that_are_right_are_taken(post, name, claims):
    assert ask(post, made(post, **claims())).status == 101


def wrong_forms(post):
    """Tokens that are wrong in form, algorithm, key or signature."""
    now = int(time.time())
    body = {"sub": "alice", "exp": now + 600, "aud": "post", "iss": "tests"}
    good = made(post)
    head, claims, signature = good.split(".")
    secret = post.keys.secret
    public = base64.b64decode((post.keys_directory / "main.pub").read_text())
    inside = post.keys.inside("alice", 600, "--aud", "post", "--iss", "tests").split(".")
    yield "alg none, no signature", f"{b64url({'alg': 'none', 'kid': 'outside'})}.{b64url(body)}."
    yield "alg None", f"{b64url({'alg': 'None', 'kid': 'outside'})}.{b64url(body)}.{signature}"
    yield "HS256 with the public key as the secret", jwt_hs256(public, body, {"kid": "main"})
    yield "HS256 with the public key's text", \
        jwt_hs256((post.keys_directory / "main.pub").read_text().strip().encode(), body, {"kid": "main"})
    yield "HS384", jwt_hs256(secret, body, {"kid": "outside", "alg": "HS384"})
    yield "hs256 in small letters", jwt_hs256(secret, body, {"kid": "outside", "alg": "hs256"})
    yield "no alg", jwt_hs256(secret, body, {"kid": "outside", "alg": None})
    yield "alg is a list", jwt_hs256(secret, body, {"kid": "outside", "alg": ["HS256"]})
    yield "EdDSA with an HMAC key", f"{b64url({'alg': 'EdDSA', 'kid': 'outside'})}.{inside[1]}.{inside[2]}"
    yield "another secret", jwt_hs256(b"x" * 32, body, {"kid": "outside"})
    yield "an empty secret", jwt_hs256(b"", body, {"kid": "outside"})
    yield "unknown kid", jwt_hs256(secret, body, {"kid": "nobody"})
    yield "no kid where there are two secrets", jwt_hs256(secret, body)
    yield "kid is a path", jwt_hs256(secret, body, {"kid": "../keys/outside"})
    yield "kid with NUL", jwt_hs256(secret, body, {"kid": "outside\0"})
    yield "kid is a number", jwt_hs256(secret, body, {"kid": 1})
    yield "kid of 64 KB", jwt_hs256(secret, body, {"kid": "k" * 2500})
    yield "crit", jwt_hs256(secret, body, {"kid": "outside", "crit": ["b64"], "b64": False})
    yield "no signature", f"{head}.{claims}."
    yield "two parts", f"{head}.{claims}"
    yield "four parts", f"{good}.x"
    yield "padding", f"{head}.{claims}.{signature}="
    yield "signature cut", f"{head}.{claims}.{signature[:-2]}"
    yield "claims changed", f"{head}.{b64url({**body, 'sub': 'bob'})}.{signature}"
    yield "head changed", f"{b64url({'alg': 'HS256', 'kid': 'second'})}.{claims}.{signature}"
    yield "white space", f"{head}. {claims}.{signature}"
    yield "standard base64", f"{head}.{claims}.{signature[:-1]}+"
    yield "claims that are no JSON", jwt_hs256(secret, b'{"sub": "alice", ', {"kid": "outside"})
    yield "claims that are a list", jwt_hs256(secret, [body], {"kid": "outside"})
    yield "claims with sub twice", jwt_hs256(secret, json.dumps(body).encode()[:-1] + b', "sub": "bob"}', {"kid": "outside"})
    yield "nonsense", "nonsense"
    yield "dots", "..."
    yield "over 4 KiB", made(post, foo="x" * 5000)
    yield "paseto nonsense", "v4.public.AAAA"
    yield "paseto v2", "v2.public." + "A" * 120
    yield "paseto local", "v4.local." + "A" * 120
    yield "a Unicode token", "\u00fc.\u00fc.\u00fc".encode().decode("latin-1")


def test_wrong_forms_algorithms_keys_and_signatures_are_refused(post):
    messages = {}
    for name, token in wrong_forms(post):
        with Raw(post.port) as raw:
            raw.send(request("/ws", token=token).encode("latin-1"))
            answer = raw.answer()
        assert answer.status == (400 if answer.status == 400 and name in ("white space", "a Unicode token") else 401), \
            (name, answer.status, answer.rest)
        if answer.status == 401:
            assert answer.bearer_error() in ("invalid_token", "invalid_request"), name
            messages[name] = answer.json()["message"]
    assert len(set(messages.values())) > 1


@pytest.mark.parametrize("claim,value", [("exp", "soon"), ("exp", 1), ("exp", 1e300), ("nbf", 4102444800.5), ("iat", []),
                                         ("aud", "another"), ("iss", "another"), ("jti", 7), ("po", []), ("sub", "#team")])
def test_a_refusal_names_the_claim(post, claim, value):
    answer = ask(post, made(post, **{claim: value}) if claim != "sub" else made(post, value))
    assert answer.status == 401
    assert f"claim {claim}" in answer.headers["www-authenticate"]
    assert answer.bearer_error() == "invalid_token"


def test_times_with_a_fraction_or_an_exponent_are_numbers(post):
    now = time.time()
    for claims in ({"exp": now + 60.5}, {"exp": 1e10}, {"nbf": now - 0.25, "iat": now - 0.75}, {"iat": 1.5e9}):
        assert ask(post, made(post, **claims)).status == 101, claims
    assert ask(post, made(post, exp=now - 60.5)).status == 401


def test_a_token_for_somebody_else_is_403(post):
    assert ask(post, made(post, "alice"), address="bob").status == 403
    assert ask(post, made(post, "alice"), address="alicex").status == 403


def test_the_sub_is_the_address_when_no_client_id_is_given(post):
    async def scene():
        client = await PythonClient.open(post, "alice", token=made(post), query={"clientID": None})
        assert client.welcome["address"] == "alice"
        await client.close()

    run(scene())


def test_relay_lets_a_gateway_speak_for_others_as_client_and_as_sender(post):
    token = made(post, "gateway", po={"relay": ["/bot/*", "carol"]})
    assert ask(post, token, address="/bot/wx/1").status == 101
    assert ask(post, token, address="carol").status == 101
    assert ask(post, token, address="/bots").status == 403

    async def scene():
        gateway = await PythonClient.open(post, "gateway", token=token)
        alice = await PythonClient.open(post, "alice", token=made(post))
        for sender in ("/bot/wx/2", "carol", "gateway"):
            await gateway.send("alice", "x", **{"from": sender})
            assert (await alice.message())["from"] == sender
        sent = await gateway.send("alice", "x", **{"from": "bob"})
        assert (await gateway.rejected(sent))["code"] == "forbidden-from"
        await gateway.close()
        await alice.close()

    run(scene())


def test_the_token_of_one_message_proves_its_from(post):
    async def scene():
        host = await PythonClient.open(post, "host", token=made(post, "host"))
        alice = await PythonClient.open(post, "alice", token=made(post))
        proof = made(post, "bob", po={"send": ["alice"]})
        await host.send("alice", "x", token=proof, **{"from": "bob"})
        got = await alice.message()
        assert got["from"] == "bob" and "token" not in got
        sent = await host.send("carol", "x", token=proof, **{"from": "bob"})
        assert (await host.rejected(sent))["code"] == "forbidden-to", "the message's token says whom it may write to"
        sent = await host.send("alice", "x", token=proof, **{"from": "dave"})
        assert (await host.rejected(sent))["code"] in ("forbidden-from", "bad-token")
        for bad in (made(post, "bob", exp=1), "nonsense", made(post, "bob", aud="x")):
            sent = await host.send("alice", "x", token=bad, **{"from": "bob"})
            assert (await host.rejected(sent))["code"] == "bad-token"
        await host.settle()
        await alice.close()

    run(scene())


def test_send_patterns_say_whom_one_may_write_to(post):
    async def scene():
        alice = await PythonClient.open(post, "alice", token=made(post, po={"send": ["bob", "/svc/*"]}))
        await alice.send(["bob", "/svc/erp"])
        for to in (["carol"], ["bob", "carol"], ["/svc"]):
            sent = await alice.send(to)
            assert (await alice.rejected(sent))["code"] == "forbidden-to"
        await alice.close()

    run(scene())


def test_a_session_ends_with_its_token(post):
    async def scene():
        # a token is good for its leeway (5 s) longer
        alice = await PythonClient.open(post, "alice", token=made(post, exp=int(time.time()) - 2))
        goodbye, code = await alice.closed()
        assert code == 4001
        assert goodbye["code"] == 4001

    run(scene())


def test_renew_prolongs_a_session_and_only_for_the_same_sub(post):
    async def scene():
        alice = await PythonClient.open(post, "alice", token=made(post, exp=int(time.time()) - 1))
        answer = await alice.order("renew", token=made(post, "bob"))
        assert (answer["subject"], answer["code"]) == ("rejected", "bad-token")
        answer = await alice.order("renew", token="nonsense")
        assert answer["code"] == "bad-token"
        answer = await alice.order("renew")
        assert answer["code"] == "missing-field"
        answer = await alice.order("renew", token=made(post))
        assert answer["subject"] == "result"
        # A session with the same end and without a renewal ends; the renewed session stays.
        other = await PythonClient.open(post, "carol", token=made(post, "carol", exp=int(time.time()) - 2))
        assert (await other.closed())[1] == 4001
        await alice.settle()
        assert alice.close_code is None
        await alice.close()

    run(scene())


def test_a_server_that_needs_tokens_and_has_no_key_does_not_start(server, redis):
    post = server(1, start=False)
    for path in post.keys_directory.iterdir():
        path.unlink()
    result = harness.command("serve", "--config", post.config_file, check=False)
    assert result.returncode != 0
    assert "keygen" in result.stderr
    assert harness.command("check-config", "--config", post.config_file).returncode == 0


def test_no_token_is_ever_in_the_logs(post):
    """judge() searches the log for every issued token; this test sends tokens through every door at level debug."""
    token = made(post, "alice")
    for path, over in [(f"/ws?token={token}", {}), (f"/nowhere?token={token}", {}), (f"/ws?token={token}%zz", {}),
                       ("/ws", {"Authorization": f"Bearer {token}x"}), ("/ws", {"Authorization": token}),
                       ("/ws", {"Cookie": f"sid={token}", "Origin": "https://evil.example"}),
                       ("/ws", {"Sec-WebSocket-Protocol": f"bearer.{token}", "Host": None}),
                       (f"/ws?clientID={token}&token={token}", {})]:
        with Raw(post.port) as raw:
            raw.send(request(path, over=over))
            raw.answer()
    assert token.split(".")[2] not in post.log()
    assert token.split(".")[1] not in post.log()
