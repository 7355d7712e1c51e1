"""The data of the events, and the list of listeners.

A listener is a function or a coroutine function. A coroutine is started and not waited for: a listener that takes
long holds nothing up. A listener that fails causes the event `error`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Set

NAMES = frozenset(["state", "welcome", "replayed", "gap", "receipt", "recalled", "message", "signal", "error",
                   "handled", "acked"])
_logger = logging.getLogger("postoffice")


@dataclass(frozen=True)
class State:
    """Event `state`: `connecting`, `open`, `waiting` (until a Unix time), `closed` (for good, with a close code)."""

    state: str
    code: Optional[int] = None
    reason: str = ""
    until: Optional[float] = None


@dataclass(frozen=True)
class Welcome:
    """Event `welcome`, and the result of connect(): where the session stands (docs/protocol.md section 4)."""

    session: str
    address: str
    device: str
    seq: str
    cursor: str
    epoch: str
    recovered: bool
    service: bool
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Replayed:
    """Event `replayed`: what lay in the mailbox (log None) or in a group's log has been sent."""

    log: Optional[str]
    seq: str


@dataclass(frozen=True)
class Gap:
    """Event `gap`: messages are missing here, in the mailbox (log None) or in a group's log.

    `epoch_changed`: the server has lost its data; positions from before mean nothing any more.
    """

    log: Optional[str]
    epoch_changed: bool


@dataclass(frozen=True)
class Receipt:
    """Event `receipt`: what became of a sent mail. `state`: 2 delivered, 3 read, 4 recalled, 5 expired."""

    id: str
    from_: str
    state: int


@dataclass(frozen=True)
class Recalled:
    """Event `recalled`: the sender `from_` has taken the mail `id` back; an application that shows it removes it."""

    from_: str
    id: str


@dataclass(frozen=True)
class Handled:
    """Event `handled`: the handler of a message has returned, and the message is remembered."""

    from_: str
    id: str


@dataclass(frozen=True)
class Acked:
    """Event `acked`: the server has taken an acknowledgement up to `seq`, of the mailbox (log None) or of a group."""

    seq: str
    log: Optional[str]


class Events:
    """The listeners of one client, by the event's name."""

    def __init__(self) -> None:
        self._listeners: Dict[str, List[Callable[..., Any]]] = {}
        self._tasks: Set["asyncio.Task[None]"] = set()

    @property
    def running(self) -> int:
        """Coroutines of listeners that have not returned."""
        return len(self._tasks)

    def add(self, name: str, listener: Callable[..., Any]) -> None:
        if name not in NAMES:
            raise ValueError(f"no event is called {name!r}; there are {', '.join(sorted(NAMES))}")
        self._listeners.setdefault(name, []).append(listener)

    def emit(self, name: str, data: Any) -> None:
        """Calls the listeners in the order in which they were added."""
        listeners = self._listeners.get(name, ())
        if name == "error" and not listeners:
            _logger.error("%s: %s", type(data).__name__, data)
        for listener in list(listeners):
            try:
                result = listener(data)
            except Exception as error:  # the application's mistake must not end the connection
                self._listener_failed(name, error)
                continue
            if inspect.isawaitable(result):
                self.start(name, result)

    def start(self, name: str, work: Any) -> None:
        """Lets a listener's coroutine run beside everything else."""
        task = asyncio.ensure_future(self._run(name, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str, work: Any) -> None:
        try:
            await work
        except Exception as error:
            self._listener_failed(name, error)

    def _listener_failed(self, name: str, error: Exception) -> None:
        if name == "error":  # told again, the failure would call the same listener without end
            _logger.exception("a listener of the event error failed", exc_info=error)
        else:
            self.emit("error", error)
