"""lua/append_noted.lua: a letter that asks for a receipt or that expires. The append itself: test_append.py."""

import pytest

from tables import FAR, KEEP, LIMITS, Case, Error, Now, Stream, flat, letter, rank, seq

BOX, IDS, AT, RQ = (f"po:{{bob}}:{name}" for name in ("box", "ids", "at", "rq"))
KEYS = [BOX, IDS, AT]
EXPIRING = "po:expiring"
BEFORE = {BOX: Stream({seq(0): letter("m0")}), IDS: {"": seq(0)}}
STORED = f"0 {seq(1)} {seq(0)} 0"


def append(**more):
    return {"keys": KEYS, "argv": flat(letter("m1", **more))}


def stored(**more):
    return {BOX: Stream({seq(0): letter("m0"), seq(1): letter("m1", **more)}), IDS: {"m1": f"{seq(1)} ann", "": seq(1)}}


WAITS = (rank(seq(1)) + "\0m1\0ann", 0)
EXPIRES = f"x {seq(1)} {{bob}}"

CASES = [
    Case("a letter that asks for a receipt waits for an ack", **append(r="2"), before=BEFORE, answer=STORED,
         after={**stored(r="2"), RQ: [WAITS]}, ttl={RQ: KEEP}),
    Case("… beside others", **append(r="3"), before={**BEFORE, RQ: [(rank(seq(0)) + "\0m0\0ann", 0)]}, answer=STORED,
         after={**stored(r="3"), RQ: [(rank(seq(0)) + "\0m0\0ann", 0), WAITS]}),
    Case("… and the places come with the answer", **append(r="2"), before={**BEFORE, AT: {"h:0:1": "1"}},
         answer=["h:0:1", STORED], after={**stored(r="2"), RQ: [WAITS]}, ttl={RQ: KEEP}),
    Case("a letter that expires", **append(x="5"), before=BEFORE, answer=STORED,
         after={**stored(x="5"), EXPIRING: [(EXPIRES, 5)]}),
    Case("… is due after the age at the latest", **append(x=str(FAR)), before=BEFORE, answer=STORED,
         after={**stored(x=str(FAR)), EXPIRING: [(EXPIRES, Now(LIMITS["age_s"]))]}),
    Case("both", **append(x="5", r="2"), before=BEFORE, answer=STORED,
         after={**stored(x="5", r="2"), RQ: [WAITS], EXPIRING: [(EXPIRES, 5)]}, ttl={RQ: KEEP}),
    Case("a repetition is not noted again", **append(x="5", r="2"), before={**BEFORE, IDS: {"m1": f"{seq(0)} ann"}},
         answer=f"1 {seq(0)} {seq(0)} 0"),
    Case("a letter that was refused is not noted", **append(x="5", r="2"), before=BEFORE,
         limits={"messages_max": 1, "full": "reject"}, answer="2 0-0 0-0 0"),
    *[Case(f"a wrong type of {key}: an error, and nothing is stored", **append(x="5", r="2"),
           before={**BEFORE, key: "text"}, answer=Error("WRONGTYPE")) for key in (BOX, IDS, AT, RQ, EXPIRING)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_append_noted(table, case):
    table.check("append_noted", case)
