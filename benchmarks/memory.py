"""Publish to handled through the pool, against the least that any bus must do."""

from __future__ import annotations

import time

from eventbus import Event, EventBus
from eventbus.wire import decode, encode

from .measure import Figure, in_turns, payload, rate

COUNT = 30_000


def _ignore(event: Event) -> None:
    return


def _floor() -> float:
    begun = time.perf_counter()
    for n in range(COUNT):
        _ignore(decode(encode(Event("user.created", payload(n))), topic="user.created"))
    return COUNT / (time.perf_counter() - begun)


def _ours() -> float:
    with EventBus("memory:", environ={}) as bus:
        bus.subscribe("user.created", _ignore, name="ignore")
        begun = time.perf_counter()
        for n in range(COUNT):
            bus.publish("user.created", payload(n))
        bus.join()
        return COUNT / (time.perf_counter() - begun)


def measure() -> list[Figure]:
    ours, floor, ratio = in_turns(_ours, _floor)
    name = "memory: publish to handled / make + encode + decode + call"
    return [Figure(name, rate(ours), rate(floor), ratio, ">= 0.45")]
