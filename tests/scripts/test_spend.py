"""lua/spend.lua: what a sender has stored, out of a bucket that fills with time."""

import time

import pytest

from tables import Case, Error, Like, Now

SPENT = "po:{ann}:spent"
AT = Now(unit=1000)


def spend(nbytes, boxes, rate=1000, most=50000, per_minute=60):
    return {"keys": [SPENT], "argv": [nbytes, boxes, rate, most, per_minute]}


def ago(seconds):
    return str(int((time.time() - seconds) * 1000))


CASES = [
    Case("a new bucket is full", **spend(20000, 10), answer=[30000, 50],
         after={SPENT: {"b": "30000.000", "m": "50.000", "at": AT}}, ttl={SPENT: 21}),
    Case("a debt is kept, as long as it takes to be full again", **spend(150000, 0), answer=[-100000, 60],
         after={SPENT: {"b": "-100000.000", "m": "60.000", "at": AT}}, ttl={SPENT: 151}),
    Case("mailboxes may be in debt too", **spend(0, 1060), answer=[50000, -1000],
         after={SPENT: {"b": "50000.000", "m": "-1000.000", "at": AT}}, ttl={SPENT: 1061}),
    Case("without a limit nothing is counted", **spend(150000, 1000, rate=0, per_minute=0), answer=[0, 0],
         after={SPENT: {"b": "0.000", "m": "0.000", "at": AT}}, ttl={SPENT: 1}),
    Case("less than a byte and less than a mailbox is kept", **spend(0, 0),
         before={SPENT: {"b": "10.250", "m": "10.250", "at": "99999999999999"}}, answer=[10, 10],
         after={SPENT: {"b": "10.250", "m": "10.250", "at": AT}}, ttl={SPENT: 51}),
    Case("a time in the future fills nothing", **spend(0, 0),
         before={SPENT: {"b": "10", "m": "10.000", "at": "99999999999999"}}, answer=[10, 10],
         after={SPENT: {"b": "10.000", "m": "10.000", "at": AT}}, ttl={SPENT: 51}),
    Case("a wrong type: an error", **spend(1, 1), before={SPENT: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_spend(table, case):
    table.check("spend", case)


def test_the_bucket_fills_with_time_up_to_its_size(table):
    """100 seconds are 100,000 bytes and 100 mailboxes."""
    table.check("spend", Case("some", **spend(0, 0, most=200000, per_minute=60),
                              before={SPENT: {"b": "10000", "m": "-80.000", "at": ago(100)}},
                              answer=[Near(110000, 20000), Near(20, 20)],
                              after={SPENT: {"b": Like(r"1\d{5}\.\d{3}"), "m": Like(r"\d+\.\d+"), "at": AT}},
                              ttl={SPENT: 91}))
    table.check("spend", Case("all", **spend(0, 0), before={SPENT: {"b": "10000", "m": "1.000", "at": ago(100)}},
                              answer=[50000, 60], after={SPENT: {"b": "50000.000", "m": "60.000", "at": AT}},
                              ttl={SPENT: 1}))


class Near:
    def __init__(self, number, by):
        self.number, self.by = number, by

    def __eq__(self, other):
        return abs(other - self.number) <= self.by
