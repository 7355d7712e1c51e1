"""Which messages may be acknowledged, and when the acknowledgements leave.

The server counts in the order of sending: an `ack` covers everything up to the message that it names. So each log (the
mailbox, each group) has a line of entries in the order of arrival, and an acknowledgement names the newest entry up
to which all are handled. Entries live as long as the session: the next session is sent unacknowledged messages again.
"""

from __future__ import annotations

import asyncio
import collections
from typing import Any, Callable, Deque, Dict, List, Optional, Set

from .commands import Commands
from .events import Acked
from .journal import Journal


class Entry:
    """A message's place in the line of one log."""

    __slots__ = ("line", "seq", "done")

    def __init__(self, line: "_Line", seq: str) -> None:
        self.line = line
        self.seq = seq
        self.done = False


class _Line:
    """The messages of one log that arrived in this session and are not acknowledged."""

    def __init__(self, log: Optional[str]) -> None:
        self.log = log
        self.entries: Deque[Entry] = collections.deque()
        self.ready: Optional[str] = None  # handled up to here, not said yet
        self.count = 0  # messages that `ready` covers


class Acks:
    """The lines of one session, and the task that acknowledges."""

    def __init__(self, commands: Commands, journal: Journal, *, batch: int, delay: float,
                 acked: Callable[[Acked, str], None], error: Callable[[Exception], None]) -> None:
        self._commands, self._journal = commands, journal
        self._batch, self._delay = batch, delay
        self._acked, self._error = acked, error
        self._lines: Dict[Optional[str], _Line] = {}
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._unanswered: Set[int] = set()
        self._next = 0
        self._quiet = asyncio.Event()  # set when no acknowledgement waits for its result
        self._quiet.set()

    @property
    def unanswered(self) -> bool:
        return bool(self._unanswered)

    def add(self, log: Optional[str], seq: str) -> Entry:
        """Puts an arrived message in its line."""
        line = self._lines.setdefault(log, _Line(log))
        entry = Entry(line, seq)
        line.entries.append(entry)
        return entry

    def done(self, entry: Entry) -> None:
        """The message has been handled."""
        entry.done = True
        line = entry.line
        if self._lines.get(line.log) is not line:  # of an earlier session
            return
        while line.entries and line.entries[0].done:
            line.ready = line.entries.popleft().seq
            line.count += 1
        if line.count > 0:
            self._some.set()
        if line.count >= self._batch:
            self._enough.set()

    def forget(self, log: Optional[str]) -> None:
        """The places of this log mean nothing any more."""
        self._lines.pop(log, None)

    def lost(self) -> None:
        self._lines.clear()
        self._unanswered.clear()
        self._quiet.set()
        self._some.clear()
        self._enough.clear()

    async def run(self) -> None:
        """Acknowledges at the latest `batch` messages or `delay` seconds after the first that was handled."""
        while True:
            await self._some.wait()
            try:
                await asyncio.wait_for(self._enough.wait(), self._delay)
            except asyncio.TimeoutError:
                pass
            await self.flush()

    async def flush(self) -> None:
        """Acknowledges what has been handled, after the disk has it."""
        self._some.clear()
        self._enough.clear()
        said = [(line, line.ready, line.count) for line in self._lines.values() if line.ready is not None]
        if not said:
            return
        for line, _, count in said:
            line.ready = None
            line.count -= count
        try:
            await self._journal.commit({}, durable=True)
        except Exception as error:  # a full disk: nothing is acknowledged that might come back unknown
            self._error(error)
            self._later(said, 1.0)
            return
        for line, seq, count in said:
            if self._lines.get(line.log) is line and seq is not None:
                self._say(line, seq)

    def _say(self, line: _Line, seq: str) -> None:
        self._next += 1
        number = self._next
        self._unanswered.add(number)
        self._quiet.clear()
        if not self._commands.tell("ack", lambda answer: self._answered(number, line, seq, answer), references=seq,
                                   tags=None if line.log is None else [line.log]):
            self._settled(number)

    def _answered(self, number: int, line: _Line, seq: str, answer: Dict[str, Any]) -> None:
        self._settled(number)
        if answer["subject"] == "result":
            self._acked(Acked(seq, line.log), str(answer.get("cursor", "")))
        elif "retryAfter" in answer:
            self._later([(line, seq, 0)], answer["retryAfter"] / 1000)

    def _settled(self, number: int) -> None:
        self._unanswered.discard(number)
        if not self._unanswered:
            self._quiet.set()

    def _later(self, said: List[Any], seconds: float) -> None:
        """Says it again; a newer acknowledgement of the line covers this one."""
        def again() -> None:
            for line, seq, _ in said:
                if self._lines.get(line.log) is line and line.ready is None:
                    line.ready = seq
                    self._some.set()
        asyncio.get_running_loop().call_later(seconds, again)

    async def finish(self, seconds: float) -> None:
        """Says everything and waits for the results, at most so long."""
        await self.flush()
        try:
            await asyncio.wait_for(self._quiet.wait(), seconds)
        except asyncio.TimeoutError:
            pass
