"""What RabbitMQ does not confirm, returns or refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from eventbus import EventBus, PublishError, TransportUnavailable
from eventbus.transports.base import SubscriptionId
from eventbus.transports.rabbitmq import names, sender
from eventbus.transports.rabbitmq.frames import Outgoing, properties
from tests.conformance import rabbitmq

pytestmark = pytest.mark.rabbitmq

ID = SubscriptionId("g", "a.b")
QUEUE = names.queue(ID)


@pytest.fixture
def channel() -> Iterator[Any]:
    rabbitmq.reset()
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url()))
    yield connection.channel()
    connection.close()


@pytest.fixture
def bus(channel: Any) -> Iterator[EventBus]:
    with EventBus(rabbitmq.url(), group="g", environ={}, publish_timeout=2.0) as bus:
        yield bus


def ready(channel: Any, queue: str = QUEUE) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def test_what_the_server_refuses_is_told_from_what_it_has_stored(
    bus: EventBus, channel: Any
) -> None:
    bus.publish("a.b", "makes the exchange")
    limits = {"x-max-length": 2, "x-overflow": "reject-publish"}
    channel.queue_declare("full", durable=True, arguments=limits)
    channel.queue_bind("full", names.EXCHANGE, "a.b")
    try:
        with pytest.raises(PublishError, match=r"could not store it \(basic.nack\)") as caught:
            bus.publish_many([("a.b", number) for number in range(6)])
        with pytest.raises(PublishError) as alone:
            bus.publish("a.b", 7)
    finally:
        channel.queue_delete("full")

    told = list(caught.value.outcomes.values())
    assert told[0] == "ok"
    assert told[-1] == alone.value.outcome == "unknown"
    bus.publish("a.b", "as if nothing had been")


def test_an_exchange_that_vanishes_under_a_batch_leaves_it_unknown(
    bus: EventBus, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = bus._engine.transport._topology
    topology.declare(ID)
    bus.publish("a.b", 1)
    looked = topology.make_sure

    def make_sure(timeout: float) -> None:
        looked(timeout)
        channel.exchange_delete(names.EXCHANGE)

    monkeypatch.setattr(topology, "make_sure", make_sure)
    with pytest.raises(PublishError) as caught:
        bus.publish_many([("a.b", 2), ("a.b", 3)])
    monkeypatch.undo()
    bus.publish("a.b", 4)

    assert set(caught.value.outcomes.values()) == {"unknown"}
    assert ready(channel) == 2


def test_a_queue_that_vanishes_again_and_again_is_told(
    bus: EventBus, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = bus._engine.transport._topology
    topology.declare(ID)
    bus.publish("a.b", 1)
    mend = topology.mend

    def mended(ids: Any) -> None:
        mend(ids)
        channel.queue_delete(QUEUE)

    monkeypatch.setattr(topology, "mend", mended)
    channel.queue_delete(QUEUE)
    with pytest.raises(PublishError, match="vanishes again and again") as caught:
        bus.publish("a.b", 2)
    monkeypatch.undo()
    bus.publish("a.b", 3)

    assert caught.value.outcome == "unknown"
    assert ready(channel) == 1


def test_what_is_meant_for_a_queue_that_is_gone_is_not_taken_for_stored(bus: EventBus) -> None:
    message = Outgoing("", "eventbus.nowhere", "1", properties("1"), b"{}")

    with pytest.raises(TransportUnavailable, match="a queue has vanished") as caught:
        bus._engine.transport._publishing.send([message])

    assert caught.value.outcome == "unknown"


def test_more_topics_than_are_remembered(
    bus: EventBus, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "REMEMBERED", 3)
    bus._engine.transport.declare(SubscriptionId("g", "t.*"), "latest")

    bus.publish_many([(f"t.n{number % 7}", number) for number in range(50)])

    assert ready(channel, names.queue(SubscriptionId("g", "t.*"))) == 50
