"""Messages on their way to the server, in order, until each is accepted or rejected.

Order: at most `recipient_window` messages to one recipient are under way, 1 unless told otherwise. So a message that
the server turns away for a while (`retryAfter`) is not overtaken by a later one to the same recipient. Messages to
different recipients go side by side, up to `send_window`. After a lost connection all that had no answer are sent
again, in their order and under their ids.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import heapq
import json
from typing import Any, Callable, Deque, Dict, Generator, List, NamedTuple, Optional, Tuple

from . import codec
from .errors import ClosedError, OutboxFullError, RejectedError, Refusal
from .events import Receipt
from .journal import Journal
from .link import Link, LinkClosed

_PREFIX = "out:"
_QUEUED_MOST = 256 * 1024  # characters that wait for the socket before the next message is taken
_HANDLES_MOST = 10_000  # of messages whose receipts may still come


class Sent(NamedTuple):
    """The words of `accepted`. `state`: 1 stored, 2 handed over (a server without Redis)."""

    id: str
    state: int
    refused: List[Refusal]


class Sending:
    """A message on its way: `await` it for the answer; receipts about it are gathered here."""

    def __init__(self, order: int, envelope: Dict[str, Any], size: int) -> None:
        self.id: str = envelope["id"]
        self.envelope = envelope
        self.receipts: List[Receipt] = []
        self._order = order
        self._size = size
        self._recipients: Tuple[str, ...] = tuple(dict.fromkeys(
            codec.listed(envelope["to"]) + codec.listed(envelope.get("cc"))))
        self._entered = False  # stands in the queues
        self._blockers = 0  # queues in which others stand before it
        self._attempts = 0
        self._answer: "asyncio.Future[Sent]" = asyncio.get_running_loop().create_future()
        self._told: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()
        self._listeners: List[Callable[[Receipt], object]] = []

    @property
    def _key(self) -> str:
        return f"{_PREFIX}{self._order:016d}"

    def __await__(self) -> Generator[Any, None, Sent]:
        """RejectedError when the server has turned the message away for good, ClosedError when the client has ended.
        Cancelling the wait does not take the message back."""
        return asyncio.shield(self._answer).__await__()

    def __repr__(self) -> str:
        return f"<Sending {self.id}>"

    def done(self) -> bool:
        """Whether the answer is there."""
        return self._answer.done()

    def add_failure_to(self, other: "asyncio.Future[Any]") -> None:
        """Lets another future fail when this message is turned away."""
        def settled(answer: "asyncio.Future[Sent]") -> None:
            failed = None if answer.cancelled() else answer.exception()
            if failed is not None and not other.done():
                other.set_exception(failed)
        self._answer.add_done_callback(settled)

    def on_receipt(self, listener: Callable[[Receipt], object]) -> None:
        """Calls a function with each receipt about this message, those included that have come already."""
        self._listeners.append(listener)
        for receipt in self.receipts:
            listener(receipt)

    async def receipt(self, state: int, address: Optional[str] = None) -> Receipt:
        """Waits for a receipt of this state (2 delivered, 3 read, 4 recalled, 5 expired), from one recipient or any.
        The message must have asked (`receipt=2` or `receipt=3`)."""
        while True:
            for receipt in self.receipts:
                if receipt.state == state and address in (None, receipt.from_):
                    return receipt
            await asyncio.shield(self._told)

    def _tell(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        told, self._told = self._told, asyncio.get_running_loop().create_future()
        told.set_result(None)
        for listener in self._listeners:
            listener(receipt)


class Outbox:
    """The messages that have no answer yet."""

    def __init__(self, journal: Journal, *, messages: int, bytes: int, window: int, recipient_window: int,
                 error: Callable[[Exception], None], asked: Callable[[], None]) -> None:
        self._journal = journal
        self._messages_most, self._bytes_most = messages, bytes
        self._window, self._recipient_window = window, recipient_window
        self._error, self._asked = error, asked
        self._next_order = 0
        self._early: Optional[List[Sending]] = []  # put before load(); None afterwards
        self._bytes = 0
        self._unwritten = 0  # messages on their way to the storage
        self._waiting: Dict[str, Sending] = {}  # by id, in order: everything that has no answer
        self._queues: Dict[str, Deque[Sending]] = {}  # by recipient, in order
        self._ready: List[Tuple[int, Sending]] = []  # a heap: what may leave
        self._under_way: Dict[str, Sending] = {}  # by id, in the order of leaving
        self._wake = asyncio.Event()
        self._handles: "collections.OrderedDict[str, Sending]" = collections.OrderedDict()
        self._limit: Optional[int] = None
        self._left_behind: Dict[str, Sending] = {}  # of an earlier process: no call waits for the answer

    def __len__(self) -> int:
        """Messages that are in the storage and have no answer."""
        return len(self._waiting) - self._unwritten

    @property
    def awaited(self) -> bool:
        return bool(self._under_way)

    async def load(self) -> None:
        """Takes over the messages that an earlier process has left in the storage."""
        for name, text in (await self._journal.storage.read(_PREFIX)).items():
            order = int(name[len(_PREFIX):])
            self._next_order = max(self._next_order, order + 1)
            envelope = json.loads(text)
            if envelope["id"] in self._waiting:  # the application has put the same message again
                self._journal.begin({name: None}).add_done_callback(self._deleted)
                continue
            sending = Sending(order, envelope, len(text))
            sending._attempts = 1  # perhaps: it makes no difference but in maybe_stored
            self._left_behind[sending.id] = sending
            self._enter(sending)
        early, self._early = self._early or [], None
        for sending in early:
            self._store(sending)

    def put(self, envelope: Dict[str, Any]) -> Sending:
        """Takes a message in; a message that is on its way already stays the same one, also after a restart. Raises
        OutboxFullError, and RejectedError for a message larger than the server takes."""
        known = self._waiting.get(envelope["id"])
        if known is not None:
            self._left_behind.pop(known.id, None)  # somebody waits for the answer now
            return known
        size = len(codec.encode(envelope).encode("utf-8"))
        self._check(envelope["id"], size)
        sending = Sending(0, envelope, size)
        self._bytes += size
        self._waiting[sending.id] = sending
        self._unwritten += 1
        if self._early is not None:
            self._early.append(sending)
        else:
            self._store(sending)
        return sending

    def _store(self, sending: Sending) -> None:
        sending._order = self._next_order
        self._next_order += 1
        written = self._journal.begin({sending._key: codec.encode(sending.envelope)}, durable=True)
        written.add_done_callback(lambda done: self._written(sending, done))

    def _check(self, id: str, size: int) -> None:
        if len(self._waiting) >= self._messages_most or self._bytes + size > self._bytes_most:
            raise OutboxFullError(f"{len(self._waiting)} messages of {self._bytes} bytes wait")
        if self._limit is not None and size > self._limit:
            raise RejectedError("too-large", f"{size} bytes; the server takes {self._limit}", id=id)

    def _written(self, sending: Sending, done: "asyncio.Future[None]") -> None:
        """The message is in the storage; now it may leave."""
        failed = None if done.cancelled() else done.exception()
        if sending.id not in self._waiting:  # withdrawn, or the client has ended
            return
        self._unwritten -= 1
        if failed is not None:
            self._forget(sending)
            sending._answer.set_exception(failed)
            return
        self._remember_handle(sending)
        self._enter(sending)

    def _remember_handle(self, sending: Sending) -> None:
        if sending.envelope.get("receipt"):
            self._handles[sending.id] = sending
            while len(self._handles) > _HANDLES_MOST:
                self._handles.popitem(last=False)

    def _enter(self, sending: Sending) -> None:
        """Queues a message behind those to the same recipients."""
        if sending.id not in self._waiting:
            self._waiting[sending.id] = sending
            self._bytes += sending._size
        sending._entered = True
        for recipient in sending._recipients:
            queue = self._queues.setdefault(recipient, collections.deque())
            queue.append(sending)
            sending._blockers += len(queue) > self._recipient_window
        self._let_go(sending)

    def _let_go(self, sending: Sending) -> None:
        if sending._blockers == 0:
            heapq.heappush(self._ready, (sending._order, sending))
            self._wake.set()

    def _leave(self, sending: Sending) -> None:
        """Takes a message out of the queues; the messages behind move up."""
        for recipient in sending._recipients:
            queue = self._queues.get(recipient, ())
            if sending not in queue:  # withdrawn before the storage had it
                continue
            assert isinstance(queue, collections.deque)
            place = queue.index(sending)  # an answered message is among the first `recipient_window`
            del queue[place]
            if not queue:
                del self._queues[recipient]
            elif place < self._recipient_window <= len(queue):
                moved = queue[self._recipient_window - 1]
                moved._blockers -= 1
                self._let_go(moved)

    # -- the connection

    def opened(self, limit: Optional[int]) -> None:
        self._limit = limit
        self._wake.set()

    def lost(self) -> None:
        """Messages without an answer leave again, in order."""
        for sending in self._under_way.values():
            heapq.heappush(self._ready, (sending._order, sending))
        self._under_way.clear()

    async def pump(self, link: Link, address: str) -> None:
        """Sends messages as they may leave, as long as the connection lasts."""
        with contextlib.suppress(LinkClosed):
            while True:
                while self._ready and len(self._under_way) < self._window:
                    await link.room(_QUEUED_MOST)
                    self._send(link, heapq.heappop(self._ready)[1], address)
                self._wake.clear()
                await self._wake.wait()

    def _send(self, link: Link, sending: Sending, address: str) -> None:
        text = codec.encode({"from": address, **sending.envelope})
        size = len(text.encode("utf-8"))
        if self._limit is not None and size > self._limit:
            self._settle(sending, RejectedError("too-large", f"{size} bytes; the server takes {self._limit}",
                                                id=sending.id, maybe_stored=sending._attempts > 0))
            return
        sending._attempts += 1
        self._under_way[sending.id] = sending
        self._asked()
        link.post(text)

    # -- answers

    def accepted(self, envelope: Dict[str, Any]) -> None:
        sending = self._under_way.get(envelope.get("inReplyTo", ""))
        if sending is not None:
            self._settle(sending, Sent(sending.id, int(envelope.get("state", 1)), _refusals(envelope)))

    def rejected(self, envelope: Dict[str, Any]) -> bool:
        """False when the rejection is of no message of this outbox."""
        sending = self._under_way.get(envelope.get("inReplyTo", ""))
        if sending is None:
            return False
        if "retryAfter" in envelope:
            del self._under_way[sending.id]
            sending._attempts -= 1  # a rejection answers this attempt
            asyncio.get_running_loop().call_later(envelope["retryAfter"] / 1000, self._again, sending)
            self._wake.set()
        else:
            self._settle(sending, RejectedError(
                str(envelope.get("code", "")), str(envelope.get("message", "")), field=envelope.get("field"),
                id=sending.id, refused=_refusals(envelope), maybe_stored=sending._attempts > 1))
        return True

    def _again(self, sending: Sending) -> None:
        if sending.id in self._waiting:
            heapq.heappush(self._ready, (sending._order, sending))
            self._wake.set()

    def too_large(self) -> None:
        """Close code 1009: the server answers in order, so the oldest without an answer was the one."""
        for sending in list(self._under_way.values())[:1]:
            self._settle(sending, RejectedError("too-large", "the server closed the connection with 1009",
                                                id=sending.id))

    def _settle(self, sending: Sending, outcome: Any) -> None:
        self._under_way.pop(sending.id, None)
        self._forget(sending)
        self._leave(sending)
        # Not durable: were the deletion lost, the same message would be sent under the same id.
        self._journal.begin({sending._key: None}).add_done_callback(self._deleted)
        self._wake.set()
        if self._left_behind.pop(sending.id, None) is not None:
            sending._answer.cancel()
            if isinstance(outcome, Exception):
                self._error(outcome)
        elif sending._answer.done():
            pass
        elif isinstance(outcome, Exception):
            sending._answer.set_exception(outcome)
        else:
            sending._answer.set_result(outcome)

    def _forget(self, sending: Sending) -> None:
        if self._waiting.pop(sending.id, None) is not None:
            self._bytes -= sending._size

    def _deleted(self, done: "asyncio.Future[None]") -> None:
        failed = None if done.cancelled() else done.exception()
        if isinstance(failed, Exception):
            self._error(failed)

    def withdraw(self, sending: Sending) -> bool:
        """Takes back a message that has never left; false when it may have left."""
        if sending._attempts > 0 or sending.id not in self._waiting or sending._answer.done():
            return False
        self._ready = [(order, other) for order, other in self._ready if other is not sending]
        heapq.heapify(self._ready)
        self._forget(sending)
        if not sending._entered:
            self._unwritten -= 1
        if self._early is not None:
            self._early.remove(sending)
        else:
            self._leave(sending)
            self._journal.begin({sending._key: None}).add_done_callback(self._deleted)
        sending._answer.cancel()
        return True

    def receipt(self, receipt: Receipt) -> None:
        """Joins a receipt to its message, if this object has sent the message."""
        sending = self._handles.get(receipt.id)
        if sending is not None and receipt.from_ in sending._recipients:
            sending._tell(receipt)

    def knows(self, id: str, address: str) -> bool:
        """Whether a message of this id went to this address from here, and asked for receipts."""
        sending = self._handles.get(id)
        return sending is not None and address in sending._recipients

    def end(self, error: ClosedError) -> None:
        """The client has ended: nobody gets an answer any more. The storage keeps the messages."""
        for sending in self._waiting.values():
            if sending.id in self._left_behind:
                sending._answer.cancel()
            elif not sending._answer.done():
                sending._answer.set_exception(error)
                sending._answer.exception()  # no warning where nobody awaits the answer
        self._waiting.clear()


def _refusals(envelope: Dict[str, Any]) -> List[Refusal]:
    return [Refusal(str(one.get("address", "")), str(one.get("code", ""))) for one in envelope.get("refused", ())]
