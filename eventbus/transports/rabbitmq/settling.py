"""Outcomes on their way to the server: stored first where more than an ack is to be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from uuid import uuid4

from ..base import Delivery, Parked, Settlement
from . import frames, names
from .backstage import Backstage
from .errors import lost
from .frames import Outgoing
from .receipts import Holding
from .sender import Batch


class Settling:
    """Acks, and what has to be safe before some of them.

    Args:
        holding: what is ours to settle.
        backstage: stores dead letters and parked events.
        done: called with deliveries whose ack or return is on its way.
    """

    def __init__(
        self, holding: Holding, backstage: Backstage,
        done: Callable[[Iterable[Delivery]], None],
    ) -> None:
        self._holding = holding
        self._backstage = backstage
        self._done = done
        #: How much of each delivery is not safe yet, and whose ack waits for that.
        self._owed: Counter[Delivery] = Counter()
        self._deferred: set[Delivery] = set()

    def settle(self, settlement: Settlement) -> None:
        """Send what can be sent; an alarm holds back no more than it has to."""
        mine = self._holding.has
        concerned = [d for d, _ in (*settlement.dead, *settlement.parked) if mine(d)]
        self._owed.update(concerned)
        self.give_back(settlement.releases)
        self._ack(settlement.acks)
        messages = [
            frames.dead(record, names.dead(record.subscription.group))
            for delivery, record in settlement.dead if mine(delivery)
        ]
        messages += [park(item) for delivery, item in settlement.parked if mine(delivery)]
        self.store(messages, concerned)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            delivery.receipt.tap.returned += 1
        self._holding.give_back(deliveries)
        self._done(deliveries)

    def store(self, messages: Sequence[Outgoing], concerned: Sequence[Delivery]) -> None:
        """Store messages; the acks of these deliveries wait for that."""
        if messages:
            self._backstage.put(messages, lambda batch: self._stored(concerned, batch))

    def replace(self, messages: Sequence[Outgoing], deliveries: Sequence[Delivery]) -> None:
        """Store messages in the place of deliveries."""
        self._owed.update(deliveries)
        self._deferred.update(deliveries)
        self.store(messages, deliveries)

    def _ack(self, deliveries: Iterable[Delivery]) -> None:
        owed = self._owed
        if not owed:
            now = list(deliveries)
        else:
            now = [delivery for delivery in deliveries if delivery not in owed]
            self._deferred.update(d for d in deliveries if d in owed)
        self._holding.ack(now)
        self._done(now)

    def _stored(self, concerned: Sequence[Delivery], batch: Batch) -> None:
        if batch.returned:
            raise lost("rabbitmq", "a queue for parked events or dead letters has vanished")
        for delivery in concerned:
            self._owed[delivery] -= 1
            if not self._owed[delivery]:
                del self._owed[delivery]
        ready = [d for d in concerned if d not in self._owed and d in self._deferred]
        self._deferred.difference_update(ready)
        self._ack(dict.fromkeys(ready))


def park(item: Parked) -> Outgoing:
    """Where an event waits; what is due already need not."""
    due = item.due <= frames.now()
    queue = names.queue(item.subscription) if due else names.parked(item.subscription.group)
    return frames.parked(item, uuid4().hex, queue)
