"""lua/ack_asked.lua: an ack of messages that asked for a receipt. The cursor alone: test_ack.py."""

import pytest

from tables import KEEP, Case, Error, Now, owed, rank, receipt_id, seq

CUR, RQ, OWED = "po:{bob}:cur", "po:{bob}:rq", "po:owed"


def waits(n, one, sender="ann"):
    return (rank(seq(n)) + f"\0{one}\0{sender}", 0)


def ack(upto, ranges, most=10):
    return {"keys": [CUR], "argv": ["phone", upto, "e1", "bob", most, ranges]}


def receipt(n, one, sender="ann"):
    return owed("2", sender, "bob", one, seq(n))


WAITING = {RQ: [waits(1, "m1"), waits(2, "m2", "zoe"), waits(9, "m9"), waits(10, "m10")]}


def done(n):
    return {"phone": f"{seq(n)}@e1", "\0": "phone\0", "\1": f"{seq(n)}@e1"}


DONE = done(9)

CASES = [
    Case("each message of the range is owed a receipt, and the cursor moves",
         **ack(seq(9), f"{seq(1)} {seq(9)}"), before=WAITING,
         answer=[0, 1, receipt(1, "m1"), "", receipt(2, "m2", "zoe"), "", receipt(9, "m9"), ""],
         after={RQ: [waits(10, "m10")], CUR: DONE,
                OWED: sorted([(receipt(1, "m1"), Now(5)), (receipt(2, "m2", "zoe"), Now(5)), (receipt(9, "m9"), Now(5))],
                             key=lambda one: one[0].pattern)}, ttl={CUR: KEEP}),
    Case("several ranges", **ack(seq(10), f"{seq(1)} {seq(1)} {seq(10)} {seq(10)}"), before=WAITING,
         answer=[0, 1, receipt(1, "m1"), "", receipt(10, "m10"), ""],
         after={RQ: [waits(2, "m2", "zoe"), waits(9, "m9")], CUR: done(10),
                OWED: [(receipt(1, "m1"), Now(5)), (receipt(10, "m10"), Now(5))]}, ttl={CUR: KEEP}),
    Case("more than a step: the cursor waits", **ack(seq(9), f"{seq(1)} {seq(9)}", most=1), before=WAITING,
         answer=[1, 0, receipt(1, "m1"), ""], after={RQ: WAITING[RQ][1:], OWED: [(receipt(1, "m1"), Now(5))]}),
    Case("none of them waits any more", **ack(seq(9), f"{seq(1)} {seq(9)}"), answer=[0, 1], after={CUR: DONE},
         ttl={CUR: KEEP}),
    Case("messages between that are not acknowledged in order: no cursor", **ack("0-0", f"{seq(2)} {seq(2)}"),
         before=WAITING, answer=[0, 0, receipt(2, "m2", "zoe"), ""],
         after={RQ: [waits(1, "m1"), waits(9, "m9"), waits(10, "m10")], OWED: [(receipt(2, "m2", "zoe"), Now(5))]}),
    Case("a receipt that lies in the sender's mailbox already is not owed", **ack(seq(1), f"{seq(1)} {seq(1)}"),
         before={**WAITING, "po:{ann}:ids": {receipt_id("2", "ann", "bob", "m1", seq(1)): f"{seq(3)} bob"}},
         answer=[0, 1], after={RQ: WAITING[RQ][1:], CUR: done(1)}, ttl={CUR: KEEP}),
    Case("what is no member goes", **ack(seq(1), f"{seq(1)} {seq(1)}"),
         before={RQ: [(rank(seq(1)), 0)]}, answer=[0, 1], after={RQ: None, CUR: done(1)},
         ttl={CUR: KEEP}),
    *[Case(f"a wrong type of {key}: an error, and nothing is written", **ack(seq(9), f"{seq(1)} {seq(9)}"),
           before={**WAITING, key: "text"}, answer=Error("WRONGTYPE")) for key in (RQ, OWED)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ack_asked(table, case):
    table.check("ack_asked", case)
