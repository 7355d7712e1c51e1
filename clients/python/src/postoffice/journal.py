"""All writes of one client to its storage: in order, and writes that come together as one transaction."""

from __future__ import annotations

import asyncio
from typing import Dict, List, Mapping, Optional

from .storage import Storage


class Journal:
    """Carries out one write at a time; changes that come meanwhile are joined to the next write."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._changes: Dict[str, Optional[str]] = {}
        self._durable = False
        self._waiting: List["asyncio.Future[None]"] = []
        self._writer: Optional["asyncio.Task[None]"] = None

    async def commit(self, changes: Mapping[str, Optional[str]], durable: bool = False) -> None:
        """Returns when the changes are written. Raises StorageError; nothing of the write is there then."""
        await asyncio.shield(self.begin(changes, durable))

    def begin(self, changes: Mapping[str, Optional[str]], durable: bool = False) -> "asyncio.Future[None]":
        """Starts a write, in the order of the calls; the result tells when it is done."""
        done: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()
        self._changes.update(changes)
        self._durable = self._durable or durable
        self._waiting.append(done)
        if self._writer is None:
            self._writer = asyncio.ensure_future(self._write())
        return done

    async def _write(self) -> None:
        while self._waiting:
            changes, durable, waiting = self._changes, self._durable, self._waiting
            self._changes, self._durable, self._waiting = {}, False, []
            try:
                await self.storage.write(changes, durable)
            except Exception as error:
                for done in waiting:
                    if not done.done():
                        done.set_exception(error)
            else:
                for done in waiting:
                    if not done.done():
                        done.set_result(None)
        self._writer = None

    async def finish(self) -> None:
        """Returns when nothing is being written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
