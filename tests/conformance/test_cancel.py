"""Cancelling handlers."""

from __future__ import annotations

from threading import Event

import eventbus
from eventbus import RetryPolicy
from tests.conformance.target import Received, Target, fail, wait_for


def test_a_cancelled_handlers_waiting_retry_is_handed_back_and_not_run(target: Target) -> None:
    bus = target.bus(retry=RetryPolicy(initial=0.5, maximum=0.5, jitter=False))
    failing, other = Received(fail), Received()
    subscription = bus.subscribe("both", failing, name="failing")
    bus.subscribe("both", other, name="other")

    bus.publish("both")
    wait_for(lambda: bus.stats().retried == 1 and len(other) == 1)
    subscription.cancel()

    wait_for(lambda: bus.stats().parked == 1)
    assert bus.join(5)
    assert len(failing) == 1


def test_subscribed_again_no_event_begins_beside_one_of_its_key_that_still_runs(
    target: Target,
) -> None:
    bus = target.bus(max_concurrent_handlers=4)
    go_on, order = Event(), []

    def old(event: eventbus.Event) -> None:
        order.append(f"{event.payload} begins")
        assert go_on.wait(20)
        order.append(f"{event.payload} is through")

    def new(event: eventbus.Event) -> None:
        order.append(f"{event.payload} begins")

    subscription = bus.subscribe("again", old, name="handler")
    bus.publish("again", "first", key="k")
    wait_for(lambda: order)
    subscription.cancel()
    bus.subscribe("again", new, name="handler")
    bus.publish("again", "second", key="k")
    bus.publish("again", "third", key="other")
    wait_for(lambda: "third begins" in order)
    go_on.set()

    wait_for(lambda: len(order) == 4)
    assert order.index("first is through") < order.index("second begins")


def test_a_handler_that_fails_after_it_was_cancelled_is_not_tried_again_here(
    target: Target,
) -> None:
    bus = target.bus(retry=RetryPolicy(initial=0.05, maximum=0.05, jitter=False))
    go_on, seen = Event(), []

    def failing(event: eventbus.Event) -> None:
        seen.append(event.attempt)
        assert go_on.wait(20)
        raise RuntimeError("no")

    subscription = bus.subscribe("fails", failing, name="handler")
    bus.publish("fails")
    wait_for(lambda: seen)
    subscription.cancel()
    go_on.set()
    wait_for(lambda: bus.stats().parked == 1)
    again = Received()
    bus.subscribe("fails", again, name="handler")

    (event,) = again.wait(1)
    assert event.attempt == 2
    assert seen == [1]
