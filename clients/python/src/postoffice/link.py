"""One WebSocket connection: the only file that knows the library `websockets`.

Text leaves in the order of post(), which never waits; one task writes, so the order holds for all callers. `websockets`
has two client APIs: the one from before release 13 (Debian 12 ships 10.4) and `websockets.asyncio`. Both serve here.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import importlib
import inspect
import ssl as ssl_module
from typing import Any, Deque, Dict, Mapping, Optional, Tuple

import websockets.exceptions as failures

CLOSE_SECONDS = 3.0
QUEUED_MESSAGES = 16  # read ahead by `websockets`; the rest waits in the socket


class LinkRefused(Exception):
    """The server answered with an HTTP status instead of 101."""

    def __init__(self, status: int, retry_after: float, reason: str) -> None:
        super().__init__(f"HTTP {status}: {reason}" if reason else f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after


class LinkFailed(Exception):
    """No connection came about. `final`: the certificate is not trusted."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class LinkClosed(Exception):
    """The connection has ended; 1006 without a close frame of the server's."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}" if reason else str(code))
        self.code = code
        self.reason = reason


def _connector() -> Tuple[Any, str]:
    """The connecting function, and the name of its argument for headers."""
    try:
        return importlib.import_module("websockets.asyncio.client").connect, "additional_headers"
    except ImportError:
        return importlib.import_module("websockets.legacy.client").connect, "extra_headers"


async def open_link(url: str, *, headers: Mapping[str, str], ssl: Optional[ssl_module.SSLContext], timeout: float,
                    max_bytes: int, compression: bool) -> "Link":
    """Connects. Raises LinkRefused or LinkFailed."""
    connect, headers_name = _connector()
    options: Dict[str, Any] = {
        headers_name: dict(headers), "subprotocols": ["postoffice.v1"], "open_timeout": timeout,
        "ping_interval": None, "close_timeout": CLOSE_SECONDS, "max_size": max_bytes, "max_queue": QUEUED_MESSAGES,
        "compression": "deflate" if compression else None}
    if ssl is not None:
        options["ssl"] = ssl
    try:
        return Link(await connect(url, **options))
    except failures.InvalidURI as error:
        raise ValueError(str(error)) from error
    except failures.InvalidHandshake as error:
        raise _refusal(error) from error
    except ssl_module.SSLCertVerificationError as error:
        raise LinkFailed(f"the certificate of the server is not trusted: {error.verify_message}", True) from error
    except (OSError, asyncio.TimeoutError, EOFError, failures.WebSocketException) as error:
        raise LinkFailed(str(error) or type(error).__name__) from error


def _refusal(error: Exception) -> Exception:
    """InvalidStatusCode (before 13) has a status of its own, InvalidStatus a response."""
    response: Any = getattr(error, "response", error)
    status = getattr(response, "status_code", None)
    headers: Any = getattr(response, "headers", {})
    if not isinstance(status, int):
        return LinkFailed(str(error))
    try:
        retry_after = max(0.0, float(headers.get("Retry-After", 0)))
    except ValueError:  # a date: the backoff alone decides
        retry_after = 0.0
    return LinkRefused(status, retry_after, str(headers.get("WWW-Authenticate", "")))


class Link:
    """An open connection."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._texts: Deque[str] = collections.deque()
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._less.set()
        self._ended = False
        self.queued_bytes = 0  # of text that has not been handed to the socket, in characters
        self.heard_at = asyncio.get_running_loop().time()
        self._writer = asyncio.ensure_future(self._write())

    def post(self, text: str) -> bool:
        """Queues a text; false when the connection has ended. A caller that sends much awaits room() before."""
        if self._ended:
            return False
        self._texts.append(text)
        self.queued_bytes += len(text)
        self._more.set()
        return True

    async def room(self, most: int) -> None:
        """Returns when at most so many characters wait; LinkClosed when the connection has ended."""
        while self.queued_bytes > most and not self._ended:
            self._less.clear()
            await self._less.wait()
        if self._ended:
            raise LinkClosed(1006, "")

    async def _write(self) -> None:
        try:
            while True:
                while self._texts:
                    text = self._texts.popleft()
                    await self._socket.send(text)
                    self.queued_bytes -= len(text)
                    self._less.set()
                self._more.clear()
                await self._more.wait()
        except failures.ConnectionClosed:
            pass  # receive() tells it
        finally:
            self._ended = True
            self._less.set()

    async def receive(self) -> str:
        """The next message's text. Raises LinkClosed."""
        try:
            data = await self._socket.recv()
        except failures.ConnectionClosed as error:
            raise _closed(error) from None
        self.heard_at = asyncio.get_running_loop().time()
        return data if isinstance(data, str) else str(data, "utf-8", "replace")

    async def pong(self) -> None:
        """Sends a ping and returns when the answer has come. Raises LinkClosed."""
        try:
            answer = await self._socket.ping()
            if inspect.isawaitable(answer):
                await answer
        except failures.ConnectionClosed as error:
            raise _closed(error) from None
        self.heard_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Lets queued text leave, sends a close frame, and waits for the server's close frame for CLOSE_SECONDS at most."""
        with contextlib.suppress(LinkClosed, asyncio.TimeoutError):
            await asyncio.wait_for(self.room(0), CLOSE_SECONDS)
        with contextlib.suppress(failures.WebSocketException, OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._socket.close(), 2 * CLOSE_SECONDS)
        self.abort()

    def abort(self) -> None:
        """Cuts the connection as a network would: nothing more leaves or arrives."""
        self._ended = True
        self._less.set()
        self._writer.cancel()
        transport = getattr(self._socket, "transport", None)
        if transport is not None:
            transport.abort()


def _closed(error: failures.ConnectionClosed) -> LinkClosed:
    """The server's close frame, if one came before ours."""
    received: Any = error.rcvd
    if received is not None and (error.sent is None or error.rcvd_then_sent):
        return LinkClosed(int(received.code), str(received.reason))
    if error.sent is not None:
        sent: Any = error.sent
        return LinkClosed(1006, f"closed by this side with {sent.code}")
    return LinkClosed(1006, "")
