"""The messages that were handled: the latest `most` of them, kept in the storage, so that none is handled twice."""

from __future__ import annotations

import collections
from typing import Deque, Dict, Optional, Set

from .storage import Storage

_PREFIX = "seen:"


def key_of(from_: str, id: str) -> str:
    """A message is known by its sender and its id. No address has a control character, so the line end divides."""
    return f"{from_}\n{id}"


class Seen:
    """A bounded memory of keys, oldest out first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: Set[str] = set()
        self._order: Deque[str] = collections.deque()
        self._first = 0  # the number of the oldest in the storage

    async def load(self, storage: Storage) -> None:
        stored = await storage.read(_PREFIX)
        numbers = [int(name[len(_PREFIX):]) for name in stored]
        self._order.extend(stored.values())
        self._known.update(stored.values())
        self._first = numbers[0] if numbers else 0
        # A smaller bound than before: the storage forgets the rest with the next message.

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def add(self, key: str) -> Dict[str, Optional[str]]:
        """Remembers a key; returns what has to be written for that."""
        if key in self._known or self._most == 0:
            return {}
        changes: Dict[str, Optional[str]] = {f"{_PREFIX}{self._first + len(self._order):016d}": key}
        self._order.append(key)
        self._known.add(key)
        while len(self._order) > self._most:
            self._known.discard(self._order.popleft())
            changes[f"{_PREFIX}{self._first:016d}"] = None
            self._first += 1
        return changes

    def forget(self, key: str) -> None:
        """Takes back the newest key: the write has failed."""
        self._known.discard(key)
