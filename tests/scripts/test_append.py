"""lua/append.lua: one letter into one mailbox."""

import pytest

from tables import FAR, KEEP, Case, Error, Stream, flat, letter, rank, seq

BOX, IDS, AT, TH = "po:{bob}:box", "po:{bob}:ids", "po:{bob}:at", "po:{bob}:th"
KEYS = [BOX, IDS, AT]
ONE = {BOX: Stream({seq(1): letter("m1")}), IDS: {"m1": f"{seq(1)} ann", "": seq(1)}}
OLD = "1000-0"  # a second after 1970


def append(one, sender="ann", **more):
    return flat(letter(one, sender, **more))


def full_of(count):
    entries = {seq(n): letter(f"m{n}") for n in range(1, count + 1)}
    return {BOX: Stream(entries), IDS: {**{f"m{n}": f"{seq(n)} ann" for n in range(1, count + 1)}, "": seq(count)}}


CASES = [
    Case("the first letter has nothing before it, and the keys are kept for twice the age",
         keys=KEYS, argv=append("m1"),
         before={BOX: Stream({}, last=seq(0))},
         answer=f"0 {seq(1)} 0-0 0",
         after=ONE, ttl={BOX: KEEP, IDS: KEEP}),
    Case("the next letter names the one before it",
         keys=KEYS, argv=append("m2"), before=ONE,
         answer=f"0 {seq(2)} {seq(1)} 0",
         after={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m2")}),
                IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)}}),
    Case("the keys are kept anew when 10,000 seconds have passed since the letter before",
         keys=KEYS, argv=append("m2"),
         before={BOX: Stream({seq(1, FAR - 10**7): letter("m1")}, last=seq(0)), IDS: {"": seq(1, FAR - 10**7)}},
         answer=f"0 {seq(1)} {seq(1, FAR - 10**7)} 0",
         after={BOX: Stream({seq(1, FAR - 10**7): letter("m1"), seq(1): letter("m2")}),
                IDS: {"m2": f"{seq(1)} ann", "": seq(1)}},
         ttl={BOX: KEEP, IDS: KEEP}),
    Case("the places of the address come with the answer",
         keys=KEYS, argv=append("m2"), before={**ONE, AT: {"h:0:1/5": "1 phone", "h:0:2": "1"}},
         answer=["h:0:1/5", "h:0:2", f"0 {seq(2)} {seq(1)} 0"],
         after={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m2")}),
                IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)}}),
    Case("the same sender and id is the same message",
         keys=KEYS, argv=append("m1"), before=ONE, answer=f"1 {seq(1)} {seq(1)} 0"),
    Case("the same id of another sender is another message",
         keys=KEYS, argv=append("m1", "zoe"), before=ONE, answer=f"0 {seq(2)} {seq(1)} 0",
         after={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m1", "zoe")}),
                IDS: {"m1": f"{seq(1)} ann", "m1\0zoe": f"{seq(2)} zoe", "": seq(2)}}),
    Case("… whose repetition is recognised too",
         keys=KEYS, argv=append("m1", "zoe"),
         before={**ONE, IDS: {"m1": f"{seq(1)} ann", "m1\0zoe": f"{seq(2)} zoe", "": seq(2)}},
         answer=f"1 {seq(2)} {seq(2)} 0"),
    Case("an id is free again after DEDUPE seconds",
         keys=KEYS, argv=append("m1"),
         before={BOX: Stream({OLD: letter("m1")}, last=seq(0)), IDS: {"m1": f"{OLD} ann", "": OLD}},
         answer=f"0 {seq(1)} {OLD} 0",
         after={BOX: Stream({OLD: letter("m1"), seq(1): letter("m1")}), IDS: {"m1": f"{seq(1)} ann", "": seq(1)}},
         ttl={BOX: KEEP, IDS: KEEP}),
    Case("without :ids the letter before is found in the box",
         keys=KEYS, argv=append("m2"), before={BOX: ONE[BOX]}, answer=f"0 {seq(2)} {seq(1)} 0",
         after={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m2")}), IDS: {"m2": f"{seq(2)} ann", "": seq(2)}}),
    Case("the first answer of a thread makes its index",
         keys=KEYS, argv=append("m2", t="m1"), before=ONE, answer=f"0 {seq(2)} {seq(1)} 0",
         after={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m2", t="m1")}),
                IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)},
                TH: [("m1\0" + rank(seq(2)), 0)]},
         ttl={TH: KEEP}),
    Case("the next one joins it; further fields are stored",
         keys=KEYS, argv=append("m2", l="3", t="m1"), before={**ONE, TH: [("m0\0" + rank(seq(1)), 0)]},
         answer=f"0 {seq(2)} {seq(1)} 0",
         after={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m2", l="3", t="m1")}),
                IDS: {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "": seq(2)},
                TH: [("m0\0" + rank(seq(1)), 0), ("m1\0" + rank(seq(2)), 0)]}),
    Case("a full mailbox removes its oldest letter",
         keys=KEYS, argv=append("m3"), before=full_of(2), limits={"messages_max": 2},
         answer=f"0 {seq(3)} {seq(2)} 1",
         after={BOX: Stream({seq(2): letter("m2"), seq(3): letter("m3")}),
                IDS: {"m2": f"{seq(2)} ann", "m3": f"{seq(3)} ann", "/lost": seq(1), "": seq(3)}}),
    Case("a mailbox that is far too full removes many",
         keys=KEYS, argv=append("m41"), before=full_of(40), limits={"messages_max": 10},
         answer=f"0 {seq(41)} {seq(40)} 31",
         after={BOX: Stream({seq(n): letter(f"m{n}") for n in range(32, 42)}),
                IDS: {**{f"m{n}": f"{seq(n)} ann" for n in range(32, 42)}, "/lost": seq(31), "": seq(41)}}),
    Case("every 64th letter removes those that are too old",
         keys=KEYS, argv=append("m63"),
         before={BOX: Stream({OLD: letter("m0"), **full_of(62)[BOX].entries}), IDS: full_of(62)[IDS]},
         answer=f"0 {seq(63)} {seq(62)} 1",
         after={BOX: full_of(63)[BOX], IDS: {**full_of(63)[IDS], "/lost": OLD}}),
    Case("… and no other letter does",
         keys=KEYS, argv=append("m62"),
         before={BOX: Stream({OLD: letter("m0"), **full_of(61)[BOX].entries}), IDS: full_of(61)[IDS]},
         answer=f"0 {seq(62)} {seq(61)} 0",
         after={BOX: Stream({OLD: letter("m0"), **full_of(62)[BOX].entries}), IDS: full_of(62)[IDS]}),
    Case("or it refuses",
         keys=KEYS, argv=append("m3"), before=full_of(2), limits={"messages_max": 2, "full": "reject"},
         answer="2 0-0 0-0 0"),
    Case("… a repetition is recognised there",
         keys=KEYS, argv=append("m2"), before=full_of(2), limits={"messages_max": 2, "full": "reject"},
         answer=f"1 {seq(2)} {seq(2)} 0"),
    Case("… and a letter that is too old makes room",
         keys=KEYS, argv=append("m3"), limits={"messages_max": 2, "full": "reject"},
         before={BOX: Stream({OLD: letter("m0"), seq(1): letter("m1")}),
                 IDS: {"m0": f"{OLD} ann", "m1": f"{seq(1)} ann", "": seq(1)}},
         answer=f"0 {seq(2)} {seq(1)} 1",
         after={BOX: Stream({seq(1): letter("m1"), seq(2): letter("m3")}),
                IDS: {"m1": f"{seq(1)} ann", "m3": f"{seq(2)} ann", "/lost": OLD, "": seq(2)}}),
    Case("the 16th letter makes :ids a real hash",
         keys=KEYS, argv=append("m16"), before=full_of(15), answer=f"0 {seq(16)} {seq(15)} 0",
         after={BOX: full_of(16)[BOX], IDS: {**full_of(16)[IDS], "/": "-" * 65}}),
    Case("places come with a repetition too",
         keys=KEYS, argv=append("m1"), before={**ONE, AT: {"h:0:1": "1"}},
         answer=["h:0:1", f"1 {seq(1)} {seq(1)} 0"]),
    *[Case(f"a wrong type of {key}: an error, and nothing is stored",
           keys=KEYS, argv=append("m2", t="m1"), before={**ONE, key: "text"}, answer=Error("WRONGTYPE"))
      for key in (BOX, IDS, AT, TH)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_append(table, case):
    table.check("append", case)
