"""What a conformance test gets: one transport, described by its record, and ways to watch it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any, NamedTuple

import pytest
import redis

from eventbus import Event, EventBus, MemoryConfig, RedisConfig, RetryPolicy, SQLiteConfig
from eventbus.event import new_id
from eventbus.transports import capabilities
from eventbus.transports.base import DeadRecord, Record
from tests.conformance import kafka, nats, postgres, rabbitmq
from tests.servers import provide
from tests.transports import redis_user

#: Seconds after which a condition that should have come true will not: generous, for slow machines.
PATIENCE = 15.0
#: Three attempts, a few milliseconds apart.
QUICK = RetryPolicy(max_attempts=3, initial=0.01, maximum=0.05)

_numbers = count(1)


class Entry(NamedTuple):
    """How to reach one transport."""

    #: Fields of `EventBusConfig`, for a folder (or whatever else) that belongs to one test.
    config: Callable[[Path], dict[str, Any]]
    #: A connection of a caller's own, for transports with `transactional_publish`.
    connect: Callable[[Path], Any] | None = None
    #: Fields that leave room for two waiting events, for transports that are `bounded`.
    tiny: dict[str, Any] | None = None
    #: Empties what the tests of this transport share, before each of them.
    reset: Callable[[], None] = lambda: None
    marks: tuple[pytest.MarkDecorator, ...] = ()
    #: So many members of a group can have events of one type at once, where that is limited.
    shares: int | None = None


def _empty_redis() -> None:
    client = redis.Redis.from_url(provide("redis"))
    client.flushdb()
    redis_user.create(client)
    client.close()


#: A transport joins the suite with one entry here.
ENTRIES: dict[str, Entry] = {
    "memory": Entry(
        lambda folder: {"memory": MemoryConfig(buffer_size=10_000)},
        tiny={"memory": MemoryConfig(buffer_size=2)},
    ),
    "sqlite": Entry(
        lambda folder: {"sqlite": SQLiteConfig(path=str(folder / "events.db"))},
        connect=lambda folder: sqlite3.connect(folder / "events.db"),
    ),
    "redis": Entry(
        # With the rights that the documentation names, and no others.
        lambda folder: {"redis": RedisConfig(url=redis_user.url(provide("redis")))},
        reset=_empty_redis,
        marks=(pytest.mark.redis,),
    ),
    "postgres": Entry(
        # Likewise.
        postgres.config, connect=postgres.connect, reset=postgres.reset,
        marks=(pytest.mark.postgres,),
    ),
    "rabbitmq": Entry(rabbitmq.config, reset=rabbitmq.reset, marks=(pytest.mark.rabbitmq,)),
    "nats": Entry(nats.config, reset=nats.reset, marks=(pytest.mark.nats,)),
    "kafka": Entry(
        kafka.config, reset=kafka.reset, marks=(pytest.mark.kafka,), shares=kafka.PARTITIONS
    ),
}


def needs(**wanted: bool) -> pytest.MarkDecorator:
    """Generate the test only for transports whose record says so."""
    return pytest.mark.needs(**wanted)


class Target:
    """One transport during one test."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.capabilities = capabilities(name)
        self._entry = ENTRIES[name]
        self.shares = self._entry.shares
        self._entry.reset()
        self._folder = folder
        self._buses: list[EventBus] = []

    def bus(self, group: str = "g", **overrides: Any) -> EventBus:
        """A bus of its own; those of one test share a broker, except on memory."""
        settings = {"provider": self.name, "retry": QUICK, "close_timeout": 10.0}
        settings.update(self._entry.config(self._folder))
        settings.update(overrides)
        bus = EventBus(group=group, environ={}, **settings)
        self._buses.append(bus)
        return bus

    def connect(self) -> Any:
        """A connection to the broker's own database."""
        assert self._entry.connect is not None, f"{self.name} has no connection to offer"
        return self._entry.connect(self._folder)

    def tiny(self) -> dict[str, Any]:
        """Fields of a bus whose subscriptions have room for two waiting events."""
        assert self._entry.tiny is not None, f"{self.name} has no bound to make small"
        return self._entry.tiny

    def close(self) -> None:
        for bus in self._buses:
            bus.close(5.0)


class Received:
    """A handler that keeps its events and then does what it is told.

    Args:
        action: called with each event after it was kept; may raise.
        name: under which the handler is known.
    """

    def __init__(self, action: Callable[[Event], object] | None = None, name: str = "") -> None:
        self.__qualname__ = name or f"received_{next(_numbers)}"
        self.events: list[Event] = []
        self._action = action

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self._action is not None:
            self._action(event)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def payloads(self) -> list[Any]:
        return [event.payload for event in self.events]

    def wait_for_payloads(self, payloads: Iterable[Any]) -> None:
        """Wait until each of these was received at least once."""
        wanted = set(payloads)
        wait_for(lambda: wanted <= set(self.payloads))

    def wait(self, number: int, timeout: float = PATIENCE) -> list[Event]:
        """Wait until at least so many events have come."""
        wait_for(lambda: len(self.events) >= number, timeout, f"{number} events")
        return self.events


class Gate:
    """Handlers that wait here stay until it is opened; the end of a test opens it."""

    def __init__(self) -> None:
        self._open = Flag()
        self.reached = Flag()

    def __call__(self, event: Event | None = None) -> None:
        self.reached.set()
        assert self._open.wait(4 * PATIENCE), "nobody opened the gate"

    def open(self) -> None:
        self._open.set()

    def wait_reached(self) -> None:
        assert self.reached.wait(PATIENCE), "no handler has reached the gate"


def fail(event: Event) -> None:
    raise RuntimeError(f"no {event.payload}")


def wait_for(
    predicate: Callable[[], object], timeout: float = PATIENCE, what: str = "the condition"
) -> None:
    """Return as soon as the predicate is true."""
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.002)


def in_threads(number: int, action: Callable[[int], object]) -> None:
    """Call `action(0)`, `action(1)`, … each in a thread; raise what one of them raised."""
    with started(number, action):
        pass


@contextmanager
def started(number: int, action: Callable[[int], object]) -> Iterator[None]:
    """As `in_threads`, with the block running meanwhile."""
    errors: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            action(index)
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=guarded, args=(index,), daemon=True) for index in range(number)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive(), "a thread of the test does not end"
    if errors:
        raise errors[0]


def dead_letters(bus: EventBus, group: str = "g") -> list[DeadRecord]:
    """What the broker keeps as dead letters of one group."""
    return list(bus._engine.transport.dead_letters.list(group))


def wait_dead(bus: EventBus, number: int, group: str = "g") -> list[DeadRecord]:
    """Wait until there are so many dead letters; return them."""
    wait_for(lambda: len(dead_letters(bus, group)) >= number, what=f"{number} dead letters")
    return dead_letters(bus, group)


def publish_raw(bus: EventBus, topic: str, data: bytes) -> None:
    """Store bytes as they are, as a foreign writer would."""
    bus._engine.transport.publish([Record(new_id(), topic, data)], timeout=5, wait=True)
