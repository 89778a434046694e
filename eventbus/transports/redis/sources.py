"""The streams behind a subscription: one per topic, one per inbox."""

from __future__ import annotations

from typing import NamedTuple

from ..base import Delivery, SubscriptionId
from . import frames, keys


class Source(NamedTuple):
    """A stream and the consumer group through which a subscription reads it."""

    subscription: SubscriptionId
    stream: str
    group: str
    #: Set for an inbox: for which handler, the empty text standing for all of them.
    handler: str | None = None

    def delivery(
        self, id: bytes, entry: dict[bytes, bytes], *, deaths: int = 0, started: bool = False
    ) -> Delivery:
        """An entry as the engine takes it."""
        receipt = Receipt(self, id)
        if self.handler is None:
            data, key = frames.event(entry)
            return Delivery(self.stream, data, key, receipt, deaths=deaths, started=started)
        parked = frames.unpack_parked(entry)
        return Delivery(
            parked.topic, parked.data, parked.key, receipt, handler=self.handler or None,
            attempt=parked.attempt, deaths=max(deaths, parked.deaths), started=started,
            first_failed_at=parked.first_failed_at,
        )


class Receipt:
    """An entry that is pending in our name."""

    __slots__ = ("id", "marked", "source")

    def __init__(self, source: Source, id: bytes) -> None:
        self.source = source
        self.id = id
        #: Runs alone: the mark is to be taken away with the outcome.
        self.marked = False

    @property
    def mark(self) -> bytes:
        """Field of the mark in `keys.STARTED`."""
        return f"{self.source.group} {self.source.stream} ".encode() + self.id


def topic_source(id: SubscriptionId, topic: str) -> Source:
    return Source(id, topic, keys.group_of(id))


def inbox_source(id: SubscriptionId, handler: str) -> Source:
    return Source(id, keys.inbox(id, handler), keys.INBOX_GROUP, handler)
