"""One at a time per key, in the order in which the broker handed them over."""

from __future__ import annotations

from collections import deque

from ..transports.base import Delivery


class Lanes:
    """Who runs and who waits, by key. Callers hold the member's lock."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Delivery]] = {}

    def enter(self, key: str, delivery: Delivery) -> bool:
        """Take the key's turn, or wait behind the one that has it (`False`)."""
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return True
        waiting.append(delivery)
        return False

    def take(self, key: str) -> None:
        """Take the key's turn for one that is not here."""
        self._waiting.setdefault(key, deque())

    def taken(self) -> list[str]:
        """Keys whose turn somebody has."""
        return list(self._waiting)

    def leave(self, key: str) -> Delivery | None:
        """Give up the turn; return the one whose turn it is now."""
        waiting = self._waiting[key]
        if waiting:
            return waiting.popleft()
        del self._waiting[key]
        return None

    def end(self, key: str) -> list[Delivery]:
        """Give up the turn, and with it the places of all that wait behind it."""
        return list(self._waiting.pop(key))

    def clear_waiting(self) -> list[Delivery]:
        """Take out all that wait; the turns that are taken stay taken."""
        deliveries = [delivery for waiting in self._waiting.values() for delivery in waiting]
        for waiting in self._waiting.values():
            waiting.clear()
        return deliveries
