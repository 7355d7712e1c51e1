"""lua/trace.lua: what bob's mailbox knows of ann's message m1."""

import pytest

from tables import Case, Error, Stream, letter, rank, receipt_id, seq

BOX, IDS, CUR, RQ, RC = (f"po:{{bob}}:{name}" for name in ("box", "ids", "cur", "rq", "rc"))
ANN, EPOCH = "po:{ann}:ids", "po:epoch"


def trace(sender="ann", one="m1"):
    return {"keys": [BOX, IDS], "argv": [sender, one, "bob"]}


def mail(**more):
    return {BOX: Stream({seq(1): letter("m1", **more), seq(2): letter("m2")}),
            IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)}}


def receipt(state, to="ann", sender="bob"):
    return {receipt_id(state, to, sender, "m1", seq(1)): f"7-{state} {sender}"}


GONE = {BOX: Stream({seq(2): letter("m2")}, last=seq(2)), IDS: mail()[IDS]}

CASES = [
    Case("nothing is known of it", **trace(one="m3"), before=mail(), answer=[0, "", "", "", "", "", ""]),
    Case("nor of one of this sender", **trace("zoe"), before=mail(), answer=[0, "", "", "", "", "", ""]),
    Case("it lies there", **trace(), before=mail(x="99999999999"), answer=[1, seq(1), "", "", "", "", "99999999999"]),
    Case("a device has acknowledged it", **trace(), before={**mail(), CUR: {"phone": f"{seq(1)}@e1", "\1": f"{seq(1)}@e1"}, EPOCH: "e1"},
         answer=[2, seq(1), "", "", "", "", ""]),
    Case("a device has acknowledged less", **trace(one="m2"),
         before={**mail(), CUR: {"phone": f"{seq(1)}@e1", "\1": f"{seq(1)}@e1"}, EPOCH: "e1"}, answer=[1, seq(2), "", "", "", "", ""]),
    Case("a receipt is still waited for", **trace(), before={**mail(r="2"), RQ: [(rank(seq(1)) + "\0m1\0ann", 0)]},
         answer=[1, seq(1), "", "", "", "", ""]),
    Case("the receipts say when", **trace(), before={**mail(r="3"), RC: {seq(1): "8-0"}, ANN: receipt("2")},
         answer=[2, seq(1), "7-2", "8-0", "", "", ""]),
    Case("it was taken out, and nobody says why", **trace(), before=GONE, answer=[3, seq(1), "", "", "", "", ""]),
    Case("it was recalled: the sender has a receipt", **trace(), before={**GONE, ANN: receipt("4")},
         answer=[3, seq(1), "", "", "7-4", "", ""]),
    Case("or the recipient has", **trace(), before={**GONE, IDS: {**GONE[IDS], **receipt("4", "bob", "ann")}},
         answer=[3, seq(1), "", "", "7-4", "", ""]),
    Case("it expired", **trace(), before={**GONE, ANN: receipt("5")}, answer=[3, seq(1), "", "", "", "7-5", ""]),
    Case("a receipt of somebody else does not count", **trace(),
         before={**GONE, ANN: {receipt_id("5", "ann", "bob", "m1", seq(1)): "7-5 zoe"}}, answer=[3, seq(1), "", "", "", "", ""]),
    Case("a wrong type of the sender's ids: no receipt is found", **trace(), before={**mail(), ANN: "text"},
         answer=[1, seq(1), "", "", "", "", ""]),
    Case("a wrong type of ids: an error", **trace(), before={**mail(), IDS: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trace(table, case):
    table.check("trace", case)
