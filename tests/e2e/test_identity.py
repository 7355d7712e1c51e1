"""Tokens from identity providers: a JWK Set verifies them, keys rotate while the server runs, claims are mapped
(docs/protocol.md, section 6). The tokens are made by PyJWT, which knows nothing of this server.
"""

import base64
import json
import os
import pwd
import signal
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import harness
from clients import PythonClient, Raw, eventually, request, run
from harness import b64url, jwt_hs256

ISSUER = "https://id.example.com/realms/main"


def number(value, size=None):
    return b64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    """One key pair of a provider."""

    def __init__(self, alg, kid=None):
        self.alg, self.kid = alg, kid
        if alg in ("RS256", "PS256", "RS512"):
            self.private = rsa.generate_private_key(65537, 2048)
        elif alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        elif alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = os.urandom(32)

    def jwk(self, **more):
        if self.alg == "HS256":
            key = {"kty": "oct", "k": b64url(self.private)}
        elif self.alg == "EdDSA":
            raw = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            key = {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw)}
        elif self.alg == "ES256":
            numbers = self.private.public_key().public_numbers()
            key = {"kty": "EC", "crv": "P-256", "x": number(numbers.x, 32), "y": number(numbers.y, 32)}
        else:
            numbers = self.private.public_key().public_numbers()
            key = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        if self.kid:
            key["kid"] = self.kid
        return {**key, "alg": self.alg, **more}

    def token(self, sub="alice", alg=None, header=None, **claims):
        now = int(time.time())
        body = {"sub": sub, "iss": ISSUER, "aud": "post", "iat": now, "exp": now + 600, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        head = {**({"kid": self.kid} if self.kid else {}), **(header or {})}
        return jwt.encode(body, self.private, algorithm=alg or self.alg, headers=head)


def write_set(post, *keys, mode=0o600, text=None):
    """Replaces the file in one step, as a good program does."""
    path = post.directory / "jwks.json"
    new = post.directory / "jwks.json.new"
    new.write_text(json.dumps({"keys": list(keys)}) if text is None else text)
    new.chmod(mode)
    new.replace(path)
    return path


@pytest.fixture
def make(directory, redis):
    """A server with a JWK Set; its owner says which keys."""
    servers = []

    def build(*keys, workers=1, start=True, **auth):
        path = directory / f"server{len(servers)}"
        path.mkdir(mode=0o755)
        post = harness.Server(path, redis, workers)
        write_set(post, *keys)
        post.write_config({"auth": {"jwks": "jwks.json", "audience": "post", "issuer": ISSUER, **auth}})
        servers.append(post)
        return post.start() if start else post

    yield build
    for post in servers:
        post.stop()
        post.judge()


def ask(post, token, address=None):
    with Raw(post.port) as raw:
        raw.send(request("/ws" + (f"?clientID={address}" if address else ""), token=token))
        return raw.answer()


def refused(post, token, why):
    answer = ask(post, token)
    assert answer.status == 401, (answer.status, answer.rest)
    assert answer.json()["code"] == "bad-token" and answer.bearer_error() == "invalid_token"
    assert why in answer.json()["message"], answer.json()
    signature = token.rsplit(".", 1)[-1]
    assert token not in answer.rest.decode() and (not signature or signature not in post.log())


def test_every_kind_of_key_opens_a_session(make):
    keys = [Key(alg, f"{alg} of {ISSUER}/+=") for alg in ("RS256", "PS256", "ES256", "EdDSA", "HS256")]
    post = make(*(key.jwk(use="sig") for key in keys))

    async def scene():
        for key in keys:
            client = await PythonClient.open(post, key.alg, token=key.token(key.alg))
            assert client.welcome["address"] == key.alg
            await client.close()

    run(scene())
    for key in keys:
        token = key.token()
        broken = token[:-8] + ("A" if token[-8] != "A" else "B") + token[-7:]
        refused(post, broken, "signature")
        refused(post, key.token(exp=int(time.time()) - 60), "expired")
        refused(post, key.token(aud="elsewhere"), "claim aud")
        refused(post, key.token(iss="https://evil.example.com"), "claim iss")


def test_the_key_chooses_the_algorithm_and_never_the_token(make):
    plain, pss, curve = Key("RS256", "plain"), Key("PS256", "pss"), Key("ES256", "curve")
    unnamed = plain.jwk()
    del unnamed["alg"]  # an RSA key without alg is one for RS256
    post = make(unnamed, pss.jwk(), curve.jwk())
    assert ask(post, plain.token()).status == 101
    refused(post, plain.token(alg="PS256"), "algorithm")
    refused(post, pss.token(alg="RS256"), "algorithm")
    refused(post, plain.token(alg="RS512"), "algorithm")
    refused(post, plain.token(header={"kid": "curve"}), "algorithm")
    refused(post, plain.token(header={"kid": "pss"}), "algorithm")
    refused(post, Key("RS256", "plain").token(), "signature")
    refused(post, Key("RS256", "stranger").token(), "key unknown")
    head, body, _ = plain.token().split(".")
    refused(post, f"{b64url({'alg': 'none', 'kid': 'plain'})}.{body}.", "algorithm")
    refused(post, f"{head}.{body}.", "signature")


def test_a_public_key_is_no_secret(make):
    plain, curve = Key("RS256", "plain"), Key("ES256", "curve")
    post = make(plain.jwk(), curve.jwk())
    claims = {"sub": "alice", "iss": ISSUER, "aud": "post", "exp": int(time.time()) + 600}
    for key in (plain, curve):
        public = key.private.public_key()
        known = [public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
                 for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)]
        known += [json.dumps(key.jwk()).encode(), b""]
        known += [base64.urlsafe_b64decode(key.jwk()[part] + "==") for part in ("n", "x", "y") if part in key.jwk()]
        for secret in known:
            refused(post, jwt_hs256(secret, claims, {"kid": key.kid}), "algorithm")
            own = jwt_hs256(secret, claims, {"kid": None})  # the server has one secret of its own kind: not this
            refused(post, own, "signature")


