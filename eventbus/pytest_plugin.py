"""Fixtures for pytest: `bus` and `recorded`. pytest finds them by itself; none is automatic.

Every run of pytest loads this module, so it imports nothing but pytest: the rest comes with the
first test that asks for a fixture. Anything called `bus` in a `conftest.py` or a test module takes
precedence; `-p no:eventbus` takes both fixtures away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .bus import EventBus
    from .testing import Recorded

#: Seconds between the attempts of a failing handler, so that a test need not wait for the last.
RETRY_PAUSE = 0.001
#: Events that may wait for a handler: a test shall not meet the back-pressure of the transport.
BUFFER_SIZE = 10_000
#: Seconds that a handler which never ends may hold up the end of its test.
CLOSE_TIMEOUT = 5.0


@pytest.fixture
def bus() -> Iterator[EventBus]:
    """An `EventBus` on memory for one test, closed after it; the environment is ignored."""
    from eventbus import EventBus, MemoryConfig, RetryPolicy

    retry = RetryPolicy(initial=RETRY_PAUSE, maximum=RETRY_PAUSE)
    made = EventBus(
        "memory:", group="test", environ={}, retry=retry, close_timeout=CLOSE_TIMEOUT,
        memory=MemoryConfig(buffer_size=BUFFER_SIZE),
    )
    with made:
        yield made


@pytest.fixture
def recorded(bus: EventBus) -> Iterator[Recorded]:
    """What the test publishes on `bus`, in order, with assertions (`eventbus.testing.Recorded`)."""
    from eventbus.testing import record

    with record(bus) as published:
        yield published
