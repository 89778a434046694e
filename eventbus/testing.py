"""Helpers for tests of code that publishes or handles events, under any test runner.

    with synchronous(bus) as published:
        sign_up("a@example.com")
    published.assert_published("user.created", payload={"email": "a@example.com"})

`record` watches what a bus publishes, `synchronous` also runs its handlers in the caller's thread,
and `wait_for` waits where handlers run in threads of their own. With pytest, the fixtures `bus` and
`recorded` are there without an import (see `eventbus.pytest_plugin`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TypeVar

from ._testing.recorded import Recorded
from ._testing.swap import check_bus, listening, standing_in
from ._testing.texts import place, show
from ._testing.wanted import ANY
from .bus import EventBus

__all__ = ["ANY", "Recorded", "record", "synchronous", "wait_for"]

T = TypeVar("T")

#: Seconds between two looks at a condition: at first, and at most.
POLL = (0.001, 0.02)


def wait_for(
    condition: Callable[[], T], timeout: float = 5.0, message: str | Callable[[], str] = ""
) -> T:
    """Return what the condition returns, as soon as that is true.

    Args:
        condition: called again and again, in this thread; what it raises is not caught.
        timeout: seconds.
        message: what is waited for; a callable is called when the time is over.

    Raises:
        AssertionError: the time is over; it says for what, and what the condition returned last.
    """
    __tracebackhide__ = True
    deadline = monotonic() + timeout
    pause, longest = POLL
    while not (value := condition()):
        left = deadline - monotonic()
        if left <= 0:
            what = (message() if callable(message) else message) or place(condition)
            raise AssertionError(f"not within {timeout:g} s: {what} (last: {show(value)})")
        sleep(min(pause, left))
        pause = min(2 * pause, longest)
    return value


@contextmanager
def record(bus: EventBus, *, forward: bool = True) -> Iterator[Recorded]:
    """Watch what is published through a bus while the block runs.

    Args:
        bus: any bus, also one that the application has made for itself.
        forward: `False` keeps the events back: no handler runs and no broker is needed.

    Yields:
        What was published, for assertions; it stays as it is after the block.

    Raises:
        TypeError: that is no `EventBus`.
    """
    check_bus(bus)
    recorded = Recorded(repr(bus))
    if forward:
        with listening(bus, recorded):
            yield recorded
    else:
        with standing_in(bus, recorded, handle=False):
            yield recorded


@contextmanager
def synchronous(bus: EventBus) -> Iterator[Recorded]:
    """Let each publish run the handlers, in the caller's thread, before it returns.

    All handlers that the bus has declared or subscribed run, of every group, wrapped in its
    middleware, each with an event of its own that has been bytes in between. When one fails the
    others still run; then the publish raises what the first failure raised, `Reject` and
    `RetryLater` included, and nothing is retried. Events that handlers publish are handled in
    turn, before the outermost publish returns.

    The bus needs neither `start` nor its broker, and is afterwards as it was before: what the
    block subscribed or closed counts for the block alone. A forked child has the real bus.

    Args:
        bus: any bus, typically the one of the application's module.

    Yields:
        What was published, as `record` does.

    Raises:
        TypeError: that is no `EventBus`.
    """
    check_bus(bus)
    recorded = Recorded(repr(bus))
    with standing_in(bus, recorded, handle=True):
        yield recorded
