"""How many events of a subscription are not settled: those in the queue, and those in our hands.

The two have to be of one moment. So the thread of the consumer asks, on the channel on which
messages come: by the second answer all that had left the queue before the first one is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event

from ..base import SubscriptionId
from .taps import Tap

#: Tries to see the queue unchanged between two answers.
TRIES = 5


class Count:
    """A question of some thread to that of a consumer."""

    def __init__(self, id: SubscriptionId) -> None:
        self._id = id
        self._answered = Event()
        self.number: int | None = None

    def wait(self, timeout: float) -> bool:
        """Whether it was answered in time."""
        return self._answered.wait(timeout)

    def by(
        self, ask: Callable[[str], int], taps: Mapping[SubscriptionId, Tap]
    ) -> None:
        """Answer it, in the consumer's thread."""
        tap = taps.get(self._id)
        if tap is not None:
            ready = ask(tap.queue)
            for _ in range(TRIES):
                before, ready = ready, ask(tap.queue)
                if before == ready:
                    break
            self.number = ready + tap.held
        self._answered.set()
