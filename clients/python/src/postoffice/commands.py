"""Commands to the server and their answers (docs/protocol.md section 4).

A command waits for a connection, and is asked again after a lost one or after the `retryAfter` of a rejection:
every command may be repeated.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Callable, Dict, List, Mapping, Optional

from . import codec
from .errors import ClosedError, RejectedError
from .link import Link

AT_ONCE = 32  # below limits.commandsWaiting of the server, 64


class _Waiting:
    def __init__(self, subject: str, fields: Mapping[str, Any], answer: "asyncio.Future[Dict[str, Any]]") -> None:
        self.subject = subject
        self.fields = fields
        self.answer = answer


class Commands:
    """The commands under way of one client."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._under_way: Dict[str, _Waiting] = {}
        self._to_ask: List[_Waiting] = []
        self._watchers: Dict[str, Callable[[Dict[str, Any]], None]] = {}
        self._link: Optional[Link] = None
        self._address = ""
        self._ended: Optional[ClosedError] = None
        self.asked: Callable[[], None] = lambda: None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for an answer that only reading can bring."""
        return bool(self._under_way)

    def opened(self, link: Link, address: str) -> None:
        self._link, self._address = link, address
        self._ask_next()

    def lost(self) -> None:
        self._link = None
        self._to_ask[:0] = self._under_way.values()
        self._under_way.clear()
        self._watchers.clear()

    def end(self, error: ClosedError) -> None:
        self._ended = error
        self.lost()
        for waiting in self._to_ask:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
        self._to_ask.clear()

    async def ask(self, subject: str, **fields: Any) -> Dict[str, Any]:
        """Returns the `result`. Raises RejectedError, or ClosedError when the client has ended."""
        if self._ended is not None:
            raise self._ended
        waiting = _Waiting(subject, {name: value for name, value in fields.items() if value is not None},
                           asyncio.get_running_loop().create_future())
        self._to_ask.append(waiting)
        self._ask_next()
        return await waiting.answer

    def tell(self, subject: str, watcher: Callable[[Dict[str, Any]], None], **fields: Any) -> bool:
        """Sends a command on this connection alone; the watcher is called with the answer, `rejected` included."""
        if self._link is None:
            return False
        id = self._new_id(subject)
        self._watchers[id] = watcher
        fields = {name: value for name, value in fields.items() if value is not None}
        return self._link.post(codec.encode(codec.command(subject, self._address, id, fields)))

    def _new_id(self, subject: str) -> str:
        return f"{codec.OWN_ID}{subject}:{next(self._numbers)}"

    def _ask_next(self) -> None:
        while self._link is not None and self._to_ask and len(self._under_way) < AT_ONCE:
            waiting = self._to_ask.pop(0)
            if waiting.answer.done():  # whoever asked does not wait any more
                continue
            id = self._new_id(waiting.subject)
            self._under_way[id] = waiting
            self._link.post(codec.encode(codec.command(waiting.subject, self._address, id, waiting.fields)))
            self.asked()

    def answered(self, envelope: Dict[str, Any]) -> bool:
        """Takes a `result` or `rejected`; false when it answers no command."""
        id = envelope.get("inReplyTo", "")
        watcher = self._watchers.pop(id, None)
        if watcher is not None:
            watcher(envelope)
            return True
        waiting = self._under_way.pop(id, None)
        if waiting is None:
            return False
        if envelope["subject"] == "rejected":
            self._rejected(waiting, envelope)
        elif not waiting.answer.done():
            waiting.answer.set_result(envelope)
        self._ask_next()
        return True

    def _rejected(self, waiting: _Waiting, envelope: Dict[str, Any]) -> None:
        if "retryAfter" in envelope:
            asyncio.get_running_loop().call_later(envelope["retryAfter"] / 1000, self._again, waiting)
        elif not waiting.answer.done():
            waiting.answer.set_exception(RejectedError(str(envelope.get("code", "")), str(envelope.get("message", "")),
                                                       field=envelope.get("field")))

    def _again(self, waiting: _Waiting) -> None:
        if self._ended is not None and not waiting.answer.done():
            waiting.answer.set_exception(self._ended)
            return
        self._to_ask.append(waiting)
        self._ask_next()
