"""Marks of events that were begun alone: a queue each, which exists or does not."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from pika import spec

from ..base import Delivery
from . import names
from .errors import Missing
from .lanes import Asker
from .receipts import Receipt

#: Returns from which an event is looked up: the engine lets it run alone from there on.
SUSPECT = 2
#: Seconds for which a mark is not believed: its maker may have lost its connection only, and
#: takes the mark away when it is back.
DOUBT = 5.0


class Marks:
    """Makes, finds and removes marks.

    Args:
        asker: the connection to ask on.
        own: marks that this process has made and not removed; they outlive a session.
    """

    def __init__(self, asker: Asker, own: set[str]) -> None:
        self._asker = asker
        self._own = own
        self._doubtful: list[tuple[float, Delivery]] = []
        # We live, so none of these killed us.
        for name in list(own):
            self._remove(name)

    def make(self, delivery: Delivery) -> None:
        receipt: Receipt = delivery.receipt
        name = _name(receipt)
        self._own.add(name)
        receipt.marked = True
        self._asker.call(names.declare_queue(name, names.MARK))

    def clear(self, deliveries: Iterable[Delivery]) -> None:
        """Take away the marks of what has an outcome."""
        for delivery in deliveries:
            if delivery.receipt.marked or delivery.started:
                self._remove(_name(delivery.receipt))

    def _remove(self, name: str) -> None:
        self._asker.call(spec.Queue.Delete(queue=name))
        self._own.discard(name)

    def judge(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Set `started` of those with a mark; what is in doubt is kept back for a while."""
        if not any(delivery.deaths >= SUSPECT for delivery in deliveries):
            return deliveries
        return [delivery for delivery in deliveries if not self._doubts(delivery)]

    def _doubts(self, delivery: Delivery) -> bool:
        if delivery.deaths < SUSPECT or not self._exists(delivery.receipt):
            return False
        self._doubtful.append((monotonic() + DOUBT, delivery))
        return True

    def certain(self) -> list[Delivery]:
        """Those whose time of doubt is over."""
        decided = [delivery for until, delivery in self._doubtful if until <= monotonic()]
        if decided:
            self._doubtful = [pair for pair in self._doubtful if pair[1] not in decided]
        for delivery in decided:
            delivery.started = self._exists(delivery.receipt)
        return decided

    def _exists(self, receipt: Receipt) -> bool:
        try:
            self._asker.call(names.look_at_queue(_name(receipt)))
        except Missing:
            return False
        return True


def _name(receipt: Receipt) -> str:
    return names.mark(receipt.tap.id, receipt.id)
