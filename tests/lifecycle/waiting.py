"""Handlers that keep their events, or wait; and waiting for conditions.

Not those of tests/conformance: these run on each Python, with nothing but the core installed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from eventbus import Event

#: Seconds after which a condition that should have come true will not.
PATIENCE = 15.0

_numbers = count(1)


def wait_for(
    predicate: Callable[[], object], timeout: float = PATIENCE, what: str = "the condition"
) -> None:
    """Return as soon as the predicate is true."""
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.002)


class Received:
    """A handler that keeps its events, and then calls `action`."""

    def __init__(self, action: Callable[[Event], object] | None = None, name: str = "") -> None:
        self.__qualname__ = name or f"received_{next(_numbers)}"
        self.events: list[Event] = []
        self._action = action

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self._action is not None:
            self._action(event)

    @property
    def payloads(self) -> list[Any]:
        return [event.payload for event in list(self.events)]

    def wait(self, number: int, timeout: float = PATIENCE) -> None:
        """Wait until at least so many events have come."""
        wait_for(lambda: len(self.events) >= number, timeout, f"{number} events")


class Gate:
    """A handler that is stuck until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._reached = threading.Event()

    def __call__(self, event: Event) -> None:
        self._reached.set()
        assert self._open.wait(4 * PATIENCE), "nobody opened the gate"

    def open(self) -> None:
        self._open.set()

    def wait_reached(self) -> None:
        assert self._reached.wait(PATIENCE), "no handler has reached the gate"
