"""The network swallows everything: calls end in time, and nothing is lost when it heals."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eventbus import EventBus, PublishError, TransportUnavailable
from tests.conformance.target import Gate, Received, wait_for
from tests.servers import Server

from .kinds import Kind
from .proxy import Proxy


@pytest.fixture
def proxy(kind: Kind, unhurt: Server) -> Iterator[Proxy]:
    with Proxy(*kind.relay(unhurt)) as proxy:
        yield proxy


@pytest.fixture
def bus(unhurt: Server, proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[EventBus]:
    url = unhurt.url.replace(str(unhurt.port), str(proxy.port))
    # A group of each test's own: the others' events are not its affair.
    group = request.node.originalname
    with EventBus(
        url, group=group, environ={}, publish_timeout=1.0, close_timeout=2.0
    ) as bus:
        yield bus


def test_publishing_ends_in_time_with_an_honest_outcome(bus: EventBus, proxy: Proxy) -> None:
    bus.publish("a.b", 1)
    proxy.swallow()

    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(PublishError) as caught:
            bus.publish("a.b", 2)
        assert time.monotonic() - began < 2.0
        assert caught.value.outcome in ("failed", "unknown")


def test_subscribing_through_a_black_hole_gives_up_in_time(bus: EventBus, proxy: Proxy) -> None:
    proxy.swallow()
    began = time.monotonic()

    with pytest.raises(TransportUnavailable):
        bus.subscribe("a.b", Received(), timeout=1.0)

    # One attempt to connect may begin just before the end of the time.
    assert time.monotonic() - began < 1.0 + 6.0


def test_closing_in_a_black_hole_ends_in_time(bus: EventBus, proxy: Proxy) -> None:
    gate = Gate()
    bus.subscribe("a.b", gate, name="gate")
    bus.publish("a.b", 1)
    gate.wait_reached()
    proxy.swallow()
    gate.open()
    began = time.monotonic()

    bus.close()

    assert time.monotonic() - began < 2.0 + 1.0


@pytest.mark.slow
def test_consuming_goes_on_when_the_network_heals(
    bus: EventBus, proxy: Proxy, unhurt: Server
) -> None:
    received = Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.join(10)
    proxy.swallow()
    # The consumer notices by itself: its question stays unanswered.
    wait_for(lambda: not bus.health().ok, timeout=30, what="the trouble to be noticed")
    with EventBus(unhurt.url, group="g", environ={}) as neighbour:
        neighbour.publish("a.b", 2)

    proxy.release()
    healed = time.monotonic()
    wait_for(lambda: 2 in received.payloads, timeout=20)

    assert time.monotonic() - healed < 20
    wait_for(lambda: bus.health().ok, what="good health")
