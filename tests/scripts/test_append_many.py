"""lua/append_many.lua: the letters of a worker's turn, in runs for one mailbox each."""

import pytest

from tables import Case, Error, KEEP, YEAR, Stream, flat, letter, rank, seq

BOB = ["po:{bob}:box", "po:{bob}:ids", "po:{bob}:at"]
CAT = ["po:{cat}:box", "po:{cat}:ids", "po:{cat}:at"]
EMPTY = {"po:{bob}:box": Stream({seq(0): letter("m0")}), "po:{bob}:ids": {"m0": f"{seq(0)} ann", "": seq(0)},
         "po:{cat}:box": Stream({seq(0): letter("m0")}), "po:{cat}:ids": {"m0": f"{seq(0)} ann", "": seq(0)}}


def run(*letters):
    """The form of a run, and its letters: sender, id, body, further fields."""
    form = "".join(str(len(one) - 3) for one in letters)
    return [form, *(part for one in letters for part in (one["f"], one["i"], *flat(one)[5:]))]


def for_known(*letters):
    """A run of letters for a known address only."""
    form, *rest = run(*letters)
    return ["".join(chr(ord(digit) + 32) for digit in form), *rest]


def stored(name, *letters, **more):
    """The mailbox once these letters are in, each with the next seq."""
    entries = {seq(n): one for n, one in enumerate((letter("m0"), *letters))}
    ids = {one["i"]: f"{key} {one['f']}" for key, one in entries.items()}
    return {f"po:{{{name}}}:box": Stream(entries), f"po:{{{name}}}:ids": {**ids, "": list(entries)[-1], **more}}


