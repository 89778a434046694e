"""Whom the error of a round trip concerns that several callers shared; pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import AuthenticationError, TransportError, TransportUnavailable
from ..transports.base import PartlyStored


def blames_one(error: Exception) -> bool:
    """Whether it may be about some of the records only, and none of them is stored."""
    everybodys = isinstance(error, TransportUnavailable | AuthenticationError)
    return isinstance(error, TransportError) and not everybodys and error.outcome == "failed"


def parts(error: PartlyStored, counts: Sequence[int]) -> list[Exception | None]:
    """What it says to callers that brought so many records each, in this order."""
    told: list[Exception | None] = []
    stored = error.stored
    for count in counts:
        told.append(_part(error, stored, count))
        stored -= count
    return told


def _part(error: PartlyStored, stored: int, count: int) -> Exception | None:
    if stored >= count:
        return None
    if stored <= 0:
        return TransportUnavailable(str(error), outcome=error.outcome)
    return PartlyStored(str(error), stored=stored, outcome=error.outcome)
