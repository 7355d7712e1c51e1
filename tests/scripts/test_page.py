"""lua/page.lua: a page of a log, which ends by bytes, with the bodies that mailboxes share."""

import pytest

from tables import FAR, Case, Error, Stream, letter, seq

BOX, IDS = "po:{bob}:box", "po:{bob}:ids"
KEYS = [BOX]


def mail(count, size):
    return {BOX: Stream({seq(n): letter(f"m{n}", b="{" + "x" * (size - 1)) for n in range(1, count + 1)})}


def entry(n, size):
    return [seq(n), ["f", "ann", "i", f"m{n}", "b", "{" + "x" * (size - 1)]]


def page(command, start, count, size):
    return {"keys": KEYS, "argv": [command, start, count, size]}


SMALL, LARGE = mail(9, 100), mail(9, 50000)
ONE = 100 + len("ann") + len("m1") + 100  # what one of SMALL adds to a page
MIXED = {BOX: Stream({**SMALL[BOX].entries, seq(10): letter("m10", b="{" + "x" * 49999)})}

BODY = "po:body:0123"
SHARED = letter("m2", b="@0123", s="7")
SHARES = {BOX: Stream({seq(1): letter("m1"), seq(2): SHARED, seq(3): letter("m3")}), BODY: '{"n":2}'}
HUGE = {BOX: Stream({seq(1): letter("m1"), seq(2): {**SHARED, "s": "50000"}}), BODY: "{" + "x" * 49999}


def fields(n, **of):
    return [seq(n), [part for pair in of.items() for part in pair]]


FIRST, SECOND, THIRD = fields(1, **letter("m1")), fields(2, **{**SHARED, "b": '{"n":2}'}), fields(3, **letter("m3"))

def removed(lost, entries=range(5, 8), **ids):
    """A box with these entries, of which retention has removed all up to `lost`."""
    return {BOX: Stream({seq(n): letter(f"m{n}") for n in entries}), IDS: {"/lost": lost, **ids}}


def of(*numbers):
    return [fields(n, **letter(f"m{n}")) for n in numbers]


LOST = [
    Case("what was removed behind the reader is told", **page("XRANGE", seq(3), 10, 9999), before=removed(seq(4)),
         answer=[0, seq(7), *of(5, 6, 7), seq(4)]),
    Case("… when the very first was removed", **page("XRANGE", seq(4), 10, 9999), before=removed(seq(4)),
         answer=[0, seq(7), *of(5, 6, 7), seq(4)]),
    Case("… as positions are compared: by numbers", **page("XRANGE", seq(9, 100), 1, 9999),
         before=removed(seq(10, 100)), answer=[1, seq(5), *of(5), seq(10, 100)]),
    Case("… of any length", **page("XRANGE", seq(99, 99), 1, 9999), before=removed(seq(1, 100)),
         answer=[1, seq(5), *of(5), seq(1, 100)]),
    Case("… on a page that ends by count", **page("XRANGE", seq(1), 2, 9999), before=removed(seq(4)),
         answer=[1, seq(6), *of(5, 6), seq(4)]),
    Case("what was removed before the reader is nothing to it", **page("XRANGE", seq(5), 10, 9999),
         before=removed(seq(4)), answer=[0, seq(7), *of(5, 6, 7)]),
    Case("… nor what was removed in the same millisecond", **page("XRANGE", seq(99, FAR - 1), 1, 9999),
         before=removed(seq(10, FAR - 1)), answer=[1, seq(5), *of(5)]),
    Case("… nor what was removed in an earlier one", **page("XRANGE", seq(1), 1, 9999),
         before=removed(seq(10, FAR - 1)), answer=[1, seq(5), *of(5)]),
    Case("what was removed in a later millisecond is told", **page("XRANGE", seq(11, FAR - 2), 1, 9999),
         before=removed(seq(10, FAR - 1)), answer=[1, seq(5), *of(5), seq(10, FAR - 1)]),
    Case("nobody who reads backwards is told", **page("XREVRANGE", seq(6), 10, 9999), before=removed(seq(4)),
         answer=[0, seq(5), *of(6, 5)]),
    Case("all is gone", **page("XRANGE", seq(3), 10, 9999), before=removed(seq(7), entries=[]) | {
        BOX: Stream({}, last=seq(7))}, answer=[0, "", seq(7)]),
    Case("… which a mailbox that never held so much does not believe", **page("XRANGE", seq(3), 10, 9999),
         before=removed(seq(8), entries=[]) | {BOX: Stream({}, last=seq(7))}, answer=[0, ""]),
    Case("… nor one that is not there", **page("XRANGE", seq(3), 10, 9999), before={IDS: {"/lost": seq(7)}},
         answer=[0, ""]),
    Case("a damaged position that would skip what is kept is not believed", **page("XRANGE", seq(3), 10, 9999),
         before=removed(seq(6)), answer=[0, seq(7), *of(5, 6, 7)]),
    Case("… nor one behind all that is kept", **page("XRANGE", seq(8), 10, 9999), before=removed(seq(9)),
         answer=[0, ""]),
    *[Case(f"… nor {text!r}", **page("XRANGE", seq(3), 1, 9999), before=removed(text), answer=[1, seq(5), *of(5)])
      for text in ("", "-", "4", "x-1", "1" * 20 + "-1", "1-2-3", seq(4) + " ")],
    Case(":ids of a wrong type tells nothing, and the page is read", **page("XRANGE", seq(3), 1, 9999),
         before=removed(seq(4)) | {IDS: "text"}, answer=[1, seq(5), *of(5)]),
]

