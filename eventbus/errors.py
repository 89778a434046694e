"""Everything the library raises on purpose, and the two signals a handler may raise.

    Exception
    ├── EventBusError
    │   ├── ConfigurationError          (also a ValueError)
    │   ├── BusClosedError
    │   ├── TransportError              .outcome
    │   │   ├── AuthenticationError
    │   │   ├── TopologyError
    │   │   └── TransportUnavailable
    │   ├── PublishError                .event .outcomes .outcome
    │   └── SerializationError
    ├── Reject                          .reason   raised by handlers: dead-letter at once
    └── RetryLater                      .delay    raised by handlers: try again then
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from eventbus.event import Event

#: The longest wait a handler may ask for, a year: more is a mistaken unit, and breaks due times.
LONGEST_DELAY = 365 * 86_400.0


class EventBusError(Exception):
    """The root of every error this library raises on purpose."""


class ConfigurationError(EventBusError, ValueError):
    """A setting is missing, malformed, or not possible on the chosen transport."""


class BusClosedError(EventBusError):
    """The bus was closed, so it neither publishes nor subscribes any more."""


class TransportError(EventBusError):
    """The broker or its client failed.

    Args:
        message: What happened.
        outcome: For a write: `"failed"` was certainly not stored, `"unknown"` may have been.
    """

    def __init__(self, message: str, *, outcome: Literal["failed", "unknown"] = "failed") -> None:
        super().__init__(message)
        self.outcome: Literal["failed", "unknown"] = outcome


class AuthenticationError(TransportError):
    """The broker refused the credentials, or forbids what was asked; retrying does not help."""


class TopologyError(TransportError):
    """What exists on the broker is incompatible with what is needed; retrying does not help."""


class TransportUnavailable(TransportError):
    """The broker could not be reached in time."""


class PublishError(EventBusError):
    """At least one event was not confirmed by the broker.

    Args:
        message: What happened.
        event: The first event that is not ok.
        outcomes: By event id: `"ok"` was confirmed, `"failed"` was certainly not stored,
            `"unknown"` may have been stored.
    """

    def __init__(
        self,
        message: str,
        *,
        event: Event,
        outcomes: Mapping[str, Literal["ok", "failed", "unknown"]],
    ) -> None:
        super().__init__(message)
        self.event = event
        self.outcomes = dict(outcomes)

    @property
    def outcome(self) -> Literal["failed", "unknown"]:
        """The worst of all outcomes: `"unknown"` if any is, else `"failed"`."""
        return "unknown" if "unknown" in self.outcomes.values() else "failed"

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = functools.partial(type(self), event=self.event, outcomes=self.outcomes)
        return rebuild, self.args, self.__dict__


class SerializationError(EventBusError):
    """An event cannot be written as bytes, or bytes cannot be read as an event."""


class Reject(Exception):
    """Raised by a handler that will never succeed: the event is dead-lettered at once."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class RetryLater(Exception):
    """Raised by a handler that wants the event again later; counts as an attempt.

    Args:
        delay: Seconds to wait, at most a year, or `None` for what the retry policy says.

    Raises:
        ValueError: The delay is negative, longer, or not a number.
    """

    def __init__(self, delay: float | None = None) -> None:
        if delay is not None and not 0 <= delay <= LONGEST_DELAY:
            raise ValueError(f"delay must be from 0 to {LONGEST_DELAY:.0f} seconds, not {delay!r}")
        super().__init__(delay)
        self.delay = delay

    def __str__(self) -> str:
        return "retry later" if self.delay is None else f"retry in {self.delay:g} s"
