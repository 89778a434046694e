"""What a handler queues while the bus closes is sent, or its future says that it was not."""

from __future__ import annotations

import threading

from eventbus import Event
from tests.conformance.target import Gate, Received, Target


def test_a_handler_that_close_waits_for_may_still_publish_soon(target: Target) -> None:
    bus, gate, futures = target.bus(), Gate(), []
    collector = target.bus(group="other") if target.capabilities.multi_process else None
    received = Received()
    if collector is not None:
        collector.subscribe("answer", received)

    def handle(event: Event) -> None:
        gate()
        futures.append(bus.publish_soon("answer", event.payload))

    bus.subscribe("question", handle, name="handle")
    bus.publish_soon("warm.up").result(5)
    bus.publish("question", 42)
    gate.wait_reached()
    threading.Timer(0.3, gate.open).start()

    assert bus.close(10) is True

    assert futures[0].done()
    assert futures[0].result().payload == 42
    if collector is not None:
        received.wait_for_payloads([42])


def test_after_the_close_a_future_fails_at_once(target: Target) -> None:
    bus = target.bus()
    bus.publish_soon("warm.up").result(5)
    soon = bus._engine.soon
    bus.close()

    future = soon.add(Event("too.late"))

    assert "the bus was closed" in str(future.exception(1))