CASES = [
    Case("a run's letters are stored in order, each behind the one before",
         keys=BOB, argv=run(letter("m1"), letter("m2"), letter("m3")), before=EMPTY,
         answer=[f"0 {seq(1)} {seq(0)} 0", f"0 {seq(2)} {seq(1)} 0", f"0 {seq(3)} {seq(2)} 0"],
         after=stored("bob", letter("m1"), letter("m2"), letter("m3"))),
    Case("runs for several mailboxes, each with its places",
         keys=[*BOB, *CAT], argv=[*run(letter("m1")), *run(letter("m1", "zoe"), letter("m2", l="1"))],
         before={**EMPTY, "po:{cat}:at": {"h:0:1": "1"}},
         answer=[f"0 {seq(1)} {seq(0)} 0", ["h:0:1"], f"0 {seq(1)} {seq(0)} 0", f"0 {seq(2)} {seq(1)} 0"],
         after={**stored("bob", letter("m1")), **stored("cat", letter("m1", "zoe"), letter("m2", l="1"))}),
    Case("a repetition is found within its run, of each sender",
         keys=BOB, argv=run(letter("m1"), letter("m1", "zoe"), letter("m1"), letter("m1", "zoe"), letter("m0")),
         before=EMPTY,
         answer=[f"0 {seq(1)} {seq(0)} 0", f"0 {seq(2)} {seq(1)} 0", f"1 {seq(1)} {seq(1)} 0",
                 f"1 {seq(2)} {seq(2)} 0", f"1 {seq(0)} {seq(0)} 0"],
         after={"po:{bob}:box": Stream({seq(0): letter("m0"), seq(1): letter("m1"), seq(2): letter("m1", "zoe")}),
                "po:{bob}:ids": {"m0": f"{seq(0)} ann", "m1": f"{seq(1)} ann", "m1\0zoe": f"{seq(2)} zoe",
                                 "m1\0": "1", "": seq(2)},
                "po:{bob}:th": [("m1\0" + rank(seq(2)), 0)]}, ttl={"po:{bob}:th": KEEP}),
    Case("a full mailbox removes in the middle of a run",
         keys=BOB, argv=run(letter("m1"), letter("m2"), letter("m3")), before=EMPTY, limits={"messages_max": 3},
         answer=[f"0 {seq(1)} {seq(0)} 0", f"0 {seq(2)} {seq(1)} 0", f"0 {seq(3)} {seq(2)} 1"],
         after={"po:{bob}:box": Stream({seq(n): letter(f"m{n}") for n in (1, 2, 3)}),
                "po:{bob}:ids": {"m1": f"{seq(1)} ann", "m2": f"{seq(2)} ann", "m3": f"{seq(3)} ann",
                                 "/lost": seq(0), "": seq(3)}}),
    Case("… even a letter of this run",
         keys=BOB, argv=run(letter("m1"), letter("m2")), before=EMPTY, limits={"messages_max": 1},
         answer=[f"0 {seq(1)} {seq(0)} 1", f"0 {seq(2)} {seq(1)} 1"],
         after={"po:{bob}:box": Stream({seq(2): letter("m2")}),
                "po:{bob}:ids": {"m2": f"{seq(2)} ann", "/lost": seq(1), "": seq(2)}}),
    Case("or it refuses the rest of a run",
         keys=BOB, argv=run(letter("m1"), letter("m2")), before=EMPTY, limits={"messages_max": 2, "full": "reject"},
         answer=[f"0 {seq(1)} {seq(0)} 0", "2 0-0 0-0 0"], after=stored("bob", letter("m1"))),
    Case("a run for an address that is not known is refused, and the next run is stored",
         keys=[*BOB, *CAT], argv=[*for_known(letter("m1"), letter("m2", l="1")), *for_known(letter("m1"))],
         before={**EMPTY, "po:{cat}:cur": {"\2": ""}}, limits={"known_s": YEAR},
         answer=["4 0-0 0-0 0", "4 0-0 0-0 0", f"0 {seq(1)} {seq(0)} 0"], after=stored("cat", letter("m1"))),
    Case("… letter by letter: what any address gets is stored, a repetition is recognised",
         keys=BOB, argv=["P0PP", *for_known(letter("m1"), letter("m2"), letter("m0"), letter("m3"))[1:]],
         before=EMPTY, limits={"known_s": YEAR},
         answer=["4 0-0 0-0 0", f"0 {seq(1)} {seq(0)} 0", f"1 {seq(0)} {seq(0)} 0", "4 0-0 0-0 0"],
         after=stored("bob", letter("m2"))),
    Case("an error before a run for known addresses is the answer of each letter",
         keys=[*BOB, *CAT], argv=[*for_known(letter("m1"), letter("m2", l="1")), *for_known(letter("m1"))],
         before={**EMPTY, "po:{bob}:at": "text", "po:{cat}:cur": {"\2": ""}}, limits={"known_s": YEAR},
         answer=[Error("WRONGTYPE"), Error("WRONGTYPE"), f"0 {seq(1)} {seq(0)} 0"],
         after=stored("cat", letter("m1"))),
    Case("a run of repetitions writes nothing",
         keys=BOB, argv=run(letter("m0"), letter("m0")), before=EMPTY,
         answer=[f"1 {seq(0)} {seq(0)} 0", f"1 {seq(0)} {seq(0)} 0"]),
    *[Case(f"a wrong type of {key} is the answer of each letter of that run alone",
           keys=[*BOB, *CAT], argv=[*run(letter("m1", l="1"), letter("m2")), *run(letter("m1"))],
           before={**EMPTY, key: "text"},
           answer=[Error("WRONGTYPE"), Error("WRONGTYPE"), f"0 {seq(1)} {seq(0)} 0"],
           after=stored("cat", letter("m1"))) for key in BOB],
    Case("a wrong type of the threads concerns letters of threads alone",
         keys=BOB, argv=run(letter("m1", t="m0"), letter("m2"), letter("m3", t="m0")),
         before={**EMPTY, "po:{bob}:th": "text"},
         answer=[Error("WRONGTYPE"), f"0 {seq(1)} {seq(0)} 0", Error("WRONGTYPE")],
         after=stored("bob", letter("m2"))),
    Case("letters of threads in a run",
         keys=BOB, argv=run(letter("m1", t="m0"), letter("m2"), letter("m3", t="m0")),
         before={**EMPTY, "po:{bob}:th": [("m\0" + rank(seq(0)), 0)]},
         answer=[f"0 {seq(1)} {seq(0)} 0", f"0 {seq(2)} {seq(1)} 0", f"0 {seq(3)} {seq(2)} 0"],
         after={**stored("bob", letter("m1", t="m0"), letter("m2"), letter("m3", t="m0")),
                "po:{bob}:th": [("m\0" + rank(seq(0)), 0), ("m0\0" + rank(seq(1)), 0), ("m0\0" + rank(seq(3)), 0)]}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_append_many(table, case):
    table.check("append_many", case)
