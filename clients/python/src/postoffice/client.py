"""PostOffice: the client that an application holds."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import ssl as ssl_module
from dataclasses import dataclass
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Dict, List, NamedTuple, Optional, Set, Type, TypeVar, overload

from . import codec
from .acks import Acks
from .codec import Addresses
from .commands import Commands
from .connection import Connection
from .errors import ClosedError, PostOfficeError, RejectedError, Refusal
from .events import Events, Welcome
from .groups import Groups
from .inbox import Inbox, Messages
from .journal import Journal
from .link import Link
from .message import CONTROL, MAIL, POST, SIGNAL, Message
from .options import Opener, Options
from .outbox import Outbox, Sending
from .seen import Seen
from .service import Requests, ServeHandler, answer
from .session import Session
from .storage import MemoryStorage, Storage
from .tokens import GetToken, Tokens

_Listener = TypeVar("_Listener", bound=Callable[..., Any])


# asyncio.wait_for of Python 3.11 and before swallows a cancellation that meets the end of what it waits for.
_CANCELS = 10


class Recall(NamedTuple):
    """The result of recall(): the addresses where the mail was taken out, and the others, each with a code."""

    recalled: List[str]
    not_recalled: List[Refusal]


@dataclass(frozen=True)
class Stats:
    """Numbers about a client, for its log or its monitoring."""

    state: str
    outbox: int
    handled: int
    acked: str
    attempts: int


class PostOffice:
    """A client of a PostOffice server. All methods belong to the event loop in which connect() was called."""

    def __init__(self, url: str, *, token: Optional[str] = None, get_token: Optional[GetToken] = None,
                 address: Optional[str] = None, device: Optional[str] = None, since: Optional[str] = None,
                 epoch: Optional[str] = None, storage: Optional[Storage] = None, ack_batch: int = 16,
                 ack_delay: float = 0.2, max_waiting: int = 1000, remember_ids: int = 2000, heartbeat: float = 15.0,
                 heartbeat_timeout: float = 10.0, outbox_messages: int = 10_000, outbox_bytes: int = 16 << 20,
                 send_window: int = 32, recipient_window: int = 1, min_backoff: float = 1.0,
                 max_backoff: float = 60.0, connect_timeout: float = 30.0, close_timeout: float = 5.0,
                 max_message_bytes: int = 64 << 20, signals_waiting: int = 1000, signal_bytes: int = 1 << 20,
                 on_handler_error: str = "repeat", compression: bool = True,
                 ssl: Optional[ssl_module.SSLContext] = None, opener: Optional[Opener] = None) -> None:
        """`url` is ws:// or wss://, with the path. The settings are explained in options.py and in README.md."""
        self._options = Options(
            url, token=token, get_token=get_token, address=address, device=device, since=since, epoch=epoch,
            storage=storage or MemoryStorage(), ack_batch=ack_batch, ack_delay=ack_delay, max_waiting=max_waiting,
            remember_ids=remember_ids, heartbeat=heartbeat, heartbeat_timeout=heartbeat_timeout,
            outbox_messages=outbox_messages, outbox_bytes=outbox_bytes, send_window=send_window,
            recipient_window=recipient_window, min_backoff=min_backoff, max_backoff=max_backoff,
            connect_timeout=connect_timeout, close_timeout=close_timeout, max_message_bytes=max_message_bytes,
            signals_waiting=signals_waiting, signal_bytes=signal_bytes, on_handler_error=on_handler_error,
            compression=compression, ssl=ssl, opener=opener)
        self._events = Events()
        self._handlers: List[Callable[[Message], Any]] = []
        self._consumer: Optional[str] = None
        self._iterator: Optional[Messages] = None
        self._parts: Optional[_Parts] = None

    # -- life

    async def connect(self) -> Welcome:
        """Connects, and stays connected until close(). Returns at the first welcome, however long that takes; fails
        only with what a repetition cannot mend: ClosedError, StorageError, or an exception of get_token."""
        return await asyncio.shield(self._running().start())

    async def close(self) -> None:
        """Ends for good: waits for the handlers that run (`close_timeout`), acknowledges what was handled, closes.
        Messages without an answer fail with ClosedError, and stay in a storage that lasts."""
        await self._running().close()

    async def wait_closed(self) -> None:
        """Returns after close(). Raises ClosedError when the client ends for another reason."""
        error = await asyncio.shield(self._running().ended)
        if error.code != 1000:
            raise error

    async def __aenter__(self) -> "PostOffice":
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.close()

    @property
    def address(self) -> Optional[str]:
        """The address of the session; before the first welcome the setting."""
        welcome = self._parts.session.welcome if self._parts is not None else None
        return welcome.address if welcome is not None else self._options.address

    @property
    def device(self) -> Optional[str]:
        return self._parts.session.device if self._parts is not None else self._options.device

    @property
    def state(self) -> str:
        """`connecting`, `open`, `waiting` or `closed`."""
        return self._parts.connection.state.state if self._parts is not None else "closed"

    @property
    def storage(self) -> Storage:
        return self._options.storage

    def stats(self) -> Stats:
        parts = self._running()
        return Stats(self.state, len(parts.outbox), parts.inbox.handled, parts.session.acked, parts.connection.attempts)

    def online(self) -> None:
        """The network is back: the next attempt is made now."""
        self._running().connection.hurry()

    def _running(self) -> "_Parts":
        """The parts; made in the running event loop, because those of Python 3.9 cannot move to another."""
        if self._parts is None:
            self._parts = _Parts(self, self._options, self._events)
            if self._handlers:
                self._parts.consume(self._call_handlers, 1)
        return self._parts

    # -- listening

    @overload
    def on(self, event: str) -> Callable[[_Listener], _Listener]: ...

    @overload
    def on(self, event: str, listener: _Listener) -> _Listener: ...

    def on(self, event: str, listener: Optional[Callable[..., Any]] = None) -> Any:
        """Adds a listener (events.py); also a decorator: @client.on("message").

        Handlers of `message` are called one message after the other, each when the one before has returned, the
        coroutine included; then the message is acknowledged.
        """
        if listener is None:
            return lambda function: self.on(event, function)
        if event != "message":
            self._events.add(event, listener)
            return listener
        self._take_messages("on('message')")
        self._handlers.append(listener)
        if len(self._handlers) == 1 and self._parts is not None:
            self._parts.consume(self._call_handlers, 1)
        return listener

    async def _call_handlers(self, message: Message) -> None:
        for handler in self._handlers:
            result = handler(message)
            if inspect.isawaitable(result):
                await result

    def messages(self) -> Messages:
        """An iterator over the messages that arrive. A message counts as handled when the next one is asked for.

        The iterator ends after close(), and raises ClosedError when the client ends for another reason.
        """
        self._take_messages("messages()")
        if self._iterator is None:
            self._iterator = Messages(lambda: self._running().inbox)
        return self._iterator

    async def serve(self, handler: ServeHandler, *, concurrency: int = 1) -> None:
        """Answers messages until the client ends: up to `concurrency` handlers run side by side. The result of
        a handler (text, bytes, a Reply, or a value that JSON can hold) is sent to the sender as the answer; None is
        no answer. Returns after close(), raises ClosedError otherwise."""
        self._take_messages("serve()")
        parts = self._running()

        async def attend(message: Message) -> None:
            try:
                await answer(message, handler)
            except RejectedError as error:  # the answer is turned away for good: asked again, it would be again
                self._events.emit("error", error)
        parts.consume(attend, concurrency)
        await self.wait_closed()

    def _take_messages(self, taker: str) -> None:
        if self._consumer not in (None, taker):
            raise PostOfficeError(f"{self._consumer} takes the messages of this client already")
        self._consumer = taker

    # -- sending

    def send(self, to: Addresses, *, text: Optional[str] = None, json: Any = None, content: Optional[bytes] = None,
             **fields: Any) -> Sending:
        """Puts a mail into the outbox; `await` the result for the server's answer.

        Fields: subject, cc, content_type, charset, level, tags, attachments, files, references, in_reply_to,
        subject_id, expires_at, receipt, id, from_, token, extra (docs/protocol.md section 2). Raises ValueError,
        OutboxFullError, and RejectedError `too-large`.
        """
        return self._put(codec.message(MAIL, to, text=text, json_value=json, content=content, **fields))

    def post(self, groups: Addresses, *, text: Optional[str] = None, json: Any = None,
             content: Optional[bytes] = None, **fields: Any) -> Sending:
        """The same for a post to groups."""
        return self._put(codec.message(POST, groups, text=text, json_value=json, content=content, **fields))

    def signal(self, to: Addresses, *, text: Optional[str] = None, json: Any = None, content: Optional[bytes] = None,
               **fields: Any) -> bool:
        """Sends to whoever is connected now, without an answer. False when the signal was not handed to the socket: there is
        no session, or `signal_bytes` wait for the socket."""
        envelope = codec.message(SIGNAL, to, text=text, json_value=json, content=content, **fields)
        parts = self._running()
        link, address = parts.connection.link, self.address
        if link is None or address is None or self.state != "open" or link.queued_bytes > self._options.signal_bytes:
            return False
        return link.post(codec.encode({"from": address, **envelope}))

    def _put(self, envelope: Dict[str, Any]) -> Sending:
        parts = self._running()
        if parts.ended.done():
            raise parts.ended.result()
        return parts.outbox.put(envelope)

    def _send_receipt(self, message: Message) -> Sending:
        return self._put({"type": CONTROL, "to": [message.from_], "subject": "read", "content": "", "state": 3,
                          "inReplyTo": message.id, "id": codec.new_id()})

    async def request(self, to: Addresses, *, timeout: float = 30.0, text: Optional[str] = None, json: Any = None,
                      content: Optional[bytes] = None, **fields: Any) -> Message:
        """Sends a mail and returns the first answer from an address that was asked. Raises asyncio.TimeoutError, and
        RejectedError when the mail is turned away. A late answer comes as an ordinary message."""
        parts = self._running()
        envelope = codec.message(MAIL, to, text=text, json_value=json, content=content, **fields)
        answer = parts.requests.expect(envelope["id"], frozenset(codec.listed(envelope["to"])))
        try:
            sending = self._put(envelope)
            sending.add_failure_to(answer)
            try:
                return await asyncio.wait_for(answer, timeout)
            finally:
                parts.outbox.withdraw(sending)
        finally:
            parts.requests.forget(envelope["id"])

    # -- asking

    async def recall(self, id: str) -> Recall:
        """Takes a mail out of every mailbox where no device has acknowledged it. RejectedError `not-found`: no such
        mail of this address is known any more."""
        self._running().session.recalls(id)
        result = await self._running().commands.ask("recall", inReplyTo=id)
        return Recall(list(result.get("recalled", ())),
                      [Refusal(str(one.get("address", "")), str(one.get("code", "")))
                       for one in result.get("notRecalled", ())])

    async def history(self, *, group: Optional[str] = None, subject_id: Optional[str] = None,
                      before: Optional[str] = None, limit: int = 200) -> AsyncIterator[Message]:
        """The messages of the own mailbox or of a group's log, newest first, over all pages; `limit` is the size of
        a page, 200 at most. Nothing is acknowledged by reading them."""
        while True:
            page = await self._running().commands.ask(
                "history", tags=None if group is None else [group], subjectId=subject_id, references=before,
                limit=limit)
            if "code" in page:  # storage went away meanwhile
                await asyncio.sleep(1.0)
                continue
            for envelope in page.get("messages", ()):
                yield Message(envelope, self)
            if not page.get("more"):
                return
            before = str(page["references"])

    async def presence(self, addresses: Addresses) -> Dict[str, List[str]]:
        """The devices with which each address is connected now; an empty list: not connected."""
        result = await self._running().commands.ask("presence", tags=codec.listed(addresses))
        return dict(result["online"])

    async def subscribe(self, groups: Addresses, *, since: Optional[str] = None,
                        epoch: Optional[str] = None) -> Dict[str, str]:
        """Listens to groups, over lost connections too. Without `since` each begins behind what this device has
        acknowledged there, or now. Returns for each group the place after which its log is replayed."""
        return await self._running().groups.subscribe(groups, since, epoch)

    async def unsubscribe(self, groups: Addresses) -> None:
        await self._running().groups.unsubscribe(groups)


