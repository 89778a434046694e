"""A publish that did not work says so, and says truthfully what is stored."""

from __future__ import annotations

from contextlib import closing
from threading import Lock

import pytest

from eventbus import (
    ConfigurationError,
    Event,
    EventBus,
    PublishError,
    SerializationError,
)
from tests.conformance.target import Gate, Received, Target, in_threads, needs


def _full(target: Target, gate: Gate, received: Received) -> EventBus:
    """A bus whose buffer holds two events, while its one handler is busy with a third."""
    bus = target.bus(
        publish_timeout=0.2, max_concurrent_handlers=1, max_in_flight=1, **target.tiny()
    )
    bus.subscribe("full", received)
    bus.publish("full", 0)
    gate.wait_reached()
    bus.publish("full", 1)
    bus.publish("full", 2)
    return bus


@needs(bounded=True)
def test_publish_into_a_full_buffer_fails_in_time_and_stores_nothing(
    target: Target, gate: Gate
) -> None:
    received = Received(gate)
    bus = _full(target, gate, received)

    with pytest.raises(PublishError) as caught:
        bus.publish("full", "too much")

    error = caught.value
    assert (error.event.payload, error.outcome) == ("too much", "failed")
    assert error.outcomes == {error.event.id: "failed"}
    gate.open()
    assert bus.join(10)
    assert received.payloads == [0, 1, 2]


@needs(bounded=True)
def test_publish_many_tells_which_events_are_stored(target: Target, gate: Gate) -> None:
    received = Received(gate)
    bus = target.bus(
        publish_timeout=0.2, max_concurrent_handlers=1, max_in_flight=1, **target.tiny()
    )
    bus.subscribe("full", received)
    bus.publish("full", 0)
    gate.wait_reached()
    events = [Event("full", n) for n in range(1, 5)]

    with pytest.raises(PublishError) as caught:
        bus.publish_many(events)

    outcomes = [caught.value.outcomes[event.id] for event in events]
    assert outcomes == ["ok", "ok", "failed", "failed"]
    assert caught.value.event is events[2]
    gate.open()
    assert bus.join(10)
    assert received.payloads == [0, 1, 2]


@needs(bounded=True)
def test_publish_soon_reports_a_full_buffer_in_its_future(target: Target, gate: Gate) -> None:
    bus = _full(target, gate, Received(gate))

    error = bus.publish_soon("full", "too much").exception(10)

    assert isinstance(error, PublishError)
    assert error.outcome == "failed"


@needs(bounded=True)
def test_publish_waits_for_room_and_loses_nothing(target: Target) -> None:
    bus, received = target.bus(max_in_flight=2, **target.tiny()), Received()
    bus.subscribe("narrow", received)

    in_threads(5, lambda t: [bus.publish("narrow", [t, n]) for n in range(40)])

    received.wait(200)
    assert sorted(received.payloads) == [[t, n] for t in range(5) for n in range(40)]


@needs(transactional_publish=True)
def test_commit_of_the_caller_publishes(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("tx", received)
    with closing(target.connect()) as connection:
        connection.execute("BEGIN")
        bus.publish("tx", 1, connection=connection)
        bus.publish_many([("tx", 2), ("tx", 3)], connection=connection)
        assert len(received) == 0
        connection.commit()

    received.wait(3)
    assert bus.join(10)
    assert sorted(received.payloads) == [1, 2, 3]


@needs(transactional_publish=True)
def test_rollback_of_the_caller_publishes_nothing(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("tx", received)
    with closing(target.connect()) as connection:
        connection.execute("BEGIN")
        bus.publish("tx", "never", connection=connection)
        connection.rollback()

    bus.publish("tx", "after")
    received.wait(1)
    assert bus.join(10)
    assert received.payloads == ["after"]


@needs(transactional_publish=True)
def test_rollback_of_a_new_type_leaves_the_type_usable(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("**", received)
    with closing(target.connect()) as connection:
        connection.execute("BEGIN")
        bus.publish("brand.new", "never", connection=connection)
        connection.rollback()

    bus.publish("another.new", 1)
    bus.publish("brand.new", 2)

    received.wait(2)
    assert bus.join(10)
    assert sorted((event.type, event.payload) for event in received.events) == [
        ("another.new", 1), ("brand.new", 2),
    ]


@needs(transactional_publish=True)
def test_autocommit_connection_is_refused(target: Target) -> None:
    bus = target.bus()
    bus.publish("tx")
    with closing(target.connect()) as connection:
        connection.isolation_level = None
        with pytest.raises(ValueError, match="autocommit"):
            bus.publish("tx", connection=connection)


@needs(transactional_publish=False)
def test_connection_is_refused_where_there_is_no_transaction(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("tx", received)
    with pytest.raises(ConfigurationError, match="connection"):
        bus.publish("tx", connection=object())
    assert bus.join(10)
    assert len(received) == bus.stats().published == 0


def test_unserializable_payload_is_refused_before_anything_is_written(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("picky", received)

    with pytest.raises(SerializationError, match="lock"):
        bus.publish_many([("picky", 1), ("picky", {"lock": Lock()})])

    assert bus.join(10)
    assert len(received) == bus.stats().published == 0


def test_oversized_event_is_refused_before_anything_is_written(target: Target) -> None:
    bus, received = target.bus(max_event_bytes=1_000), Received()
    bus.subscribe("large", received)

    with pytest.raises(SerializationError, match="max_event_bytes"):
        bus.publish("large", "x" * 1_000)

    assert bus.join(10)
    assert len(received) == bus.stats().published == 0
