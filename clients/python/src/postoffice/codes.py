"""The reaction that a close code or an HTTP status asks of a client (docs/protocol.md section 7)."""

from __future__ import annotations

import enum


class Then(enum.Enum):
    """The step after a connection."""

    RECONNECT = "reconnect"
    NEW_TOKEN = "new token"
    NEVER = "never"


# 1002, 1003, 1007, 1008: the same bytes would end the next session too. 1015: the certificate is not trusted.
_NEVER = frozenset([1002, 1003, 1007, 1008, 1015])
_NEW_TOKEN = frozenset([4001, 4401])


def after_close(code: int) -> Then:
    """Codes that this library does not know are taken for passing trouble, except those of the two blocks of the
    protocol in which nothing is tried again."""
    if code in _NEW_TOKEN:
        return Then.NEW_TOKEN
    if code in _NEVER or 4400 <= code < 4600:
        return Then.NEVER
    return Then.RECONNECT


def close_code_of_status(status: int) -> int:
    """The close code that says the same as an HTTP status instead of 101."""
    if status in (401, 403, 404):
        return 4000 + status
    if status == 408:
        return 1006
    if status == 429 or status >= 500 and status != 505:
        return 1013
    return 4400
