"""Wildcards mean the same everywhere, also for types that nobody had heard of."""

from __future__ import annotations

import pytest

from tests.conformance.target import Received, Target, needs

TYPES = ["user", "user.created", "user.deleted", "user.address.changed", "order.created"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("user.created", ["user.created"]),
        ("user.*", ["user.created", "user.deleted"]),
        ("*.created", ["order.created", "user.created"]),
        ("user.**", ["user", "user.address.changed", "user.created", "user.deleted"]),
        ("**.changed", ["user.address.changed"]),
        ("*.*", ["order.created", "user.created", "user.deleted"]),
        ("*", sorted(TYPES)),
        ("**", sorted(TYPES)),
    ],
)
def test_pattern_selects_its_types(target: Target, pattern: str, expected: list[str]) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe(pattern, received)

    bus.publish_many([(type, None) for type in TYPES])

    received.wait(len(expected))
    assert bus.join(10)
    assert sorted(event.type for event in received.events) == expected


def test_wildcard_gets_types_first_published_after_the_subscription(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.publish("user.known", None)
    bus.subscribe("user.*", received)

    for n in range(20):
        bus.publish(f"user.new-{n}", n)

    received.wait(20)
    assert sorted(received.payloads) == list(range(20))


def test_overlapping_patterns_each_get_the_event(target: Target) -> None:
    bus = target.bus()
    handlers = {pattern: Received() for pattern in ("user.created", "user.*", "**", "*.created")}
    for pattern, handler in handlers.items():
        bus.subscribe(pattern, handler)

    bus.publish("user.created", 7)

    for handler in handlers.values():
        handler.wait(1)
    assert bus.join(10)
    assert [handler.payloads for handler in handlers.values()] == [[7]] * 4


def test_wildcard_keeps_the_order_of_a_key_within_a_type(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("a.**", received)

    for n in range(50):
        bus.publish("a.b", n, key="k")

    received.wait(50)
    assert received.payloads == list(range(50))


@needs(multi_process=True)
def test_wildcard_gets_new_types_from_another_bus(target: Target) -> None:
    bus, other, received = target.bus("reader"), target.bus("writer"), Received()
    bus.subscribe("user.**", received)

    for n in range(20):
        other.publish(f"user.from.elsewhere-{n}", n)

    received.wait(20)
    assert sorted(received.payloads) == list(range(20))


@needs(durable=True)
def test_wildcard_gets_types_that_appeared_while_no_member_lived(target: Target) -> None:
    with target.bus() as bus:
        bus.subscribe("user.*", Received(name="later"))
    writer = target.bus("writer")
    for n in range(20):
        writer.publish(f"user.unseen-{n}", n)

    bus, received = target.bus(), Received(name="later")
    bus.subscribe("user.*", received)

    received.wait(20)
    assert bus.join(10)
    assert sorted(received.payloads) == list(range(20))


def test_wildcard_sees_nothing_outside_its_prefix(target: Target) -> None:
    bus, received = target.bus(prefix="shop"), Received()
    bus.subscribe("**", received)

    bus.publish("paid", 1)

    event = received.wait(1)[0]
    assert (event.type, event.topic) == ("paid", "shop.paid")
