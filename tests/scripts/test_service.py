"""lua/service.lua: the messages of a service address, shared out among its sessions.

The worker that calls is h:0:1; its sessions here are h:0:1:7 and h:0:1:8. The session h:1:2:9 is another worker's.
"""

import pytest

from tables import FAR, KEEP, Case, Error, Stream, letter, seq

BOX, SVC, SVN, CUR, PLACES = KEYS = [*(f"po:{{svc}}:{name}" for name in ("box", "svc", "svn", "cur")), "po:places"]
IDS = "po:{svc}:ids"
SEVEN, EIGHT, NINE = "h:0:1:7", "h:0:1:8", "h:1:2:9"


def work(sessions="", acks="", dead="", alive="", again="", held="", credit=2, most=10, room=100000):
    return {"keys": KEYS, "argv": ["h:0:1", "e1", credit, most, room, sessions, acks, dead, alive, again, held]}


def box(count, given=0, **more):
    """Messages 1 to `count`, given out up to `given`; `more` as consumer=numbers, with short names."""
    names = {"seven": SEVEN, "eight": EIGHT, "nine": NINE, "left": "-"}
    consumers = {names[name]: [seq(n) for n in numbers] for name, numbers in more.items()}
    return Stream({seq(n): letter(f"m{n}") for n in range(1, count + 1)}, groups={"po": (seq(given), consumers)})


def entry(n, **more):
    fields = letter(f"m{n}", **more)
    return [seq(n), [part for pair in fields.items() for part in pair]]


def answer(*out, more=0, busy=0, expired=0, gone=0, bad=0, moved=0, ring=(), places=()):
    return [f"{more} {busy} {expired} {gone} {bad} {moved}", list(ring), list(places), list(out)]


def without(stream, *numbers):
    """The stream when messages were removed from it."""
    entries = {key: value for key, value in stream.entries.items() if key not in map(seq, numbers)}
    return Stream(entries, stream.last, stream.groups)


GROUPLESS = Stream({seq(n): letter(f"m{n}") for n in (1, 2)})

