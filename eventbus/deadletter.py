"""Dead letters: events that a handler has finally failed, with everything needed to see why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from .event import Event

if TYPE_CHECKING:
    from .transports.base import Reason


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
