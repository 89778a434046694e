"""What one session of a process leaves to the next, when its connection has broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import monotonic

from ..base import Delivery
from .sources import Receipt, Source

#: Acks that are remembered, and for how many seconds: a server that dies has not stored the last.
ACKS, LATELY = 5_000, 10.0


class Memory:
    """Used by one consumer after the other."""

    def __init__(self) -> None:
        self._leftovers: list[Delivery] = []
        self._acked: deque[tuple[float, Receipt]] = deque(maxlen=ACKS)

    def keep(self, deliveries: Iterable[Delivery]) -> None:
        """Deliveries that nobody has fetched."""
        self._leftovers.extend(deliveries)

    def acked(self, deliveries: Iterable[Delivery]) -> None:
        now = monotonic()
        self._acked.extend((now, delivery.receipt) for delivery in deliveries)

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
        return [r.reply for at, r in self._acked if at > since and _same(r, source)]


def _same(receipt: Receipt, source: Source) -> bool:
    return receipt.source.durable == source.durable and receipt.source.epoch == source.epoch
