"""Handlers run side by side, within limits, and do not get in each other's way."""

from __future__ import annotations

import time
from contextvars import ContextVar
from threading import Lock

from eventbus import Event, EventBus, RetryPolicy
from tests.conformance.target import Gate, Received, Target, fail, needs, wait_for

current: ContextVar[object] = ContextVar("current", default=None)


class Crowd:
    """Knows how many of its handlers run at the same time, and how many did at most."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self._lock = Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1
            self.done += 1


def test_never_more_handlers_than_allowed_run_at_once(target: Target, gate: Gate) -> None:
    bus, crowd = target.bus(max_concurrent_handlers=3), Crowd()

    def handle(event: Event) -> None:
        with crowd:
            gate()

    for index in range(4):
        bus.subscribe(f"limited.{index}", handle)
    bus.publish_many([(f"limited.{n % 4}", n) for n in range(40)])

    wait_for(lambda: crowd.now == 3, what="three handlers at once")
    gate.open()
    assert bus.join(10)
    assert (crowd.most, crowd.done) == (3, 40)


def test_as_many_handlers_as_allowed_run_at_once(target: Target, gate: Gate) -> None:
    bus, crowd = target.bus(max_concurrent_handlers=20), Crowd()

    def handle(event: Event) -> None:
        with crowd:
            gate()

    bus.subscribe("wide", handle)
    bus.publish_many([("wide", n) for n in range(40)])

    wait_for(lambda: crowd.now == 20, what="twenty handlers at once")
    gate.open()
    assert bus.join(10)
    assert crowd.most == 20


def test_a_thousand_slow_handlers_finish_under_a_cap_of_a_hundred(target: Target) -> None:
    bus, crowd = target.bus(max_concurrent_handlers=100), Crowd()

    def handle(event: Event) -> None:
        with crowd:
            time.sleep(0.05)

    bus.subscribe("slow", handle)
    bus.publish_many([("slow", n) for n in range(1_000)])

    assert bus.join(30)
    assert crowd.done == 1_000
    assert 1 < crowd.most <= 100


def test_waiting_retries_occupy_no_worker(target: Target) -> None:
    bus = target.bus(max_concurrent_handlers=2, retry=RetryPolicy(initial=30.0, maximum=30.0))
    failing, good = Received(fail), Received()
    bus.subscribe("bad", failing)
    bus.subscribe("good", good)

    bus.publish_many([("bad", n) for n in range(20)])
    failing.wait(20)
    bus.publish_many([("good", n) for n in range(20)])

    good.wait(20)
    assert len(failing) == 20


def test_handlers_that_publish_do_not_block_each_other(target: Target) -> None:
    bus, echoes = target.bus(max_concurrent_handlers=2), Received()
    bus.subscribe("ask", lambda e: bus.publish("answer", e.payload), name="asked")
    bus.subscribe("answer", echoes)

    bus.publish_many([("ask", n) for n in range(200)])

    echoes.wait(200)
    assert bus.join(10)
    assert sorted(echoes.payloads) == list(range(200))


@needs(bounded=True)
def test_handlers_that_publish_into_a_full_buffer_never_deadlock(target: Target) -> None:
    bus = target.bus(max_concurrent_handlers=2, max_in_flight=2, **target.tiny())
    leaves = Received()

    def branch(event: Event) -> None:
        if event.payload:
            for _ in range(3):
                bus.publish("tree", event.payload - 1)
        else:
            leaves(event)

    bus.subscribe("tree", branch)
    bus.publish("tree", 4)

    leaves.wait(81)
    assert bus.join(10)
    assert len(leaves) == 81


def test_context_variables_of_one_call_are_unknown_to_the_next(target: Target) -> None:
    seen: list[object] = []

    def remember(event: Event) -> None:
        seen.append(current.get())
        current.set(event.payload)

    bus = target.bus(max_concurrent_handlers=1)
    bus.subscribe("context", remember)
    current.set("of the publisher")
    bus.publish_many([("context", n) for n in range(20)])

    assert bus.join(10)
    assert seen == [None] * 20


def test_changed_payload_is_seen_by_no_other_handler_and_no_retry(target: Target) -> None:
    seen: list[object] = []

    def scribble(event: Event) -> None:
        seen.append(list(event.payload["items"]))
        event.payload["items"].append("mine")
        if event.attempt == 1:
            fail(event)

    bus, payload = target.bus(), {"items": [1]}
    bus.subscribe("own", scribble, name="one")
    bus.subscribe("own", scribble, name="two")
    bus.publish("own", payload)

    assert bus.join(10)
    assert seen == [[1]] * 4
    assert payload == {"items": [1]}


def test_no_more_events_are_held_than_allowed(target: Target, gate: Gate) -> None:
    bus = target.bus(max_concurrent_handlers=2, max_in_flight=7)
    received = Received(gate)
    bus.subscribe("bounded", received)

    bus.publish_many([("bounded", n) for n in range(100)])

    gate.wait_reached()
    held = [_in_flight(bus) for _ in range(50)]
    gate.open()
    while not bus.join(0.01):
        held.append(_in_flight(bus))
    assert 0 < max(held) <= 7
    assert sorted(received.payloads) == list(range(100))


def test_large_events_are_held_within_the_byte_limit(target: Target, gate: Gate) -> None:
    bus = target.bus(max_concurrent_handlers=50, max_in_flight_bytes=10_000)
    received = Received(gate)
    bus.subscribe("large", received)

    bus.publish_many([("large", "x" * 4_000) for _ in range(20)])

    gate.wait_reached()
    wait_for(lambda: len(received) == _in_flight(bus))
    # The last one taken may exceed what was left of the limit.
    assert _in_flight(bus) <= 3
    gate.open()
    assert bus.join(10)
    assert len(received) == 20


def test_stuck_subscription_does_not_hold_up_another(target: Target, gate: Gate) -> None:
    bus = target.bus(max_concurrent_handlers=10, max_in_flight=5)
    good = Received()
    bus.subscribe("stuck", Received(gate))
    bus.subscribe("free", good)

    bus.publish_many([("stuck", n) for n in range(50)])
    bus.publish_many([("free", n) for n in range(50)])

    good.wait(50)
    assert sorted(good.payloads) == list(range(50))


def _in_flight(bus: EventBus) -> int:
    return bus.health().subscriptions[0].in_flight
