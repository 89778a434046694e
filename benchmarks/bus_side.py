"""What is measured of the bus in the same way on every server: the other side is each one's own."""

from __future__ import annotations

import statistics
import time
from threading import Thread

from eventbus import EventBus

from .measure import payload


def publish_singly(bus: EventBus, type: str, count: int, threads: int = 1) -> float:
    """Events per second of threads that publish `count` each, one after the other."""
    bus.publish(type, payload(0))

    def publish() -> None:
        for number in range(count):
            bus.publish(type, payload(number))

    workers = [Thread(target=publish) for _ in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return threads * count / (time.perf_counter() - begun)


def publish_many(bus: EventBus, type: str, count: int) -> float:
    """Events per second of one `publish_many`."""
    bus.publish(type, payload(0))
    begun = time.perf_counter()
    bus.publish_many((type, payload(number)) for number in range(count))
    return count / (time.perf_counter() - begun)


def median_wait(
    publisher: EventBus, bus: EventBus, type: str, *, count: int, pause: float
) -> float:
    """Microseconds from `publish` to the handler, with `pause` seconds between two events."""
    waits: list[float] = []
    bus.subscribe(type, lambda e: waits.append(time.perf_counter() - e.payload), name="ignore")
    for _ in range(count):
        time.sleep(pause)
        publisher.publish(type, time.perf_counter())
    bus.join()
    return statistics.median(waits) * 1e6
