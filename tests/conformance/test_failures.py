"""What becomes of an event whose handler fails: retried, parked or kept as a dead letter."""

from __future__ import annotations

import itertools
from time import monotonic

import pytest

from eventbus import Event, Reject, RetryLater, RetryPolicy
from tests.conformance.target import (
    QUICK,
    Gate,
    Received,
    Target,
    dead_letters,
    fail,
    needs,
    publish_raw,
    wait_dead,
    wait_for,
)


def test_retries_wait_longer_each_time_and_count_their_attempts(target: Target) -> None:
    policy = RetryPolicy(max_attempts=4, initial=0.02, multiplier=2.0, jitter=False)
    bus, times = target.bus(retry=policy), []

    def note_and_fail(event: Event) -> None:
        times.append((event.attempt, monotonic()))
        fail(event)

    bus.subscribe("slowly", note_and_fail)
    bus.publish("slowly")
    wait_dead(bus, 1)

    assert [attempt for attempt, _ in times] == [1, 2, 3, 4]
    waits = [after - before for (_, before), (_, after) in itertools.pairwise(times)]
    leasts = (0.02, 0.04, 0.08)
    assert all(wait >= least for wait, least in zip(waits, leasts, strict=True))


def test_only_the_failed_handler_of_a_delivery_runs_again(target: Target) -> None:
    bus, good, bad = target.bus(), Received(), Received(fail)
    bus.subscribe("both", bad)
    bus.subscribe("both", good)

    bus.publish("both", 1)

    wait_dead(bus, 1)
    assert bus.join(10)
    assert [event.attempt for event in bad.events] == [1, 2, 3]
    assert [event.attempt for event in good.events] == [1]


def test_other_events_go_on_while_one_waits_for_its_retry(target: Target) -> None:
    bus = target.bus(retry=RetryPolicy(initial=30.0, maximum=30.0), max_concurrent_handlers=1)
    received = Received(lambda event: fail(event) if event.payload == "bad" else None)
    bus.subscribe("mixed", received)

    bus.publish("mixed", "bad")
    received.wait(1)
    bus.publish_many([("mixed", n) for n in range(20)])

    received.wait(21)
    assert sorted(received.payloads[1:]) == list(range(20))
    assert not bus.join(0)  # The waiting retry counts as unsettled.


def test_dead_letter_tells_handler_error_traceback_and_attempts(target: Target) -> None:
    bus = target.bus()
    bus.subscribe("doomed", Received(fail), name="the-handler")

    event = bus.publish("doomed", 7, key="k")

    (dead,) = wait_dead(bus, 1)
    assert (dead.event_id, dead.topic, dead.key) == (event.id, "doomed", "k")
    assert (dead.subscription.group, dead.subscription.pattern) == ("g", "doomed")
    assert (dead.handler, dead.reason, dead.attempts) == ("the-handler", "failed", 3)
    assert dead.error == "RuntimeError: no 7"
    assert "in fail" in dead.traceback
    assert dead.first_failed_at < dead.failed_at
    assert event.id.encode() in dead.data
    assert bus.join(10)


def test_each_failing_handler_has_a_dead_letter_of_its_own(target: Target) -> None:
    bus = target.bus()
    for name in ("one", "two"):
        bus.subscribe("doomed", Received(fail), name=name)

    bus.publish("doomed")

    assert sorted(str(dead.handler) for dead in wait_dead(bus, 2)) == ["one", "two"]


def test_dead_letters_belong_to_their_group(target: Target) -> None:
    bus = target.bus()
    bus.subscribe("doomed", Received(fail), group="unlucky")
    bus.subscribe("doomed", Received())

    bus.publish("doomed")

    wait_dead(bus, 1, "unlucky")
    assert bus.join(10)
    assert dead_letters(bus) == []


def test_rejected_event_is_dead_at_once(target: Target) -> None:
    def reject(event: Event) -> None:
        raise Reject("out of date")

    bus, received = target.bus(), Received(reject)
    bus.subscribe("stale", received)
    bus.publish("stale")

    (dead,) = wait_dead(bus, 1)
    assert (dead.reason, dead.attempts) == ("rejected", 1)
    assert dead.error.endswith("Reject: out of date")
    assert bus.join(10)
    assert len(received) == 1


def test_retry_later_counts_as_an_attempt(target: Target) -> None:
    def later(event: Event) -> None:
        raise RetryLater(delay=0.01)

    bus, received = target.bus(), Received(later)
    bus.subscribe("busy", received)
    bus.publish("busy")

    (dead,) = wait_dead(bus, 1)
    assert [event.attempt for event in received.events] == [1, 2, 3]
    assert dead.attempts == 3


def test_retry_later_waits_as_long_as_it_says(target: Target) -> None:
    times: list[float] = []

    def once_more(event: Event) -> None:
        times.append(monotonic())
        if event.attempt == 1:
            raise RetryLater(delay=0.3)

    bus = target.bus()
    bus.subscribe("busy", once_more)
    bus.publish("busy")

    assert bus.join(10)
    assert len(times) == 2
    assert times[1] - times[0] >= 0.3


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_any_base_exception_is_a_failure_and_the_worker_survives(
    target: Target, error: type[BaseException]
) -> None:
    def leave(event: Event) -> None:
        if event.payload == "bad":
            raise error("bye")

    bus = target.bus(max_concurrent_handlers=1)
    received = Received(leave)
    bus.subscribe("exit", received)
    bus.publish("exit", "bad")

    (dead,) = wait_dead(bus, 1)
    assert (dead.error, dead.attempts) == (f"{error.__name__}: bye", 3)
    bus.publish("exit", "good")
    assert received.wait(4)[3].payload == "good"


