"""What the pool does with handlers that wait, and with handlers that fail."""

from __future__ import annotations

import time

from eventbus import Event, EventBus, RetryPolicy

from .measure import Figure, in_turns, rate, scratch

GOOD, BAD = 10_000, 200


def _sleepers() -> Figure:
    done: list[float] = []
    first: list[float] = []

    def handle(event: Event) -> None:
        first.append(time.monotonic())
        time.sleep(0.05)
        done.append(time.monotonic())

    with scratch() as path, EventBus(
        f"sqlite:///{path}", group="b", environ={}, max_concurrent_handlers=100
    ) as bus:
        bus.subscribe("nap", handle, name="nap").cancel()
        bus.publish_many([("nap", n) for n in range(1000)])
        bus.subscribe("nap", handle, name="nap")
        bus.join()
    assert len(done) == 1000, f"{len(done)} handled"
    seconds = max(done) - min(first)
    return Figure("cap 100, 1,000 handlers of 50 ms, seconds", f"{seconds:.2f} s", "0.50 s",
                  seconds, "<= 0.75")


def _good_ones(bad: int) -> float:
    """Events per second of the good ones, from their first to their last."""
    times: list[float] = []

    def handle(event: Event) -> None:
        if event.payload["bad"]:
            raise RuntimeError("always")
        times.append(time.monotonic())

    policy = RetryPolicy(initial=10, maximum=10, jitter=False)
    with scratch() as path:
        url = f"sqlite:///{path}"
        with EventBus(url, group="b", environ={}, retry=policy) as bus:
            bus.subscribe("mix", handle, name="mix").cancel()
            bus.publish_many([("mix", {"bad": n < bad}) for n in range(GOOD + bad)])
            begun = time.monotonic()
            bus.subscribe("mix", handle, name="mix")
            while len(times) < GOOD:
                time.sleep(0.001)
            return GOOD / (times[-1] - begun)


def _failing() -> Figure:
    mine, raw, ratio = in_turns(lambda: _good_ones(BAD), lambda: _good_ones(0))
    name = "good events behind 200 failing ones / alone"
    return Figure(name, rate(mine), rate(raw), ratio, ">= 0.7")


def measure() -> list[Figure]:
    return [_sleepers(), _failing()]
