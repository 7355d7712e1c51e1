"""lua/forget.lua: a place at which nobody listens goes from :at."""

import pytest

from tables import Case, Error

AT = "po:{bob}:at"
PLACES = {"h:0:1": "1", "h:0:1/5": "1 phone", "h:0:1/6": "2 tab", "h:0:12/7": "3 x", "h:0:2": "1"}
ARGV = ["h:0:1", "po:w:h:0:1"]

CASES = [
    Case("the place and its sessions go, no other does", keys=[AT], argv=ARGV, before={AT: PLACES}, answer=3,
         after={AT: {"h:0:12/7": "3 x", "h:0:2": "1"}}),
    Case("somebody listens: nothing goes", keys=[AT], argv=ARGV, before={AT: PLACES}, listen=["po:w:h:0:1"],
         answer=0),
    Case("somebody listens elsewhere", keys=[AT], argv=ARGV, before={AT: {"h:0:1": "1"}}, listen=["po:w:h:0:12"],
         answer=1, after={AT: None}),
    Case("there are no places", keys=[AT], argv=ARGV, answer=0),
    Case("a wrong type: an error", keys=[AT], argv=ARGV, before={AT: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forget(table, case):
    table.check("forget", case)
