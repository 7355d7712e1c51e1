"""lua/revoked.lua: the revocations that have changed since a version."""

import pytest

from tables import Case, Error

REVOKED, LOG = "po:revoked", "po:revoked:log"
STATE = {REVOKED: {"": "9 4", "sub:a": "x", "jti:b": "y"}, LOG: [("sub:a", 5), ("sub:gone", 8), ("jti:b", 9)]}


def revoked(since, most=10, whole="0"):
    return {"keys": [REVOKED, LOG], "argv": [since, most, whole], "after": {}}


CASES = [
    Case("none was ever entered", **revoked(0), answer=["0", "0"]),
    Case("all, the oldest change first; what was taken back has no value", **revoked(4), before=STATE,
         answer=["9", "0", "5", "sub:a", "x", "8", "sub:gone", "", "9", "jti:b", "y"]),
    Case("those behind a version", **revoked(8), before=STATE, answer=["9", "0", "9", "jti:b", "y"]),
    Case("nothing new", **revoked(9), before=STATE, answer=["9", "0"]),
    Case("a page", **revoked(4, 1), before=STATE, answer=["9", "0", "5", "sub:a", "x"]),
    Case("too old a version: all must be read", **revoked(3), before=STATE, answer=["9", "1"]),
    Case("reading all", **revoked(0, 1, "1"), before=STATE, answer=["9", "0", "5", "sub:a", "x"]),
    Case("a caller that knows more than Redis", **revoked(100), before=STATE, answer=["9", "0"]),
    Case("a wrong type: an error", **revoked(0), before={REVOKED: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_revoked(table, case):
    table.check("revoked", case)
