"""Cancelling one of several handlers."""

from __future__ import annotations

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
