"""Dead letters: events that a handler has finally failed, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSequence, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice
from time import monotonic, sleep
from typing import TYPE_CHECKING

import msgspec

from .errors import SerializationError, TopologyError
from .event import Event
from .patterns import check_group, matcher, type_within, without_prefix

if TYPE_CHECKING:
    from ._engine.engine import Engine
    from .transports.base import DeadRecord, Parked, Reason

REASONS = ("failed", "rejected", "undecodable", "crashed")

#: Dead letters replayed, and then removed, at a time: what a cut in the middle may replay twice.
BATCH = 50

Progress = Callable[["DeadLetter"], object]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event that one handler of one group has finally failed.

    Attributes:
        id: of the dead letter itself.
        event_id: of the event, or `None` where the bytes were no event.
        event: the event, or `None` where the bytes were no event.
        data: the bytes as they were.
        group: the consumer group in which it failed.
        pattern: the subscription's pattern.
        handler: the handler that failed; `None` where no handler could be called.
        reason: `failed`, `rejected`, `undecodable` or `crashed`.
        error: the exception's type and message.
        traceback: of the last attempt, bounded.
        attempts: how often the handler was called.
        first_failed_at: aware UTC time of the first failure.
        failed_at: aware UTC time of the last failure.
    """

    id: str
    event_id: str | None
    event: Event | None
    data: bytes
    group: str
    pattern: str
    handler: str | None
    reason: Reason
    error: str
    traceback: str
    attempts: int
    first_failed_at: datetime
    failed_at: datetime


