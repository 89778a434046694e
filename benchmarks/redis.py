"""Redis, against the same client package, wire bytes and crash safety without a bus."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventbus import Event, EventBus
from eventbus.transports.base import Record
from eventbus.transports.redis import frames
from eventbus.wire import decode, encode

from .bus_side import median_wait, publish_many, publish_singly
from .measure import Figure, delayed, payload, rated

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))

TYPE = "user.created"
COUNT, CHUNK, SINGLES, CLAIM = 20_000, 1_000, 3_000, 500
#: Events of the latency measure, and the seconds between two of them.
SLOW, PAUSE = 1_000, 0.003


def _event(number: int) -> Event:
    return Event(TYPE, payload(number))


def _fields(event: Event) -> dict[Any, Any]:
    """What the bus adds for this event, made in the same way."""
    flat = frames.fields(Record(event.id, TYPE, encode(event)))
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _ignore(event: Event) -> None:
    return


class _Measures:
    """All measures on one server, which is emptied before each."""

    def __init__(self, url: str) -> None:
        import redis

        self._url = url
        self._client = redis.Redis.from_url(url, protocol=2)

    @contextmanager
    def _bus(self) -> Iterator[EventBus]:
        with EventBus(self._url, group="bench", environ={}) as bus:
            yield bus

    def figures(self) -> Iterator[Figure]:
        yield rated("redis: one publish / raw XADD", self._single, self._single_raw, 0.8)
        yield rated(
            "redis: publish_many / raw pipelines", self._many, self._many_raw, 0.7
        )
        yield rated(
            "redis: consume through the pool / raw XREADGROUP + XACK", self._consume,
            self._consume_raw, 0.5,
        )
        name = "redis: publish to handled, p50 / raw blocking XREADGROUP"
        yield delayed(name, self._wait, self._wait_raw)

    # -- publishing --------------------------------------------------------------------------

    def _single(self) -> float:
        self._client.flushall()
        with self._bus() as bus:
            return publish_singly(bus, TYPE, SINGLES)

    def _single_raw(self) -> float:
        self._client.flushall()
        begun = time.perf_counter()
        for number in range(SINGLES):
            self._client.xadd(TYPE, _fields(_event(number)))
        return SINGLES / (time.perf_counter() - begun)

    def _many(self) -> float:
        self._client.flushall()
        with self._bus() as bus:
            return publish_many(bus, TYPE, COUNT)

    def _many_raw(self) -> float:
        self._client.flushall()
        begun = time.perf_counter()
        self._fill()
        return COUNT / (time.perf_counter() - begun)

    def _fill(self) -> None:
        for start in range(0, COUNT, CHUNK):
            pipeline = self._client.pipeline(transaction=False)
            for number in range(start, start + CHUNK):
                pipeline.xadd(TYPE, _fields(_event(number)))
            pipeline.execute()

    # -- consuming ---------------------------------------------------------------------------

    def _backlog(self) -> None:
        self._client.flushall()
        with self._bus() as bus:
            bus.on(TYPE, _ignore, name="ignore")
            bus.declare()
        self._fill()

    def _consume(self) -> float:
        self._backlog()
        with self._bus() as bus:
            begun = time.perf_counter()
            bus.subscribe(TYPE, _ignore, name="ignore")
            bus.join()
            return COUNT / (time.perf_counter() - begun)

    def _consume_raw(self) -> float:
        self._backlog()
        left = COUNT
        begun = time.perf_counter()
        while left:
            ((_, rows),) = self._client.xreadgroup("bench", "raw", {TYPE: ">"}, count=CLAIM)
            for _, fields in rows:
                _ignore(decode(fields[b"payload"], topic=TYPE))
            self._client.xack(TYPE, "bench", *(id for id, _ in rows))
            left -= len(rows)
        return COUNT / (time.perf_counter() - begun)

    # -- latency -----------------------------------------------------------------------------

    def _wait(self) -> float:
        self._client.flushall()
        with self._bus() as publisher, self._bus() as bus:
            return median_wait(publisher, bus, TYPE, count=SLOW, pause=PAUSE)

    def _wait_raw(self) -> float:
        """Publishing and handling in threads of one process, as above."""
        self._client.flushall()
        self._client.xgroup_create(TYPE, "bench", "0", mkstream=True)
        waits: list[float] = []

        def consume() -> None:
            while len(waits) < SLOW:
                for _, rows in self._client.xreadgroup(
                    "bench", "raw", {TYPE: ">"}, count=100, block=1000
                ):
                    for id, fields in rows:
                        event = decode(fields[b"payload"], topic=TYPE)
                        waits.append(time.perf_counter() - event.payload)
                        self._client.xack(TYPE, "bench", id)

        thread = threading.Thread(target=consume)
        thread.start()
        for _ in range(SLOW):
            time.sleep(PAUSE)
            self._client.xadd(TYPE, _fields(Event(TYPE, time.perf_counter())))
        thread.join()
        return statistics.median(waits) * 1e6


def measure() -> list[Figure]:
    from services import Redis

    disk = None if "TMPDIR" in os.environ or not os.path.isdir("/var/tmp") else "/var/tmp"
    with (
        tempfile.TemporaryDirectory(prefix="eventbus-bench-", dir=disk) as folder,
        Redis(folder, options={"appendfsync": "everysec"}) as server,
    ):
        return list(_Measures(server.url).figures())
