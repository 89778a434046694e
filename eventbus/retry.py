"""How often a failed event is tried again, and how long to wait in between: pure arithmetic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eventbus.errors import Reject


def _draw() -> float:
    # Not at the top: it takes a tenth of the time that importing the package does.
    from random import random

    return random()


@dataclass(frozen=True)
class RetryPolicy:
    """Retries with jittered exponential backoff, then a dead letter.

    Args:
        max_attempts: Calls of a handler per event, the first included.
        initial: Seconds before the second attempt.
        maximum: Upper bound of every wait, in seconds.
        multiplier: Factor from one wait to the next.
        jitter: Whether a wait is drawn between half of it and the whole.
        give_up_on: Exception classes that are dead-lettered without another attempt.
        pause_after: Dead letters in a row that pause the subscription.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    #: Outlives a restart of a dependency's connection, and a broken event is out in about a second.
    max_attempts: int = 4
    #: Long enough for a deadlock or a dropped connection to clear, too short to be noticed.
    initial: float = 0.1
    #: Longer waits help no dependency and make a recovery late.
    maximum: float = 30.0
    #: Doubling halves the load on a struggling dependency with each attempt.
    multiplier: float = 2.0
    #: Events that failed together would all come back together.
    jitter: bool = True
    #: Nothing: which errors are final only the application knows.
    give_up_on: tuple[type[BaseException], ...] = ()
    #: So many in a row mean that the dependency is broken, not the events.
    pause_after: int = 50

    def __post_init__(self) -> None:
        _check_count("max_attempts", self.max_attempts)
        _check_count("pause_after", self.pause_after)
        _check_number("initial", self.initial, least=0)
        _check_number("maximum", self.maximum, least=self.initial)
        _check_number("multiplier", self.multiplier, least=1)
        if not isinstance(self.jitter, bool):
            raise ValueError(f"jitter must be True or False, not {self.jitter!r}")
        object.__setattr__(self, "give_up_on", _exceptions(self.give_up_on))

    def delay(self, attempt: int, random: Callable[[], float] | None = None) -> float:
        """Return the seconds to wait after the failed attempt `attempt` (1, 2, …).

        The base is `initial * multiplier ** (attempt - 1)`, at most `maximum`. With jitter the
        result is uniform between half the base and the base.
        """
        try:
            grown = self.initial * float(self.multiplier) ** (attempt - 1)
        except OverflowError:
            grown = self.maximum if self.initial else 0.0
        base = min(grown, self.maximum)
        return base * (0.5 + (random or _draw)() / 2) if self.jitter else base

    def gives_up(self, exc: BaseException, attempt: int) -> bool:
        """Whether the failure of attempt `attempt` (1, 2, …) is final."""
        return attempt >= self.max_attempts or isinstance(exc, (Reject, *self.give_up_on))


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")


def _check_number(name: str, value: Any, *, least: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and least <= value <= sys.float_info.max):
        raise ValueError(f"{name} must be a finite number of at least {least:g}, not {value!r}")


def _exceptions(given: object) -> tuple[type[BaseException], ...]:
    if not isinstance(given, (tuple, list)):
        raise ValueError(f"give_up_on must be a tuple of exception classes, not {given!r}")
    for item in given:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise ValueError(f"give_up_on: {item!r} is not an exception class")
    return tuple(given)
