"""Claiming without a lock, in two round trips, where no peer has claimed since the last time.

What is beyond the cursor as this process left it is read, and then claimed on condition that the
cursor still stands there: between two claims of one member alone it does. A statement's snapshot is
what its rows are visible by, so the cursor comes to stand at exactly what was read.
"""

from __future__ import annotations

from time import monotonic

from ...patterns import matcher
from ..base import Budget, Delivery, SubscriptionId
from .claims import Claimed, Claims
from .holding import Holding
from .link import Link
from .purse import Purse
from .subscriptions import Subscription
from .window import Row

#: Seconds after a claim that a peer was faster than, in which no further one is tried.
SHARED = 1.0


class Shortcut:
    """Remembers where this process left the cursors.

    Args:
        claims: whose claims these shorten.
        holding: where claimed batches are written.
    """

    def __init__(self, claims: Claims, holding: Holding) -> None:
        self._claims = claims
        self._holding = holding
        self._left: dict[SubscriptionId, Subscription] = {}
        self._shared_until: dict[SubscriptionId, float] = {}

    def knows(self, id: SubscriptionId) -> bool:
        """Whether a claim takes no more than a look does, as long as there is nothing."""
        return id in self._left and self._shared_until.get(id, 0.0) <= monotonic()

    def learn(self, subscription: Subscription) -> None:
        """As a claim has left it."""
        id, at_end = subscription.id, subscription.cursor.target is None
        if at_end and self._claims.log(id.pattern).is_plain:
            self._left[id] = subscription
        else:
            self.forget(id)

    def forget(self, id: SubscriptionId) -> None:
        """Take the long way the next time."""
        self._left.pop(id, None)

    def claim(self, link: Link, id: SubscriptionId, budget: Budget) -> Claimed | None:
        """Take what the budget allows of the log; `None` where that takes the long way."""
        if not self.knows(id):
            return None
        before, purse = self._left[id], Purse(budget)
        log, seen = self._claims.log(id.pattern), before.cursor.seen
        found = log.beyond(link, seen, purse.count, purse.size)
        if not found.rows:
            return Claimed([], False, False, before)
        after = before._replace(cursor=found.cursor)
        deliveries = self._take(link, before, after, purse.spend(found.rows))
        if not deliveries:
            self.forget(id)
            self._shared_until[id] = monotonic() + SHARED
            return None
        self.learn(after)
        more = purse.is_empty() or after.cursor.target is not None
        return Claimed(deliveries, more, False, after)

    def _take(
        self, link: Link, before: Subscription, after: Subscription, rows: list[Row]
    ) -> list[Delivery]:
        matches = matcher(before.id.pattern)
        if not all(matches(row[2]) for row in rows):
            return []
        return self._holding.advance(
            link, before.number, rows, after.cursor, since=before.cursor.seen
        )
