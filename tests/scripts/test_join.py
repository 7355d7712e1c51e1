"""lua/join.lua: a member joins a group."""

import pytest

from tables import YEAR, Case, Error, Stream, letter, seq

BOX, IDS, AT, CUR = KEYS = [f"po:{{#club}}:{name}" for name in ("box", "ids", "at", "cur")]

CASES = [
    Case("a group without a log; nobody gets a cursor",
         keys=KEYS, argv=["h:0:1", "ann"], answer=[0, "", "0-0", "0-0"],
         after={AT: {"h:0:1": "1"}}, ttl={AT: YEAR}),
    Case("a member with a cursor",
         keys=KEYS, argv=["h:0:1", "ann"],
         before={BOX: Stream({seq(3): letter("m3"), seq(4): letter("m4")}, last=seq(6)),
                 IDS: {"/lost": seq(2)}, CUR: {"ann": f"{seq(3)}@e1"}, AT: {"h:0:2": "1"}},
         answer=[1, f"{seq(3)}@e1", seq(6), seq(2)],
         after={AT: {"h:0:1": "1", "h:0:2": "1"}}, ttl={AT: YEAR}),
    Case("the cursor of another member is not the member's",
         keys=KEYS, argv=["h:0:1", "bob"], before={CUR: {"ann": f"{seq(3)}@e1"}},
         answer=[0, "", "0-0", "0-0"], after={AT: {"h:0:1": "1"}}, ttl={AT: YEAR}),
    Case("no member: no cursor is asked for",
         keys=KEYS, argv=["h:0:1", ""], before={CUR: {"": f"{seq(3)}@e1"}},
         answer=[0, "", "0-0", "0-0"], after={AT: {"h:0:1": "1"}}, ttl={AT: YEAR}),
    Case("the newest seq is read from ids, even when that entry is gone",
         keys=KEYS, argv=["h:0:1", ""], before={BOX: Stream({seq(3): letter("m3")}, last=seq(9)), IDS: {"": seq(9)}},
         answer=[0, "", seq(9), "0-0"], after={AT: {"h:0:1": "1"}}, ttl={AT: YEAR}),
    Case("an entry that somebody else has added counts",
         keys=KEYS, argv=["h:0:1", ""], before={BOX: Stream({seq(3): letter("m3"), seq(5): {"a": "b"}}), IDS: {"": seq(3)}},
         answer=[0, "", seq(5), "0-0"], after={AT: {"h:0:1": "1"}}, ttl={AT: YEAR}),
    *[Case(f"damaged ids: {damage}",
           keys=KEYS, argv=["h:0:1", ""],
           before={BOX: Stream({seq(3): letter("m3")}), IDS: {"": damage, "/lost": damage}},
           answer=[0, "", seq(3), "0-0"], after={AT: {"h:0:1": "1"}}, ttl={AT: YEAR})
      for damage in ("", "junk", "1-", "-1", "1-1-1", "18446744073709551616-0", "9" * 400)],
    Case("a box that somebody has removed begins anew",
         keys=KEYS, argv=["h:0:1", ""], before={IDS: {"": seq(3)}},
         answer=[0, "", "0-0", "0-0"], after={AT: {"h:0:1": "1"}}, ttl={AT: YEAR}),
    *[Case(f"a wrong type of {key}: an error, and nothing is written",
           keys=KEYS, argv=["h:0:1", "ann"], before={key: "text"}, answer=Error("WRONGTYPE"))
      for key in (IDS, AT, CUR)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_join(table, case):
    table.check("join", case)