def test_error_given_up_on_is_not_tried_again(target: Target) -> None:
    policy = RetryPolicy(initial=0.01, give_up_on=(LookupError,))

    def missing(event: Event) -> None:
        raise KeyError("gone")

    bus, received = target.bus(retry=policy), Received(missing)
    bus.subscribe("lookup", received)
    bus.publish("lookup")

    (dead,) = wait_dead(bus, 1)
    assert (dead.attempts, dead.reason, dead.error) == (1, "failed", "KeyError: 'gone'")
    assert bus.join(10)
    assert len(received) == 1


def test_policy_of_a_subscription_wins_over_that_of_the_bus(target: Target) -> None:
    bus, received = target.bus(retry=QUICK), Received(fail)
    bus.subscribe("own", received, retry=RetryPolicy(max_attempts=5, initial=0.0))
    bus.publish("own")

    (dead,) = wait_dead(bus, 1)
    assert dead.attempts == len(received) == 5


def test_long_wait_is_parked_and_does_not_count_as_backlog(target: Target) -> None:
    def tomorrow(event: Event) -> None:
        raise RetryLater(delay=86_400)

    bus, received = target.bus(), Received(tomorrow)
    bus.subscribe("parked", received)
    bus.publish("parked")

    assert bus.join(10)
    assert (len(received), bus.stats().parked, dead_letters(bus)) == (1, 1, [])


def test_parked_event_comes_back_when_it_is_due(target: Target) -> None:
    bus = target.bus(max_in_flight=2)  # One retry may wait here; what exceeds that is parked.
    received = Received(lambda e: fail(e) if e.attempt == 1 else None)
    bus.subscribe("crowd", received, retry=RetryPolicy(initial=0.2, jitter=False))

    bus.publish_many([("crowd", n) for n in range(10)])

    received.wait(20)
    assert bus.join(10)
    assert bus.stats().parked > 0
    again = [event.payload for event in received.events if event.attempt == 2]
    assert sorted(again) == list(range(10))


def test_parked_event_waits_for_a_handler_that_is_away_when_it_is_due(target: Target) -> None:
    bus = target.bus(max_in_flight=2)  # One retry may wait here; what exceeds that is parked.
    slow = RetryPolicy(initial=0.2, jitter=False)
    away, staying = Received(fail, name="away"), Received()
    subscription = bus.subscribe("crowd", away, retry=slow)
    bus.subscribe("crowd", staying)
    bus.publish_many([("crowd", n) for n in range(10)])
    wait_for(lambda: bus.stats().parked >= 1)
    subscription.cancel()
    due = monotonic() + 0.3
    while monotonic() < due:  # The other handler goes on, past the time the parked ones are due.
        bus.publish("crowd", "tick")
        assert bus.join(10)

    back = Received(name="away")
    bus.subscribe("crowd", back)

    wait_for(lambda: any(event.attempt > 1 for event in back.events))


@needs(durable=True)
def test_parked_event_outlives_its_process_with_its_attempts(target: Target) -> None:
    slow = RetryPolicy(max_attempts=5, initial=0.3, jitter=False)
    with target.bus(retry=slow) as bus:
        failing = Received(fail, name="patient")
        bus.subscribe("parked", failing)
        bus.publish("parked", 1)
        failing.wait(1)
        wait_for(lambda: bus.stats().failed == 1)
        assert bus.close()

    later, received = target.bus(), Received(name="patient")
    later.subscribe("parked", received)

    assert [(event.payload, event.attempt) for event in received.wait(1)] == [(1, 2)]


def test_undecodable_bytes_on_a_literal_pattern_are_kept_untouched(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("literal", received)
    garbage = b'\xff\x00{"id": broken'

    publish_raw(bus, "literal", garbage)
    bus.publish("literal", "fine")

    (dead,) = wait_dead(bus, 1)
    assert (dead.data, dead.reason, dead.handler) == (garbage, "undecodable", None)
    assert (dead.event_id, dead.attempts) == (None, 0)
    received.wait(1)
    assert bus.join(10)
    assert received.payloads == ["fine"]


def test_undecodable_bytes_make_one_dead_letter_for_all_handlers(target: Target) -> None:
    bus = target.bus()
    for _ in range(3):
        bus.subscribe("literal", Received())

    publish_raw(bus, "literal", b"?")

    assert bus.join(10)
    assert [dead.data for dead in dead_letters(bus)] == [b"?"]


def test_undecodable_bytes_on_a_wildcard_are_skipped_and_counted(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("wild.*", received)

    publish_raw(bus, "wild.card", b"not json")
    publish_raw(bus, "wild.card", b"[]")
    bus.publish("wild.card", "fine")

    received.wait(1)
    assert bus.join(10)
    assert (received.payloads, dead_letters(bus)) == (["fine"], [])
    assert (bus.stats().skipped, bus.stats().failed) == (2, 0)


def test_many_dead_letters_in_a_row_pause_the_subscription(target: Target) -> None:
    bus = target.bus(retry=RetryPolicy(max_attempts=1, pause_after=5), max_concurrent_handlers=1)
    received = Received(fail)
    bus.subscribe("broken", received)
    bus.publish_many([("broken", n) for n in range(50)])

    wait_for(lambda: bus.health().subscriptions[0].state == "paused")
    wait_for(lambda: bus.health().subscriptions[0].in_flight == 0)
    assert len(received) < 50
    assert bus.health().ok is False
    wait_for(lambda: bus.health().subscriptions[0].backlog == 50 - len(received))


def test_stuck_neighbour_does_not_delay_a_dead_letter(
    target: Target, gate: Gate
) -> None:
    bus = target.bus()
    bus.subscribe("both", Received(gate))
    bus.subscribe("both", Received(fail))

    bus.publish("both")

    assert [dead.reason for dead in wait_dead(bus, 1)] == ["failed"]
