"""lua/open.lua: a session enters the mailbox of its address."""

import pytest

from tables import KEEP, YEAR, Case, Error, Like, Now, Stream, letter, rank, seq

BOX, IDS, AT, CUR, TH, RQ, RC = (f"po:{{bob}}:{name}" for name in ("box", "ids", "at", "cur", "th", "rq", "rc"))
KEYS = [BOX, IDS, AT, CUR]
FIELD = "h:0:1/5"
MAIL = {BOX: Stream({seq(1): letter("m1"), seq(2): letter("m2")}),
        IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)}}
FUTURE = 9 * 10**15  # microseconds


def old(n):
    return f"1000-{n}"


def seen(**devices):
    """Devices that have no cursor yet."""
    return {"\2": "".join(f"{name}\x01{position}@e1\0" for name, position in devices.items())}


CASES = [
    Case("the first session of an address",
         keys=KEYS, argv=["phone", "e1", FIELD, 0, ""],
         answer=[0, "0-0@e1", "0-0", "0-0", 1, 0, Now(unit=1e6), []],
         after={AT: {FIELD: Like(r"\d{16} phone")}, CUR: seen(phone="0-0")}, ttl={AT: YEAR, CUR: KEEP}),
    Case("… is known for longer than its keys stay, when mail is for known addresses alone",
         keys=KEYS, argv=["phone", "e1", FIELD, 0, ""], limits={"known_s": 2 * YEAR},
         answer=[0, "0-0@e1", "0-0", "0-0", 1, 0, Now(unit=1e6), []],
         after={AT: {FIELD: Like(r"\d{16} phone")}, CUR: seen(phone="0-0")}, ttl={AT: YEAR, CUR: 2 * YEAR}),
    Case("a known device learns its cursor, and who else is there",
         keys=KEYS, argv=["phone", "e1", FIELD, 700, ""],
         before={**MAIL, CUR: {"phone": f"{seq(1)}@e0", "tab": "0-0@e1"}, AT: {"h:0:2/6": "500 tab", FIELD: "1 x"}},
         answer=[1, f"{seq(1)}@e0", seq(2), "0-0", 2, 0, 700, ["h:0:2/6", "500 tab"]],
         after={AT: {"h:0:2/6": "500 tab", FIELD: "700 phone"},
                CUR: {"phone": f"{seq(1)}@e0", "tab": "0-0@e1", "\0": "phone\0"}},
         ttl={AT: YEAR, CUR: KEEP, BOX: KEEP, IDS: KEEP}),
    Case("a new device begins behind what was lost before",
         keys=KEYS, argv=["phone", "e1", FIELD, 700, ""],
         before={**MAIL, IDS: {**MAIL[IDS], "/lost": seq(0)}},
         answer=[0, f"{seq(0)}@e1", seq(2), seq(0), 1, 0, 700, []],
         after={AT: {FIELD: "700 phone"}, CUR: seen(phone=seq(0))},
         ttl={AT: YEAR, CUR: KEEP, BOX: KEEP, IDS: KEEP}),
    Case("a device that was seen and has no cursor learns what is gone since then",
         keys=KEYS, argv=["phone", "e1", FIELD, 700, ""],
         before={**MAIL, IDS: {**MAIL[IDS], "/lost": seq(1)}, CUR: seen(tab=seq(1), phone=seq(0))},
         answer=[1, f"{seq(0)}@e1", seq(2), seq(1), 2, 0, 700, []],
         after={AT: {FIELD: "700 phone"}}, ttl={AT: YEAR, CUR: KEEP, BOX: KEEP, IDS: KEEP}),
    Case("of devices without a cursor as many are remembered as may have one; the cursors stay",
         keys=KEYS, argv=["d", "e1", FIELD, 700, ""],
         before={CUR: {**seen(a="1-0", b="2-0", c="3-0"), "phone": "5-0@e1", "\0": "phone\0", "\1": "5-0@e1"}},
         answer=[0, "0-0@e1", "0-0", "0-0", 4, 0, 700, []],
         after={AT: {FIELD: "700 d"},
                CUR: {**seen(b="2-0", c="3-0", d="0-0"), "phone": "5-0@e1", "\0": "phone\0", "\1": "5-0@e1"}},
         ttl={AT: YEAR, CUR: KEEP}),
    Case("to open a mailbox is a use",
         keys=KEYS, argv=["phone", "e1", FIELD, 700, ""],
         before={CUR: {"phone": "5-0@e1", "tab": "6-0@e1", "\0": "phone\0tab\0", "\1": "6-0@e1"}},
         answer=[1, "5-0@e1", "0-0", "0-0", 2, 0, 700, []],
         after={AT: {FIELD: "700 phone"},
                CUR: {"phone": "5-0@e1", "tab": "6-0@e1", "\0": "tab\0phone\0", "\1": "6-0@e1"}},
         ttl={AT: YEAR, CUR: KEEP}),
    Case("a new session is newer than any other",
         keys=KEYS, argv=["", "e1", FIELD, 0, ""], before={AT: {"h:0:2/6": f"{FUTURE} tab"}},
         answer=[0, "0-0@e1", "0-0", "0-0", 1, 0, FUTURE + 1, ["h:0:2/6", f"{FUTURE} tab"]],
         after={AT: {"h:0:2/6": f"{FUTURE} tab", FIELD: f"{FUTURE + 1} "}, CUR: {"\2": "\x010-0@e1\0"}},
         ttl={AT: YEAR, CUR: KEEP}),
    Case("a session that began without Redis is as old as it says",
         keys=KEYS, argv=["", "e1", FIELD, 0, 3600 * 10**6], before={AT: {"h:0:2/6": f"{FUTURE} tab"}},
         answer=[0, "0-0@e1", "0-0", "0-0", 1, 0, Now(-3600, unit=1e6), ["h:0:2/6", f"{FUTURE} tab"]],
         after={AT: {"h:0:2/6": f"{FUTURE} tab", FIELD: Like(r"\d{16} ")}, CUR: {"\2": "\x010-0@e1\0"}},
         ttl={AT: YEAR, CUR: KEEP}),
    Case("no two sessions are of the same age",
         keys=KEYS, argv=["", "e1", FIELD, 500, ""], before={AT: {"h:0:2/6": "500 tab", "h:0:2/7": "501 tab"}},
         answer=[0, "0-0@e1", "0-0", "0-0", 1, 0, 502, ["h:0:2/6", "500 tab", "h:0:2/7", "501 tab"]],
         after={AT: {"h:0:2/6": "500 tab", "h:0:2/7": "501 tab", FIELD: "502 "}, CUR: {"\2": "\x010-0@e1\0"}},
         ttl={AT: YEAR, CUR: KEEP}),
    Case("a place without a session (of a group) is no session",
         keys=KEYS, argv=["", "e1", FIELD, 700, ""], before={AT: {"h:0:2": "1"}},
         answer=[0, "0-0@e1", "0-0", "0-0", 1, 0, 700, ["h:0:2", "1"]],
         after={AT: {"h:0:2": "1", FIELD: "700 "}, CUR: {"\2": "\x010-0@e1\0"}}, ttl={AT: YEAR, CUR: KEEP}),
    Case("too old letters go, with all that other keys know of them",
         keys=KEYS, argv=["phone", "e1", FIELD, 700, ""],
         before={BOX: Stream({old(1): letter("m1", t="m0", r="3"), old(2): letter("m2", "zoe"),
                              seq(1): letter("m2"), seq(2): letter("m3", t="m0", r="2")}),
                 IDS: {"m1": f"{old(1)} ann", "m2": f"{seq(1)} ann", "m2\0zoe": f"{old(2)} zoe",
                       "m3": f"{seq(2)} ann", "": seq(2)},
                 TH: [("m0\0" + rank(old(1)), 0), ("m0\0" + rank(seq(2)), 0)],
                 RQ: [(rank(old(1)) + "\0m1\0ann", 0), (rank(seq(2)) + "\0m3\0ann", 0)],
                 RC: {old(1): "5-0", seq(2): "6-0"}},
         answer=[0, f"{old(2)}@e1", seq(2), old(2), 1, 2, 700, []],
         after={BOX: Stream({seq(1): letter("m2"), seq(2): letter("m3", t="m0", r="2")}),
                IDS: {"m2": f"{seq(1)} ann", "m3": f"{seq(2)} ann", "": seq(2), "/lost": old(2)},
                TH: [("m0\0" + rank(seq(2)), 0)], RQ: [(rank(seq(2)) + "\0m3\0ann", 0)], RC: {seq(2): "6-0"},
                AT: {FIELD: "700 phone"}, CUR: seen(phone=old(2))},
         ttl={AT: YEAR, CUR: KEEP, BOX: KEEP, IDS: KEEP, TH: KEEP, RQ: KEEP, RC: KEEP}),
    Case("an expiring letter that goes leaves PREFIXexpiring, too",
         keys=KEYS, argv=["phone", "e1", FIELD, 700, ""],
         before={BOX: Stream({old(1): letter("m1", x="9000000000"), seq(2): letter("m2", x="9000000000")}),
                 IDS: {"m1": f"{old(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)},
                 "po:expiring": [(f"x {old(1)} {{bob}}", 9 * 10**9), (f"x {seq(2)} {{bob}}", 9 * 10**9 + 1)]},
         answer=[0, f"{old(1)}@e1", seq(2), old(1), 1, 1, 700, []],
         after={BOX: Stream({seq(2): letter("m2", x="9000000000")}),
                IDS: {"m2": f"{seq(2)} ann", "": seq(2), "/lost": old(1)},
                "po:expiring": [(f"x {seq(2)} {{bob}}", 9 * 10**9 + 1)],
                AT: {FIELD: "700 phone"}, CUR: seen(phone=old(1))},
         ttl={AT: YEAR, CUR: KEEP, BOX: KEEP, IDS: KEEP}),
    Case("about a hundred of them at once",
         keys=KEYS, argv=["phone", "e1", FIELD, 700, ""],
         before={BOX: Stream({old(n): letter(f"m{n}") for n in range(1, 201)})},
         answer=[0, f"{old(128)}@e1", old(200), old(128), 1, 128, 700, []],
         after={BOX: Stream({old(n): letter(f"m{n}") for n in range(129, 201)}), IDS: {"/lost": old(128)},
                AT: {FIELD: "700 phone"}, CUR: seen(phone=old(128))},
         ttl={AT: YEAR, CUR: KEEP, BOX: KEEP, IDS: KEEP}),
    *[Case(f"a wrong type of {key}: an error, and nothing is written",
           keys=KEYS, argv=["phone", "e1", FIELD, 0, ""], before={**MAIL, key: "text"}, answer=Error("WRONGTYPE"))
      for key in KEYS],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_open(table, case):
    table.check("open", case)
