"""lua/revoke.lua: a revocation is entered, or taken back."""

import pytest

from tables import Case, Error, Now

REVOKED, LOG, ENDS = "po:revoked", "po:revoked:log", "po:revoked:ends"
LATER = "9000000000"
DAY = Now(86400)
HEAD = {"": "7 2"}


def revoke(what, value, ends="", most=10, known=0):
    return {"keys": [REVOKED, LOG, ENDS], "argv": [what, value, ends, most, known]}


def state(head, values, log, ends):
    made = {REVOKED: {"": head, **values}, LOG: log, ENDS: ends}
    return {key: value for key, value in made.items() if value}


ONE = state("7 2", {"sub:a": "x"}, [("sub:a", 7)], [])

CASES = [
    Case("the first has the version 1", **revoke("sub:a", "x"), answer=1,
         after={REVOKED: {"": "1 0", "sub:a": "x"}, LOG: [("sub:a", 1)]}),
    Case("an end is noted", **revoke("jti:b", "y", LATER), before=ONE, answer=8,
         after=state("8 2", {"sub:a": "x", "jti:b": "y"}, [("sub:a", 7), ("jti:b", 8)], [("jti:b", int(LATER))])),
    Case("the same name again: the newest counts, and no end any more", **revoke("sub:a", "z"),
         before=state("7 2", {"sub:a": "x"}, [("sub:a", 7)], [("sub:a", int(LATER))]), answer=8,
         after={REVOKED: {"": "8 2", "sub:a": "z"}, LOG: [("sub:a", 8)], ENDS: None}),
    Case("Redis has lost versions that the caller knows", **revoke("sub:b", "y", known=100), before=ONE, answer=101,
         after={REVOKED: {"": "101 2", "sub:a": "x", "sub:b": "y"}, LOG: [("sub:a", 7), ("sub:b", 101)]}),
    Case("past the number: refused", **revoke("sub:b", "y", most=1), before=ONE, answer=0, after={}),
    Case("past the number: one that is there may change", **revoke("sub:a", "y", most=1), before=ONE, answer=8,
         after={REVOKED: {"": "8 2", "sub:a": "y"}, LOG: [("sub:a", 8)]}),
    Case("taken back: the name stays in the log for a day", **revoke("sub:a", ""), before=ONE, answer=8,
         after={REVOKED: {"": "8 2"}, LOG: [("sub:a", 8)], ENDS: [("sub:a", DAY)]}),
    Case("taken back, which is not there", **revoke("sub:b", ""), before=ONE, answer=0, after={}),
    Case("what has ended goes, and makes room", **revoke("sub:b", "y", most=1),
         before=state("7 2", {"sub:a": "x"}, [("sub:a", 7)], [("sub:a", 1000)]), answer=8,
         after={REVOKED: {"": "8 2", "sub:b": "y"}, LOG: [("sub:b", 8)], ENDS: None}),
    Case("a name that was taken back a day ago goes from the log: older versions must read all", **revoke("sub:b", "y"),
         before=state("7 2", {"sub:c": "x"}, [("sub:a", 6), ("sub:c", 7)], [("sub:a", 1000)]), answer=8,
         after={REVOKED: {"": "8 6", "sub:c": "x", "sub:b": "y"}, LOG: [("sub:c", 7), ("sub:b", 8)], ENDS: None}),
    Case("what has ended cannot be taken back", **revoke("sub:a", ""),
         before=state("7 2", {"sub:a": "x"}, [("sub:a", 7)], [("sub:a", 1000)]), answer=0,
         after={REVOKED: {"": "7 2"}, LOG: None, ENDS: None}),
    Case("a wrong type: an error", **revoke("sub:a", "x"), before={REVOKED: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_revoke(table, case):
    table.check("revoke", case)
