"""lua/thread.lua: the messages of a thread, newest first."""

import pytest

from tables import Case, Error, Stream, letter, rank, seq

BOX, IDS, TH = KEYS = [f"po:{{bob}}:{name}" for name in ("box", "ids", "th")]
MAIL = {BOX: Stream({seq(1): letter("root"), seq(2): letter("other"), seq(3): letter("a", t="root"),
                     seq(10): letter("b", t="root"), seq(11): letter("c", t="root2")}),
        IDS: {"root": f"{seq(1)} ann", "other": f"{seq(2)} ann"},
        TH: [("root\0" + rank(seq(3)), 0), ("root\0" + rank(seq(10)), 0), ("root2\0" + rank(seq(11)), 0)]}


def entry(n, one, **more):
    return [seq(n), ["f", "ann", "i", one, "b", "{}", *(part for pair in more.items() for part in pair)]]


ROOT, A, B = entry(1, "root"), entry(3, "a", t="root"), entry(10, "b", t="root")

CASES = [
    Case("the whole thread, its first message last", keys=KEYS, argv=["root", "", 10, 100000], before=MAIL,
         answer=[0, seq(1), B, A, ROOT]),
    Case("a page of it", keys=KEYS, argv=["root", "", 2, 100000], before=MAIL, answer=[1, seq(3), B, A]),
    Case("the page behind", keys=KEYS, argv=["root", seq(10), 2, 100000], before=MAIL, answer=[0, seq(1), A, ROOT]),
    Case("nothing is before the first", keys=KEYS, argv=["root", seq(1), 2, 100000], before=MAIL, answer=[0, ""]),
    Case("a message without answers", keys=KEYS, argv=["other", "", 2, 100000], before=MAIL, answer=[0, seq(2), entry(2, "other")]),
    Case("a thread whose first message is gone", keys=KEYS, argv=["root2", "", 2, 100000], before=MAIL,
         answer=[0, seq(11), entry(11, "c", t="root2")]),
    Case("a thread that is not there", keys=KEYS, argv=["roo", "", 2, 100000], before=MAIL, answer=[0, ""]),
    Case("a first message that is in the index too comes once", keys=KEYS, argv=["root", "", 10, 100000],
         before={**MAIL, TH: [("root\0" + rank(seq(1)), 0), *MAIL[TH]]}, answer=[0, seq(1), B, A, ROOT]),
    Case("a first message that is newer than its answer (sent again) has its own place",
         keys=KEYS, argv=["root", "", 10, 100000], before={**MAIL, IDS: {"root": f"{seq(10)} ann"},
                                                   TH: [("root\0" + rank(seq(3)), 0)]}, answer=[0, seq(3), B, A]),
    Case("two first messages with one id", keys=KEYS, argv=["m", "", 10, 100000],
         before={BOX: Stream({seq(1): letter("m"), seq(2): letter("m", "zoe"), seq(3): letter("x", t="m")}),
                 IDS: {"m": f"{seq(1)} ann", "m\0zoe": f"{seq(2)} zoe", "m\0": "1"},
                 TH: [("m\0" + rank(seq(2)), 0), ("m\0" + rank(seq(3)), 0)]},
         answer=[0, seq(1), entry(3, "x", t="m"), [seq(2), ["f", "zoe", "i", "m", "b", "{}"]], entry(1, "m")]),
    Case("… of which the first is gone", keys=KEYS, argv=["m", "", 2, 100000],
         before={BOX: Stream({seq(2): letter("m", "zoe")}),
                 IDS: {"m": "0-0 \0", "m\0zoe": f"{seq(2)} zoe", "m\0": "1"}, TH: [("m\0" + rank(seq(2)), 0)]},
         answer=[0, seq(2), [seq(2), ["f", "zoe", "i", "m", "b", "{}"]]]),
    Case("a shared body is put in", keys=KEYS, argv=["root2", "", 2, 100000],
         before={BOX: Stream({seq(11): letter("c", b="@0123", s="7", t="root2")}), IDS: MAIL[IDS],
                 TH: MAIL[TH], "po:body:0123": '{"n":1}'},
         answer=[0, seq(11), [seq(11), ["f", "ann", "i", "c", "b", '{"n":1}', "s", "7", "t", "root2"]]]),
    Case("a removed entry is left out", keys=KEYS, argv=["root", "", 10, 100000],
         before={**MAIL, TH: [*MAIL[TH][:1], ("root\0" + rank(seq(9)), 0), *MAIL[TH][1:]]}, answer=[0, seq(1), B, A, ROOT]),
    Case("the page ends by bytes", keys=KEYS, argv=["root", "", 10, 150], before=MAIL, answer=[1, seq(10), B]),
    Case("a message larger than a page comes alone", keys=KEYS, argv=["root", seq(10), 10, 1], before=MAIL,
         answer=[1, seq(3), A]),
    Case("a thread of removed entries says where the search goes on", keys=KEYS, argv=["root", "", 1, 250],
         before={**MAIL, TH: [("root\0" + rank(seq(8)), 0), ("root\0" + rank(seq(9)), 0)]}, answer=[1, seq(9)]),
    *[Case(f"a wrong type of {key}: an error", keys=KEYS, argv=["root", "", 10, 100000], before={**MAIL, key: "text"},
           answer=Error("WRONGTYPE")) for key in KEYS],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_thread(table, case):
    table.check("thread", case)