def test_a_token_without_kid_is_tried_against_the_set(make):
    old, new = Key("RS256"), Key("RS256")
    post = make(old.jwk(), new.jwk())
    assert ask(post, old.token()).status == ask(post, new.token()).status == 101
    refused(post, Key("RS256").token(), "signature")


def test_keys_rotate_when_the_file_changes_and_drop_nobody(make):
    old, new = Key("RS256", "old"), Key("RS256", "new")
    post = make(old.jwk(), workers=2, jwksRefreshSeconds=1)
    late = new.token()

    async def scene():
        client = await PythonClient.open(post, "steady", token=old.token("steady"))
        assert ask(post, late).status == 401
        write_set(post, new.jwk(), old.jwk())
        await eventually(lambda: ask(post, late).status == 101, "the new key counts")
        await eventually(lambda: ask(post, old.token()).status == 101, "and the old one")
        write_set(post, new.jwk())
        await eventually(lambda: ask(post, old.token()).status == 401, "the old key is gone")
        await eventually(lambda: ask(post, late).status == 101, "the new key stays")
        await client.send("steady", "still here", id="m1")
        assert (await client.message())["id"] == "m1"
        await client.close()

    run(scene())
    assert post.total("jwks_read") == 2 and post.total("jwks_refused") == 0
    assert post.log().count("event=jwks_read") == 3, "at the start, and when it changed"
    assert "keys=2" in post.log()


def test_keys_rotate_with_a_reload_alone_when_nobody_looks(make):
    old, new = Key("ES256", "old"), Key("ES256", "new")
    post = make(old.jwk(), jwksRefreshSeconds=0)
    write_set(post, new.jwk())
    assert ask(post, old.token()).status == 101
    post.reload()
    harness.wait_until(lambda: ask(post, new.token()).status == 101, "the new key counts")
    refused(post, old.token(), "key unknown")
    assert "applied=auth.jwks" in post.log() and post.total("jwks_read") == 0


@pytest.mark.parametrize("text,why", [
    ("{\"keys\": [", "is no JSON"),
    ("", "is no JSON"),
    ("{\"keys\": []}", "allowed at least one"),
    ("<html>502 Bad Gateway</html>", "is no JSON"),
    ("{\"error\": \"try later\"}", "without a list"),
    (None, "unreadable"),
])
def test_a_broken_file_keeps_the_keys_and_says_why_once(make, text, why):
    old, new = Key("ES256", "old"), Key("ES256", "new")
    post = make(old.jwk(), jwksRefreshSeconds=1)
    if text is None:
        (post.directory / "jwks.json").unlink()
    else:
        write_set(post, text=text)
    harness.wait_until(lambda: post.total("jwks_refused") == 1, "the file is refused")
    assert ask(post, old.token()).status == 101
    assert why in post.log() and post.log().count("event=jwks_kept") == 1
    write_set(post, new.jwk())
    harness.wait_until(lambda: ask(post, new.token()).status == 101, "a good file counts again")
    assert post.total("jwks_refused") == 1 and post.total("jwks_read") == 1
    assert post.log().count("event=jwks_kept") == 1, "the broken file was spoken of once"


