"""lua/newest.lua: the newest seq that a box ever gave."""

import pytest

from tables import Case, Stream, letter, seq

BOX, IDS = "po:{bob}:box", "po:{bob}:ids"

CASES = [
    Case("there is no box", keys=[BOX], answer=""),
    Case("the newest entry", keys=[BOX], before={BOX: Stream({seq(1): letter("a"), seq(2): letter("b")})},
         answer=seq(2)),
    Case("a removed entry counts", keys=[BOX], before={BOX: Stream({seq(1): letter("a")}, last=seq(9))},
         answer=seq(9)),
    Case("read from ids", keys=[BOX], before={BOX: Stream({seq(1): letter("a")}, last=seq(9)), IDS: {"": seq(9)}},
         answer=seq(9)),
    Case("damaged ids", keys=[BOX], before={BOX: Stream({seq(1): letter("a")}, last=seq(9)), IDS: "text"},
         answer=seq(9)),
    Case("the box is gone", keys=[BOX], before={IDS: {"": seq(9)}}, answer=""),
    Case("a wrong type is no box", keys=[BOX], before={BOX: "text"}, answer=""),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_newest(table, case):
    table.check("newest", case)