class _Parts:
    """The parts of a client that belong to an event loop."""

    def __init__(self, client: PostOffice, options: Options, events: Events) -> None:
        self.options, self.events = options, events
        self.journal = Journal(options.storage)
        self.commands = Commands()
        self.requests = Requests()
        self.tokens = Tokens(options.get_token, options.token)
        self.groups = Groups(self.commands, events)
        self.seen = Seen(options.remember_ids)
        self.outbox = Outbox(self.journal, messages=options.outbox_messages, bytes=options.outbox_bytes,
                             window=options.send_window, recipient_window=options.recipient_window,
                             error=lambda error: events.emit("error", error), asked=lambda: self.inbox.look())
        self.acks = Acks(self.commands, self.journal, batch=options.ack_batch, delay=options.ack_delay,
                         acked=lambda acked, cursor: self.session.said(acked, cursor),
                         error=lambda error: events.emit("error", error))
        self.inbox = Inbox(self.journal, self.seen, self.acks, events, most=options.max_waiting,
                           skip_failed=options.on_handler_error == "skip", again=self.again)
        self.session = Session(options, events, self.journal, self.tokens, self.commands, self.outbox, self.acks,
                               self.inbox, self.groups, self.requests, lambda raw: Message(raw, client))
        self.connection = Connection(options, self.tokens, events, query=self.session.query, session=self.session.run)
        self.session.connection = self.connection
        self.session.welcomed = self.welcomed
        self.connection.attended = lambda: not self.inbox.paused
        self.connection.before_recycling = self.acks.flush
        self.commands.asked = self.inbox.look
        events.add("handled", lambda handled: self.connection.handled())
        self.first: "asyncio.Future[Welcome]" = asyncio.get_running_loop().create_future()
        self.ended: "asyncio.Future[ClosedError]" = asyncio.get_running_loop().create_future()
        self._tasks: Set["asyncio.Task[Any]"] = set()
        self._life: Optional["asyncio.Task[None]"] = None
        self._ending: Optional["asyncio.Task[None]"] = None
        self._closing: Optional["asyncio.Task[None]"] = None

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def consume(self, handler: Callable[[Message], Any], concurrency: int) -> None:
        """Starts tasks that hand messages to the handler."""
        for _ in range(concurrency):
            self.spawn(self.inbox.handle(handler))

    def again(self) -> None:
        self.spawn(self.connection.recycle())

    def start(self) -> "asyncio.Future[Welcome]":
        if self._life is None and not self.ended.done():
            self._life = asyncio.ensure_future(self._live())
        return self.first

    def welcomed(self, welcome: Welcome) -> None:
        if not self.first.done():
            self.first.set_result(welcome)

    async def _live(self) -> None:
        try:
            await self.options.storage.open()
            await self.seen.load(self.options.storage)
            await self.session.load()
            await self.outbox.load()
            error = await self.connection.run()
        except Exception as failure:  # of the storage or of get_token: connect() raises it
            if not self.first.done():
                self.first.set_exception(failure)
            error = ClosedError(1006, f"{type(failure).__name__}: {failure}")
            error.__cause__ = failure
        await asyncio.shield(self._end(error))

    def _end(self, error: ClosedError) -> "asyncio.Task[None]":
        """The one task that ends all parts; a second caller waits for the same task."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end_with(error))
        return self._ending

    async def _end_with(self, error: ClosedError) -> None:
        """No attempt follows: every call that waits is told."""
        self.ended.set_result(error)
        if not self.first.done():
            self.first.set_exception(error)
            self.first.exception()  # connect() may not have been called
        self.commands.end(error)
        self.requests.end(error)
        self.outbox.end(error)
        self.inbox.end(error)
        self.connection.closed(error)
        await self.inbox.rest(self.options.close_timeout)
        await self.journal.finish()
        with contextlib.suppress(PostOfficeError):
            await self.options.storage.close()

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(asyncio.current_task()))
        await asyncio.shield(self._closing)

    async def _close(self, caller: Optional["asyncio.Task[Any]"]) -> None:
        await self.inbox.rest(self.options.close_timeout, caller)
        self.connection.closing = True
        link: Optional[Link] = self.connection.link
        if link is not None and self.connection.state.state == "open":
            await self.session.finish(link)
        for _ in range(_CANCELS):
            if self._life is None or self._life.done() or self._ending is not None:
                break
            self._life.cancel()
            await asyncio.wait([self._life], timeout=self.options.close_timeout / _CANCELS)
        self.connection.abandon()
        await asyncio.shield(self._end(ClosedError(1000, "closed by the application")))


