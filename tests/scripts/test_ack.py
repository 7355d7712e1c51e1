"""lua/ack.lua: the cursor of a device goes forward, or into a new epoch."""

import pytest

from tables import KEEP, Case, Error

CUR = "po:{bob}:cur"


def ack(promise, before, seq, answer, after=None, epoch="e1"):
    cursor = {"phone": before}
    return Case(promise, keys=[CUR], argv=["phone", seq, epoch], before={CUR: cursor}, answer=answer,
                after={CUR: {"phone": after or before}})


CASES = [
    Case("the first ack makes the cursor, and keeps the key for twice the age",
         keys=[CUR], argv=["phone", "5-0", "e1"], answer=1, after={CUR: {"phone": "5-0@e1"}}, ttl={CUR: KEEP}),
    ack("forward", "5-0@e1", "6-0", 1, "6-0@e1"),
    ack("forward within a millisecond", "5-2@e1", "5-10", 1, "5-10@e1"),
    ack("not back", "10-0@e1", "9-7", 0),
    ack("not back within a millisecond", "5-10@e1", "5-9", 0),
    ack("the same again", "5-1@e1", "5-1", 0),
    ack("numbers that no double holds", "18446744073709551614-0@e1", "18446744073709551615-0", 1,
        "18446744073709551615-0@e1"),
    ack("a new epoch counts from its beginning", "9-0@e1", "1-0", 1, "1-0@e2", epoch="e2"),
    Case("another device keeps its own",
         keys=[CUR], argv=["tab", "1-0", "e1"], before={CUR: {"phone": "9-0@e1"}}, answer=1,
         after={CUR: {"phone": "9-0@e1", "tab": "1-0@e1"}}, ttl={CUR: KEEP}),
    Case("what is no cursor is replaced",
         keys=[CUR], argv=["phone", "1-0", "e1"], before={CUR: {"phone": "nonsense"}}, answer=1,
         after={CUR: {"phone": "1-0@e1"}}),
    Case("a wrong type: an error", keys=[CUR], argv=["phone", "1-0", "e1"], before={CUR: "text"},
         answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ack(table, case):
    table.check("ack", case)
