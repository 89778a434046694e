"""What travels between the consumer thread and the workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from ..transports.base import Delivery
from .binding import Binding


class Attempt(msgspec.Struct, gc=False, eq=False):
    """One call of one handler with one delivery: the unit of work of the dispatcher."""

    delivery: Delivery
    binding: Binding
    number: int
    first_failed_at: datetime | None = None


#: Deaths of members after which an event is a dead letter: the last one alone, and marked.
MAX_CRASHES = 3


def is_suspect(delivery: Delivery) -> bool:
    """Whether the event has to run alone from now on (see `quarantine`)."""
    return delivery.deaths >= MAX_CRASHES - 1


class Held(msgspec.Struct, gc=False, eq=False):
    """Engine state of a delivery that needs more than one call, or keeps a place in a lane."""

    bindings: Sequence[Binding]
    remaining: int
    #: Not every handler got its turn here: give the delivery back instead of acking it.
    abandoned: bool = False
    #: Its undecodable bytes are in a dead letter already: one is enough for all handlers.
    buried: bool = False


class Success(msgspec.Struct, gc=False, eq=False):
    """One handler of several has dealt with the delivery, or the last one has."""

    delivery: Delivery
    handler: str


class Failure(msgspec.Struct, gc=False, eq=False):
    """A handler has failed, or the delivery could not be decoded at all."""

    attempt: Attempt
    kind: Literal["failed", "rejected", "undecodable", "later"]
    error: str
    traceback: str
    at: datetime
    event_id: str | None = None
    #: Seconds the handler asked for (`RetryLater`).
    delay: float | None = None
    #: Of the exception, for `RetryPolicy.give_up_on`.
    gives_up: bool = False


Finished = Delivery | Success | Failure
Deliveries = Sequence[Delivery]
