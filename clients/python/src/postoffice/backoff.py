"""When the next attempt is made: full jitter, so that thousands of clients do not come back in the same moment."""

from __future__ import annotations

import random


class Backoff:
    """Seconds to wait; the range doubles with each attempt that failed, up to `most`."""

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most
        self._failed = 0

    def next(self, floor: float = 0.0) -> float:
        """The wait before the next attempt: never below `floor`, the server's word."""
        return floor + random.uniform(0, self.step(count=True))

    def step(self, count: bool = False) -> float:
        """The range of the next wait."""
        step: float = min(self._most, self._least * 2.0 ** min(self._failed, 60))
        if count:
            self._failed += 1
        return step

    @property
    def failed(self) -> int:
        """Attempts since the last reset."""
        return self._failed

    def reset(self) -> None:
        self._failed = 0
