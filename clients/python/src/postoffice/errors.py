"""The errors that the library raises.

Trouble that a repetition mends is no error: the library repeats.
A time-out is `asyncio.TimeoutError`, as everywhere in asyncio.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence


class Refusal(NamedTuple):
    """A recipient that was not served, and why (a code of docs/protocol.md section 4)."""

    address: str
    code: str


class PostOfficeError(Exception):
    """The base of every error of this library."""


class RejectedError(PostOfficeError):
    """The server (or the library, for what the server would refuse) has turned a message or a command away for good.

    `code` is one of docs/protocol.md section 4; `field` names the envelope's field at fault, `refused` the recipients
    that were tried, `id` the message. `maybe_stored` is true when an earlier attempt of the message had no answer
    because the connection broke: that attempt may have been accepted.
    """

    def __init__(self, code: str, message: str = "", *, field: Optional[str] = None, id: Optional[str] = None,
                 refused: Sequence[Refusal] = (), maybe_stored: bool = False) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.field = field
        self.id = id
        self.refused = list(refused)
        self.maybe_stored = maybe_stored


class ClosedError(PostOfficeError):
    """The client has ended for good: by close() (code 1000), or by a close code after which nothing is tried again.

    A message that was waiting stays in a storage that lasts, and is sent by the next client that opens the storage.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}: {reason}" if reason else f"closed with {code}")
        self.code = code
        self.reason = reason


class TokenError(PostOfficeError):
    """Raised by an application's get_token: there will be no token. The client ends instead of asking again."""


class OutboxFullError(PostOfficeError):
    """send() or post() was called while as many messages wait as `outbox_messages` or `outbox_bytes` allow."""

    code = "outbox-full"


class StorageError(PostOfficeError):
    """The storage cannot be opened or written: in use by another process, no folder, a full disk."""
