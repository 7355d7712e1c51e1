"""lua/recall.lua: ann takes m1 back from bob's mailbox."""

import pytest

from tables import LIMITS, Case, Error, Now, Stream, letter, owed, rank, receipt_id, seq

BOX, IDS, CUR, TH, RQ, RC = (f"po:{{bob}}:{name}" for name in ("box", "ids", "cur", "th", "rq", "rc"))
OWED, EXPIRING, EPOCH = "po:owed", "po:expiring", "po:epoch"
GONE = Now(LIMITS["dedupe_s"])


def recall(sender="ann", one="m1"):
    return {"keys": [BOX, IDS], "argv": [sender, one, "bob"]}


def mail(**more):
    return {BOX: Stream({seq(1): letter("m1", **more), seq(2): letter("m2")}),
            IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)}}


LEFT = {BOX: Stream({seq(2): letter("m2")}, last=seq(2)), EXPIRING: [(f"i {seq(1)} {{bob}}\nm1", GONE)]}
WAITS = (rank(seq(1)) + "\0m1\0ann", 0)
TO_BOB, TO_ANN = owed("4", "bob", "ann", "m1", seq(1)), owed("4", "ann", "bob", "m1", seq(1))

CASES = [
    Case("the message goes; its id is known for DEDUPE seconds more", **recall(), before=mail(), answer=[1],
         after=LEFT),
    Case("its counted bytes go with it", **recall(),
         before={**mail(s="600"), IDS: {**mail()[IDS], "/bytes": "900"}}, answer=[1],
         after={**LEFT, IDS: {**mail()[IDS], "/bytes": "300"}}),
    Case("there is no such message", **recall(one="m3"), before=mail(), answer=[0]),
    Case("nor one of this sender", **recall(sender="zoe"), before=mail(), answer=[0]),
    Case("nor a mailbox", **recall(), answer=[0]),
    Case("an id of two senders", **recall(sender="zoe"),
         before={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m1", "zoe")}),
                 IDS: {"m1": f"{seq(1)} ann", "m1\0zoe": f"{seq(2)} zoe"}}, answer=[1],
         after={BOX: Stream({seq(1): letter("m1")}, last=seq(2)),
                EXPIRING: [(f"i {seq(2)} {{bob}}\nm1\0zoe", GONE)]}),
    Case("the devices learn of it, with the message's level", **recall(),
         before={**mail(l="3"), CUR: {"phone": "0-0@e1"}, EPOCH: "e1"},
         answer=[1, owed("4", "bob", "ann", "m1", seq(1), level=3), ""],
         after={**LEFT, OWED: [(owed("4", "bob", "ann", "m1", seq(1), level=3), Now(5))],
                CUR: {"phone": "0-0@e1", "\1": "0-0@e1"}}),
    Case("and the sender who asked for a receipt", **recall(),
         before={**mail(r="2", t="m0", x="99999999999"), RQ: [WAITS], RC: {seq(1): "5-0"},
                 TH: [("m0\0" + rank(seq(1)), 0)], EXPIRING: [(f"x {seq(1)} {{bob}}", 7)]},
         answer=[1, TO_ANN, ""],
         after={**LEFT, OWED: [(TO_ANN, Now(5))], RQ: None, RC: None, TH: None}),
    Case("both", **recall(), before={**mail(r="2"), RQ: [WAITS], CUR: {"phone": "0-0@e1"}},
         answer=[1, TO_BOB, "", TO_ANN, ""],
         after={**LEFT, OWED: sorted([(TO_BOB, Now(5)), (TO_ANN, Now(5))], key=lambda one: one[0].pattern), RQ: None}),
    Case("a message that a device has acknowledged stays", **recall(),
         before={**mail(), CUR: {"phone": f"{seq(1)}@e1"}, EPOCH: "e1"},
         answer=[2, TO_BOB, ""],
         after={OWED: [(TO_BOB, Now(5))], CUR: {"phone": f"{seq(1)}@e1", "\1": f"{seq(1)}@e1"}}),
    Case("the highest acknowledgement is read from its field", **recall(),
         before={**mail(), CUR: {"phone": "0-0@e1", "\1": f"{seq(1)}@e1"}, EPOCH: "e1"},
         answer=[2, TO_BOB, ""], after={OWED: [(TO_BOB, Now(5))]}),
    Case("the devices learn of it, though none has acknowledged anything", **recall(),
         before={**mail(), CUR: {"\2": "phone\x010-0@e1\0", "\1": "0-0@e1"}, EPOCH: "e1"},
         answer=[1, TO_BOB, ""], after={**LEFT, OWED: [(TO_BOB, Now(5))]}),
    Case("a cursor of another epoch does not count", **recall(),
         before={**mail(), CUR: {"phone": f"{seq(1)}@e0"}, EPOCH: "e1"},
         answer=[1, TO_BOB, ""],
         after={**LEFT, OWED: [(TO_BOB, Now(5))], CUR: {"phone": f"{seq(1)}@e0", "\1": "0-0@e1"}}),
    Case("a message with a receipt that does not wait was acknowledged", **recall(), before=mail(r="2"), answer=[2]),
    Case("where sessions share the mailbox: given and not acknowledged", **recall(),
         before={**mail(), BOX: Stream(mail()[BOX].entries, groups={"po": (seq(2), {"a": [seq(1)]})})}, answer=[1],
         after={**LEFT, BOX: Stream({seq(2): letter("m2")}, groups={"po": (seq(2), {"a": [seq(1)]})})}),
    Case("… acknowledged by one of them", **recall(),
         before={**mail(), BOX: Stream(mail()[BOX].entries, groups={"po": (seq(2), {"a": [seq(2)]})})}, answer=[2]),
    Case("… not given yet", **recall(),
         before={**mail(), BOX: Stream(mail()[BOX].entries, groups={"po": (seq(0), {})})}, answer=[1],
         after={**LEFT, BOX: Stream({seq(2): letter("m2")}, groups={"po": (seq(0), {})})}),
    Case("devices that know already are not owed it", **recall(),
         before={**mail(), CUR: {"phone": "0-0@e1"},
                 IDS: {**mail()[IDS], receipt_id("4", "bob", "ann", "m1", seq(1)): f"{seq(2)} ann"}},
         answer=[1], after=LEFT),
    Case("a wrong type of the box: not there", **recall(), before={**mail(), BOX: "text"}, answer=[0]),
    *[Case(f"a wrong type of {key}: an error, and nothing is written", **recall(), before={**mail(), key: "text"},
           answer=Error("WRONGTYPE")) for key in (IDS, OWED)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_recall(table, case):
    table.check("recall", case)
