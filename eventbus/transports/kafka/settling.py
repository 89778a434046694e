"""A settlement: what is to be kept is stored first, then the offsets are settled."""

from __future__ import annotations

from collections.abc import Callable

from ..base import Delivery, Parked, Settlement, SubscriptionId
from . import frames, names
from .catalogue import Catalogue
from .options import ANSWER_TIMEOUT
from .producing import Outgoing, Producing


def is_lost(delivery: Delivery) -> bool:
    """Whether its partition was taken away."""
    return delivery.receipt is None or not delivery.receipt[0].alive


def parked(item: Parked) -> Outgoing:
    topic = names.inbox(item.subscription, item.handler)
    return Outgoing(topic, item.data, item.key, frames.parked(item))


class Store:
    """Dead letters and inboxes, for writing."""

    def __init__(
        self, producing: Producing, catalogue: Catalogue, hint: Callable[[str], object]
    ) -> None:
        self._producing = producing
        self._catalogue = catalogue
        self._hint = hint
        self._ready: set[str] = set()

    def keep(self, settlement: Settlement) -> None:
        """Store what the acks of a settlement stand for."""
        messages = [
            Outgoing(names.DEAD, frames.pack_dead(record), dead_key(record.subscription, record.id))
            for delivery, record in settlement.dead if not is_lost(delivery)
        ]
        messages += [parked(item) for delivery, item in settlement.parked if not is_lost(delivery)]
        self.put(messages)

    def put(self, messages: list[Outgoing]) -> None:
        """Write to internal topics, which are made first."""
        if not messages:
            return
        for topic in {message.topic for message in messages} - self._ready:
            if topic == names.DEAD:
                self._catalogue.ensure_table(topic)
            else:
                self._catalogue.ensure_inbox(topic, self._hint)
            self._ready.add(topic)
        try:
            self._producing.store(messages, ANSWER_TIMEOUT)
        except Exception:
            self._ready.clear()
            raise


def dead_key(id: SubscriptionId, unique: str) -> str:
    """Key of a dead letter: its group can be seen without reading it."""
    return f"{id.group}|{unique}"
