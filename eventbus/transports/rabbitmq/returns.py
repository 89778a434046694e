"""Returns to a queue that were no deaths, as far as this process can tell.

The server counts how often a message came back, and not why. Of what came back from us while we
live we know that it has killed nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from ..base import Delivery

#: Messages that are remembered; of older ones the server's count is believed.
MOST = 20_000


class Returns:
    """Counts what this process gave back, or lost with a connection; outlives sessions."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = Lock()

    def note(self, deliveries: Iterable[Delivery]) -> None:
        """These come back, and not because we died."""
        with self._lock:
            for delivery in deliveries:
                key = _key(delivery)
                self._counts[key] = self._counts.pop(key, 0) + 1
            while len(self._counts) > MOST:
                del self._counts[next(iter(self._counts))]

    def forget(self, deliveries: Iterable[Delivery]) -> None:
        """These do not come back."""
        if self._counts:
            with self._lock:
                for delivery in deliveries:
                    self._counts.pop(_key(delivery), None)

    def deaths(self, queue: str, id: str, count: int) -> int:
        """How many of a message's returns may have been deaths."""
        return max(0, count - self._counts.get((queue, id), 0)) if count else 0


def _key(delivery: Delivery) -> tuple[str, str]:
    return delivery.receipt.tap.queue, delivery.receipt.id
