"""lua/tick.lua: which data this is, and whether it went back."""

import pytest

from tables import Case, Error

KEYS = EPOCH, TICK = ["po:epoch", "po:tick"]
KNOWN = {EPOCH: "e1", TICK: "7"}

CASES = [
    Case("new data gets the fresh epoch", keys=KEYS, argv=["", 0, "fresh", 0], answer=["fresh", 1],
         after={EPOCH: "fresh", TICK: "1"}),
    Case("a worker that knows nothing learns the epoch", keys=KEYS, argv=["", 0, "fresh", 0], before=KNOWN,
         answer=["e1", 8], after={TICK: "8"}),
    Case("the same data", keys=KEYS, argv=["e1", 7, "fresh", 0], before=KNOWN, answer=["e1", 8], after={TICK: "8"}),
    Case("a tick that went back: a fresh epoch", keys=KEYS, argv=["e1", 9, "fresh", 0], before=KNOWN,
         answer=["fresh", 8], after={EPOCH: "fresh", TICK: "8"}),
    Case("… but another worker was first", keys=KEYS, argv=["e0", 9, "fresh", 0], before=KNOWN,
         answer=["e1", 8], after={TICK: "8"}),
    Case("a worker that knows of a loss: a fresh epoch", keys=KEYS, argv=["e1", 7, "fresh", 1], before=KNOWN,
         answer=["fresh", 8], after={EPOCH: "fresh", TICK: "8"}),
    Case("a tick that went with the epoch left behind", keys=KEYS, argv=["e1", 7, "fresh", 0],
         before={EPOCH: "e1"}, answer=["fresh", 1], after={EPOCH: "fresh", TICK: "1"}),
    Case("a tick that cannot be counted ends nothing", keys=KEYS, argv=["e1", 5, "fresh", 0],
         before={EPOCH: "e1", TICK: "7.5"}, answer=["e1", 7]),
    Case("a wrong type: an error", keys=KEYS, argv=["e1", 5, "fresh", 0], before={EPOCH: {"a": "b"}},
         answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tick(table, case):
    table.check("tick", case)
