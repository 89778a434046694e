"""Watching an engine at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import msgspec

from .._engine import lifecycle
from .._engine.engine import Engine
from ..errors import PublishError
from ..event import Event
from ..transports.base import Record
from ..wire import decode
from .recorded import Recorded


class Recording:
    """In front of an engine: keeps what is published, and passes everything on."""

    ended = False

    def __init__(self, below: Engine) -> None:
        self.below = below
        self.listeners: list[Recorded] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)

    def publish_one(self, event: Event) -> None:
        with self._keeping((event,)):
            self.below.publish_one(event)

    def publish(self, events: Sequence[Event], connection: object = None) -> None:
        with self._keeping(events):
            self.below.publish(events, connection)

    def publish_soon(self, event: Event) -> Future[Event]:
        with self._keeping((event,)) as kept:
            future = self.below.publish_soon(event)
        future.add_done_callback(lambda done: self._drop(kept) if _failed(done) else None)
        return future

    def close(self, timeout: float | None = None) -> bool:
        drained = self.below.close(timeout)
        if drained:
            lifecycle.unregister(self.below)
        return drained

    @contextmanager
    def _keeping(self, events: Sequence[Event]) -> Iterator[list[Event]]:
        # Kept before they are stored, so that what handlers publish in answer comes after them.
        records = [self.below.publisher.record(event) for event in events]
        kept = tell(self.listeners, records, self.below.config.prefix)
        try:
            yield kept
        except PublishError as error:
            self._drop([event for event in kept if error.outcomes.get(event.id) != "ok"])
            raise
        except BaseException:
            self._drop(kept)
            raise

    def _drop(self, events: Sequence[Event]) -> None:
        for recorded in list(self.listeners):
            recorded._drop(events)


def tell(listeners: Sequence[Recorded], records: Sequence[Record], prefix: str) -> list[Event]:
    """Let all listeners know of these events, as handlers would get them."""
    events = [_published(record, prefix) for record in records]
    for recorded in list(listeners):
        recorded._add(events)
    return events


def _published(record: Record, prefix: str) -> Event:
    event = decode(record.data, topic=record.topic, prefix=prefix, key=record.key)
    # `topic` belongs to the handling side; without it this equals what `publish` returned.
    return msgspec.structs.replace(event, topic="")


def _failed(future: Future[Event]) -> bool:
    return future.cancelled() or future.exception() is not None