class DeadLetters:
    """The dead letters of a bus's prefix; no handler needs to be live for any of this.

    `list`, `replay` and `purge` choose by the same filters:

    * `group`: of one consumer group; `None` for the bus's own, `"*"` for all.
    * `type`: a pattern for the event type.
    * `reason`: `failed`, `rejected`, `undecodable` or `crashed`.
    * `older_than`: seconds (or a `timedelta`) since the last failure, at least.
    * `maximum`: so many at most, the oldest ones.

    Wrong values raise `ValueError`; a broker that does not answer, `TransportError`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._prefix = engine.config.prefix

    def list(
        self, group: str | None = None, *, type: str | None = None, reason: str | None = None,
        older_than: float | timedelta | None = None, maximum: int | None = None,
    ) -> list[DeadLetter]:
        """The chosen dead letters, oldest first. Looking at them changes nothing."""
        chosen = self._chosen((), group, type, reason, older_than, maximum)
        return [self._letter(record) for record in chosen]

    def get(self, id: str) -> DeadLetter | None:
        """One dead letter, or `None` where there is none (any more) with this id."""
        record = self._engine.dead_letter_store().get(id)
        return None if record is None or not self._mine(record) else self._letter(record)

    def replay(
        self, *ids: str, group: str | None = None, type: str | None = None,
        reason: str | None = None, older_than: float | timedelta | None = None,
        maximum: int | None = None, rate: float | None = None, progress: Progress | None = None,
    ) -> int:
        """Hand dead letters to the handler that had failed, and to nobody else.

        The events keep their ids and begin at attempt 1. They are stored for the handler first
        and removed here then: cut in the middle, it can simply be called again, and repeats up
        to 50 of them.

        Args:
            ids: exactly these, of any group; those that are gone already are passed over.
            group: see the class, as for the other filters.
            rate: events per second; `None` for as fast as it goes.
            progress: called with each one that was replayed.

        Returns:
            How many were replayed.

        Raises:
            TopologyError: the subscription was dropped; what it concerns stays where it is.
        """
        size = BATCH if rate is None else max(1, min(BATCH, int(_positive(rate, "rate") / 10)))
        chosen = self._chosen(ids, group, type, reason, older_than, maximum)
        replayed = 0
        refused: list[TopologyError] = []
        for batch in _batches(chosen, size):
            began = monotonic()
            replayed += self._remove(self._deliver(batch, refused), progress)
            if rate is not None and len(batch) == size:
                sleep(max(0.0, began + size / rate - monotonic()))
        if refused:
            raise TopologyError(
                f"{replayed} dead letters were replayed, {len(refused)} were not: {refused[0]}"
            )
        return replayed

    def _deliver(
        self, batch: Sequence[DeadRecord], refused: MutableSequence[TopologyError]
    ) -> Sequence[DeadRecord]:
        """Store a batch for its handlers; return those whose subscription still exists."""
        try:
            self._engine.transport.deliver([_parked(record) for record in batch])
        except TopologyError as error:
            if len(batch) == 1:
                refused.append(error)
                return []
            return [found for record in batch for found in self._deliver([record], refused)]
        return batch

    def purge(
        self, *ids: str, group: str | None = None, type: str | None = None,
        reason: str | None = None, older_than: float | timedelta | None = None,
        maximum: int | None = None, progress: Progress | None = None,
    ) -> int:
        """Remove dead letters for good; arguments as for `replay`. Returns how many there were."""
        chosen = self._chosen(ids, group, type, reason, older_than, maximum)
        return sum(self._remove(batch, progress) for batch in _batches(chosen, BATCH))

    # -- choosing ----------------------------------------------------------------------------

    def _chosen(
        self, ids: tuple[str, ...], group: str | None, type: str | None, reason: str | None,
        older_than: float | timedelta | None, maximum: int | None,
    ) -> Iterator[DeadRecord]:
        if maximum is not None and maximum < 0:
            raise ValueError(f"maximum is {maximum}: it must not be negative")
        records = self._records(ids, group)
        wanted = self._filter(type, reason, _seconds(older_than))
        return islice(filter(wanted, records), maximum)

    def _records(self, ids: tuple[str, ...], group: str | None) -> Iterator[DeadRecord]:
        store = self._engine.dead_letter_store()
        if ids:
            found = (store.get(id) for id in dict.fromkeys(ids))
            any_group = group in (None, "*")
            return (r for r in found if r and (any_group or r.subscription.group == group))
        if group == "*":
            return store.list(None)
        return store.list(self._engine.config.group if group is None else check_group(group))

    def _filter(
        self, type: str | None, reason: str | None, age: float
    ) -> Callable[[DeadRecord], bool]:
        matches = matcher("**" if type is None else type)
        if reason is not None and reason not in REASONS:
            raise ValueError(f"reason is {reason!r}: use one of {', '.join(REASONS)}")
        # Of now: what fails again while it is replayed is not replayed again.
        until = datetime.now(timezone.utc) - timedelta(seconds=age)

        def wanted(record: DeadRecord) -> bool:
            name = type_within(self._prefix, record.topic)
            return (
                name is not None and matches(name) and reason in (None, record.reason)
                and record.failed_at <= until
            )

        return wanted

    def _mine(self, record: DeadRecord) -> bool:
        return type_within(self._prefix, record.topic) is not None

    # -- one by one --------------------------------------------------------------------------

    def _remove(self, batch: Sequence[DeadRecord], progress: Progress | None) -> int:
        if not batch:
            return 0
        removed = self._engine.dead_letter_store().remove([record.id for record in batch])
        if progress is not None:
            for record in batch:
                progress(self._letter(record))
        return removed

    def _letter(self, record: DeadRecord) -> DeadLetter:
        group, pattern = record.subscription
        return DeadLetter(
            id=record.id, event_id=record.event_id, event=self._event(record), data=record.data,
            group=group, pattern=without_prefix(self._prefix, pattern) or pattern,
            handler=record.handler, reason=record.reason, error=record.error,
            traceback=record.traceback, attempts=record.attempts,
            first_failed_at=record.first_failed_at, failed_at=record.failed_at,
        )

    def _event(self, record: DeadRecord) -> Event | None:
        from .wire import decode

        try:
            return decode(
                record.data, topic=record.topic, prefix=self._prefix, key=record.key,
                attempt=max(1, record.attempts),
            )
        except SerializationError:
            return None


def _parked(record: DeadRecord) -> Parked:
    from .transports.base import Parked

    return Parked(
        subscription=record.subscription, handler=record.handler, topic=record.topic,
        data=record.data, key=record.key, attempt=1, due=datetime.now(timezone.utc),
        origin=record.id,
    )


def _batches(records: Iterator[DeadRecord], size: int) -> Iterator[list[DeadRecord]]:
    while batch := list(islice(records, size)):
        yield batch


def _positive(value: float, name: str) -> float:
    if not value > 0:
        raise ValueError(f"{name} is {value!r}: it must be greater than zero")
    return value


def _seconds(age: float | timedelta | None) -> float:
    seconds = age.total_seconds() if isinstance(age, timedelta) else float(age or 0.0)
    if not seconds >= 0:
        raise ValueError(f"older_than is {age!r}: it must not be negative")
    return seconds
