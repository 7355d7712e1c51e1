"""lua/append_read.lua: a receipt that says "read", from bob, about ann's message m1 in bob's mailbox."""

import pytest

from tables import KEEP, Case, Error, Stream, flat, letter, seq

BOX, IDS, AT = (f"po:{{ann}}:{name}" for name in ("box", "ids", "at"))
MINE, MY_IDS, MY_RC = "po:{bob}:box", "po:{bob}:ids", "po:{bob}:rc"
BEFORE = {BOX: Stream({seq(0): letter("m0")}), IDS: {"": seq(0)},
          MINE: Stream({seq(5): letter("m1", r="3"), seq(6): letter("m1", "zoe", r="2")}),
          MY_IDS: {"m1": f"{seq(5)} ann", "m1\0zoe": f"{seq(6)} zoe"}}
RECEIPT = letter("r1", "bob")
STORED = f"0 {seq(1)} {seq(0)} 0"
AFTER = {BOX: Stream({seq(0): letter("m0"), seq(1): RECEIPT}), IDS: {"r1": f"{seq(1)} bob", "": seq(1)},
         MY_RC: {seq(5): seq(1)}}
NO_SUCH = "3 0-0 0-0 0"


def receipt(sender="ann", about="m1"):
    return {"keys": [BOX, IDS, AT, MINE], "argv": [*flat(RECEIPT), sender, about]}


CASES = [
    Case("the first receipt is stored, and the reader's mailbox remembers it", **receipt(), before=BEFORE,
         answer=STORED, after=AFTER, ttl={MY_RC: KEEP}),
    Case("the places of the sender come with the answer", **receipt(), before={**BEFORE, AT: {"h:0:1": "1"}},
         answer=["h:0:1", STORED], after=AFTER, ttl={MY_RC: KEEP}),
    Case("the second receipt is the first one again", **receipt(),
         before={**BEFORE, MY_RC: {seq(5): seq(0)}, AT: {"h:0:1": "1"}},
         answer=["h:0:1", f"1 {seq(0)} {seq(0)} 0"]),
    Case("… without places too", **receipt(), before={**BEFORE, MY_RC: {seq(5): seq(0)}},
         answer=[f"1 {seq(0)} {seq(0)} 0"]),
    Case("a receipt that lies there already is remembered", **receipt(),
         before={**BEFORE, IDS: {"r1": f"{seq(0)} bob", "": seq(0)}}, answer=f"1 {seq(0)} {seq(0)} 0",
         after={MY_RC: {seq(5): seq(0)}}, ttl={MY_RC: KEEP}),
    Case("the message asked for another receipt", **receipt(sender="zoe"), before=BEFORE, answer=NO_SUCH),
    Case("there is no such message", **receipt(about="m2"), before=BEFORE, answer=NO_SUCH),
    Case("there is none of this sender", **receipt(sender="dan"), before=BEFORE, answer=NO_SUCH),
    Case("the message is gone, its id is not", **receipt(), before={**BEFORE, MINE: Stream({}, last=seq(6))},
         answer=NO_SUCH),
    Case("a full mailbox refuses, and nothing is remembered", **receipt(), before=BEFORE,
         limits={"messages_max": 1, "full": "reject"}, answer="2 0-0 0-0 0"),
    *[Case(f"a wrong type of {key}: an error, and nothing is stored", **receipt(), before={**BEFORE, key: "text"},
           answer=Error("WRONGTYPE")) for key in (BOX, IDS, AT, MINE, MY_IDS, MY_RC)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_append_read(table, case):
    table.check("append_read", case)