CASES = [
    # -- sessions come
    Case("without a session and a group nothing happens", **work(), before={BOX: GROUPLESS}, answer=answer()),
    Case("the first session makes the group, and gets what waits", **work("7+"), before={BOX: GROUPLESS},
         answer=answer("7", entry(1), "7", entry(2), busy=1),
         after={BOX: box(2, 2, seven=[1, 2]), SVC: {SEVEN: "2", "": "2"}}, ttl={SVC: KEEP}),
    Case("an address that got nothing yet", **work("7+"), answer=answer(),
         after={BOX: Stream({}, groups={"po": ("0-0", {})}), SVC: {SEVEN: "0"}}, ttl={SVC: KEEP}),
    Case("the group begins behind what devices had acknowledged in this epoch", **work("7+"),
         before={BOX: GROUPLESS, CUR: {"a": f"{seq(1)}@e1", "b": f"{seq(0)}@e1", "c": f"{seq(2)}@e0"}},
         answer=answer("7", entry(2), busy=1),
         after={BOX: box(2, 2, seven=[2]), SVC: {SEVEN: "1", "": "1"},
                CUR: {"a": f"{seq(1)}@e1", "b": f"{seq(0)}@e1", "c": f"{seq(2)}@e0", "\1": f"{seq(1)}@e1"}},
         ttl={SVC: KEEP}),
    Case("a second session joins", **work("7-8-"), before={BOX: box(0), SVC: {SEVEN: "3", "": "3"}}, answer=answer(),
         after={SVC: {SEVEN: "3", EIGHT: "0", "": "3"}}, ttl={SVC: KEEP}),
    # -- giving
    Case("no session gets more than its credit", **work("7+"), before={BOX: box(3), SVC: {SEVEN: "0"}},
         answer=answer("7", entry(1), "7", entry(2), busy=1),
         after={BOX: box(3, 2, seven=[1, 2]), SVC: {SEVEN: "2", "": "2"}}),
    Case("to the one that holds least, of these to the one that has waited longest", **work("7+8+"),
         before={BOX: box(4), SVC: {SEVEN: "2", EIGHT: "1", "": "2"}},
         answer=answer("8", entry(1), "7", entry(2), "8", entry(3), "7", entry(4), busy=1),
         after={BOX: box(4, 4, seven=[2, 4], eight=[1, 3]), SVC: {SEVEN: "6", EIGHT: "5", "": "6"}}),
    Case("load goes before waiting", **work("7+8+", credit=3),
         before={BOX: box(4, 2, eight=[1, 2]), SVC: {SEVEN: "2", EIGHT: "1", "": "2"}},
         answer=answer("7", entry(3), "7", entry(4), busy=1),
         after={BOX: box(4, 4, seven=[3, 4], eight=[1, 2]), SVC: {SEVEN: "4", EIGHT: "1", "": "4"}}),
    Case("an ack frees a place", **work("7+", acks=seq(1), credit=1),
         before={BOX: box(2, 1, seven=[1]), SVC: {SEVEN: "1", "": "1"}}, answer=answer("7", entry(2), busy=1),
         after={BOX: box(2, 2, seven=[2]), SVC: {SEVEN: "2", "": "2"}}),
    Case("the last ack: nobody is busy", **work("7+", acks=f"{seq(1)} {seq(2)}"),
         before={BOX: box(2, 2, seven=[1, 2]), SVC: {SEVEN: "1", "": "1"}}, answer=answer(),
         after={BOX: box(2, 2, seven=[])}),
    Case("more than a call may give", **work("7+", most=1), before={BOX: box(2), SVC: {SEVEN: "0"}},
         answer=answer("7", entry(1), more=1, busy=1),
         after={BOX: box(2, 1, seven=[1]), SVC: {SEVEN: "1", "": "1"}}),
    Case("a session without room gets nothing", **work("7-"), before={BOX: box(1), SVC: {SEVEN: "0"}},
         answer=answer()),
    Case("what the worker's bytes do not hold is given and taken later", **work("7+", room=1),
         before={BOX: box(2), SVC: {SEVEN: "0"}}, answer=answer("7", entry(1), more=1, busy=1),
         after={BOX: box(2, 2, seven=[1, 2]), SVC: {SEVEN: "2", "": "2"}, SVN: {SEVEN: seq(2)}}, ttl={SVN: KEEP}),
    Case("a shared body is put in, and its size counts", **work("7+", room=5),
         before={BOX: Stream({seq(1): letter("m1", b="@0123", s="7"), seq(2): letter("m2")}, groups={"po": (seq(0), {})}),
                 SVC: {SEVEN: "0"}, "po:body:0123": '{"n":1}'},
         answer=answer("7", [seq(1), ["f", "ann", "i", "m1", "b", '{"n":1}', "s", "7"]], more=1, busy=1),
         after={BOX: Stream({seq(1): letter("m1", b="@0123", s="7"), seq(2): letter("m2")},
                            groups={"po": (seq(2), {SEVEN: [seq(1), seq(2)]})}),
                SVC: {SEVEN: "2", "": "2"}, SVN: {SEVEN: seq(2)}}, ttl={SVN: KEEP}),
    Case("a message whose shared body is gone is dropped and counted", **work("7+"),
         before={BOX: Stream({seq(1): letter("m1", b="@0123", s="7"), seq(2): letter("m2")}, groups={"po": (seq(0), {})}),
                 SVC: {SEVEN: "0"}},
         answer=answer("7", entry(2), busy=1, gone=1),
         after={BOX: Stream({seq(1): letter("m1", b="@0123", s="7"), seq(2): letter("m2")},
                            groups={"po": (seq(2), {SEVEN: [seq(2)]})}),
                SVC: {SEVEN: "1", "": "1"}}),
    # -- other workers
    Case("another worker's session gets it by its tray, and the worker is rung", **work(),
         before={BOX: box(2), SVC: {NINE: "0"}},
         answer=answer(busy=1, ring=["h:1:2"], places=["h:1:2"]),
         after={BOX: box(2, 2, nine=[1, 2]), SVC: {NINE: "2", "": "2"}, SVN: {NINE: f"{seq(1)} {seq(2)}"}},
         ttl={SVN: KEEP}),
    Case("a tray gets fuller", **work(), before={BOX: box(2, 1, nine=[1]), SVC: {NINE: "1"}, SVN: {NINE: seq(1)}},
         answer=answer(busy=1, ring=["h:1:2"], places=["h:1:2"]),
         after={BOX: box(2, 2, nine=[1, 2]), SVC: {NINE: "1", "": "1"}, SVN: {NINE: f"{seq(1)} {seq(2)}"}},
         ttl={SVN: KEEP}),
    Case("a worker takes its sessions' trays", **work("7+8-"),
         before={BOX: box(2, 2, seven=[1], eight=[2]), SVC: {SEVEN: "1", EIGHT: "2", "": "2"},
                 SVN: {SEVEN: seq(1), EIGHT: seq(2)}},
         answer=answer("7", entry(1), busy=1), after={SVN: {EIGHT: seq(2)}}),
    Case("… as far as its bytes go", **work("7+", room=1),
         before={BOX: box(2, 2, seven=[1, 2]), SVC: {SEVEN: "2", "": "2"}, SVN: {SEVEN: f"{seq(1)} {seq(2)}"}},
         answer=answer("7", entry(1), more=1, busy=1), after={SVN: {SEVEN: seq(2)}}),
    Case("… and what is gone from them frees a place", **work("7+", credit=1),
         before={BOX: without(box(2, 1, seven=[1]), 1), SVC: {SEVEN: "2", "": "2"}, SVN: {SEVEN: seq(1)}},
         answer=answer("7", entry(2), busy=1, gone=1),
         after={BOX: without(box(2, 2, seven=[2]), 1), SVC: {SEVEN: "3", "": "3"}, SVN: None}),
    # -- sessions go
    Case("what a session leaves behind comes before anything new", **work("8+", credit=1),
         before={BOX: box(3, 2, seven=[1]), SVC: {SEVEN: "2", EIGHT: "1", "": "2"}},
         answer=answer("8", entry(1), busy=1, moved=1),
         after={BOX: box(3, 2, left=[], eight=[1]), SVC: {EIGHT: "3", "": "3"}}),
    Case("nobody is left: it waits", **work(),
         before={BOX: box(2, 2, seven=[1, 2]), SVC: {SEVEN: "2", "": "2"}, SVN: {SEVEN: seq(2)}},
         answer=answer(busy=1, moved=2), after={BOX: box(2, 2, left=[1, 2]), SVC: {"": "2"}, SVN: None}),
    Case("what retention has removed meanwhile is gone", **work(),
         before={BOX: without(box(3, 2, seven=[1, 2]), 1), SVC: {SEVEN: "2", "": "2"}},
         answer=answer(busy=1, gone=1, moved=1), after={BOX: without(box(3, 2, left=[2]), 1), SVC: {"": "2"}}),
    Case("a worker known to be dead", **work("7+", dead="h:1:2"),
         before={BOX: box(1, 1, nine=[1]), SVC: {NINE: "1", SEVEN: "0", "": "1"}, PLACES: [("h:1:2", FAR)]},
         answer=answer("7", entry(1), busy=1, moved=1),
         after={BOX: box(1, 1, left=[], seven=[1]), SVC: {SEVEN: "2", "": "2"}}),
    *[Case(f"a worker whose lease {what}", **work("7+"),
           before={BOX: box(1, 1, nine=[1]), SVC: {NINE: "1", SEVEN: "0", "": "1"}, PLACES: leases},
           answer=answer("7", entry(1), busy=1, moved=1),
           after={BOX: box(1, 1, left=[], seven=[1]), SVC: {SEVEN: "2", "": "2"}})
      for what, leases in (("is over", [("h:1:2", 1)]), ("is not there", [("h:0:1", FAR)]))],
    *[Case(f"a worker {what} lives", **work("7+", alive=alive),
           before={BOX: box(1, 1, nine=[1]), SVC: {NINE: "1", SEVEN: "0", "": "1"}, **leases},
           answer=answer(busy=1, places=["h:1:2"]))
      for what, alive, leases in (("with a lease", "", {PLACES: [("h:1:2", FAR)]}), ("where nobody has a lease", "", {}),
                                  ("known to live", "h:1:2", {PLACES: [("h:1:2", 1)]}))],
    Case("a consumer of the group that is not connected leaves", **work("8+"),
         before={BOX: box(1, 1, seven=[1]), SVC: {EIGHT: "0"}}, answer=answer("8", entry(1), busy=1, moved=1),
         after={BOX: box(1, 1, left=[], eight=[1]), SVC: {EIGHT: "1", "": "1"}}),
    # -- what may not be given
    Case("what has expired is not given", **work("7+"),
         before={BOX: Stream({seq(1): letter("m1", x="5"), seq(2): letter("m2", x="99999999999")},
                             groups={"po": (seq(0), {})}), SVC: {SEVEN: "0"}},
         answer=answer("7", entry(2, x="99999999999"), busy=1, expired=1),
         after={BOX: Stream({seq(1): letter("m1", x="5"), seq(2): letter("m2", x="99999999999")},
                            groups={"po": (seq(2), {SEVEN: [seq(2)]})}), SVC: {SEVEN: "1", "": "1"}}),
    Case("what is no letter is not given", **work("7+"),
         before={BOX: Stream({seq(1): {"what": "ever"}, seq(2): {**letter("m2"), "b": "no object"}},
                             groups={"po": (seq(0), {})}), SVC: {SEVEN: "0"}},
         answer=answer(bad=2),
         after={BOX: Stream({seq(1): {"what": "ever"}, seq(2): {**letter("m2"), "b": "no object"}},
                            groups={"po": (seq(2), {SEVEN: []})})}),
    # -- in doubt
    Case("a session gets again what it does not hold, and keeps what it holds",
         **work("7+", again="7", held=f"{seq(2)} {seq(3)}", credit=4),
         before={BOX: box(3, 3, seven=[1, 2], left=[3]), SVC: {SEVEN: "3", "": "3"}, SVN: {SEVEN: seq(2)}},
         answer=answer("7", entry(1), busy=1),
         after={BOX: box(3, 3, seven=[1, 2, 3], left=[]), SVN: None}),
    Case("… when it has no room yet, by its tray", **work("7-", again="7"),
         before={BOX: box(2, 2, seven=[1, 2]), SVC: {SEVEN: "2", "": "2"}}, answer=answer(busy=1),
         after={SVN: {SEVEN: f"{seq(1)} {seq(2)}"}}),
    Case("a session that holds all", **work("7+", again="7", held=seq(1)),
         before={BOX: box(1, 1, seven=[1]), SVC: {SEVEN: "1", "": "1"}, SVN: {SEVEN: seq(1)}},
         answer=answer(busy=1), after={SVN: None}),
    # -- a full mailbox that refuses more
    Case("acknowledged messages make room", **work("7-"), limits={"messages_max": 3, "full": "reject"},
         before={BOX: Stream({f"1000-{n}": letter(f"m{n}") for n in (1, 2, 3)},
                             groups={"po": ("1000-3", {SEVEN: ["1000-3"]})}),
                 IDS: {"m1": "1000-1 ann", "m3": "1000-3 ann"}, SVC: {SEVEN: "1"}},
         answer=answer(busy=1),
         after={BOX: Stream({"1000-3": letter("m3")}, groups={"po": ("1000-3", {SEVEN: ["1000-3"]})}),
                IDS: {"m3": "1000-3 ann", "/lost": "1000-2"}}),
    Case("… in a mailbox whose bytes have come to half of their bound", **work("7-"),
         limits={"bytes_max": 2000, "full": "reject"},
         before={BOX: Stream({"1000-1": letter("m1", s="600"), "1000-2": letter("m2", s="400")},
                             groups={"po": ("1000-2", {SEVEN: ["1000-2"]})}),
                 IDS: {"m1": "1000-1 ann", "m2": "1000-2 ann", "/bytes": "1000"}, SVC: {SEVEN: "1"}},
         answer=answer(busy=1),
         after={BOX: Stream({"1000-2": letter("m2", s="400")}, groups={"po": ("1000-2", {SEVEN: ["1000-2"]})}),
                IDS: {"m2": "1000-2 ann", "/lost": "1000-1", "/bytes": "400"}}),
    Case("… and not before", **work("7-"), limits={"bytes_max": 2001, "full": "reject"},
         before={BOX: Stream({"1000-1": letter("m1", s="1000")}, groups={"po": ("1000-1", {SEVEN: []})}),
                 IDS: {"m1": "1000-1 ann", "/bytes": "1000"}, SVC: {SEVEN: "0"}}, answer=answer()),
    Case("… the last one given too, when all are acknowledged", **work("7-"),
         limits={"messages_max": 2, "full": "reject"},
         before={BOX: Stream({"1000-1": letter("m1"), "1000-2": letter("m2")}, groups={"po": ("1000-1", {SEVEN: []})}),
                 SVC: {SEVEN: "1"}},
         answer=answer(),
         after={BOX: Stream({"1000-2": letter("m2")}, groups={"po": ("1000-1", {SEVEN: []})}),
                IDS: {"/lost": "1000-1"}}),
    Case("… but not while a repetition must be recognised", **work("7-"), limits={"messages_max": 2, "full": "reject"},
         before={BOX: box(2, 2, seven=[]), SVC: {SEVEN: "1"}}, answer=answer()),
    Case("where the oldest goes instead, nothing makes room", **work("7-"), limits={"messages_max": 2},
         before={BOX: Stream({"1000-1": letter("m1"), "1000-2": letter("m2")}, groups={"po": ("1000-2", {SEVEN: []})}),
                 SVC: {SEVEN: "1"}}, answer=answer()),
    *[Case(f"a wrong type of {key}: an error, and nothing is written", **work("7+"),
           before={BOX: box(2), SVC: {SEVEN: "0"}, key: "text"}, answer=Error("WRONGTYPE"))
      for key in (BOX, SVC, SVN, PLACES)],
    Case("… of the cursors", **work("7+"), before={BOX: GROUPLESS, CUR: "text"}, answer=Error("WRONGTYPE")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_service(table, case):
    table.check("service", case)
