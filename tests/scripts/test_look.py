"""lua/look.lua: an operator looks at bob's mailbox."""

import pytest

from tables import Case, Error, Stream, letter, seq

BOX, IDS, AT, CUR, KNOWN = (f"po:{{bob}}:{name}" for name in ("box", "ids", "at", "cur", "known"))


def look(with_devices="1"):
    return {"keys": [BOX, IDS, AT, CUR], "argv": [with_devices]}


FULL = {BOX: Stream({seq(1): letter("m1"), seq(2): letter("m2")}),
        IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2), "/lost": "5-0", "/bytes": "700"},
        AT: {"host:0:1/7": "1000 phone"}, CUR: {"phone": f"{seq(1)}@e1"}}

CASES = [
    Case("an address of which nothing is known", **look(), answer=[0, 0, "", "0-0", "0-0", 0, [], []]),
    Case("the ends, the bytes, the devices, the sessions", **look(), before=FULL,
         answer=[1, 2, seq(1), seq(2), "5-0", 700, ["phone", f"{seq(1)}@e1"], ["host:0:1/7", "1000 phone"]]),
    Case("of a group neither devices nor sessions", **look("0"), before=FULL,
         answer=[1, 2, seq(1), seq(2), "5-0", 700, [], []]),
    Case("an empty mailbox has had messages", **look(), before={BOX: Stream({}, last=seq(9)), IDS: {"": seq(9)}},
         answer=[1, 0, "", seq(9), "0-0", 0, [], []]),
    Case("an address that an operator made known", **look(), before={KNOWN: "1"},
         answer=[1, 0, "", "0-0", "0-0", 0, [], []]),
    Case("damaged positions and bytes count for nothing", **look(), before={**FULL, IDS: {"": "x", "/lost": "x", "/bytes": "x"}},
         answer=[1, 2, seq(1), seq(2), "0-0", 0, ["phone", f"{seq(1)}@e1"], ["host:0:1/7", "1000 phone"]]),
    *[Case(f"a wrong type of {key}: an error", **look(), before={**FULL, key: "text"}, answer=Error("WRONGTYPE"))
      for key in (BOX, IDS, AT, CUR)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_look(table, case):
    table.check("look", case)