CASES = [
    *LOST,
    Case("the whole log", **page("XRANGE", "-", 10, 100000), before=SMALL,
         answer=[0, seq(9), *(entry(n, 100) for n in range(1, 10))]),
    Case("an exact count is the end", **page("XRANGE", "-", 9, 100000), before=SMALL,
         answer=[0, seq(9), *(entry(n, 100) for n in range(1, 10))]),
    Case("a page by count", **page("XRANGE", "-", 8, 100000), before=SMALL,
         answer=[1, seq(8), *(entry(n, 100) for n in range(1, 9))]),
    Case("a page by bytes", **page("XRANGE", seq(2), 256, 5 * ONE + 1), before=SMALL,
         answer=[1, seq(6), *(entry(n, 100) for n in range(2, 7))]),
    Case("a page that is just full", **page("XRANGE", seq(2), 256, 5 * ONE), before=SMALL,
         answer=[1, seq(6), *(entry(n, 100) for n in range(2, 7))]),
    Case("a message larger than a page comes alone", **page("XRANGE", "-", 256, 1000), before=LARGE,
         answer=[1, seq(1), entry(1, 50000)]),
    Case("a large message behind small ones is left for the next page", **page("XRANGE", seq(9), 256, 1000),
         before=MIXED, answer=[1 + 50106, seq(9), entry(9, 100)]),
    Case("backwards", **page("XREVRANGE", "+", 3, 100000), before=SMALL,
         answer=[1, seq(7), *(entry(n, 100) for n in (9, 8, 7))]),
    Case("backwards to the oldest", **page("XREVRANGE", seq(2), 3, 100000), before=SMALL,
         answer=[0, seq(1), entry(2, 100), entry(1, 100)]),
    Case("backwards by bytes", **page("XREVRANGE", "+", 200, 1), before=LARGE, answer=[1, seq(9), entry(9, 50000)]),
    Case("nothing lies there", **page("XRANGE", seq(10), 10, 1000), before=SMALL, answer=[0, ""]),
    Case("no mailbox", **page("XRANGE", "-", 10, 1000), answer=[0, ""]),
    Case("an entry of another shape counts with all its fields", **page("XRANGE", "-", 10, 1000),
         before={BOX: Stream({seq(1): {"zz": "y" * 2000}, seq(2): letter("m2")})},
         answer=[1, seq(1), [seq(1), ["zz", "y" * 2000]]]),
    Case("each entry with its body", **page("XRANGE", "-", 10, 100000), before=SHARES,
         answer=[0, seq(3), FIRST, SECOND, THIRD]),
    Case("… backwards too", **page("XREVRANGE", "+", 2, 100000), before=SHARES, answer=[1, seq(2), THIRD, SECOND]),
    Case("a shared body counts with its size", **page("XRANGE", "-", 10, 1000), before=HUGE, answer=[1, seq(1), FIRST]),
    Case("… and comes alone when it is larger than a page", **page("XREVRANGE", "+", 10, 1000), before=HUGE,
         answer=[1, seq(2), fields(2, **{**SHARED, "s": "50000", "b": HUGE[BODY]})]),
    Case("a body that is gone stays named", **page("XRANGE", seq(2), 1, 100000), before={BOX: SHARES[BOX]},
         answer=[1, seq(2), fields(2, **SHARED)]),
    Case("… and so does a body of a wrong type", **page("XRANGE", seq(2), 1, 100000),
         before={**SHARES, BODY: {"a": "b"}}, answer=[1, seq(2), fields(2, **SHARED)]),
    Case("… or of another shape", **page("XRANGE", seq(2), 1, 100000), before={**SHARES, BODY: "@0123"},
         answer=[1, seq(2), fields(2, **SHARED)]),
    *[Case(f"a damaged size ({size[:4]}) does not stop the page", **page("XRANGE", "-", 1, 100000),
           before={**SHARES, BOX: Stream({seq(2): {**SHARED, "s": size}})},
           answer=[more, seq(2), fields(2, **{**SHARED, "s": size, "b": '{"n":2}'})])
      for size, more in (("nan", 0), ("inf", 0), ("-9", 0), ("x", 0), ("9" * 400, 1))],
    Case("an entry of a foreign shape is left as it is", **page("XRANGE", "-", 10, 100000),
         before={BOX: Stream({seq(1): {"b": "@0123", "f": "ann", "i": "m1"}})},
         answer=[0, seq(1), fields(1, b="@0123", f="ann", i="m1")]),
    Case("a wrong type: an error", **page("XRANGE", "-", 10, 1000), before={BOX: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_page(table, case):
    table.check("page", case)