def test_a_private_key_or_a_point_off_the_curve_keeps_the_keys(make):
    key = Key("ES256", "k")
    post = make(key.jwk(), jwksRefreshSeconds=1)
    private = b64url(b"x" * 32)
    write_set(post, key.jwk(d=private))
    harness.wait_until(lambda: post.total("jwks_refused") == 1, "a private key is refused")
    assert "private part" in post.log() and private not in post.log()
    write_set(post, {**key.jwk(), "y": b64url(b"y" * 32)})
    harness.wait_until(lambda: post.total("jwks_refused") == 2, "a point off the curve is refused")
    assert "no public key" in post.log()
    assert ask(post, key.token()).status == 101


def check(post):
    result = harness.command("check-config", "--config", post.config_file, check=False)
    return result.returncode, result.stderr


def test_check_config_judges_the_set(make):
    good = Key("RS256", "good")
    weak = {**good.jwk(), "kid": "weak", "n": number((1 << 1023) + 1)}
    post = make(good.jwk(), weak, start=False, audience=None, issuer=None)
    status, said = check(post)
    assert status == 0
    assert "key 2, kid \"weak\"" in said and "2048 to 8192 bits" in said
    assert "auth.audience" in said and "auth.issuer" in said, "unchecked claims are warned of"
    for keys, why in (([weak], "at least one"), ([good.jwk(), good.jwk()], "twice"),
                      ([{**Key("ES256", "off").jwk(), "x": b64url(b"x" * 32)}], "no public key")):
        write_set(post, *keys)
        status, said = check(post)
        assert status == 2 and why in said, said
    secret = Key("HS256", "s")
    write_set(post, secret.jwk(), mode=0o644)
    status, said = check(post)
    assert status == 2 and "chmod 600" in said and secret.jwk()["k"] not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_workers_must_not_be_able_to_write_the_set(make):
    post = make(Key("ES256", "k").jwk(), start=False)
    os.chown(post.directory / "jwks.json", pwd.getpwnam("nobody").pw_uid, -1)
    result = harness.command("serve", "--config", post.config_file, check=False)
    assert result.returncode == 2 and "auth.jwks" in result.stderr and "chown root" in result.stderr


def test_claims_of_the_configuration_hold_address_and_rights(make):
    key = Key("RS256", "k")
    rights = "https://example.com/po"
    post = make(key.jwk(), claims={"address": "email", "rights": rights},
                defaultGrant={"send": ["al@*"], "groups": ["#team"]})

    async def scene():
        al = await PythonClient.open(post, "al@example.com", token=key.token("17", email="al@example.com"))
        bo = await PythonClient.open(post, "bo@example.com", token=key.token(
            "18", email="bo@example.com", email_verified=True, **{rights: {"groups": [], "relay": ["bot-*"]}}))
        await bo.send("al@example.com", "hello", id="m1")
        assert (await al.message())["from"] == "bo@example.com"
        await al.send("bo@example.com", "no", id="m2")
        assert (await al.rejected())["code"] == "forbidden-to", "the default grant does not allow it"
        for client, allowed in ((al, True), (bo, False)):
            await client.send("#team", "all", id="m3", type=3)
            answer = await (client.said("accepted") if allowed else client.rejected())
            assert allowed or answer["code"] == "forbidden-to"
        await al.close()
        await bo.close()

    run(scene())
    assert ask(post, key.token("18", email="bo@x", **{rights: {"relay": ["bot-*"]}}), "bot-1").status == 101
    refused(post, key.token("17"), "claim email is missing")
    refused(post, key.token("17", email="#team"), "claim email is no user address")
    refused(post, key.token("17", email="postmaster"), "claim email is no user address")
    refused(post, key.token("17", email=" al@x"), "claim email is no user address")
    refused(post, key.token("17", email=["al@x"]), "claim email is no text")
    refused(post, key.token("17", email="al@x", email_verified=False), "claim email_verified is not true")
    refused(post, key.token("17", email="al@x", **{rights: []}), f"claim {rights} is no object")


