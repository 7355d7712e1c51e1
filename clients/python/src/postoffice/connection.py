"""The life of the connection: connect, a session, and the reaction to the end of a session.

`run` is one long loop over sessions. The words within a session belong to session.py; this file knows tokens, close
codes, waiting, and the heartbeat by which a dead link is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.parse
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional

from . import codec
from .backoff import Backoff
from .codes import Then, after_close, close_code_of_status
from .errors import ClosedError, TokenError
from .events import Events, State
from .link import Link, LinkClosed, LinkFailed, LinkRefused, open_link
from .options import Options
from .tokens import Tokens


class Ended(Exception):
    """How a connection or an attempt ended: a close code, words, and the server's wish about coming back (seconds)."""

    def __init__(self, code: int, reason: str, retry_after: float = 0.0, again: bool = False) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after
        self.again = again  # the library itself closed, to have something sent again


class Connection:
    """One client's connection, over all its sessions."""

    def __init__(self, options: Options, tokens: Tokens, events: Events, *,
                 query: Callable[[], Mapping[str, str]],
                 session: Callable[[Link, Dict[str, Any]], Awaitable[None]]) -> None:
        self._options, self._tokens, self._events = options, tokens, events
        self._query, self._session = query, session
        self._backoff = Backoff(options.min_backoff, options.max_backoff)
        self._failures = Backoff(options.min_backoff, options.max_backoff)  # of handlers
        self._welcomed = False
        self._recycling = False
        self._refusal = 4401  # with which code the server refused the last token
        self._hurry = asyncio.Event()
        self.attempts = 0
        self.state = State("closed")
        self.link: Optional[Link] = None
        self.goodbye: Optional[Ended] = None
        self.closing = False
        self.attended: Callable[[], bool] = lambda: True
        self.before_recycling: Optional[Callable[[], Awaitable[None]]] = None

    # -- the loop

    async def run(self) -> ClosedError:
        """Returns why nothing is tried any more. An exception of get_token before the first welcome is raised."""
        while not self.closing:
            try:
                await self._attempt()
            except Ended as ended:
                if self.closing:
                    break
                final = self._decide(ended)
                if final is not None:
                    return final
                await self._wait(ended)
        return ClosedError(1000, "closed by the application")

    async def _attempt(self) -> None:
        """One connection from beginning to end. Always raises Ended, or an exception of get_token before any welcome."""
        self._set(State("connecting"))
        self.attempts += 1
        token = await self._token()
        link = await self._open(token)
        self.link, self.goodbye = link, None
        began = time.monotonic()
        try:
            welcome = await self._first_word(link)
            self._welcomed = True
            self._set(State("open"))
            await self._session(link, welcome)
        except LinkClosed as closed:
            raise self._ended(closed) from None
        finally:
            self.link = None
            link.abort()
            if time.monotonic() - began >= self._backoff.step():
                self._backoff.reset()

    async def _token(self) -> Optional[str]:
        try:
            return await self._tokens.current()
        except (TokenError, PermissionError) as error:
            raise Ended(self._refusal, str(error) or "no token") from error
        except Exception as error:
            if not self._welcomed and not isinstance(error, (OSError, asyncio.TimeoutError)):
                raise  # a mistake in the application: connect() tells it
            self._events.emit("error", error)
            raise Ended(1006, f"get_token failed: {error}") from error

    async def _open(self, token: Optional[str]) -> Link:
        headers = {"Authorization": "Bearer " + token} if token is not None else {}
        opener = self._options.opener or open_link
        try:
            ssl = self._options.ssl if self._options.url.startswith("wss:") else None
            return await opener(self._url(), headers=headers, ssl=ssl,
                                timeout=self._options.connect_timeout, max_bytes=self._options.max_message_bytes,
                                compression=self._options.compression)
        except LinkRefused as refused:
            raise Ended(close_code_of_status(refused.status), str(refused), refused.retry_after) from refused
        except LinkFailed as failed:
            final = failed.final and not self._welcomed
            raise Ended(1015 if final else 1006, str(failed)) from failed

    def _url(self) -> str:
        """With `refusals=close` the server says in words why it refuses."""
        parts = urllib.parse.urlsplit(self._options.url)
        query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        query += [*self._query().items(), ("refusals", "close")]
        return urllib.parse.urlunsplit(parts._replace(
            path=parts.path or "/", query=urllib.parse.urlencode(query, quote_via=urllib.parse.quote)))

    async def _first_word(self, link: Link) -> Dict[str, Any]:
        """The first message of a session is `welcome`, or `goodbye`."""
        while True:
            try:
                envelope = codec.decode(await asyncio.wait_for(link.receive(), self._options.connect_timeout))
            except asyncio.TimeoutError:
                raise LinkClosed(1006, "no welcome came") from None
            except ValueError as error:
                raise LinkClosed(1006, f"not a PostOffice server: {error}") from None
            if envelope.get("subject") == "goodbye":
                self.take_goodbye(envelope)
            elif envelope.get("subject") == "welcome":
                return envelope

    def take_goodbye(self, envelope: Dict[str, Any]) -> None:
        self.goodbye = Ended(int(envelope.get("code", 1006)), str(envelope.get("message", "")),
                             float(envelope.get("retryAfter", 0)) / 1000)

    def _ended(self, closed: LinkClosed) -> Ended:
        if self._recycling:
            self._recycling = False
            return Ended(1000, "to have messages again", again=True)
        if self.goodbye is not None and closed.code in (1006, self.goodbye.code):
            return self.goodbye
        return Ended(closed.code, closed.reason)

    def _decide(self, ended: Ended) -> Optional[ClosedError]:
        """Prepares the next attempt; returns an error when there will be none."""
        then = after_close(ended.code)
        cause = ended.__cause__
        if then is Then.NEVER or isinstance(cause, (TokenError, PermissionError)):
            return ClosedError(ended.code, ended.reason)
        if then is Then.NEW_TOKEN:
            self._refusal = ended.code
            self._tokens.refuse()
        return None

    async def _wait(self, ended: Ended) -> None:
        if ended.again:
            seconds = self._failures.next()
        elif after_close(ended.code) is Then.NEW_TOKEN and self._backoff.failed == 0:
            self._backoff.next()
            seconds = 0.0
        else:
            seconds = self._backoff.next(ended.retry_after)
        self._set(State("waiting", ended.code, ended.reason, time.time() + seconds))
        self._hurry.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)

    def _set(self, state: State) -> None:
        self.state = state
        self._events.emit("state", state)

    def closed(self, error: ClosedError) -> None:
        self._set(State("closed", error.code, error.reason))

    # -- what the parts ask for

    def abandon(self) -> None:
        """Cuts a link that is still there."""
        if self.link is not None:
            self.link.abort()

    def hurry(self) -> None:
        """Ends the wait before the next attempt: the network is back."""
        self._hurry.set()

    def handled(self) -> None:
        """A handler has succeeded: the next failure waits briefly again."""
        self._failures.reset()

    async def recycle(self) -> None:
        """Ends the session so that the server sends unacknowledged messages again."""
        link = self.link
        if link is None or self._recycling or self.closing:
            return
        self._recycling = True
        if self.before_recycling is not None:
            await self.before_recycling()
        await link.close()

    async def watch(self, link: Link) -> None:
        """The heartbeat: after silence a ping, and without an answer the end of the link."""
        loop = asyncio.get_running_loop()
        while True:
            silent = loop.time() - link.heard_at
            if not self.attended():  # nothing is read because too much waits: silence says nothing
                await asyncio.sleep(self._options.heartbeat)
                continue
            if silent < self._options.heartbeat:
                await asyncio.sleep(self._options.heartbeat - silent)
                continue
            asked = loop.time()
            try:
                await asyncio.wait_for(link.pong(), self._options.heartbeat_timeout)
            except asyncio.TimeoutError:
                if link.heard_at < asked and self.attended():
                    link.abort()
                    return
            except LinkClosed:
                return
