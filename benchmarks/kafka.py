"""Kafka, against the same client package, wire bytes and crash safety without a bus."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventbus import Event, EventBus, KafkaConfig
from eventbus.transports.base import Record, Settings
from eventbus.transports.kafka import frames
from eventbus.transports.kafka.options import Options
from eventbus.wire import decode, encode

from .bus_side import median_wait, publish_many, publish_singly
from .measure import Figure, delayed, payload, rated

if TYPE_CHECKING:
    from confluent_kafka import Message

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))

COUNT, CHUNK, SINGLES, CLAIM = 40_000, 1_000, 1_000, 500
#: Events of the latency measure, and the seconds between two of them.
SLOW, PAUSE = 600, 0.005
#: Seconds between two commits, as the bus does it.
COMMIT = 0.2

_topics = (f"bench.t{number}" for number in count())


def _ignore(event: Event) -> None:
    return


class _Measures:
    """All measures on one server; each has a topic of its own."""

    def __init__(self, brokers: str) -> None:
        self._config = KafkaConfig(brokers=brokers, partitions=4)
        settings = Settings(prefix="", lease=30.0, retention=604_800.0, publish_timeout=5.0)
        self._options = Options(self._config, settings)

    @contextmanager
    def _bus(self) -> Iterator[EventBus]:
        with EventBus(provider="kafka", kafka=self._config, group="bench", environ={}) as bus:
            yield bus

    def _producer(self) -> Any:
        from confluent_kafka import Producer

        return Producer(self._options.producer())

    def _consumer(self, group: str) -> Any:
        from confluent_kafka import Consumer

        return Consumer(self._options.consumer(group))

    def figures(self) -> Iterator[Figure]:
        yield rated("kafka: one publish / raw produce", self._single, self._single_raw, 0.85)
        yield rated("kafka: publish_many / raw batches", self._many, self._many_raw, 0.7)
        yield rated(
            "kafka: consume through the pool / raw batches", self._consume, self._consume_raw, 0.25
        )
        name = "kafka: publish to handled, p50 / raw poll"
        yield delayed(name, self._wait, self._wait_raw)

    # -- publishing --------------------------------------------------------------------------

    def _send(self, producer: Any, topic: str, events: list[Event]) -> None:
        """As the bus does it: in order, and until all copies have them."""
        left = len(events)
        errors = []

        def told(error: Any, message: Any) -> None:
            nonlocal left
            left -= 1
            if error is not None:
                errors.append(error)

        for event in events:
            record = Record(event.id, topic, encode(event))
            producer.produce(
                topic, record.data, headers=frames.headers(record), on_delivery=told
            )
        while left:
            producer.poll(0.1)
        assert not errors, errors[0]

    def _single(self) -> float:
        topic = next(_topics)
        with self._bus() as bus:
            return publish_singly(bus, topic, SINGLES)

    def _single_raw(self) -> float:
        topic = self._made()
        producer = self._producer()
        self._send(producer, topic, [Event(topic, payload(0))])
        begun = time.perf_counter()
        for number in range(SINGLES):
            self._send(producer, topic, [Event(topic, payload(number))])
        return SINGLES / (time.perf_counter() - begun)

    def _many(self) -> float:
        topic = next(_topics)
        with self._bus() as bus:
            return publish_many(bus, topic, COUNT)

    def _many_raw(self) -> float:
        topic = self._made()
        producer = self._producer()
        self._send(producer, topic, [Event(topic, payload(0))])
        begun = time.perf_counter()
        self._fill(producer, topic)
        return COUNT / (time.perf_counter() - begun)

    def _fill(self, producer: Any, topic: str) -> None:
        for start in range(0, COUNT, CHUNK):
            events = [Event(topic, payload(n)) for n in range(start, start + CHUNK)]
            self._send(producer, topic, events)

    def _made(self) -> str:
        """A topic with a subscription that has seen nothing yet."""
        topic = next(_topics)
        with self._bus() as bus:
            bus.on(topic, name="ignore")(_ignore)
            bus.declare()
        return topic

    # -- consuming ---------------------------------------------------------------------------

    def _backlog(self) -> str:
        topic = self._made()
        self._fill(self._producer(), topic)
        return topic

    def _consume(self) -> float:
        """From the first event to the last: joining a group takes its time without a bus, too."""
        topic = self._backlog()
        times: list[float] = []

        def handle(event: Event) -> None:
            times.append(time.perf_counter())

        with self._bus() as bus:
            bus.subscribe(topic, handle, name="ignore")
            bus.join()
        assert len(times) >= COUNT
        return COUNT / (times[-1] - times[0])

    def _consume_raw(self) -> float:
        topic = self._backlog()
        consumer = self._consumer(topic)
        consumer.subscribe([topic])
        left, begun, commit_at = COUNT, 0.0, 0.0
        while left:
            for message in _events(consumer.consume(CLAIM, 0.05)):
                begun = begun or time.perf_counter()
                _ignore(decode(message.value(), topic=topic))
                left -= 1
            if begun and time.perf_counter() >= commit_at:
                commit_at = time.perf_counter() + COMMIT
                consumer.commit(asynchronous=True)
        seconds = time.perf_counter() - begun
        consumer.close()
        return COUNT / seconds

    # -- latency -----------------------------------------------------------------------------

    def _wait(self) -> float:
        topic = self._made()
        with self._bus() as publisher, self._bus() as bus:
            return median_wait(publisher, bus, topic, count=SLOW, pause=PAUSE)

    def _wait_raw(self) -> float:
        """Publishing and handling in threads of one process, as above."""
        topic = self._made()
        waits: list[float] = []
        consumer = self._consumer(topic)
        consumer.subscribe([topic])

        def consume() -> None:
            while len(waits) < SLOW:
                first = consumer.poll(1.0)
                found = [] if first is None else [first, *consumer.consume(CLAIM, 0)]
                for message in _events(found):
                    event = decode(message.value(), topic=topic)
                    waits.append(time.perf_counter() - event.payload)

        thread = threading.Thread(target=consume)
        thread.start()
        producer = self._producer()
        for _ in range(SLOW):
            time.sleep(PAUSE)
            self._send(producer, topic, [Event(topic, time.perf_counter())])
        thread.join()
        consumer.close()
        assert len(waits) >= SLOW
        return statistics.median(waits) * 1e6


def _events(messages: list[Message]) -> list[Message]:
    """Without news of the client: a topic that was made a moment ago is unknown at first."""
    return [message for message in messages if message.error() is None]


def measure() -> list[Figure]:
    from services import Kafka

    disk = None if "TMPDIR" in os.environ or not os.path.isdir("/var/tmp") else "/var/tmp"
    # A flush per message would measure the disk.
    options = {"log.flush.interval.messages": "1000000"}
    with (
        tempfile.TemporaryDirectory(prefix="eventbus-bench-", dir=disk) as folder,
        Kafka(folder, options=options) as server,
    ):
        return list(_Measures(server.url).figures())
