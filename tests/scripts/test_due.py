"""lua/due.lua: messages that have expired, and receipts that are owed for too long."""

import pytest

from tables import FAR, LIMITS, Case, Error, Now, Stream, letter, owed, rank, seq

EXPIRING, OWED, EPOCH = "po:expiring", "po:owed", "po:epoch"
KEYS = [EXPIRING, OWED]
BOX, IDS, RQ, CUR = (f"po:{{bob}}:{name}" for name in ("box", "ids", "rq", "cur"))
EXPIRES = f"x {seq(1)} {{bob}}"
GONE = (f"i {seq(1)} {{bob}}\nm1", Now(LIMITS["dedupe_s"]))
WAITS = (rank(seq(1)) + "\0m1\0ann", 0)
EMPTY = Stream({}, last=seq(1))


def mail(score=1, **more):
    return {BOX: Stream({seq(1): letter("m1", **more)}), IDS: {"m1": f"{seq(1)} ann"}, EXPIRING: [(EXPIRES, score)]}


def line(to="ann", state="2"):
    return f"{state}\n{to}\nbob\nm1\nreceipt-2.x\n1700000000\n0"


RECEIPT = owed("5", "ann", "bob", "m1", seq(1))

CASES = [
    Case("nothing is due", keys=KEYS, argv=[10], answer=[0, 0]),
    Case("a message that has expired goes; its id is known for DEDUPE seconds more", keys=KEYS, argv=[10],
         before=mail(x="5"), answer=[1, 0], after={BOX: EMPTY, EXPIRING: [GONE]}),
    Case("the sender who asked for a receipt is owed one", keys=KEYS, argv=[10],
         before={**mail(x="5", r="2"), RQ: [WAITS]}, answer=[1, 0, RECEIPT, ""],
         after={BOX: EMPTY, EXPIRING: [GONE], OWED: [(RECEIPT, Now(5))], RQ: None}),
    Case("an address with braces in it", keys=KEYS, argv=[10],
         before={"po:{b%7Bo%7D%25}:box": Stream({seq(1): letter("m1", x="5", r="2")}),
                 "po:{b%7Bo%7D%25}:rq": [WAITS], EXPIRING: [(f"x {seq(1)} {{b%7Bo%7D%25}}", 1)]},
         answer=[1, 0, owed("5", "ann", "b{o}%", "m1", seq(1)), ""],
         after={"po:{b%7Bo%7D%25}:box": EMPTY, "po:{b%7Bo%7D%25}:rq": None, EXPIRING: None,
                OWED: [(owed("5", "ann", "b{o}%", "m1", seq(1)), Now(5))]}),
    Case("a message that has not expired is due later, after the age at the latest", keys=KEYS, argv=[10],
         before=mail(x=str(FAR)), answer=[0, 0], after={EXPIRING: [(EXPIRES, Now(LIMITS["age_s"]))]}),
    Case("nor is it due before its time", keys=KEYS, argv=[10], before=mail(score=FAR, x="5"), answer=[0, 0]),
    Case("a message that a device has acknowledged stays", keys=KEYS, argv=[10],
         before={**mail(x="5"), CUR: {"phone": f"{seq(1)}@e1"}, EPOCH: "e1"}, answer=[0, 0],
         after={EXPIRING: None, CUR: {"phone": f"{seq(1)}@e1", "\1": f"{seq(1)}@e1"}}),
    Case("a message that retention has removed", keys=KEYS, argv=[10], before={EXPIRING: [(EXPIRES, 1)]},
         answer=[0, 0], after={EXPIRING: None}),
    Case("the id of a removed message goes when its time has come", keys=KEYS, argv=[10],
         before={IDS: {"m1": f"{seq(1)} ann", "m2": "9-9 ann"}, EXPIRING: [(f"i {seq(1)} {{bob}}\nm1", 1)]},
         answer=[0, 0], after={IDS: {"m2": "9-9 ann"}, EXPIRING: None}),
    Case("… unless the message was sent again", keys=KEYS, argv=[10],
         before={IDS: {"m1": f"{seq(7)} ann"}, EXPIRING: [(f"i {seq(1)} {{bob}}\nm1", 1)]},
         answer=[0, 0], after={EXPIRING: None}),
    Case("what is no member goes", keys=KEYS, argv=[10], before={EXPIRING: [("nonsense", 1)]}, answer=[0, 0],
         after={EXPIRING: None}),
    Case("a wrong type of one mailbox does not keep the others waiting", keys=KEYS, argv=[10],
         before={**mail(x="5"), "po:{cat}:box": "text", EXPIRING: [(f"x {seq(0)} {{cat}}", 1), (EXPIRES, 1)]},
         answer=[1, 0], after={BOX: EMPTY, EXPIRING: [GONE]}),
    Case("a receipt that is owed for too long is taken over", keys=KEYS, argv=[10], before={OWED: [(line(), 1)]},
         answer=[0, 0, line(), ""], after={OWED: [(line(), Now(5))]}),
    Case("… with its seq, when it lies in the mailbox", keys=KEYS, argv=[10],
         before={OWED: [(line(), 1)], "po:{ann}:ids": {"receipt-2.x": f"{seq(3)} bob"}},
         answer=[0, 0, line(), seq(3)], after={OWED: [(line(), Now(5))]}),
    Case("one that another worker has taken waits", keys=KEYS, argv=[10], before={OWED: [(line(), FAR)]},
         answer=[0, 0]),
    Case("a wrong type of its mailbox: it is not there", keys=KEYS, argv=[10],
         before={OWED: [(line(), 1)], "po:{ann}:ids": "text"}, answer=[0, 0, line(), ""],
         after={OWED: [(line(), Now(5))]}),
    Case("more than a step", keys=KEYS, argv=[1],
         before={EXPIRING: [("nonsense", 1), ("other nonsense", 2)], OWED: [(line(), 1), (line("zoe"), 2)]},
         answer=[0, 1, line(), ""], after={EXPIRING: [("other nonsense", 2)], OWED: [(line("zoe"), 2), (line(), Now(5))]}),
    *[Case(f"a wrong type of {key}: an error, and nothing is written", keys=KEYS, argv=[10],
           before={**mail(x="5"), key: "text"}, answer=Error("WRONGTYPE")) for key in KEYS],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_due(table, case):
    table.check("due", case)
