"""When a subscription is born on Kafka, and what its first event is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eventbus import EventBus, KafkaConfig
from eventbus.transports.base import SubscriptionId
from eventbus.transports.kafka import KafkaTransport
from tests.conformance import kafka
from tests.conformance.target import Received, in_threads
from tests.lifecycle.scripts import start

pytestmark = pytest.mark.kafka

TYPE = "user.created"
#: Seconds until the events of a killed member are with a peer.
TAKE_OVER = 8.0


@pytest.fixture(autouse=True, scope="module")
def _empty() -> None:
    kafka.reset()


def make() -> EventBus:
    config = KafkaConfig(brokers=kafka.brokers(), partitions=2)
    return EventBus(provider="kafka", kafka=config, group="g", environ={})


def transport() -> KafkaTransport:
    return KafkaTransport(KafkaConfig(brokers=kafka.brokers(), partitions=1), kafka.SETTINGS)


@pytest.fixture
def bus() -> Iterator[EventBus]:
    kafka.reset()
    with make() as bus:
        yield bus


def test_of_many_first_members_at_once_one_makes_the_birth() -> None:
    kafka.reset()
    transports = [transport() for _ in range(4)]
    born: list[bool] = []
    id = SubscriptionId("g", "user.*")
    try:
        in_threads(4, lambda n: born.append(transports[n].declare(id, "latest")))
        assert sorted(born) == [False, False, False, True]
        births = {one._registry.all()[id].key for one in transports}
        assert len(births) == 1
    finally:
        for one in transports:
            one.close()


@pytest.mark.parametrize("number", range(40))
def test_the_first_event_of_a_new_group_is_the_one_after_subscribe(number: int) -> None:
    received = Received(name="h")
    with make() as bus:
        bus.publish(TYPE, "before")
        bus.subscribe(TYPE, received, group=f"alone-{number}")
        bus.publish(TYPE, number)
        received.wait(1)
    assert received.payloads == [number]


@pytest.mark.parametrize("number", range(30))
def test_also_when_two_members_subscribe_at_once(number: int) -> None:
    received = Received(name="h")
    with make() as one, make() as other:
        one.publish(TYPE, "before")

        def subscribe(which: int) -> None:
            bus = (one, other)[which]
            bus.subscribe(TYPE, received, group=f"two-{number}")
            bus.publish(TYPE, which)

        in_threads(2, subscribe)
        received.wait_for_payloads([0, 1])
    assert set(received.payloads) == {0, 1}


#: Subscribes one group after the other, says so, and is never through with any event.
MEMBER = """
    import sys, threading
    from eventbus import EventBus
    def handle(event):
        threading.Event().wait()
    bus = EventBus(sys.argv[1], environ={})
    for n in range(int(sys.argv[3])):
        bus.subscribe(sys.argv[2], handle, name="h", group=f"killed-{n}")
        print(n, flush=True)
    threading.Event().wait()
"""


def test_also_when_the_member_is_killed_right_after() -> None:
    groups = 30
    with make() as bus:
        bus.publish(TYPE, "before")
        process = start(MEMBER, f"kafka://{kafka.brokers()}", TYPE, str(groups))
        try:
            assert process.stdout is not None
            for _ in range(groups):
                bus.publish(TYPE, int(process.stdout.readline()))
        finally:
            process.kill()
            process.communicate()
        killed = time.monotonic()
        received = [Received(name="h") for _ in range(groups)]
        for number, handler in enumerate(received):
            bus.subscribe(TYPE, handler, group=f"killed-{number}")
        for number, handler in enumerate(received):
            handler.wait_for_payloads(range(number, groups))
        print(f"{time.monotonic() - killed:.1f} s")
        assert time.monotonic() - killed < TAKE_OVER
    assert not any("before" in handler.payloads for handler in received)


def test_a_birth_needs_no_member(bus: EventBus) -> None:
    """As when the only member is killed right after."""
    received = Received(name="late")
    bus.on(TYPE, name="late")(lambda event: None)
    bus.declare()
    bus.publish(TYPE, 1)
    with make() as other:
        other.subscribe(TYPE, received, name="late")
        received.wait(1)


def test_a_dropped_subscription_begins_anew() -> None:
    kafka.reset()
    received = Received(name="h")
    with make() as bus:
        bus.subscribe(TYPE, received)
        bus.publish(TYPE, 1)
        received.wait(1)
        assert bus.join(10)
    with make() as bus:
        assert bus.subscriptions.drop("g", TYPE)
        bus.publish(TYPE, 2)
        bus.subscribe(TYPE, received)
        bus.publish(TYPE, 3)
        received.wait_for_payloads([3])
        assert bus.join(10)
    assert received.payloads == [1, 3]
