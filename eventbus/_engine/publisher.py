"""Publishing: encode, send, and say truthfully what became of it.

Concurrent publishers share one round trip (group commit): whoever gets the lock sends what all
have queued meanwhile, and the others find their records sent. No thread is needed for that, so it
works in an atexit hook too.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Lock
from time import monotonic, sleep
from typing import Any, Literal

from .._lock import OwnedLock
from ..errors import PublishError, TransportError, TransportUnavailable
from ..event import Event
from ..patterns import topic_of
from ..transports.base import PartlyStored, Record, Transport
from ..wire import encode
from .maintenance import Maintenance

Outcome = Literal["ok", "failed", "unknown"]

#: Events sent with one confirm: enough to make its cost vanish, few enough to bound a repetition.
CHUNK = 1_000
#: Seconds between two attempts inside `publish_timeout`: shorter than for reconnecting, since a
#: caller waits and the attempts are few.
RETRY_PAUSE = (0.05, 0.3)


class _Ticket:
    """One caller's records, queued for whoever sends next."""

    __slots__ = ("done", "error", "records")

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.done = False
        self.error: Exception | None = None


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
        self._lock = OwnedLock()
        self._count_lock = Lock()
        self._queue: deque[_Ticket] = deque()
        self.published = 0

    def record(self, event: Event) -> Record:
        """Encode an event, or raise before anything is written."""
        topic = topic_of(self._prefix, event.type)
        return Record(event.id, topic, encode(event, self._limit), event.key)

    def publish_one(self, event: Event, wait: bool) -> None:
        """The same as `publish` for one event, with less ado: the hot path of small services."""
        if not self._direct:
            self.publish((event,), wait=wait)
            return
        record = self.record(event)
        try:
            self._transport.publish((record,), timeout=self._timeout, wait=wait)
        except TransportError as error:
            raise _publish_error((event,), 0, error) from error
        with self._count_lock:
            self.published += 1

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
                self._send(chunk, progress, wait, connection)
            if connection is None:
                self._maintenance.run_if_due()
        except TransportError as error:
            raise _publish_error(events, progress.confirmed, error) from error
        finally:
            with self._count_lock:
                self.published += progress.confirmed

    def _send(
        self, records: Sequence[Record], progress: _Progress, wait: bool, connection: Any
    ) -> None:
        deadline = monotonic() + self._timeout
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
            timeout = max(0.0, deadline - monotonic())
            self._transport.publish(records, timeout=timeout, wait=wait)
            return
        ticket = _Ticket(records)
        self._queue.append(ticket)
        if self._lock.mine():  # A signal handler on top of a publish.
            raise self._not_sent(ticket)
        try:
            if not self._lock.acquire(timeout=max(0.001, deadline - monotonic())):
                raise self._not_sent(ticket)
            if not ticket.done:
                self._lead(deadline, wait)
        finally:
            if self._lock.mine():
                self._lock.release()
        if ticket.error is not None:
            raise ticket.error

    def _not_sent(self, ticket: _Ticket) -> TransportUnavailable:
        try:
            self._queue.remove(ticket)
        except ValueError:
            return TransportUnavailable("no confirmation in time", outcome="unknown")
        return TransportUnavailable("an earlier publish is still waiting for its confirmation")

    def _lead(self, deadline: float, wait: bool) -> None:
        """Send everybody's records, our own among them."""
        tickets = self._take()
        records = tickets[0].records
        if len(tickets) > 1:
            records = [record for ticket in tickets for record in ticket.records]
        # What stands if a KeyboardInterrupt leaves `publish` in the middle.
        error: Exception | None = TransportUnavailable("interrupted", outcome="unknown")
        try:
            self._transport.publish(records, timeout=max(0.0, deadline - monotonic()), wait=wait)
            error = None
        except Exception as failure:
            error = failure
        finally:
            for ticket in tickets:
                ticket.error = error
                ticket.done = True

    def _take(self) -> list[_Ticket]:
        tickets = []
        while self._queue:
            tickets.append(self._queue.popleft())
        return tickets


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
