"""The words of the server in a session, and the part to which each goes.

A Session object lasts as long as its client, over all connections; `run` is one connection's part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Callable, Coroutine, Dict, List, Mapping, Optional

from . import codec
from .acks import Acks
from .commands import Commands
from .connection import Connection
from .errors import RejectedError
from .events import Acked, Events, Gap, Receipt, Recalled, Replayed, Welcome
from .groups import Groups
from .inbox import Inbox
from .journal import Journal
from .link import Link, LinkClosed
from .message import CONTROL, SIGNAL, Message
from .options import Options
from .outbox import Outbox
from .service import Requests
from .tokens import Tokens

_PLACE = "place"
_RECALLED = 4
_TOO_LARGE = 1009  # close code


class Session:
    """The parts of one client, joined to the connection."""

    def __init__(self, options: Options, events: Events, journal: Journal, tokens: Tokens, commands: Commands,
                 outbox: Outbox, acks: Acks, inbox: Inbox, groups: Groups, requests: Requests,
                 message: Callable[[Dict[str, Any]], Message]) -> None:
        self._options, self._events, self._journal, self._tokens = options, events, journal, tokens
        self._commands, self._outbox, self._acks = commands, outbox, acks
        self._inbox, self._groups, self._requests, self._message = inbox, groups, requests, message
        self._epoch = ""
        self._place: Optional[Dict[str, str]] = None  # of a client with `since`: where the next session goes on
        self._recalled_here: Dict[str, None] = {}
        self.connection: Optional[Connection] = None
        self.device = options.device
        self.welcome: Optional[Welcome] = None
        self.acked = ""
        self.closing = False
        self.welcomed: Callable[[Welcome], None] = lambda welcome: None

    async def load(self) -> None:
        """Reads the device's name and the place from the storage."""
        storage = self._journal.storage
        place = (await storage.read(_PLACE)).get(_PLACE)
        self._place = json.loads(place) if place else None
        if self.device is None:
            self.device = (await storage.read("device")).get("device")
        if self.device is None:
            self.device = codec.new_id()[:13]
            await self._journal.commit({"device": self.device}, durable=True)

    def query(self) -> Mapping[str, str]:
        """The parameters of the next connection."""
        query = {"clientID": self._options.address, "device": self.device or None}
        if self._options.since is not None:
            place = self._place or {"cursor": self._options.since, "epoch": self._options.epoch or ""}
            query["since"], query["epoch"] = place["cursor"], place["epoch"] or None
        return {name: value for name, value in query.items() if value is not None}

    # -- one connection

    async def run(self, link: Link, welcome: Dict[str, Any]) -> None:
        """Reads until the connection ends: raises LinkClosed."""
        assert self.connection is not None
        tasks: List["asyncio.Task[None]"] = []

        def start(work: Coroutine[Any, Any, None]) -> None:
            tasks.append(asyncio.ensure_future(work))
            tasks[-1].add_done_callback(lambda done: self._part_ended(done, link))

        self._inbox.opened()
        self._welcomed(welcome, first=True)
        assert self.welcome is not None
        try:
            self._outbox.opened(self.welcome.limits.get("messageBytes"))
            self._commands.opened(link, self.welcome.address)
            start(self._groups.again())
            start(self._outbox.pump(link, self.welcome.address))
            start(self._acks.run())
            start(self.connection.watch(link))
            start(self._renew())
            while True:
                await self._inbox.room(self._answers_awaited)
                text = await link.receive()
                try:
                    self._dispatch(codec.decode(text))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    unread = ValueError(f"the server sent a message that this library cannot read: {error!r}")
                    self._events.emit("error", unread)
        except LinkClosed as closed:
            if closed.code == _TOO_LARGE:
                self._outbox.too_large()
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._commands.lost()
            self._outbox.lost()
            self._acks.lost()
            self._inbox.lost()

    def _part_ended(self, done: "asyncio.Task[None]", link: Link) -> None:
        """A part that fails is a mistake of this library: told, and mended by a new session."""
        failed = None if done.cancelled() else done.exception()
        if isinstance(failed, Exception):
            self._events.emit("error", failed)
            link.abort()

    def _answers_awaited(self) -> bool:
        return self._outbox.awaited or self._commands.awaited or self._requests.awaited or self.closing

    async def _renew(self) -> None:
        """Gets the next token before the running one ends."""
        pause = self._options.min_backoff
        while True:
            seconds = self._tokens.renew_in()
            if seconds is None:
                return
            await asyncio.sleep(max(seconds, pause))
            try:
                token = await self._tokens.fresh()
                if token is not None and not self._tokens.is_running(token):
                    answer = await self._commands.ask("renew", token=token)
                    self._tokens.take(token, answer.get("expiresAt"))
                    self._groups.dropped(list(answer.get("unsubscribed", ())))
            except Exception as error:  # the running token may last a while; its end is told by 4001
                self._events.emit("error", error)
            pause = min(max(pause, 0.1) * 2, self._options.max_backoff)
            if self._tokens.renew_in():
                pause = self._options.min_backoff

    # -- the server's words

    def _dispatch(self, envelope: Dict[str, Any]) -> None:
        kind = envelope["type"]
        if kind == CONTROL and envelope["from"] == codec.POSTMASTER:
            self._word(envelope)
        elif kind == CONTROL:
            self._receipt(envelope)
        elif kind == SIGNAL:
            if self._events.running < self._options.signals_waiting:
                self._events.emit("signal", self._message(envelope))
        else:
            self._arrived(self._message(envelope))

    def _word(self, envelope: Dict[str, Any]) -> None:
        subject = envelope["subject"]
        if subject == "accepted":
            self._outbox.accepted(envelope)
        elif subject == "result":
            self._commands.answered(envelope)
        elif subject == "rejected":
            if not self._commands.answered(envelope) and not self._outbox.rejected(envelope):
                self._events.emit("error", RejectedError(str(envelope.get("code")), str(envelope.get("message", "")),
                                                         field=envelope.get("field"), id=envelope.get("inReplyTo")))
        elif subject == "welcome":
            self._welcomed(envelope, first=False)
        elif subject == "replayed":
            self._replayed(envelope)
        elif subject == "goodbye" and self.connection is not None:
            self.connection.take_goodbye(envelope)

    def _welcomed(self, envelope: Dict[str, Any], first: bool) -> None:
        """The beginning of a session, or the word in its middle that it starts anew."""
        welcome = Welcome(str(envelope.get("session", "")), str(envelope.get("address", "")),
                          str(envelope.get("device", "")), str(envelope.get("seq", "")),
                          str(envelope.get("cursor", "")), str(envelope.get("epoch", "")),
                          bool(envelope.get("recovered", True)), bool(envelope.get("service", False)),
                          dict(envelope.get("limits", {})))
        changed = bool(self._epoch and welcome.epoch and self._epoch != welcome.epoch)
        if changed:
            self._acks.forget(None)
            self._groups.new_epoch(welcome.epoch)
        if welcome.epoch and not welcome.service and (first or changed or not self._epoch):
            self._go_on_from(welcome.cursor, welcome.epoch)
        self._epoch = welcome.epoch or self._epoch
        self.welcome = welcome
        self.welcomed(welcome)
        self._events.emit("welcome", welcome)
        if not welcome.recovered:
            self._events.emit("gap", Gap(None, changed))

    def _go_on_from(self, cursor: str, epoch: str) -> None:
        if self._options.since is not None:
            self._place = {"cursor": cursor, "epoch": epoch}
            self._journal.begin({_PLACE: json.dumps(self._place)}).add_done_callback(self._written)

    def _written(self, done: "asyncio.Future[None]") -> None:
        failed = None if done.cancelled() else done.exception()
        if isinstance(failed, Exception):
            self._events.emit("error", failed)

    def _replayed(self, envelope: Dict[str, Any]) -> None:
        log = next(iter(envelope.get("tags") or ()), None)
        if envelope.get("recovered", True):
            self._events.emit("replayed", Replayed(log, str(envelope.get("seq", ""))))
            return
        self._events.emit("gap", Gap(log, log is not None and self._groups.lost_data(log)))
        if log is not None:
            self._events.emit("replayed", Replayed(log, str(envelope.get("seq", ""))))

    def said(self, acked: Acked, cursor: str) -> None:
        """An acknowledgement has been taken."""
        if acked.log is None:
            self.acked = acked.seq
            if cursor and self._epoch and self.welcome is not None and not self.welcome.service:
                self._go_on_from(cursor, self._epoch)
        else:
            self._groups.acknowledged(acked.log, cursor)
        self._events.emit("acked", acked)

    # -- messages

    def _arrived(self, message: Message) -> None:
        acknowledgeable = message.group is None or message.group in self._groups
        answer = self._requests.match(message)
        self._inbox.deliver(message, acknowledgeable, answer)

    def _receipt(self, envelope: Dict[str, Any]) -> None:
        """Receipts do not wait behind messages: a client that only sends has no handler for messages."""
        message = self._message(envelope)
        self._inbox.deliver(message, True, lambda: self._tell_receipt(message))

    def _tell_receipt(self, message: Message) -> None:
        id, from_ = message.in_reply_to or "", message.from_
        if message.state == _RECALLED and not self._outbox.knows(id, from_) and id not in self._recalled_here:
            self._inbox.recall(from_, id)
            self._events.emit("recalled", Recalled(from_, id))
            return
        receipt = Receipt(id, from_, message.state)
        self._outbox.receipt(receipt)
        self._events.emit("receipt", receipt)

    def recalls(self, id: str) -> None:
        """A recall of one's own mail is under way: receipts with state 4 about it are answers to that."""
        self._recalled_here[id] = None
        while len(self._recalled_here) > 1000:
            del self._recalled_here[next(iter(self._recalled_here))]

    async def finish(self, link: Link) -> None:
        """Closes the connection after the last acknowledgement."""
        self.closing = True
        self._inbox.look()
        await self._acks.finish(self._options.close_timeout)
        with contextlib.suppress(Exception):
            await link.close()
