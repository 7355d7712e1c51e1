"""lua/lease.lua: a worker says that it lives."""

import pytest

from tables import Case, Error, Now

KEYS = PLACES, LOSSES = ["po:places", "po:losses"]
FAR = 9000000000000
TIME = Now(unit=1e6)


def argv(lost="0", place="h:0:1"):
    return [place, 300000, "po:w:", "hello", lost]


CASES = [
    Case("the first worker", keys=KEYS, argv=argv(), answer=["h:0:1", TIME, "0"],
         after={PLACES: [("h:0:1", Now(300, unit=1000))]}),
    Case("a worker that comes says hello to all others", keys=KEYS, argv=argv(),
         before={PLACES: [("h:0:2", FAR)], LOSSES: "4"}, listen=["po:w:h:0:1", "po:w:h:0:2"],
         answer=["h:0:1", "h:0:2", TIME, "4"], heard=[("po:w:h:0:2", "hello")],
         after={PLACES: [("h:0:1", Now(300, unit=1000)), ("h:0:2", FAR)]}),
    Case("a worker that goes on says hello to nobody", keys=KEYS, argv=argv(),
         before={PLACES: [("h:0:1", FAR), ("h:0:2", FAR)]}, answer=["h:0:1", "h:0:2", TIME, "0"],
         after={PLACES: [("h:0:1", Now(300, unit=1000)), ("h:0:2", FAR)]}),
    Case("a lease that has ended goes, and counts as a loss", keys=KEYS, argv=argv(),
         before={PLACES: [("h:0:2", 1), ("h:0:1", FAR)]}, answer=["h:0:1", TIME, "1"],
         after={PLACES: [("h:0:1", Now(300, unit=1000))], LOSSES: "1"}),
    Case("lost doorbells are counted for all", keys=KEYS, argv=argv("1"),
         before={PLACES: [("h:0:1", FAR)], LOSSES: "1"}, answer=["h:0:1", TIME, "2"],
         after={PLACES: [("h:0:1", Now(300, unit=1000))], LOSSES: "2"}),
    Case("a wrong type: an error", keys=KEYS, argv=argv(), before={PLACES: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lease(table, case):
    table.check("lease", case)
