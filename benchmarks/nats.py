"""NATS JetStream, against the same client package, headers and crash safety without a bus.

The raw client runs on an event loop of its own and does nothing else: it awaits each confirmation,
or gathers those of a thousand, and pulls 500 events at a time, which it acks one by one without
waiting for anything. Both sides store under `Nats-Msg-Id` in a file stream of a server with its
default `sync_interval`: with `always` it syncs each message by itself, one after the other, and
every figure would be that of the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext

from eventbus import Event, EventBus
from eventbus.transports.base import Record
from eventbus.transports.nats import frames
from eventbus.wire import decode, encode

from .bus_side import median_wait, publish_many, publish_singly
from .measure import Figure, delayed, payload, rated

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))

TYPE = "user.created"
COUNT, CHUNK, SINGLES, CLAIM, THREADS = 20_000, 1_000, 1_500, 500, 8
#: Events of the latency measure, and the seconds between two of them.
SLOW, PAUSE = 600, 0.003

Raw = Callable[[JetStreamContext], Awaitable[float]]


def _message(content: Any) -> tuple[bytes, dict[str, str]]:
    """What the bus sends for this event, made in the same way."""
    event = Event(TYPE, content)
    data = encode(event)
    return data, frames.headers(Record(event.id, TYPE, data))


def _ignore(event: Event) -> None:
    return


async def _empty(stream: JetStreamContext) -> None:
    for info in await stream.streams_info():
        await stream.delete_stream(info.config.name)


async def _fill(stream: JetStreamContext) -> None:
    for start in range(0, COUNT, CHUNK):
        waiting = []
        for number in range(start, start + CHUNK):
            data, headers = _message(payload(number))
            waiting.append(await stream.publish_async(TYPE, data, headers=headers))
        await asyncio.gather(*waiting)


class _Measures:
    """All measures on one server, which is emptied before each."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def _bus(self) -> Iterator[EventBus]:
        with EventBus(self._url, group="bench", environ={}) as bus:
            yield bus

    def _raw(self, *steps: Raw) -> float:
        """One step after the other on one connection; what the last one says."""

        async def run() -> float:
            client = await nats.connect(self._url)
            try:
                *before, last = steps
                for step in before:
                    await step(client.jetstream())
                return await last(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def _reset(self) -> None:
        self._raw(_emptied)

    def figures(self) -> Iterator[Figure]:
        yield rated(
            "nats: one publish / raw publish awaited", self._single, self._single_raw, 0.8
        )
        yield rated(
            "nats: publish_many / raw publishes gathered", self._many, self._many_raw, 0.7
        )
        yield rated("nats: 8 publishing threads / one", self._threads, self._single, 3.0)
        yield rated(
            "nats: 8 publishing threads / 8 raw tasks", self._threads, self._tasks_raw, 0.8
        )
        yield rated(
            "nats: consume through the pool / raw fetch + ack",
            self._consume, self._consume_raw, 0.5,
        )
        name = "nats: publish to handled, p50 / raw fetch"
        yield delayed(name, self._wait, self._wait_raw)

    # -- publishing --------------------------------------------------------------------------

    def _single(self) -> float:
        return self._threads(1)

    def _threads(self, count: int = THREADS) -> float:
        self._reset()
        with self._bus() as bus:
            return publish_singly(bus, TYPE, SINGLES, count)

    def _single_raw(self) -> float:
        return self._tasks_raw(1)

    def _tasks_raw(self, count: int = THREADS) -> float:
        """Each publishes one after the other: what the server gives to so many at once."""

        async def publish(stream: JetStreamContext) -> None:
            for number in range(SINGLES):
                data, headers = _message(payload(number))
                await stream.publish(TYPE, data, headers=headers)

        async def measure(stream: JetStreamContext) -> float:
            begun = time.perf_counter()
            await asyncio.gather(*(publish(stream) for _ in range(count)))
            return count * SINGLES / (time.perf_counter() - begun)

        return self._raw(_prepared, measure)

    def _many(self) -> float:
        self._reset()
        with self._bus() as bus:
            return publish_many(bus, TYPE, COUNT)

    def _many_raw(self) -> float:
        async def publish(stream: JetStreamContext) -> float:
            begun = time.perf_counter()
            await _fill(stream)
            return COUNT / (time.perf_counter() - begun)

        return self._raw(_prepared, publish)

    # -- consuming ---------------------------------------------------------------------------

    def _consume(self) -> float:
        self._reset()
        with self._bus() as bus:
            bus.on(TYPE, _ignore, name="ignore")
            bus.declare()
            self._raw(_filled)
            begun = time.perf_counter()
            bus.start()
            bus.join()
            return COUNT / (time.perf_counter() - begun)

    def _consume_raw(self) -> float:
        async def consume(stream: JetStreamContext) -> float:
            pull = await stream.pull_subscribe(TYPE, "bench")
            left = COUNT
            begun = time.perf_counter()
            while left:
                messages = await pull.fetch(CLAIM, timeout=5)
                for message in messages:
                    _ignore(decode(message.data, topic=TYPE))
                    await message.ack()
                left -= len(messages)
            return COUNT / (time.perf_counter() - begun)

        return self._raw(_prepared, _filled, consume)

    # -- latency -----------------------------------------------------------------------------

    def _wait(self) -> float:
        self._reset()
        with self._bus() as publisher, self._bus() as bus:
            return median_wait(publisher, bus, TYPE, count=SLOW, pause=PAUSE)

    def _wait_raw(self) -> float:
        """Publishing and handling in threads of one process, as above."""
        waits: list[float] = []

        async def consume(stream: JetStreamContext) -> float:
            pull = await stream.pull_subscribe(TYPE, "bench")
            ready.set()
            while len(waits) < SLOW:
                for message in await pull.fetch(100, timeout=5):
                    event = decode(message.data, topic=TYPE)
                    waits.append(time.perf_counter() - event.payload)
                    await message.ack()
            return statistics.median(waits)

        async def publish(stream: JetStreamContext) -> float:
            for _ in range(SLOW):
                time.sleep(PAUSE)
                data, headers = _message(time.perf_counter())
                await stream.publish(TYPE, data, headers=headers)
            return 0.0

        self._raw(_prepared)
        ready = threading.Event()
        thread = threading.Thread(target=self._raw, args=(consume,))
        thread.start()
        ready.wait()
        self._raw(publish)
        thread.join()
        return statistics.median(waits) * 1e6


async def _emptied(stream: JetStreamContext) -> float:
    await _empty(stream)
    return 0.0


async def _prepared(stream: JetStreamContext) -> float:
    """A stream such as the bus makes."""
    await _empty(stream)
    await stream.add_stream(
        name="raw", subjects=["user", "user.>"], storage="file", duplicate_window=60
    )
    return 0.0


async def _filled(stream: JetStreamContext) -> float:
    await _fill(stream)
    return 0.0


def measure() -> Iterator[Figure]:
    from services import Nats

    class Default(Nats):
        def _settings(self) -> dict[str, str]:
            store = json.dumps(str(self.data))
            return {**super()._settings(), "jetstream": f"{{ store_dir: {store} }}"}

    disk = None if "TMPDIR" in os.environ or not os.path.isdir("/var/tmp") else "/var/tmp"
    with (
        tempfile.TemporaryDirectory(prefix="eventbus-bench-", dir=disk) as folder,
        Default(folder) as server,
    ):
        yield from _Measures(server.url).figures()
