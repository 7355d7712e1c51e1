"""Services: handlers side by side whose results are sent as answers, and requests that wait for one.

The answer to a request is accepted by the server before the request is acknowledged, and its id is made from the
request's. So a service that dies in between answers again, and the sender of the request gets one message.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from typing import Any, Awaitable, Callable, Dict, FrozenSet, Optional, Tuple, Union

from .message import Message
from .seen import key_of


class Reply:
    """The result of a handler of serve() where text or JSON is not enough: the fields of send(), without recipients."""

    def __init__(self, text: Optional[str] = None, **fields: Any) -> None:
        self.fields: Dict[str, Any] = {"text": text, **fields}


ServeHandler = Callable[[Message], Union[Any, Awaitable[Any]]]


def answer_id(message: Message) -> str:
    """The same for every repetition of a request; ids of different senders do not meet."""
    return "re:" + hashlib.sha256(key_of(message.from_, message.id).encode("utf-8")).hexdigest()[:40]


def answer_fields(result: Any) -> Dict[str, Any]:
    if isinstance(result, Reply):
        return dict(result.fields)
    if isinstance(result, str):
        return {"text": result}
    if isinstance(result, (bytes, bytearray)):
        return {"content": bytes(result)}
    return {"json": result}


async def answer(message: Message, handler: ServeHandler) -> None:
    """Runs the handler; returns when its answer has been accepted. None is no answer."""
    result = handler(message)
    if inspect.isawaitable(result):
        result = await result
    if result is not None:
        await message.reply(**{"id": answer_id(message), **answer_fields(result)})


class Requests:
    """The requests that wait for their answers, by the id of the request."""

    def __init__(self) -> None:
        self._waiting: Dict[str, Tuple[FrozenSet[str], "asyncio.Future[Message]"]] = {}

    @property
    def awaited(self) -> bool:
        return bool(self._waiting)

    def expect(self, id: str, addresses: FrozenSet[str]) -> "asyncio.Future[Message]":
        future: "asyncio.Future[Message]" = asyncio.get_running_loop().create_future()
        self._waiting[id] = (addresses, future)
        return future

    def forget(self, id: str) -> None:
        """The wait is over; a late answer is a message like any other."""
        self._waiting.pop(id, None)

    def match(self, message: Message) -> Optional[Callable[[], None]]:
        """The function that settles the request which this message answers; None for any other message."""
        addresses, future = self._waiting.get(message.in_reply_to or "", (frozenset(), None))
        if future is None or future.done() or message.from_ not in addresses:
            return None
        waiting = future

        def settle() -> None:
            if not waiting.done():
                waiting.set_result(message)
        return settle

    def end(self, error: Exception) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
