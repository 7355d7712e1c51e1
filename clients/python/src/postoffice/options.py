"""The settings of a client, with their bounds. Times are seconds."""

from __future__ import annotations

import ssl as ssl_module
from dataclasses import dataclass, fields
from typing import Any, Awaitable, Callable, Optional

from .link import Link
from .storage import Storage
from .tokens import GetToken

Opener = Callable[..., Awaitable[Link]]


@dataclass(frozen=True)
class Options:
    """The settings as PostOffice() was given them; the defaults are there."""

    url: str
    # The token, or the function that makes one, asynchronously or not: called for a connection when the running token
    # ends soon or says no end, before the running token ends, and after the server has refused one.
    token: Optional[str]
    get_token: Optional[GetToken]
    # The session's address (default: the token's) and device (default: random, kept in the storage).
    address: Optional[str]
    device: Optional[str]
    # Where a device that has no place of its own in the storage begins: `now`, or a seq and its epoch.
    since: Optional[str]
    epoch: Optional[str]
    storage: Storage
    # An acknowledgement leaves at the latest so many messages, or so long, after the first that was handled.
    ack_batch: int
    ack_delay: float
    # Messages that wait for a handler; past it nothing is read, and the server keeps the rest.
    max_waiting: int
    # Handled messages that are remembered, so that a repetition is not handed out.
    remember_ids: int
    # A ping after so much silence, and the end of the link without an answer in time.
    heartbeat: float
    heartbeat_timeout: float
    # Messages that wait for the server's answer: past these bounds send() fails at once.
    outbox_messages: int
    outbox_bytes: int
    # Messages under way, in all and to one recipient (outbox.py says what that means for the order).
    send_window: int
    recipient_window: int
    # The wait before another attempt: from 0 to min_backoff, twice as much after each that failed, up to max_backoff.
    min_backoff: float
    max_backoff: float
    # For TCP, TLS, the handshake and the welcome, each.
    connect_timeout: float
    # For the handlers that run when close() is called, and for the last acknowledgement.
    close_timeout: float
    # The largest message that is taken from the server.
    max_message_bytes: int
    # Signals whose listeners' coroutines run, and bytes that may wait for the socket when a signal is sent.
    signals_waiting: int
    signal_bytes: int
    # `repeat`: the message comes again after a while, in a new session; `skip`: it counts as handled.
    on_handler_error: str
    # Whether permessage-deflate is offered.
    compression: bool
    ssl: Optional[ssl_module.SSLContext]
    # Opens a Link in place of link.open_link; for tests.
    opener: Optional[Opener]

    def __post_init__(self) -> None:
        if not self.url.startswith(("ws://", "wss://")):
            raise ValueError(f"url begins with ws:// or wss://: {self.url!r}")
        if self.token is not None and self.get_token is not None:
            raise ValueError("token and get_token exclude each other")
        if self.on_handler_error not in ("repeat", "skip"):
            raise ValueError(f"on_handler_error is 'repeat' or 'skip': {self.on_handler_error!r}")
        for setting in fields(self):
            value: Any = getattr(self, setting.name)
            if type(value) in (int, float) and (value < 0 or value == 0 and setting.name not in _MAY_BE_ZERO):
                raise ValueError(f"{setting.name} is above 0: {value!r}")


_MAY_BE_ZERO = frozenset(["ack_delay", "remember_ids", "min_backoff"])
