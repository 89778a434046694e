"""Publish to handled through the pool, against the least that any bus must do."""

from __future__ import annotations

import time

from eventbus import Event, EventBus
from eventbus.wire import decode, encode

from .measure import Figure, in_turns, payload, rate

COUNT = 30_000
#: Seconds between two looks at how many are handled: a thousandth of a run.
LOOK = 0.0004


class _Tally:
    """The handler: cheap, and able to say how many events it has had."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def __call__(self, event: Event) -> None:
        self._ids.append(event.id)

    def wait(self) -> None:
        while len(self._ids) < COUNT:
            time.sleep(LOOK)


def _floor() -> float:
    handle = _Tally()
    begun = time.perf_counter()
    for n in range(COUNT):
        handle(decode(encode(Event("user.created", payload(n))), topic="user.created"))
    return COUNT / (time.perf_counter() - begun)


def _ours() -> float:
    handle = _Tally()
    with EventBus("memory:", environ={}) as bus:
        bus.subscribe("user.created", handle, name="tally")
        begun = time.perf_counter()
        for n in range(COUNT):
            bus.publish("user.created", payload(n))
        handle.wait()
        return COUNT / (time.perf_counter() - begun)


def measure() -> list[Figure]:
    ours, floor, ratio = in_turns(_ours, _floor)
    name = "memory: publish to handled / make + encode + decode + call"
    return [Figure(name, rate(ours), rate(floor), ratio, ">= 0.45")]
