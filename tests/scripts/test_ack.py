"""lua/ack.lua: the cursor of a device goes forward, or into a new epoch."""

import pytest

from tables import KEEP, Case, Error

CUR = "po:{bob}:cur"


USED, HIGHEST, SEEN = "\0", "\1", "\2"


def ack(promise, before, seq, answer, after=None, epoch="e1", highest=None):
    cursor = {"phone": before, USED: "phone\0", HIGHEST: highest or before}
    return Case(promise, keys=[CUR], argv=["phone", seq, epoch], before={CUR: cursor}, answer=answer,
                after={CUR: {**cursor, "phone": after or before, HIGHEST: highest or after or before}})


def cursors(used, highest="9-0@e1", more=None, **devices):
    return {CUR: {**devices, USED: "".join(f"{one}\0" for one in used), HIGHEST: highest, **(more or {})}}


CASES = [
    Case("the first ack makes the cursor, and keeps the key for twice the age",
         keys=[CUR], argv=["phone", "5-0", "e1"], answer=1, after=cursors(["phone"], "5-0@e1", phone="5-0@e1"), ttl={CUR: KEEP}),
    ack("forward", "5-0@e1", "6-0", 1, "6-0@e1"),
    ack("forward within a millisecond", "5-2@e1", "5-10", 1, "5-10@e1"),
    ack("not back", "10-0@e1", "9-7", 0),
    ack("not back within a millisecond", "5-10@e1", "5-9", 0),
    ack("the same again", "5-1@e1", "5-1", 0),
    ack("numbers that no double holds", "18446744073709551614-0@e1", "18446744073709551615-0", 1,
        "18446744073709551615-0@e1"),
    ack("a new epoch counts from its beginning", "9-0@e1", "1-0", 1, "1-0@e2", epoch="e2"),
    ack("the highest position stays when another device has it", "1-0@e1", "2-0", 1, "2-0@e1", highest="9-0@e1"),
    ack("a position of an epoch that has passed is not the highest", "1-0@e1", "2-0", 1, "2-0@e2", epoch="e2"),
    Case("another device keeps its own",
         keys=[CUR], argv=["tab", "1-0", "e1"], before=cursors(["phone"], phone="9-0@e1"), answer=1,
         after=cursors(["phone", "tab"], phone="9-0@e1", tab="1-0@e1"), ttl={CUR: KEEP}),
    Case("what is no cursor is replaced",
         keys=[CUR], argv=["phone", "1-0", "e1"], before=cursors(["phone"], phone="nonsense"), answer=1,
         after=cursors(["phone"], phone="1-0@e1")),
    Case("the device that was used longest ago gives way",
         keys=[CUR], argv=["d", "1-0", "e1"], before=cursors("abc", a="9-0@e1", b="2-0@e1", c="3-0@e1"), answer=2,
         after=cursors("bcd", b="2-0@e1", c="3-0@e1", d="1-0@e1"), ttl={CUR: KEEP}),
    Case("an ack is a use",
         keys=[CUR], argv=["a", "3-0", "e1"], before=cursors("abc", a="2-0@e1", b="2-0@e1", c="3-0@e1"), answer=1,
         after=cursors("bca", a="3-0@e1", b="2-0@e1", c="3-0@e1")),
    Case("after a reload with a lower limit several give way",
         keys=[CUR], argv=["d", "1-0", "e1"], before=cursors("abc", a="2-0@e1", b="2-0@e1", c="3-0@e1"), answer=3,
         after=cursors("cd", c="3-0@e1", d="1-0@e1"), ttl={CUR: KEEP}, limits={"devices_max": 2}),
    Case("a device without a name is a device",
         keys=[CUR], argv=["", "1-0", "e1"], before=cursors("abc", a="2-0@e1", b="2-0@e1", c="3-0@e1"), answer=2,
         after=cursors(["b", "c", ""], more={"": "1-0@e1"}, b="2-0@e1", c="3-0@e1"), ttl={CUR: KEEP}),
    Case("and gives way as any other",
         keys=[CUR], argv=["d", "1-0", "e1"], before=cursors(["", "b", "c"], more={"": "1-0@e1"}, b="2-0@e1", c="3-0@e1"),
         answer=2, after=cursors("bcd", b="2-0@e1", c="3-0@e1", d="1-0@e1"), ttl={CUR: KEEP}),
    Case("a name within a name is another name",
         keys=[CUR], argv=["a", "1-0", "e1"], before=cursors(["ba", "ab"], ba="2-0@e1", ab="2-0@e1"), answer=1,
         after=cursors(["ba", "ab", "a"], ba="2-0@e1", ab="2-0@e1", a="1-0@e1"), ttl={CUR: KEEP}),
    Case("a device that was only seen has a cursor now",
         keys=[CUR], argv=["phone", "5-0", "e1"],
         before={CUR: {SEEN: "tab\x010-0@e1\0phone\x010-0@e1\0x\x013-0@e1\0"}}, answer=1,
         after=cursors(["phone"], "5-0@e1", more={SEEN: "tab\x010-0@e1\0x\x013-0@e1\0"}, phone="5-0@e1"),
         ttl={CUR: KEEP}),
    Case("members of a group have lists of their own",
         keys=[CUR], argv=["ann\0d", "1-0", "e1"],
         before={CUR: {**{f"ann\0{one}": "2-0@e1" for one in "abc"}, "\0ann": "a\0b\0c\0", "bob\0a": "3-0@e1",
                       "\0bob": "a\0", HIGHEST: "9-0@e1"}}, answer=2,
         after={CUR: {"ann\0b": "2-0@e1", "ann\0c": "2-0@e1", "ann\0d": "1-0@e1", "\0ann": "b\0c\0d\0",
                      "bob\0a": "3-0@e1", "\0bob": "a\0", HIGHEST: "9-0@e1"}}, ttl={CUR: KEEP}),
    *[Case(f"an address that must stay known keeps {whose} for {ttl} seconds",
           keys=[CUR], argv=[name, "5-0", "e1"], answer=1, limits={"known_s": 77777},
           after={CUR: {name: "5-0@e1", order: "d\0", HIGHEST: "5-0@e1"}}, ttl={CUR: ttl})
      for whose, name, order, ttl in (("its cursors", "d", USED, 77777), ("a group's", "ann\0d", "\0ann", KEEP))],
    Case("cursors of an earlier version: the highest is searched once",
         keys=[CUR], argv=["a", "3-0", "e1"], before={CUR: {"a": "2-0@e1", "b": "10-0@e1", "c": "99-0@e0"}}, answer=1,
         after=cursors("a", "10-0@e1", a="3-0@e1", b="10-0@e1", c="99-0@e0"), ttl={CUR: KEEP}),
    Case("cursors of an earlier version give way first",
         keys=[CUR], argv=["d", "3-0", "e1"],
         before=cursors("ab", a="2-0@e1", b="2-0@e1", more={f"old{n}": "1-0@e1" for n in range(100)}), answer=101,
         after=cursors("abd", a="2-0@e1", b="2-0@e1", d="3-0@e1"), ttl={CUR: KEEP}),
    Case("a wrong type: an error", keys=[CUR], argv=["phone", "1-0", "e1"], before={CUR: "text"},
         answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ack(table, case):
    table.check("ack", case)
