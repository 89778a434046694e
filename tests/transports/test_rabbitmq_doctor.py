"""What `eventbus doctor` says of a RabbitMQ server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from eventbus import EventBus
from eventbus.transports.base import Finding, SubscriptionId
from eventbus.transports.rabbitmq import names
from eventbus.transports.rabbitmq.doctor import version
from tests.conformance import rabbitmq
from tests.conformance.target import Received, wait_for

ID = SubscriptionId("g", "a.b")


@pytest.mark.parametrize(
    ("server", "level", "told"),
    [
        ({"product": "RabbitMQ", "version": "3.10.8"}, "ok", "RabbitMQ 3.10.8; tests ran on 3.10"),
        ({"product": "RabbitMQ", "version": "4.1.0"}, "ok", "RabbitMQ 4.1.0; tests ran on 3.10"),
        ({"product": "RabbitMQ", "version": "3.7.28"}, "error", "at least 3.8 is needed"),
        ({"product": "RabbitMQ", "version": "head"}, "error", "at least 3.8 is needed"),
        ({"product": "LavinMQ", "version": "2.0"}, "warning", "LavinMQ 2.0: tests ran on 3.10"),
        ({}, "warning", "unknown"),
    ],
)
def test_versions(server: dict[str, Any], level: str, told: str) -> None:
    finding = version(server)

    assert finding.level == level
    assert told in finding.message


@pytest.fixture
def channel() -> Iterator[Any]:
    rabbitmq.reset()
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url()))
    yield connection.channel()
    connection.close()


@pytest.fixture
def bus(channel: Any) -> Iterator[EventBus]:
    with EventBus(rabbitmq.url(), group="g", environ={}) as bus:
        yield bus


def found(bus: EventBus, subject: str = "a.b of g") -> Finding:
    return next(finding for finding in bus.diagnose() if finding.subject == subject)


@pytest.mark.rabbitmq
def test_events_that_nobody_handles(bus: EventBus) -> None:
    bus._engine.transport.declare(ID, "latest")
    assert found(bus).level == "ok"
    bus.publish("a.b", 1)

    warned = found(bus)
    received = Received()
    bus.subscribe("a.b", received)
    received.wait(1)

    assert warned.level == "warning"
    assert "1 waiting, 0 members take events: nobody handles them" in warned.message
    wait_for(lambda: found(bus).level == "ok", what="a member that is counted")


@pytest.mark.rabbitmq
def test_a_queue_that_has_vanished_stays_as_it_is(bus: EventBus, channel: Any) -> None:
    bus._engine.transport.declare(ID, "latest")
    channel.queue_delete(names.queue(ID))

    for _ in range(2):
        assert found(bus).level == "error"
        assert "vanished; a service makes it again within a minute" in found(bus).message


@pytest.mark.rabbitmq
def test_a_queue_that_is_something_else(bus: EventBus, channel: Any) -> None:
    bus._engine.transport.declare(ID, "latest")
    # RabbitMQ 3.10 may write the leader of a quorum queue down late, over a queue that has its name
    # by then: every question about that one ends with INTERNAL_ERROR.
    channel.basic_publish("", names.queue(ID), b"")
    wait_for(lambda: channel.basic_get(names.queue(ID), auto_ack=True)[0], what="its leader")
    assert found(bus).level != "error"
    channel.queue_delete(names.queue(ID))
    channel.queue_declare(names.queue(ID), durable=True)

    finding = found(bus)

    channel.queue_delete(names.queue(ID))
    assert finding.level == "error"
    assert "x-queue-type" in finding.message


@pytest.mark.rabbitmq
def test_no_exchange_and_one_that_is_something_else(bus: EventBus, channel: Any) -> None:
    assert found(bus, "exchange").level == "warning"
    channel.exchange_declare(names.EXCHANGE, "fanout")

    finding = found(bus, "exchange")

    channel.exchange_delete(names.EXCHANGE)
    assert finding.level == "error"
    assert "inequivalent" in finding.message
