"""The place of all that must outlive a connection or the process.

A storage is a small table of texts: `out:N` a message that waits, `seen:N` a message that was handled, `kept:KEY` a
record of the application's, `device` the device's random name, `place` how far a client with `since` has come. One
storage serves one client. Write another one by deriving from Storage: four coroutines.

MemoryStorage survives nothing; FileStorage survives kill -9 of the process at any moment, and with write(durable=True)
a power cut. The library asks for durable before a message leaves the process, and before an acknowledgement does.
"""

from __future__ import annotations

import abc
import asyncio
import concurrent.futures
import os
import sqlite3
from typing import Callable, Dict, List, Mapping, Optional, Tuple, TypeVar, Union

from .errors import StorageError

KEPT = "kept:"
_Result = TypeVar("_Result")


class Storage(abc.ABC):
    """A table of texts. Every coroutine may raise StorageError."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Called once, before anything else."""

    @abc.abstractmethod
    async def read(self, prefix: str) -> Dict[str, str]:
        """The texts whose keys begin with the prefix, in the order of the keys."""

    @abc.abstractmethod
    async def write(self, changes: Mapping[str, Optional[str]], durable: bool) -> None:
        """Carries out all changes or none (None deletes). With durable, this write and all before outlive a power
        cut when it returns; without, they outlive the process."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Called once, at the end."""

    async def kept(self, key: str) -> Optional[str]:
        """A record that a handler wrote with message.keep(key, value); None when there is none."""
        return (await self.read(KEPT + key)).get(KEPT + key)


class MemoryStorage(Storage):
    """Keeps everything as long as the object lives; a client that is given it again finds it."""

    def __init__(self) -> None:
        self._texts: Dict[str, str] = {}

    async def open(self) -> None:
        pass

    async def read(self, prefix: str) -> Dict[str, str]:
        return {key: self._texts[key] for key in sorted(self._texts) if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, Optional[str]], durable: bool) -> None:
        for key, value in changes.items():
            if value is None:
                self._texts.pop(key, None)
            else:
                self._texts[key] = value

    async def close(self) -> None:
        pass


class FileStorage(Storage):
    """An SQLite file (with `-wal` beside it), readable by its owner alone, for one process at a time.

    A durable write costs one fsync: about a millisecond on a solid-state disk, ten and more on a disk that turns, up
    to a hundred on a memory card. Writes that come together share it. A write that is not durable costs about a
    twentieth of a millisecond. A thread of its own does the work: the event loop does not wait for the disk.
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"]) -> None:
        self._path = os.fspath(path)
        self._database: Optional[sqlite3.Connection] = None
        self._thread: Optional[concurrent.futures.ThreadPoolExecutor] = None

    async def open(self) -> None:
        if self._thread is None:
            self._thread = concurrent.futures.ThreadPoolExecutor(1, "postoffice-storage")
        await self._run(self._open)

    async def read(self, prefix: str) -> Dict[str, str]:
        return await self._run(lambda: self._read(prefix))

    async def write(self, changes: Mapping[str, Optional[str]], durable: bool) -> None:
        await self._run(lambda: self._write(changes, durable))

    async def close(self) -> None:
        if self._thread is not None:
            await self._run(self._close)
            self._thread.shutdown(wait=False)
            self._thread = None

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._thread is None:
            raise StorageError(f"{self._path}: not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self._path}: {error}") from error

    # -- in the thread

    def _open(self) -> None:
        if self._database is not None:
            return
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite itself would let everybody read
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            # Exclusive: a second process would hand out the same messages. The lock dies with its process.
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE IF NOT EXISTS texts (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
                             " WITHOUT ROWID")
        except sqlite3.Error:
            database.close()
            raise
        self._database = database

    def _table(self) -> sqlite3.Connection:
        if self._database is None:
            raise sqlite3.ProgrammingError("not open")
        return self._database

    def _read(self, prefix: str) -> Dict[str, str]:
        rows: List[Tuple[str, str]] = self._table().execute(
            "SELECT key, value FROM texts WHERE key >= ? AND key < ? ORDER BY key",
            (prefix, prefix + "\U0010ffff")).fetchall()
        return dict(rows)

    def _write(self, changes: Mapping[str, Optional[str]], durable: bool) -> None:
        table = self._table()
        # FULL: the commit waits for the disk, and with it all commits before, which lie in the same file.
        table.execute("PRAGMA synchronous=" + ("FULL" if durable else "NORMAL"))
        table.execute("BEGIN IMMEDIATE")
        try:
            if durable:  # a commit without a change would not touch the disk
                changes = {"synced": str(table.total_changes), **changes}
            table.executemany("INSERT INTO texts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                              [(key, value) for key, value in changes.items() if value is not None])
            table.executemany("DELETE FROM texts WHERE key = ?",
                              [(key,) for key, value in changes.items() if value is None])
            table.execute("COMMIT")
        except BaseException:
            if table.in_transaction:
                table.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
