"""lua/purge.lua: an operator removes the oldest messages of bob's mailbox."""

import pytest

from tables import Case, Error, Stream, letter, rank, seq

BOX, IDS, TH, RQ, RC = (f"po:{{bob}}:{name}" for name in ("box", "ids", "th", "rq", "rc"))
EXPIRING = "po:expiring"
SMALL = 100 + len("f" "ann" "i" "m1" "b" "{}") - 3  # what weigh (piece_weigh.lua) says of a letter


def purge(end="", count=64, size=1000000):
    return {"keys": [BOX, IDS], "argv": [end, count, size]}


def mails(count, **more):
    return {BOX: Stream({seq(n): letter(f"m{n}", **more) for n in range(1, count + 1)}),
            IDS: {**{f"m{n}": f"{seq(n)} ann" for n in range(1, count + 1)}, "": seq(count)}}


def left(count, last):
    """Of so many messages those behind `last`."""
    return {BOX: Stream({seq(n): letter(f"m{n}") for n in range(last + 1, count + 1)}, last=seq(count)),
            IDS: {**{f"m{n}": f"{seq(n)} ann" for n in range(last + 1, count + 1)}, "": seq(count), "/lost": seq(last)}}


CASES = [
    Case("there is no mailbox", **purge(), answer=[0, 0, 0, "0-0"]),
    Case("all go, and readers learn of a gap", **purge(), before=mails(9), answer=[9, 9 * SMALL, 0, seq(9)], after=left(9, 9)),
    Case("those before a seq", **purge("(" + seq(4)), before=mails(9), answer=[3, 3 * SMALL, 0, "(" + seq(4)], after=left(9, 3)),
    Case("none is before that seq", **purge("(" + seq(1)), before=mails(9), answer=[0, 0, 0, "(" + seq(1)]),
    Case("a call removes so many at most", **purge(count=3), before=mails(9), answer=[3, 3 * SMALL, 1, seq(9)], after=left(9, 3)),
    Case("and so many bytes", **purge(size=4 * SMALL + 1), before=mails(9), answer=[4, 4 * SMALL, 1, seq(9)], after=left(9, 4)),
    Case("but one at least", **purge(size=1), before=mails(9), answer=[1, SMALL, 1, seq(9)], after=left(9, 1)),
    Case("what came after the first call stays", **purge(seq(5)), before=mails(9), answer=[5, 5 * SMALL, 0, seq(5)], after=left(9, 5)),
    Case("all that other keys know of a message goes", **purge(),
         before={BOX: Stream({seq(1): letter("m1", r="2", t="m0", x="99999999999", s="600")}),
                 IDS: {"m1": f"{seq(1)} ann", "": seq(1), "/bytes": "900"}, RC: {seq(1): "5-0"},
                 RQ: [(rank(seq(1)) + "\0m1\0ann", 0)], TH: [("m0\0" + rank(seq(1)), 0)], EXPIRING: [(f"x {seq(1)} {{bob}}", 7)]},
         answer=[1, SMALL + len("r2tm0x99999999999s600") - 4, 0, seq(1)],
         after={BOX: Stream({}, last=seq(1)), IDS: {"": seq(1), "/bytes": "300", "/lost": seq(1)}, RC: None, RQ: None, TH: None,
                EXPIRING: None}),
    Case("the counted bytes are never less than none", **purge(),
         before={**mails(1, s="600"), IDS: {"": seq(1), "/bytes": "5"}}, answer=[1, SMALL + 3, 0, seq(1)],
         after={BOX: Stream({}, last=seq(1)), IDS: {"": seq(1), "/bytes": "0", "/lost": seq(1)}}),
    *[Case(f"a wrong type of {key}: an error, and nothing is written", **purge(), before={**mails(2), key: "text"},
           answer=Error("WRONGTYPE")) for key in (BOX, IDS)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_purge(table, case):
    table.check("purge", case)
