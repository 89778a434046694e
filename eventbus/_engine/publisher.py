"""Publishing: encode, send, and say truthfully what became of it.

Where a transport gains from it, concurrent publishers share one round trip: see `groupcommit`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice
from threading import Lock
from time import monotonic, sleep
from typing import Any, Literal

from ..errors import PublishError, TransportError, TransportUnavailable
from ..event import Event
from ..patterns import topic_of
from ..transports.base import PartlyStored, Record, Transport
from ..wire import encode
from .groupcommit import GroupCommit
from .maintenance import Maintenance

Outcome = Literal["ok", "failed", "unknown"]

#: Events sent with one confirm: enough to make its cost vanish, few enough to bound a repetition.
CHUNK = 1_000
#: Seconds between two attempts inside `publish_timeout`: shorter than for reconnecting, since a
#: caller waits and the attempts are few.
RETRY_PAUSE = (0.05, 0.3)


class _Progress:
    """How many of a call's records are confirmed."""

    __slots__ = ("confirmed",)

    def __init__(self) -> None:
        self.confirmed = 0


class Publisher:
    """Sends events through one transport, from any thread.

    Args:
        transport: where to.
        prefix: put before each type.
        limit: of an encoded event, in bytes.
        timeout: seconds that one call may take.
        maintenance: done now and then by whoever publishes.
    """

    def __init__(
        self, transport: Transport, *, prefix: str, limit: int, timeout: float,
        maintenance: Maintenance,
    ) -> None:
        self._maintenance = maintenance
        self._transport = transport
        self._prefix = prefix
        self._limit = limit
        self._timeout = timeout
        self._direct = transport.capabilities.concurrent_publish
        self._deduplicates = transport.capabilities.deduplicates
        self._group = GroupCommit(self._call)
        self._count_lock = Lock()
        self.published = 0

    def record(self, event: Event) -> Record:
        """Encode an event, or raise before anything is written."""
        topic = topic_of(self._prefix, event.type)
        return Record(event.id, topic, encode(event, self._limit), event.key)

    def publish_one(self, event: Event, wait: bool) -> None:
        """The same as `publish` for one event, with less ado: the hot path of small services."""
        records = (self.record(event),)
        try:
            if self._direct:
                self._transport.publish(records, timeout=self._timeout, wait=wait)
            else:
                self._send_one(records, wait)
        except TransportError as error:
            if not _stored(error):
                raise _publish_error((event,), 0, error) from error
        with self._count_lock:
            self.published += 1

    def _send_one(self, records: Sequence[Record], wait: bool) -> None:
        deadline = monotonic() + self._timeout
        try:
            self._group.send(records, deadline, wait)
        except TransportUnavailable as error:
            if _stored(error):
                return
            self._pause_or_raise(error, deadline)
            self._send(records, _Progress(), deadline, wait, None)
        self._maintenance.run_if_due()

    def publish(
        self, events: Sequence[Event], *, wait: bool = True, connection: Any = None
    ) -> None:
        """Send events in order, `CHUNK` at a time.

        Raises:
            SerializationError: before anything was sent.
            PublishError: with the outcome of each event.
        """
        records = [self.record(event) for event in events]
        progress = _Progress()
        try:
            while progress.confirmed < len(records):
                chunk = records[progress.confirmed : progress.confirmed + CHUNK]
                deadline = monotonic() + self._timeout
                self._send(chunk, progress, deadline, wait, connection)
            if connection is None:
                self._maintenance.run_if_due()
        except TransportError as error:
            raise _publish_error(events, progress.confirmed, error) from error
        finally:
            with self._count_lock:
                self.published += progress.confirmed

    def _send(
        self, records: Sequence[Record], progress: _Progress, deadline: float, wait: bool,
        connection: Any,
    ) -> None:
        while records:
            try:
                if connection is None:
                    self._attempt(records, deadline, wait)
                else:
                    self._transport.publish(
                        records, timeout=self._timeout, wait=wait, connection=connection
                    )
            except PartlyStored as error:
                progress.confirmed += error.stored
                records = records[error.stored :]
                if records:
                    self._pause_or_raise(error, deadline)
            except TransportUnavailable as error:
                if connection is not None:
                    raise
                self._pause_or_raise(error, deadline)
            else:
                progress.confirmed += len(records)
                return

    def _pause_or_raise(self, error: TransportUnavailable, deadline: float) -> None:
        """Only what was certainly not stored, or is stored once at most, may be sent again."""
        pause = random.uniform(*RETRY_PAUSE)
        again = error.outcome == "failed" or self._deduplicates
        if not again or monotonic() + pause >= deadline:
            raise error
        sleep(pause)

    def _attempt(self, records: Sequence[Record], deadline: float, wait: bool) -> None:
        if self._direct:
            self._call(records, deadline, wait)
        else:
            self._group.send(records, deadline, wait)

    def _call(self, records: Sequence[Record], deadline: float, wait: bool) -> None:
        timeout = max(0.0, deadline - monotonic())
        self._transport.publish(records, timeout=timeout, wait=wait)


def _stored(error: TransportError) -> int:
    """How many records are safe in spite of it."""
    return error.stored if isinstance(error, PartlyStored) else 0


def _publish_error(
    events: Sequence[Event], confirmed: int, error: TransportError
) -> PublishError:
    outcomes: dict[str, Outcome] = {event.id: "ok" for event in events[:confirmed]}
    sent = confirmed + CHUNK
    outcomes.update((event.id, error.outcome) for event in islice(events, confirmed, sent))
    outcomes.update((event.id, "failed") for event in islice(events, sent, None))
    first = events[confirmed]
    count = len(events) - confirmed
    what = f"event {first.type!r} (id {first.id})" if count == 1 else f"{count} events"
    stored = "was not stored" if count == 1 else "were not stored"
    state = stored if error.outcome == "failed" else "may or may not have been stored"
    return PublishError(f"{what} {state}: {error}", event=first, outcomes=outcomes)
