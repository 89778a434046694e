"""Retries wait here, in a heap, not in a worker."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from .work import Attempt


class Timers:
    """Attempts by the monotonic time at which they are due. Used by one thread."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Attempt]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: float, attempt: Attempt) -> None:
        heapq.heappush(self._heap, (due, next(self._order), attempt))

    def next_due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Attempt]:
        """Take out what is due, earliest first."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]

    def clear(self) -> list[tuple[float, Attempt]]:
        """Take out everything, with its due time."""
        entries = [(due, attempt) for due, _, attempt in sorted(self._heap)]
        self._heap.clear()
        return entries
