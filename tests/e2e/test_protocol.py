"""docs/protocol.md: every dialogue is played against the server, every other block is used, and every reference leads somewhere."""

import json
import re
import time

import pytest

import clients
import dialogues
from clients import PythonClient, run
from schema import ROOT

BLOCKS = dialogues.blocks()
RIGHTS = {"send": ["*"], "groups": ["#team"]}
# The harness lifts these limits for tests; the page prints the defaults.
DEFAULTS = {"messagesPerSecond": None, "queueBytes": None}


@pytest.mark.parametrize("block", [pytest.param(block, id=f"line {block.line}: {block.heading}") for block in BLOCKS if block.language == "dialogue"])
def test_a_dialogue_is_what_the_server_says(server, block):
    config = {"limits": DEFAULTS, "auth": {"leewaySeconds": 0}, **block.config}
    more = {"redis": None} if "redis" in config and config.pop("redis") is None else {}
    dialogues.Play(server(workers=1, config=config, **more), RIGHTS).run(block)


def test_the_claims_of_the_page_give_the_rights_that_it_names(server):
    [block] = [block for block in BLOCKS if block.language == "json"]
    claims = json.loads("\n".join(block.lines))
    assert claims["exp"] - claims["iat"] == 3600
    claims.update(iat=int(time.time()), exp=int(time.time()) + 3600)
    post = server(workers=1)
    token = post.token(claims.pop("sub"), **claims)

    async def scene():
        alice = await PythonClient.open(post, "alice", token=token)
        for to in ("bob", "/service/erp"):
            sent = await alice.send(to, type=1)
            await alice.said("accepted", inReplyTo=sent["id"])
        assert (await alice.rejected(await alice.send("carol", type=1)))["code"] == "forbidden-to"
        assert (await alice.order("subscribe", tags=["#team", "#team/blue"]))["subject"] == "result"
        assert (await alice.order("subscribe", tags=["#other"]))["code"] == "forbidden-to"
        await alice.close()

    run(scene())


def test_every_block_of_the_page_is_run_or_is_the_picture_of_the_states():
    others = [block for block in BLOCKS if block.language not in ("dialogue", "json")]
    assert [(block.language, block.heading) for block in others] == [("", "The states of a session")]


def test_every_flow_has_a_dialogue():
    text = "\n".join(line for block in BLOCKS if block.language == "dialogue" for line in block.lines)
    for subject in ("welcome", "replayed", "accepted", "rejected", "goodbye", "ack", "history", "presence", "recall", "renew", "subscribe",
                    "unsubscribe", "delivered", "recalled", "read"):
        assert f'"subject":"{subject}"' in text, subject
    for form in ('"recovered":false', '"service":true', '"refused":', '"type":2', '"type":3', "since=now", "refusals=close", "close 4500"):
        assert form in text, form


# ------------------------------------------------------------------------------------------------ references

PAGE = (ROOT / "docs/protocol.md").read_text()
HEADINGS = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", PAGE, flags=re.S), re.M)
NUMBERS = {match[1] for heading in HEADINGS if (match := re.match(r"(\d+(?:\.\d+)?)\.? ", heading))}
PROSE = re.sub(r"```.*?```|`[^`]*`", "", PAGE, flags=re.S)


def anchor(heading):
    """The fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_sections_are_numbered_without_a_gap():
    numbers = [match[1] for heading in HEADINGS if (match := re.match(r"(\d+(?:\.\d+)?)\.? ", heading))]
    expected, section, part = [], 0, 0
    for number in numbers:
        section, part = (section, part + 1) if "." in number else (section + 1, 0)
        expected.append(f"{section}.{part}" if part else str(section))
    assert numbers == expected


def test_references_in_the_page_lead_to_sections():
    anchors = {anchor(heading) for heading in HEADINGS}
    for target in re.findall(r"\]\(#([^)]+)\)", PAGE):
        assert target in anchors, target
    for path in re.findall(r"\]\(((?!#)[^)#]+)", PAGE):
        assert (ROOT / "docs" / path).exists(), path
    without_rfc = re.sub(r"RFC \d+(?: sections?)? [\d.]+|TLS 1\.\d[^.]{0,12}|HTTP/\d\.\d|`[^`]*`", "", PROSE)
    for number in re.findall(r"(?<![\d.\-])([1-9]\.[1-9]\d?)(?![\d.])", without_rfc):
        assert number in NUMBERS, number


def test_references_in_other_files_lead_to_sections():
    """`docs/protocol.md, section 5.6` and the like, in code, tests and documents."""
    found = 0
    for path in ROOT.rglob("*"):
        if path.suffix not in (".c", ".h", ".py", ".js", ".ts", ".java", ".md", ".yaml", ".json", ".5", ".8") or not path.is_file() or {"build", ".git", "node_modules"} & set(path.parts):
            continue
        text = re.sub(r"\s*\n\s*(?:\*|//|#)?\s*", " ", path.read_text(errors="replace"))
        for numbers in re.findall(r"protocol\.md\)?,? sections? ([\d.]+(?:(?: and | to |, )[\d.]+)*)", text):
            for number in re.findall(r"\d+(?:\.\d+)?", numbers):
                assert number in NUMBERS, f"{path}: {number}"
                found += 1
    assert found > 20
