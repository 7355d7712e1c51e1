"""Messages between their arrival and the end of their handler: in order, each once.

A message that arrives again while it waits, is being handled, or was handled (Seen) is not handed out again; its new
place in the line of acknowledgements is joined to the first. A handler that fails leaves its message neither
remembered nor acknowledged: the log of the message is *stopped* for this session, and comes again in the next.
"""

from __future__ import annotations

import asyncio
import collections
import inspect
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Set

from .acks import Acks, Entry
from .errors import ClosedError
from .events import Events, Handled
from .journal import Journal
from .message import Message
from .seen import Seen, key_of
from .storage import KEPT

Handler = Callable[[Message], Any]


class Item:
    """A message that has arrived and is not handled."""

    __slots__ = ("message", "key", "entries")

    def __init__(self, message: Message, key: str) -> None:
        self.message = message
        self.key = key
        self.entries: List[Entry] = []


class Inbox:
    """The messages of one client that wait or are being handled."""

    def __init__(self, journal: Journal, seen: Seen, acks: Acks, events: Events, *, most: int, skip_failed: bool,
                 again: Callable[[], None]) -> None:
        self._journal, self._seen, self._acks, self._events = journal, seen, acks, events
        self._most, self._skip_failed = most, skip_failed
        self._again = again  # asks for a new connection, in which messages come again
        self._waiting: Deque[Item] = collections.deque()
        self._items: Dict[str, Item] = {}  # by key, those in a handler too
        self._stopped: Set[Optional[str]] = set()  # logs
        self._overflowed = False
        self._failed = False
        self._handlers: Set["asyncio.Task[Any]"] = set()  # tasks that are inside a handler
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._ended: Optional[ClosedError] = None
        self._paused = False
        self.handled = 0
        self.paused = False  # room() waits: nothing is read

    # -- arrival

    def deliver(self, message: Message, acknowledgeable: bool, at_once: Optional[Callable[[], None]] = None) -> None:
        """Takes a message in. With at_once it goes past those that wait, to that function alone."""
        log = message.group
        stored = acknowledgeable and message.seq is not None
        if stored and log in self._stopped:
            if at_once is None:
                return
            stored = False  # told now; acknowledged when it comes again
        key = key_of(message.from_, message.id)
        item = self._items.get(key)
        known = key in self._seen
        if item is None and not known and at_once is None and self._overflows(log, stored):
            return
        entry = self._acks.add(log, message.seq) if stored and message.seq is not None else None
        if known:
            if entry is not None:
                self._acks.done(entry)
            return
        if item is None:
            item = self._items[key] = Item(message, key)
            if at_once is not None:
                at_once()
                self._events.start("error", self._finish_at_once(item))
            else:
                self._waiting.append(item)
                self._arrived.set()
        if entry is not None:
            item.entries.append(entry)

    def _overflows(self, log: Optional[str], stored: bool) -> bool:
        """Reading has gone on past the bound, for the sake of an awaited answer: this message must come again."""
        if len(self._waiting) < 2 * self._most:
            return False
        self._overflowed = True
        if stored:
            self._stopped.add(log)
        return True

    def recall(self, from_: str, id: str) -> None:
        """The sender has taken a mail back: when it waits, it is not handed out."""
        item = self._items.get(key_of(from_, id))
        if item is not None and item in self._waiting:
            self._waiting.remove(item)
            self._drop(item)
            for entry in item.entries:
                self._acks.done(entry)

    async def room(self, answers_awaited: Callable[[], bool]) -> None:
        """Returns when more may be read: fewer than the bound wait, or somebody waits for an answer."""
        try:
            while len(self._waiting) >= self._most and not answers_awaited():
                self.paused = True
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.paused = False

    def look(self) -> None:
        """Lets room() look again."""
        self._changed.set()

    # -- the session

    def opened(self) -> None:
        self._stopped.clear()
        self._overflowed = False
        self._failed = False
        self._arrived.set()

    def lost(self) -> None:
        """Places of the old session mean nothing in the next: a message that comes again gets a new place."""
        for item in self._items.values():
            item.entries.clear()

    def end(self, error: ClosedError) -> None:
        self._ended = error
        self._arrived.set()
        self._changed.set()

    @property
    def ended(self) -> bool:
        return self._ended is not None

    # -- handing out

    async def next(self) -> Item:
        """The next message for a handler. Raises ClosedError at the end."""
        while not self._waiting or self._paused or self._failed:
            if self._ended is not None:
                raise self._ended
            self._arrived.clear()
            await self._arrived.wait()
        if self._ended is not None:
            raise self._ended
        item = self._waiting.popleft()
        self._changed.set()
        if self._overflowed and len(self._waiting) <= self._most // 2:
            self._overflowed = False
            self._again()
        return item

    async def handle(self, handler: Handler) -> None:
        """Hands out one message after the other, until the end."""
        while True:
            try:
                item = await self.next()
            except ClosedError:
                return
            await self.attend(item, handler)

    async def attend(self, item: Item, handler: Handler) -> None:
        """Runs a handler and settles its message."""
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            result = handler(item.message)
            if inspect.isawaitable(result):
                await result
            await self.finish(item)
        except Exception as error:
            await self.failed(item, error)
        finally:
            self._handlers.discard(task)
            self._ran()

    async def finish(self, item: Item) -> None:
        """The handler has returned: remembers the message, then lets it be acknowledged."""
        try:
            await self._finish(item)
        except Exception as error:  # the storage has failed: not remembered, so not acknowledged
            await self.failed(item, error, skip=False)
            self._ran()

    async def _finish_at_once(self, item: Item) -> None:
        try:
            await self._finish(item, tell=False)
        except Exception:
            self._drop(item)
            raise

    async def _finish(self, item: Item, tell: bool = True) -> None:
        kept: Mapping[str, Optional[str]] = item.message._kept
        changes = {KEPT + name: value for name, value in kept.items()}
        try:
            await self._journal.commit({**changes, **self._seen.add(item.key)})
        except Exception:
            self._seen.forget(item.key)
            raise
        self._drop(item)
        if tell:
            self.handled += 1
            self._events.emit("handled", Handled(item.message.from_, item.message.id))
        for entry in item.entries:
            self._acks.done(entry)

    async def failed(self, item: Item, error: Exception, skip: Optional[bool] = None) -> None:
        """A handler has failed. A message without a place cannot come again, and is given up."""
        self._events.emit("error", error)
        if self._skip_failed if skip is None else skip:
            item.message._kept.clear()
            await self.finish(item)
            return
        self._drop(item)
        for log in {entry.line.log for entry in item.entries}:
            self._stop(log)
        if item.entries:
            self._failed = True

    def _stop(self, log: Optional[str]) -> None:
        """Hands out no further message of this log in this session."""
        self._stopped.add(log)
        for item in [item for item in self._waiting if any(entry.line.log == log for entry in item.entries)]:
            self._waiting.remove(item)
            self._drop(item)

    def _drop(self, item: Item) -> None:
        self._items.pop(item.key, None)
        self._changed.set()

    def _ran(self) -> None:
        """A handler has ended. After a failure, the new connection waits for the handlers that run beside."""
        self._changed.set()
        if self._failed and not self._handlers:
            self._again()

    async def rest(self, seconds: float, caller: Optional["asyncio.Task[Any]"] = None) -> None:
        """Hands out nothing more and waits for the handlers that run, at most so long; not for the one that calls."""
        self._paused = True
        end = asyncio.get_running_loop().time() + seconds
        while self._handlers - {caller}:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, end - asyncio.get_running_loop().time()))
            except asyncio.TimeoutError:
                return


class Messages:
    """The asynchronous iterator of client.messages(). A message counts as handled when the next one is asked for."""

    def __init__(self, inbox: Callable[[], Inbox]) -> None:
        self._inbox = inbox
        self._item: Optional[Item] = None

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Message:
        inbox = self._inbox()
        item, self._item = self._item, None
        if item is not None and not inbox.ended:  # after the end nothing can be written any more
            await inbox.finish(item)
        try:
            self._item = await inbox.next()
        except ClosedError as error:
            if error.code == 1000:
                raise StopAsyncIteration from None
            raise
        return self._item.message
