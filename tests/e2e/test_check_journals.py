"""tests/chaos/check_journals.py finds each fault that this file plants into correct journals."""

import copy
import json
import subprocess
import sys

import pytest

import harness

CHECKER = harness.ROOT / "tests" / "chaos" / "check_journals.py"


def check(directory, journal, *options):
    """(exit status, what it printed)"""
    path = directory / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in journal))
    result = subprocess.run([sys.executable, CHECKER, *options, path], capture_output=True, text=True, check=False)
    assert not result.stderr, result.stderr
    return result.returncode, result.stdout


def good():
    """alice writes a1…a20 to bob, cara c1…c5; bob has two devices, of which APP reconnects in the middle."""
    clock = iter(range(1, 10000))
    lines = []

    def say(kind, *rest):
        lines.append([kind, next(clock), *rest])

    def begin(address, device, conn, cursor="0-0"):
        say("open", address, device, conn, "")
        say("welcome", address, device, conn, cursor, "0-0", "epoch1", True, "node", 0)

    def got(device, conn, numbers):
        for number in numbers:
            say("got", "bob", device, conn, *stored[number - 1], f"{number}-0")

    stored = []
    for address, device in (("alice", "APP"), ("cara", "APP"), ("bob", "APP"), ("bob", "TAB")):
        say("device", address, device)
        begin(address, device, 1)
    for number in range(1, 21):
        say("send", "alice", "APP", 1, f"a{number}", ["bob"])
        stored.append(("alice", "APP", f"a{number}"))
        if number % 4 == 0:
            say("send", "cara", "APP", 1, f"c{number // 4}", ["bob"])
            stored.append(("cara", "APP", f"c{number // 4}"))
    for sender, device, name in stored:
        say("accepted", sender, device, 1, name, [])
    say("send", "cara", "APP", 1, "c-refused", ["bob"])
    say("rejected", "cara", "APP", 1, "c-refused", "storage-unavailable")
    got("APP", 1, range(1, 13))
    say("ack", "bob", "APP", 1, "8-0")
    say("acked", "bob", "APP", 1, "8-0")
    say("closed", "bob", "APP", 1, 0)
    for _ in range(6):  # seconds
        next(clock)
    begin("bob", "APP", 2, "8-0")
    got("APP", 2, range(9, 26))
    say("replayed", "bob", "APP", 2)
    got("TAB", 1, range(1, 26))
    say("replayed", "bob", "TAB", 1)
    for address, device, conn in (("alice", "APP", 1), ("cara", "APP", 1), ("bob", "APP", 2), ("bob", "TAB", 1)):
        say("closed", address, device, conn, 0)
    say("end")
    return lines


def where(journal, kind, *rest):
    """The index of the first line of this kind whose members after the time are these."""
    return next(index for index, line in enumerate(journal) if line[0] == kind and line[2:2 + len(rest)] == list(rest))


def got(journal, device, conn, name):
    return next(index for index, line in enumerate(journal)
                if line[0] == "got" and line[3:5] == [device, conn] and line[7] == name)


def lose(journal):
    del journal[got(journal, "TAB", 1, "a7")]


def lose_the_last(journal):
    del journal[got(journal, "APP", 2, "a20")]


def store_twice(journal):
    index = got(journal, "TAB", 1, "a20")
    line = copy.deepcopy(journal[got(journal, "TAB", 1, "a7")])
    line[-1] = "99-0"
    journal.insert(index + 1, line)


def repeat(journal):
    index = got(journal, "TAB", 1, "a7")
    journal.insert(index + 1, journal[index])


def repeat_acknowledged(journal):
    index = got(journal, "APP", 2, "a8")
    line = copy.deepcopy(journal[got(journal, "APP", 1, "a3")])
    line[4] = 2
    journal.insert(index, line)


def swap_arrivals(journal):
    one, two = got(journal, "TAB", 1, "a9"), got(journal, "TAB", 1, "a10")
    journal[one], journal[two] = journal[two], journal[one]


def swap_in_the_mailbox(journal):
    """Swaps two messages at every device: only the sender's journal still has the right order."""
    for device, conn in (("APP", 2), ("TAB", 1)):
        one, two = got(journal, device, conn, "a17"), got(journal, device, conn, "a18")
        journal[one][7], journal[two][7] = journal[two][7], journal[one][7]


def deliver_rejected(journal):
    index = got(journal, "TAB", 1, "a20")
    journal.insert(index + 2, ["got", 5000, "bob", "TAB", 1, "cara", "APP", "c-refused", "99-0"])


def reject_accepted(journal):
    index = where(journal, "accepted", "alice", "APP", 1, "a5")
    journal.insert(index + 1, ["rejected", 5000, "alice", "APP", 1, "a5", "storage-unavailable"])


def reject_after_sending_again(journal):
    index = where(journal, "accepted", "alice", "APP", 1, "a20")
    journal[index + 1:index + 1] = [["send", 5000, "alice", "APP", 1, "a5", ["bob"]],
                                    ["rejected", 5001, "alice", "APP", 1, "a5", "storage-unavailable"]]


