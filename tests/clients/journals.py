"""What each person of test_loss.py was shown, and the judge who finds what was lost, repeated or out of order.

A person lives several lives: a driver that is killed ends one, and its successor begins the next. A life is the list of
what the library told, in order: ("message", id) when the application's handler begins, ("handled", id) when the id of
a handled message is in storage.
"""

import dataclasses


@dataclasses.dataclass
class Person:
    name: str
    lives: list = dataclasses.field(default_factory=list)


def sender_of(message_id):
    return message_id.rsplit(".", 1)[0]


def number_of(message_id):
    return int(message_id.rsplit(".", 1)[1])


def showings(person):
    """(life, id, whether it was finished in that life) of each showing."""
    for number, life in enumerate(person.lives):
        finished = {message_id for kind, message_id in life if kind == "handled"}
        for kind, message_id in life:
            if kind == "message":
                yield number, message_id, message_id in finished


def repeated(person):
    """Of a message that is shown twice the first handler must have died with its life."""
    seen = {}
    for life, message_id, finished in showings(person):
        if message_id in seen:
            before, was_finished = seen[message_id]
            if before == life or was_finished:
                yield f"{person.name} was shown {message_id} again"
        seen[message_id] = life, finished


def out_of_order(person):
    newest, seen = {}, set()
    for _, message_id, _ in showings(person):
        if message_id in seen:
            continue
        seen.add(message_id)
        sender = sender_of(message_id)
        if number_of(message_id) < newest.get(sender, -1):
            yield f"{person.name} was shown {message_id} behind {sender}.{newest[sender]}"
        newest[sender] = max(newest.get(sender, -1), number_of(message_id))


def lost(person, expected):
    shown = {message_id for _, message_id, _ in showings(person)}
    for message_id in expected:
        if message_id not in shown:
            yield f"{person.name} was never shown {message_id}"


def unasked(person, expected):
    for message_id in {message_id for _, message_id, _ in showings(person)} - set(expected):
        yield f"{person.name} was shown {message_id}, which nobody sent"


def judge(person, expected):
    """Findings in words; none: all is well. expected: the ids that were accepted for this person."""
    return [*lost(person, expected), *unasked(person, expected), *repeated(person), *out_of_order(person)]
