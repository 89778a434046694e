"""What one session of a process leaves to the next, when its connection has broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import monotonic
from weakref import WeakValueDictionary

from ..base import Delivery
from .sources import Receipt, Source

#: Acks that are remembered, and for how many seconds: a server that dies has not stored the last.
ACKS, LATELY = 5_000, 10.0


class Memory:
    """Used by one consumer after the other."""

    def __init__(self) -> None:
        self._leftovers: list[Delivery] = []
        self._acked: deque[Receipt] = deque(maxlen=ACKS)
        #: By its place, what is in the hands of this process, and what it has acked lately.
        self._ours: WeakValueDictionary[tuple[str, str, int], Receipt] = WeakValueDictionary()

    def keep(self, deliveries: Iterable[Delivery]) -> None:
        """Deliveries that nobody has fetched."""
        self._leftovers.extend(deliveries)

    def handed(self, delivery: Delivery) -> None:
        """A delivery begins its way through this process."""
        receipt: Receipt = delivery.receipt
        receipt.digest = hash(delivery.data)
        self._ours[receipt.place] = receipt

    def returned(self, deliveries: Iterable[Delivery]) -> None:
        """Deliveries that were given back, and may come again."""
        for delivery in deliveries:
            self._ours.pop(delivery.receipt.place, None)

    def acked(self, deliveries: Iterable[Delivery]) -> None:
        now = monotonic()
        for delivery in deliveries:
            delivery.receipt.acked_at = now
            self._acked.append(delivery.receipt)

    def knows(self, delivery: Delivery) -> bool:
        """Whether the server has forgotten that we have this event, or have acked it.

        One that dies has not stored what it did last. What is in our hands we hold by the new
        receipt from now on; the caller acks once more what was acked.
        """
        now = monotonic()
        fresh: Receipt = delivery.receipt
        ours = self._ours.get(fresh.place)
        if ours is None or ours.digest != hash(delivery.data):
            return False
        if ours.acked_at is not None:
            return now - ours.acked_at < LATELY
        if ours.until <= now:
            return False  # Its lease was lost.
        ours.reply, ours.delivered, ours.until = fresh.reply, fresh.delivered, fresh.until
        return True

    def is_acked(self, delivery: Delivery) -> bool:
        """Of what it knows."""
        ours = self._ours.get(delivery.receipt.place)
        return ours is not None and ours.acked_at is not None

    def leftovers(self, source: Source) -> list[Delivery]:
        """Take those that are still ours."""
        now = monotonic()
        alive = [delivery for delivery in self._leftovers if delivery.receipt.until > now]
        mine = [delivery for delivery in alive if _same(delivery.receipt, source)]
        self._leftovers = [delivery for delivery in alive if delivery not in mine]
        return mine

    def acks(self, source: Source) -> list[str]:
        """Where to ack once more, lest it is delivered again; a second ack does no harm."""
        since = monotonic() - LATELY
        return [r.reply for r in self._acked if (r.acked_at or 0.0) > since and _same(r, source)]


def _same(receipt: Receipt, source: Source) -> bool:
    return receipt.source.durable == source.durable and receipt.source.epoch == source.epoch
