"""What a failed attempt becomes: a description, a delay, a dead letter or a parked event."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from traceback import TracebackException, format_exception_only
from uuid import UUID, uuid5

from .._ids import new_id
from ..errors import Reject, RetryLater, SerializationError
from ..event import Event
from ..transports.base import DeadRecord, Delivery, Parked, SubscriptionId
from ..wire import identity
from .work import Attempt, Failure

logger = logging.getLogger("eventbus.handler")

#: Characters kept of an error's text: enough to recognise it, small enough to store by the million.
MAX_ERROR = 4_096
#: Characters kept of a traceback, from its end, where the cause stands.
MAX_TRACEBACK = 16_384
#: Dead letters' own namespace (RFC 9562, section 5.5).
_LETTERS = UUID("5c0d5f7c-6a4e-4c1b-9a61-2f6f5d1f3a27")


def describe(attempt: Attempt, event: Event, error: BaseException) -> Failure:
    """Log a handler's exception and keep of it what a dead letter needs, without its frames."""
    policy = attempt.binding.retry
    kind, level = _kind(error)
    # An attempt that has a successor leaves no dead letter: then only its log shows the frames.
    gives_up = policy.gives_up(error, attempt.number)
    failure = _failure(attempt, kind, error, event.id, _trace(error) if gives_up else "")
    failure.gives_up = gives_up
    if isinstance(error, RetryLater):
        failure.delay = error.delay
    logger.log(
        level,
        "handler %s: %s for event %s (id %s, attempt %d of %d)",
        attempt.binding.name, failure.error.partition("\n")[0], event.type, event.id,
        attempt.number, policy.max_attempts,
        exc_info=error if level == logging.ERROR else None,
        extra={
            "event_id": event.id, "event_type": event.type,
            "handler": attempt.binding.name, "attempt": attempt.number,
        },
    )
    return failure


def undecodable(attempt: Attempt, error: SerializationError) -> Failure:
    """The bytes are no event of ours: no handler can be called with them."""
    return _failure(attempt, "undecodable", error, None, _trace(error))


def next_delay(failure: Failure) -> float | None:
    """Seconds until the next attempt, or `None` for a dead letter."""
    if failure.gives_up or failure.kind in ("rejected", "undecodable"):
        return None
    if failure.delay is not None:
        return failure.delay
    return failure.attempt.binding.retry.delay(failure.attempt.number)


def following(failure: Failure) -> Attempt:
    """The attempt after the one that failed."""
    attempt = failure.attempt
    return Attempt(
        attempt.delivery, attempt.binding, attempt.number + 1,
        attempt.first_failed_at or failure.at,
    )


def parked(attempt: Attempt, delay: float) -> Parked:
    """Store an attempt that is due in `delay` seconds instead of waiting for it here."""
    delivery = attempt.delivery
    return Parked(
        subscription=attempt.binding.member.id, handler=attempt.binding.name,
        topic=delivery.topic, data=delivery.data, key=delivery.key, attempt=attempt.number,
        due=datetime.now(timezone.utc) + timedelta(seconds=delay),
        first_failed_at=attempt.first_failed_at, origin=delivery.origin or "",
    )


def dead(failure: Failure) -> DeadRecord:
    """The dead letter of a failed attempt; of the whole delivery where it has no handler."""
    attempt = failure.attempt
    delivery = attempt.delivery
    reason = failure.kind if failure.kind in ("rejected", "undecodable") else "failed"
    subscription = attempt.binding.member.id
    handler = None if reason == "undecodable" else attempt.binding.name
    return DeadRecord(
        id=_letter_id(delivery, subscription, handler, failure.event_id),
        subscription=subscription, handler=handler,
        topic=delivery.topic, data=delivery.data, key=delivery.key, event_id=failure.event_id,
        reason=reason,
        error=failure.error, traceback=failure.traceback,
        attempts=0 if reason == "undecodable" else attempt.number,
        first_failed_at=attempt.first_failed_at or failure.at, failed_at=failure.at,
    )


def crashed(
    subscription: SubscriptionId, delivery: Delivery, handler: str | None
) -> DeadRecord:
    """The dead letter of an event whose handler has ended its process."""
    now = datetime.now(timezone.utc)
    event_id = identity(delivery.data)
    logger.error(
        "handler %s: its process died %d times with event %s (topic %s), the last time running "
        "nothing else; the event is a dead letter now", handler, delivery.deaths, event_id,
        delivery.topic, extra={"event_id": event_id, "handler": handler},
    )
    return DeadRecord(
        id=_letter_id(delivery, subscription, handler, event_id), subscription=subscription,
        handler=handler, topic=delivery.topic, data=delivery.data, key=delivery.key,
        event_id=event_id, reason="crashed",
        error=f"the process died {delivery.deaths} times while it held this event, the last "
        "time while the handler ran alone", traceback="", attempts=delivery.attempt,
        first_failed_at=delivery.first_failed_at or now, failed_at=now,
    )


def _letter_id(
    delivery: Delivery, subscription: SubscriptionId, handler: str | None, event_id: str | None
) -> str:
    """A new id, or always the same one where a kill between two steps makes it fail again."""
    if delivery.origin is None or event_id is None:
        return new_id()
    parts = (*subscription, handler or "", event_id, delivery.origin)
    return str(uuid5(_LETTERS, "\0".join(parts)))


def _kind(error: BaseException) -> tuple[str, int]:
    """What kind of failure it is, and how loudly to log it."""
    if isinstance(error, Reject):
        return "rejected", logging.WARNING
    if isinstance(error, RetryLater):
        return "later", logging.INFO
    return "failed", logging.ERROR


def _failure(
    attempt: Attempt, kind: str, error: BaseException, event_id: str | None, trace: str
) -> Failure:
    return Failure(
        attempt, kind, _text(error), trace,  # type: ignore[arg-type]
        datetime.now(timezone.utc), event_id,
    )


def _text(error: BaseException) -> str:
    """A text that can be stored anywhere, even of exceptions whose own `__str__` fails."""
    try:
        text = "".join(format_exception_only(error)).strip()
    except BaseException as second:
        text = f"{type(error).__name__} (its text failed with {type(second).__name__})"
    return _storable(text)[:MAX_ERROR]


def _trace(error: BaseException) -> str:
    try:
        report = TracebackException.from_exception(error, limit=-50)
        return _storable("".join(report.format()))[-MAX_TRACEBACK:]
    except BaseException:
        return ""


def _storable(text: str) -> str:
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return clean.replace("\x00", "\\x00")
