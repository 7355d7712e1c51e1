"""The settings of a client, with their bounds."""

from __future__ import annotations

import ssl as ssl_module
from dataclasses import dataclass, field, fields
from typing import Any, Awaitable, Callable, Optional

from .link import Link
from .storage import MemoryStorage, Storage
from .tokens import GetToken


@dataclass
class Options:
    """Seconds, bytes and numbers. README.md explains each."""

    url: str
    token: Optional[str] = None
    get_token: Optional[GetToken] = None
    address: Optional[str] = None
    device: Optional[str] = None
    since: Optional[str] = None
    epoch: Optional[str] = None
    storage: Storage = field(default_factory=MemoryStorage)
    ack_batch: int = 16
    ack_delay: float = 0.2
    max_waiting: int = 1000
    remember_ids: int = 2000
    heartbeat: float = 15.0
    heartbeat_timeout: float = 10.0
    outbox_messages: int = 10_000
    outbox_bytes: int = 16 << 20
    send_window: int = 32
    recipient_window: int = 1
    min_backoff: float = 1.0
    max_backoff: float = 60.0
    connect_timeout: float = 30.0
    close_timeout: float = 5.0
    max_message_bytes: int = 64 << 20
    signals_waiting: int = 1000
    signal_bytes: int = 1 << 20
    on_handler_error: str = "repeat"
    compression: bool = True
    ssl: Optional[ssl_module.SSLContext] = None
    opener: Optional[Callable[..., Awaitable[Link]]] = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("ws://", "wss://")):
            raise ValueError(f"url begins with ws:// or wss://: {self.url!r}")
        if self.token is not None and self.get_token is not None:
            raise ValueError("token and get_token exclude each other")
        if self.on_handler_error not in ("repeat", "skip"):
            raise ValueError(f"on_handler_error is 'repeat' or 'skip': {self.on_handler_error!r}")
        for setting in fields(self):
            value: Any = getattr(self, setting.name)
            if type(value) in (int, float) and value < (0 if setting.name in _MAY_BE_ZERO else 1e-9):
                raise ValueError(f"{setting.name} is above 0: {value!r}")


_MAY_BE_ZERO = frozenset(["ack_delay", "remember_ids", "min_backoff"])
