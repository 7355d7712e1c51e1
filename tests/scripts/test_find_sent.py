"""lua/find_sent.lua: to whom a message was sent."""

import pytest

from tables import Case, Error, Stream, seq

SENT = "po:{ann}:sent"
LOG = {SENT: Stream({seq(1): {"m": "a1\nbob\n\n"}, seq(2): {"m": "a2\nbob\ncat\n\na3\ndan\n\n"}, seq(3): {"m": "a4\nbob\n\n"}})}


def find(one, newest="+", count=10, size=1000):
    return {"keys": [SENT], "argv": [one, newest, count, size], "before": LOG}


CASES = [
    Case("the only message of an entry", **find("a1"), answer=[1, "bob"]),
    Case("the first of several", **find("a2"), answer=[1, "bob\ncat"]),
    Case("the last of several", **find("a3"), answer=[1, "dan"]),
    Case("a recipient is no message", **find("bob"), answer=[0, "", 3, 42]),
    Case("the beginning of an id is no id", **find("a"), answer=[0, "", 3, 42]),
    Case("not in this page: where to go on", **find("a1", count=2), answer=[0, seq(2), 2, 32]),
    Case("the page behind", **find("a1", newest=seq(2), count=2), answer=[1, "bob"]),
    Case("newer than the page", **find("a4", newest=seq(2)), answer=[0, "", 2, 32]),
    Case("the search ends by bytes", **find("a1", size=10), answer=[0, seq(3), 1, 10]),
    Case("nothing was sent", keys=[SENT], argv=["a1", "+", 10, 1000], answer=[0, "", 0, 0]),
    Case("a wrong type: an error", keys=[SENT], argv=["a1", "+", 10, 1000], before={SENT: "text"},
         answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_find_sent(table, case):
    table.check("find_sent", case)
