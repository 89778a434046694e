"""How many events of a subscription are not settled: those in the queue, and those in our hands.

The two have to be of one moment. So the thread of the consumer asks, on the channel on which
messages come: by the second answer all that had left the queue before the first one is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import NamedTuple

from ..base import SubscriptionId
from .receipts import Holding
from .taps import Tap

#: Tries to see the queue unchanged between two answers.
TRIES = 5


class Mark(NamedTuple):
    """Where the end of a queue was at some moment; peers take some of what lies before it."""

    tap: Tap
    #: How many messages have come here before those that were published after the moment.
    came: int
    #: Given back until then: what is given back later comes again with a higher number.
    returned: int


class Count:
    """A question of some thread to that of a consumer: how many, of those before a mark."""

    def __init__(self, id: SubscriptionId, upto: Mark | None = None) -> None:
        self._id = id
        self._upto = upto
        self.mark: Mark | None = None
        self._answered = Event()
        self.number: int | None = None

    def wait(self, timeout: float) -> bool:
        """Whether it was answered in time."""
        return self._answered.wait(timeout)

    def by(
        self, ask: Callable[[str], int], taps: Mapping[SubscriptionId, Tap], holding: Holding
    ) -> None:
        """Answer it, in the consumer's thread."""
        tap = taps.get(self._id)
        if tap is not None:
            ready = ask(tap.queue)
            for _ in range(TRIES):
                before, ready = ready, ask(tap.queue)
                if before == ready:
                    break
            self.mark = Mark(tap, tap.came + ready, tap.returned)
            self.number = self._number(tap, ready, holding)
        self._answered.set()

    def _number(self, tap: Tap, ready: int, holding: Holding) -> int:
        upto = self._upto
        if upto is None or upto.tap is not tap or upto.returned != tap.returned:
            return ready + tap.held
        mine = [d.receipt for d in holding.all() if d.receipt.tap is tap]
        older: int = sum(receipt.number < upto.came for receipt in mine)
        return older + max(0, min(ready, upto.came - tap.came))
