"""RabbitMQ against the client's own connections: same server, queue type, bytes and confirms.

The raw client uses what is fastest in it: a `BlockingConnection` for one message at a time and for
consuming, with acks in batches, and a `SelectConnection` for a thousand messages on their way.
"""

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

import pika

from eventbus import Event, EventBus
from eventbus.transports.rabbitmq import names
from eventbus.wire import decode, encode

from .bus_side import median_wait, publish_many, publish_singly
from .measure import Figure, delayed, payload, rated

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))

TYPE = "user.created"
QUEUE, EXCHANGE = "raw", "raw"
COUNT, CHUNK, SINGLES, THREADS = 20_000, 1_000, 1_500, 8
#: Of the raw consumer: more of either makes it no faster.
PREFETCH, ACK = 500, 100
#: Events of the latency measure, and the seconds between two of them.
SLOW, PAUSE = 800, 0.004
DURABLE = pika.BasicProperties(delivery_mode=2)


def _event(number: int) -> Event:
    return Event(TYPE, payload(number))


def _ignore(event: Event) -> None:
    return


class _Pipelined:
    """Publishes chunk by chunk, each when the one before it is confirmed."""

    def __init__(self, url: str) -> None:
        self._left = self._open = 0
        self.seconds = 0.0
        self._connection = pika.SelectConnection(
            pika.URLParameters(url), on_open_callback=self._connected
        )
        self._connection.ioloop.start()

    def _connected(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_delivery(self._confirmed, callback=lambda _: self._begin())

    def _begin(self) -> None:
        self._left, self._begun = COUNT, time.perf_counter()
        self._publish()

    def _publish(self) -> None:
        for number in range(CHUNK):
            self._channel.basic_publish(
                EXCHANGE, TYPE, encode(_event(number)), DURABLE, mandatory=True
            )
        self._open += CHUNK
        self._last = COUNT - self._left + CHUNK
        self._left -= CHUNK

    def _confirmed(self, frame: Any) -> None:
        # A confirm with `multiple` stands for all up to its tag; they come in order.
        if frame.method.delivery_tag < self._last:
            return
        if self._left:
            self._publish()
            return
        self.seconds = time.perf_counter() - self._begun
        self._connection.close()
        self._connection.ioloop.stop()


class _Measures:
    """All measures on one server, whose queues are made anew for each."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def _bus(self) -> Iterator[EventBus]:
        with EventBus(self._url, group="bench", environ={}, publish_timeout=30.0) as bus:
            yield bus

    @contextmanager
    def _raw(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(pika.URLParameters(self._url))
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
        connection.close()

    def _empty(self) -> None:
        with self._raw() as channel:
            channel.queue_delete(QUEUE)
            channel.exchange_declare(EXCHANGE, "topic", durable=True)
            channel.queue_declare(QUEUE, durable=True, arguments=names.QUORUM)
            channel.queue_bind(QUEUE, EXCHANGE, TYPE)
        with self._bus() as bus:
            bus.subscriptions.drop("bench", TYPE)
            bus.on(TYPE, _ignore, name="ignore")
            bus.declare()

    def figures(self) -> Iterator[Figure]:
        name = "rabbitmq: one publish / raw basic_publish with confirms"
        yield rated(name, self._single, self._single_raw, 0.8)
        name = "rabbitmq: publish_many / raw pipelined, 1,000 at a time"
        yield rated(name, self._many, self._many_raw, 0.7)
        name = "rabbitmq: consume through the pool / raw, acks in batches"
        yield rated(name, self._consume, self._consume_raw, 0.5)
        name = "rabbitmq: 8 publishing threads / one"
        yield rated(name, lambda: self._single(THREADS), self._single, 3.0)
        name = "rabbitmq: publish to handled, p50 / raw basic_consume"
        yield delayed(name, self._wait, self._wait_raw)

    # -- publishing --------------------------------------------------------------------------

    def _single(self, threads: int = 1) -> float:
        self._empty()
        with self._bus() as bus:
            return publish_singly(bus, TYPE, SINGLES, threads)

    def _single_raw(self) -> float:
        self._empty()
        with self._raw() as channel:
            channel.basic_publish(EXCHANGE, TYPE, encode(_event(0)), DURABLE, mandatory=True)
            begun = time.perf_counter()
            for number in range(SINGLES):
                body = encode(_event(number))
                channel.basic_publish(EXCHANGE, TYPE, body, DURABLE, mandatory=True)
            return SINGLES / (time.perf_counter() - begun)

    def _many(self) -> float:
        self._empty()
        with self._bus() as bus:
            return publish_many(bus, TYPE, COUNT)

    def _many_raw(self) -> float:
        self._empty()
        return COUNT / _Pipelined(self._url).seconds

    # -- consuming ---------------------------------------------------------------------------

    def _consume(self) -> float:
        self._empty()
        with self._bus() as bus:
            bus.publish_many((TYPE, payload(number)) for number in range(COUNT))
        with self._bus() as bus:
            begun = time.perf_counter()
            bus.subscribe(TYPE, _ignore, name="ignore")
            bus.join()
            return COUNT / (time.perf_counter() - begun)

    def _consume_raw(self) -> float:
        self._empty()
        _Pipelined(self._url)
        left = COUNT

        def handle(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            nonlocal left
            _ignore(decode(body, topic=TYPE))
            left -= 1
            if not left % ACK:
                channel.basic_ack(method.delivery_tag, multiple=True)
            if not left:
                channel.stop_consuming()

        with self._raw() as channel:
            begun = time.perf_counter()
            channel.basic_qos(prefetch_count=PREFETCH)
            channel.basic_consume(QUEUE, handle)
            channel.start_consuming()
            return COUNT / (time.perf_counter() - begun)

    # -- latency -----------------------------------------------------------------------------

    def _wait(self) -> float:
        self._empty()
        with self._bus() as publisher, self._bus() as bus:
            return median_wait(publisher, bus, TYPE, count=SLOW, pause=PAUSE)

    def _wait_raw(self) -> float:
        """Publishing and handling in threads of one process, as above."""
        self._empty()
        waits: list[float] = []

        def handle(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            waits.append(time.perf_counter() - decode(body, topic=TYPE).payload)
            channel.basic_ack(method.delivery_tag)
            if len(waits) == SLOW:
                channel.stop_consuming()

        def consume() -> None:
            with self._raw() as channel:
                channel.basic_qos(prefetch_count=PREFETCH)
                channel.basic_consume(QUEUE, handle)
                channel.start_consuming()

        thread = threading.Thread(target=consume)
        thread.start()
        with self._raw() as channel:
            for _ in range(SLOW):
                time.sleep(PAUSE)
                body = encode(Event(TYPE, time.perf_counter()))
                channel.basic_publish(EXCHANGE, TYPE, body, DURABLE, mandatory=True)
        thread.join()
        return statistics.median(waits) * 1e6


def measure() -> Iterator[Figure]:
    from services import RabbitMQ

    disk = None if "TMPDIR" in os.environ or not os.path.isdir("/var/tmp") else "/var/tmp"
    with (
        tempfile.TemporaryDirectory(prefix="eventbus-bench-", dir=disk) as folder,
        RabbitMQ(folder) as server,
    ):
        yield from _Measures(server.url).figures()
