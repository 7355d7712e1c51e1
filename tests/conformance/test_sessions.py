"""The rows that fail a connection, the pings and the closes, against sessions of the real server with a real Redis.

What a session answers to text is JSON of its own, so of what comes back only control frames are compared. A row that is
good for `echo-test` is good here too: `rejected` answers what is no envelope, and the session goes on.
"""

import json

import pytest

import play
import test_closing
import test_fragments
import test_framing
import test_utf8
from clients import Raw, envelope, frame

LARGE = 100_000  # a row with more bytes is played at echo-test alone


def small(rows):
    return [row for row in rows if sum(map(len, row.sent)) <= LARGE]


def in_one_frame(rows):
    """Every text that is no UTF-8 once; test_utf8.py cuts it."""
    return [row for row in rows if row.name.endswith("in one frame") or "noticed" in row.name]


@pytest.fixture(scope="module")
def session(post):
    target = play.SessionTarget(post)
    yield target
    target.end()


def judge_session(row, frames, plan):
    control = [one for one in play.code_of(frames) if one[0] >= 8]
    expected = [one for one in row.expected if one[0] >= 8]
    assert control == [*expected, row.ending()], f"{row}, in writes of {plan}"


ROWS = small([*test_framing.LENGTH_FORM_ROWS, *test_framing.MASK_ROWS, *test_framing.PING_ROWS, *test_framing.RESERVED_ROWS,
              *test_framing.OPCODE_ROWS, *test_fragments.BAD, *test_closing.ROWS, *test_closing.BAD,
              *in_one_frame(test_utf8.BAD_ROWS), *in_one_frame(test_utf8.EARLY_ROWS)])


@pytest.mark.parametrize("way", ["whole", "bytes"])
@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_row(session, row, way):
    play.play(session, row, way, judge_session)


def bad_texts():
    return [(name, data) for name, data in test_utf8.BAD.items() if len(data) <= test_utf8.SHORT]


def test_8_1_no_text_that_is_no_utf8_ever_reaches_a_recipient(post, session):
    """Each bad text stands where an envelope carries free text; the reader of the address gets the good mail alone."""
    reader = Raw(post.port)
    reader.send(play.clients.request("/ws", token=post.token("utf8-reader")))
    assert reader.answer().status == 101
    for name, data in bad_texts():
        sender, = session.open()
        address = session.latest()
        body = json.dumps(envelope(address, "utf8-reader", "x", subject="SUBJECT")).encode()
        sender.send(frame(1, body.replace(b"SUBJECT", data)))
        assert play.code_of(play.frames_to_the_end(sender))[-1] == (8, (1007).to_bytes(2, "big")), name
        sender.socket.close()
    sender, = session.open()
    sender.send(frame(1, json.dumps(envelope(session.latest(), "utf8-reader", "x", subject="the good one"))))
    subjects = []
    while "the good one" not in subjects:
        message = json.loads(reader.message())
        if message["from"] != "postmaster":
            subjects.append(message["subject"])
    assert subjects == ["the good one"]
    for connection in (sender, reader):
        connection.socket.close()


LIMIT = 1 << 20  # limits.messageBytes


@pytest.mark.parametrize("size,code", [(LIMIT - 1, None), (LIMIT, None), (LIMIT + 1, 1009), ((1 << 32) + 1, 1009)])
@pytest.mark.parametrize("fragments", [False, True], ids=["in one frame", "in two"])
def test_10_4_the_limit_of_a_message_holds_to_the_byte_from_the_head_alone(session, size, code, fragments):
    connection, = session.open()
    first = size // 2 if fragments else 0
    if fragments:
        connection.send(frame(2, bytes(min(first, LIMIT // 2)), fin=False, mask=b"\0\0\0\0"))
        first = min(first, LIMIT // 2)
    rest = size - first
    head = bytes([0x80 | (0 if fragments else 2), 0xff]) + rest.to_bytes(8, "big") + b"\0\0\0\0"
    connection.send(head)
    if code is None:
        connection.send(bytes(rest))
        assert json.loads(connection.message())["subject"] == "rejected"
        connection.send(play.close(1000))
        code = 1000
    assert play.code_of(play.frames_to_the_end(connection))[-1] == (8, code.to_bytes(2, "big"))
    connection.socket.close()
