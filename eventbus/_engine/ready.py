"""The queue between those who have work and the workers.

Not `queue.SimpleQueue`: on CPython up to 3.12 a `get` with a timeout can block for ever when
another consumer takes the item it was woken for (its remaining time turns negative, which means
"no timeout"). Here an idle worker parks on a lock of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from threading import Lock

from .work import Attempt


class Ready:
    """A FIFO of attempts. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._items: deque[Attempt] = deque()
        self._parked: deque[Lock] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, attempt: Attempt) -> None:
        """Append an attempt and wake one parked worker, the one that parked last."""
        self._items.append(attempt)
        if self._parked:
            try:
                self._parked.pop().release()
            except IndexError:  # Another producer was faster, and its worker will look.
                return

    def put_all(self, attempts: Sequence[Attempt]) -> None:
        """Append attempts in order, then wake as many parked workers."""
        self._items.extend(attempts)
        for _ in attempts:
            if not self._parked:
                return
            try:
                self._parked.pop().release()
            except IndexError:
                return

    def get(self) -> Attempt | None:
        """Take the oldest attempt, or return `None` at once."""
        try:
            return self._items.popleft()
        except IndexError:
            return None

    def park(self, timeout: float) -> None:
        """Wait until something was put, for up to `timeout` seconds."""
        parking = Lock()
        parking.acquire()
        self._parked.append(parking)
        # Whoever put something before it could see us parked does not wake us.
        if not self._items and parking.acquire(timeout=max(0.0, timeout)):
            return
        try:
            self._parked.remove(parking)
        except ValueError:
            return