def test_token_issue_makes_what_the_configuration_asks_for(make):
    post = make(Key("RS256", "k").jwk(), claims={"address": "email", "rights": "rights"})
    issued = harness.command("token", "issue", "--config", post.config_file, "--sub", "bot@x", "--group", "#a",
                             "--print-jti").stdout.splitlines()
    assert len(issued) == 2 and ask(post, issued[0]).status == 101
    claims = jwt.decode(issued[0], options={"verify_signature": False})
    assert claims["email"] == "bot@x" and claims["rights"] == {"groups": ["#a"]} and claims["jti"] == issued[1]
    assert claims["iss"] == ISSUER and claims["aud"] == "post" and "sub" not in claims and "po" not in claims
    other = harness.command("token", "issue", "--key", post.keys.seed_file(), "--sub", "bot@x", "--aud", "post", "--iss",
                            ISSUER, "--address-claim", "email", "--jti", "mine", "--print-jti").stdout.splitlines()
    assert other[1] == "mine" and ask(post, other[0]).status == 101


def test_token_verify_knows_the_set(make):
    key = Key("PS256", "k")
    post = make(key.jwk(), start=False)
    verify = lambda token: harness.command("token", "verify", "--config", post.config_file, check=False, input=token)
    good = verify(key.token())
    assert good.returncode == 0 and json.loads(good.stdout)["sub"] == "alice"
    bad = verify(key.token(aud="else"))
    assert bad.returncode == 1 and "claim aud" in bad.stderr


@pytest.mark.parametrize("options,named", [
    (("--sub", "#team"), "--sub"),
    (("--sub", "postmaster"), "--sub"),
    (("--sub", ""), "--sub"),
    (("--sub", "a", "--jti", "j" * 129), "--jti"),
    (("--sub", "a", "--jti", ""), "--jti"),
    (("--sub", "a", "--jti", "a\nb"), "--jti"),
    (("--sub", "a", "--ttl", "99999999999999"), "--ttl"),
    (("--sub", "a", "--ttl", "1h"), "--ttl"),
    (("--sub", "a", "--group", "team"), "--group"),
    (("--sub", "a", "--group", "te*"), "--group"),
    (("--sub", "a", "--group", ""), "--group"),
    (("--sub", "a", "--send", "x" * 300), "--send"),
    (("--sub", "a", "--relay", ""), "--relay"),
    (("--sub", "a", "--aud", "a\tb"), "--aud"),
    (("--sub", "a", "--iss", ""), "--iss"),
])
def test_token_issue_names_the_option_that_is_wrong(make, options, named):
    post = make(Key("ES256", "k").jwk(), start=False)
    result = harness.command("token", "issue", "--key", post.keys.seed_file(), *options, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith(f"token issue: {named}: "), result.stderr


def test_a_storm_of_reconnects_verifies_each_token_once(make):
    key = Key("RS256", "k")
    revoked = "revoked.txt"
    post = make(key.jwk(), jwksRefreshSeconds=0)
    tokens = [key.token(f"user{i}", jti=f"j{i}") for i in range(20)]
    for _ in range(10):
        for i, token in enumerate(tokens):
            assert ask(post, token, f"user{i}").status == 101
    assert post.total("tokens_remembered") == 180
    refused(post, tokens[0][:-8] + "A" * 8, "signature")
    assert post.total("tokens_remembered") == 180
    (post.directory / revoked).write_text("j0\n")
    post.reload(auth={"revoked": revoked})
    harness.wait_until(lambda: ask(post, tokens[0]).status == 401, "a remembered token that is revoked is refused")
    assert ask(post, tokens[1]).status == 101
    assert post.total("tokens_remembered") == 180, "a reload forgets"
    write_set(post, Key("RS256", "k").jwk())
    post.reload()
    harness.wait_until(lambda: ask(post, tokens[1]).status == 401, "without its key no token is good")
    post.reload(auth={"rememberedTokens": 0})
    before = post.total("tokens_remembered")
    own = post.keys.inside("alice", 600, "--aud", "post", "--iss", ISSUER)
    assert ask(post, own).status == ask(post, own).status == 101
    assert post.total("tokens_remembered") == before


def test_a_remembered_token_ends_in_time(make):
    key = Key("ES256", "k")
    post = make(key.jwk(), leewaySeconds=0)
    token = key.token(exp=int(time.time()) + 2)
    assert ask(post, token).status == ask(post, token).status == 101
    assert post.total("tokens_remembered") == 1
    harness.wait_until(lambda: ask(post, token).status == 401, "it expires though it is remembered")


def test_a_reload_with_a_broken_set_changes_nothing(make):
    key = Key("ES256", "k")
    post = make(key.jwk(), jwksRefreshSeconds=0)
    write_set(post, text="{")
    post.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: "event=config_kept" in post.log(), "the reload is refused")
    assert ask(post, key.token()).status == 101 and "is no JSON" in post.log()
