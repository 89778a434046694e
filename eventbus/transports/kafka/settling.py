"""A settlement: what is to be kept is stored first, then the offsets are settled."""

from __future__ import annotations

from collections.abc import Callable

from ..base import DeadRecord, Delivery, Parked, Settlement
from . import frames, names
from .catalogue import Catalogue
from .errors import UNSTORED
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
            Outgoing(
                names.DEAD, frames.pack_dead(record), dead_key(record, delivery), partition=0
            )
            for delivery, record in settlement.dead if not is_lost(delivery)
        ]
        messages += [parked(item) for delivery, item in settlement.parked if not is_lost(delivery)]
        self.put(messages)

    def put(self, messages: list[Outgoing]) -> None:
        """Write to internal topics, which are made first."""
        if not messages:
            return
        self._make({message.topic for message in messages} - self._ready)
        batch = self._producing.send(messages, ANSWER_TIMEOUT)
        if not batch.errors and not batch.left:
            return
        self._ready.clear()
        again = [
            messages[number] for number, error in sorted(batch.errors.items())
            if error.code() in UNSTORED
        ]
        if batch.left or len(again) < len(batch.errors):
            raise self._producing.failed(batch)
        self._make({message.topic for message in again})
        self._producing.store(again, ANSWER_TIMEOUT)

    def _make(self, topics: set[str]) -> None:
        for topic in topics:
            if topic == names.DEAD:
                self._catalogue.ensure_table(topic)
            else:
                self._catalogue.ensure_inbox(topic, self._hint)
            self._ready.add(topic)


def dead_key(record: DeadRecord, delivery: Delivery) -> str:
    """Key of a dead letter: stored again, because its ack was lost, it is the same one."""
    share, offset = delivery.receipt
    place = (record.handler or "", share.note.topic, str(share.partition), str(offset))
    return f"{record.subscription.group}|{record.subscription.pattern}|{'|'.join(place)}"
