"""Per key one at a time, in the order of publishing; without a key, no order."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus import Event, RetryLater, RetryPolicy
from tests.conformance.target import Gate, Received, Target, fail, needs, wait_dead

#: Keys of the events, in order of publishing, and how often each fails before it succeeds.
SEQUENCES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 0, 0, 1, 2])), min_size=1, max_size=40
)


@settings(
    max_examples=8, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sequence=SEQUENCES)
def test_each_key_is_handled_one_at_a_time_in_order_whatever_fails(
    target: Target, sequence: list[tuple[str, int]]
) -> None:
    with TemporaryDirectory() as folder:
        fresh = Target(target.name, Path(folder))
        try:
            _check_order(fresh, sequence)
        finally:
            fresh.close()


def _check_order(target: Target, sequence: list[tuple[str, int]]) -> None:
    bus = target.bus(retry=RetryPolicy(max_attempts=4, initial=0.002))
    running: dict[str | None, int] = defaultdict(int)
    together: list[str | None] = []
    done: dict[str | None, list[int]] = defaultdict(list)
    lock = Lock()

    def handle(event: Event) -> None:
        with lock:
            running[event.key] += 1
            if running[event.key] > 1:
                together.append(event.key)
        try:
            if event.attempt <= sequence[event.payload][1]:
                fail(event)
            done[event.key].append(event.payload)
        finally:
            with lock:
                running[event.key] -= 1

    bus.subscribe("keyed", handle)
    for number, (key, _) in enumerate(sequence):
        bus.publish("keyed", number, key=key)

    assert bus.join(15)
    assert together == []
    keys = {key for key, _ in sequence}
    assert dict(done) == {
        key: [n for n, (other, _) in enumerate(sequence) if other == key] for key in keys
    }


def test_waiting_retry_holds_later_events_of_its_key_and_no_others(target: Target) -> None:
    handled = Received()
    ready = []

    def handle(event: Event) -> None:
        if event.payload == 0 and not ready:
            raise RetryLater(delay=0.05)
        handled(event)

    bus = target.bus(retry=RetryPolicy(max_attempts=1_000))
    bus.subscribe("held", handle)
    for n in range(10):
        bus.publish("held", n, key="slow")
    bus.publish_many([_keyed(n) for n in range(100, 110)])

    handled.wait(10)
    assert sorted(handled.payloads) == list(range(100, 110))
    ready.append(True)
    handled.wait(20)
    assert handled.payloads[10:] == list(range(10))


def test_dead_letter_releases_its_key(target: Target) -> None:
    bus = target.bus()
    received = Received(lambda event: fail(event) if event.payload == "bad" else None)
    bus.subscribe("released", received)

    bus.publish("released", "bad", key="k")
    bus.publish("released", "good", key="k")

    wait_dead(bus, 1)
    received.wait(4)
    assert received.payloads == ["bad", "bad", "bad", "good"]


def test_parked_event_releases_its_key(target: Target) -> None:
    def handle(event: Event) -> None:
        if event.payload == "tomorrow":
            raise RetryLater(delay=86_400)

    bus, received = target.bus(), Received(handle)
    bus.subscribe("released", received)

    bus.publish("released", "tomorrow", key="k")
    bus.publish("released", "now", key="k")

    received.wait(2)
    assert received.payloads == ["tomorrow", "now"]


def test_key_is_held_until_every_handler_has_succeeded(target: Target, gate: Gate) -> None:
    bus, fast = target.bus(), Received()
    bus.subscribe("two", Received(lambda event: gate() if event.payload == 0 else None))
    bus.subscribe("two", fast)

    bus.publish("two", 0, key="k")
    bus.publish("two", 1, key="k")
    bus.publish("two", 2, key="other")

    fast.wait(2)
    assert sorted(fast.payloads) == [0, 2]
    gate.open()
    assert fast.wait(3)[2].payload == 1


def test_two_subscriptions_do_not_wait_for_each_others_keys(target: Target, gate: Gate) -> None:
    bus, free = target.bus(), Received()
    bus.subscribe("both", Received(gate), group="stuck")
    bus.subscribe("both", free)

    for n in range(10):
        bus.publish("both", n, key="k")

    free.wait(10)
    assert free.payloads == list(range(10))


@needs(durable=True)
def test_order_of_a_key_survives_closing_with_a_waiting_retry(target: Target) -> None:
    slow = RetryPolicy(max_attempts=100, initial=20.0)
    with target.bus(retry=slow) as bus:
        failing = Received(fail, name="ordered")
        bus.subscribe("ordered", failing)
        for n in range(10):
            bus.publish("ordered", n, key="k")
        failing.wait(1)
        assert bus.close()

    later, received = target.bus(), Received(name="ordered")
    later.subscribe("ordered", received)

    received.wait(10)
    assert received.payloads == list(range(10))


def _keyed(number: int) -> Event:
    return Event("held", number, key=f"other-{number}")
