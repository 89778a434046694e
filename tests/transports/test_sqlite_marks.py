"""The mark of an event that runs alone: it survives its process, and nothing else."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timezone

import pytest

from eventbus import EventBus
from eventbus.transports.base import Budget, Delivery, Parked, Settlement, SubscriptionId

ID = SubscriptionId("g", "a.b")
BUDGET = {ID: Budget(10, 1_000_000, ("h",))}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "events.db")


@pytest.fixture
def transport(path):
    """A transport with two events that wait."""
    with EventBus(f"sqlite:///{path}", group="g", environ={}) as bus:
        bus.on("a.b", lambda event: None, name="h")
        bus.declare()
        bus.publish_many([("a.b", 1), ("a.b", 2)])
        yield bus._engine.transport


def fetch(transport) -> list[Delivery]:
    consumer = transport.consumer(())
    consumer.attach(ID)
    ((_, deliveries),) = consumer.fetch(BUDGET, 5.0)
    transport.test_consumer = consumer
    return deliveries


def die(transport, path):
    """End the process that holds the leases, as its peers see it."""
    transport.test_consumer.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE eventbus_lease SET owner = NULL, deaths = deaths + 1")
    connection.close()


def test_a_process_that_dies_leaves_the_mark_on_one_event(transport, path):
    first, _ = fetch(transport)
    transport.test_consumer.mark_started(first)
    die(transport, path)

    again = fetch(transport)

    assert [(one.started, one.deaths) for one in again] == [(True, 1), (False, 1)]
    transport.test_consumer.close()


def test_whoever_gives_an_event_back_has_survived_it(transport, path):
    deliveries = fetch(transport)
    transport.test_consumer.mark_started(deliveries[0])
    transport.test_consumer.settle(Settlement(releases=deliveries))
    transport.test_consumer.close()

    again = fetch(transport)

    assert [(one.started, one.deaths) for one in again] == [(False, 0), (False, 0)]
    transport.test_consumer.close()


def test_the_mark_goes_on_to_the_next_event(transport, path):
    first, second = fetch(transport)
    transport.test_consumer.mark_started(first)
    transport.test_consumer.settle(Settlement(acks=[first]))
    transport.test_consumer.mark_started(second)
    die(transport, path)

    (again,) = fetch(transport)

    assert (again.data, again.started) == (second.data, True)
    transport.test_consumer.close()


def test_a_parked_event_that_is_given_back_has_survived_too(transport):
    first, _ = fetch(transport)
    parked = Parked(
        subscription=ID, handler="h", topic="a.b", data=first.data, key=None, attempt=2,
        due=datetime.now(timezone.utc), deaths=2,
    )
    transport.test_consumer.settle(Settlement(acks=[first], parked=[(first, parked)]))
    ((_, (again,)),) = transport.test_consumer.fetch(BUDGET, 5.0)
    assert (again.handler, again.attempt, again.deaths) == ("h", 2, 2)
    transport.test_consumer.mark_started(again)

    transport.test_consumer.settle(Settlement(releases=[again]))

    ((_, (once_more,)),) = transport.test_consumer.fetch(BUDGET, 5.0)
    assert (once_more.started, once_more.deaths) == (False, 2)
    transport.test_consumer.close()