def accept_twice(journal):
    index = where(journal, "accepted", "alice", "APP", 1, "a5")
    journal.insert(index + 1, journal[index])


def accept_out_of_order(journal):
    one, two = (where(journal, "accepted", "alice", "APP", 1, name) for name in ("a5", "a6"))
    journal[one], journal[two] = journal[two], journal[one]


def never_answer(journal):
    del journal[where(journal, "accepted", "alice", "APP", 1, "a20")]


def say_lost(journal):
    journal[where(journal, "welcome", "bob", "APP", 2)][8] = False


def change_epoch(journal):
    journal[where(journal, "welcome", "bob", "APP", 2)][7] = "epoch2"


def forget_acknowledgement(journal):
    journal[where(journal, "welcome", "bob", "APP", 2)][5] = "4-0"


def share_a_place(journal):
    journal[got(journal, "TAB", 1, "a20")][-1] = "1-0"


def deliver_to_another(journal):
    journal.insert(-1, ["got", 5000, "alice", "APP", 1, "cara", "APP", "c1", "1-0"])


def deliver_own_copy(journal):
    journal.insert(-1, ["got", 5000, "alice", "APP", 1, "alice", "APP", "a1", "1-0"])


def invent(journal):
    journal.insert(-1, ["got", 5000, "bob", "TAB", 1, "nobody", "", "n1", "99-0"])


def never_end(journal):
    del journal[-1]


FAULTS = [
    (lose, "lost: a7 of alice was accepted; bob/TAB never got it"),
    (lose_the_last, "lost: a20 of alice was accepted; bob/APP never got it"),
    (store_twice, "stored-twice: a7 of alice in the mailbox of bob: at 8-0 and at 99-0"),
    (repeat, "repeated: bob/TAB connection 1: a7 at 8-0, twice"),
    (repeat_acknowledged, "repeated: bob/APP connection 2: a3 at 3-0, though it began after (8, 0)"),
    (swap_arrivals, "order: bob/TAB connection 1: a9 at 11-0, behind (12, 0)"),
    (swap_in_the_mailbox, "order: bob/TAB got a17 of alice/APP behind a18"),
    (deliver_rejected, "rejected-delivered: c-refused of cara to bob"),
    (reject_accepted, "answered: alice/APP connection 1: an answer to 'a5'"),
    (reject_after_sending_again, "answered: alice/APP: a5 was accepted, and then rejected"),
    (accept_twice, "answered: alice/APP connection 1: an answer to 'a5'"),
    (accept_out_of_order, "answered: alice/APP connection 1: a5 was accepted behind a later one"),
    (never_answer, "unresolved: a20 of alice"),
    (say_lost, "told-lost: bob/APP connection 2"),
    (change_epoch, "told-lost: bob/APP connection 2"),
    (forget_acknowledgement, "cursor: bob/APP connection 2: begins at 4-0, though (8, 0) was acknowledged"),
    (share_a_place, "same-place: 1-0 in the mailbox of bob"),
    (deliver_to_another, "unasked: alice/APP got c1 of cara/APP"),
    (deliver_own_copy, "unasked: alice/APP got a1 of alice/APP"),
    (invent, "unasked: bob/TAB got n1 of nobody/"),
    (never_end, "unfinished"),
]


def test_journals_without_a_fault_have_no_finding(directory):
    status, said = check(directory, good())
    assert (status, said.splitlines()[-1]) == (0, "0 findings"), said


@pytest.mark.parametrize("fault, finding", FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_planted_fault_is_found_and_named(directory, fault, finding):
    journal = good()
    fault(journal)
    assert journal != good()
    status, said = check(directory, journal)
    assert status == 1 and finding in said, said


def test_the_last_connection_must_be_sent_the_whole_mailbox_when_that_is_asked(directory):
    status, said = check(directory, good(), "--backlog")
    assert status == 1 and "backlog: bob/APP connection 2" in said and "bob/TAB" not in said, said


def test_messages_refused_while_redis_was_away_may_change_places_and_others_may_not(directory):
    """a17 had no answer, its connection was cut, and Redis was away: no journal shows that a17 was refused at first."""
    journal = good()
    swap_in_the_mailbox(journal)
    sends = [["send", 4000, "alice", "APP", 2, name, ["bob"]] for name in ("a17", "a18")]
    accepted = [["accepted", 4001, "alice", "APP", 2, name, []] for name in ("a17", "a18")]
    for name in ("a17", "a18"):
        del journal[where(journal, "accepted", "alice", "APP", 1, name)]
    journal[-1:] = [["open", 3999, "alice", "APP", 2, ""], *sends, *accepted, ["closed", 4002, "alice", "APP", 2, 0],
                    ["end", 4003]]
    assert "order: bob/TAB got a17" in check(directory, journal)[1]
    journal[:0] = [["event", 0, "redis-down"], ["event", 1, "redis-up"]]
    assert check(directory, journal)[0] == 1, "it was not away when these were sent"
    journal[1][1] = 10000
    status, said = check(directory, journal)
    assert status == 0 and "unordered=2" in said, said
