"""What reads a topic up to an end that it knows: births, and dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from eventbus import Event, EventBus, KafkaConfig, Reject
from eventbus.transports.base import Settings, SubscriptionId
from eventbus.transports.kafka import KafkaTransport, names, registry
from tests.conformance import kafka
from tests.conformance.target import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.preview]

SETTINGS = Settings(prefix="", lease=30.0, retention=604_800.0, publish_timeout=5.0)
ID = SubscriptionId("g", "user.*")


@pytest.fixture(autouse=True)
def _empty() -> None:
    kafka.reset()


@pytest.fixture
def transport() -> Iterator[KafkaTransport]:
    made = KafkaTransport(KafkaConfig(brokers=kafka.brokers(), partitions=1), SETTINGS)
    yield made
    made.close()


def reject(event: Event) -> None:
    raise Reject("no")


def leave_a_gap(topic: str) -> None:
    """An end without a record: an aborted transaction's, or where compaction took one away."""
    producer = Producer({"bootstrap.servers": kafka.brokers(), "transactional.id": "gap"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, b"never", key=b"gap", partition=0)
    producer.flush(10)
    producer.abort_transaction(10)


def test_births_are_read_past_a_gap_at_the_end(transport: KafkaTransport) -> None:
    assert transport.declare(ID, "latest")
    leave_a_gap(names.REGISTRY)

    assert [info.group for info in transport.list()] == ["g"]
    assert not transport.declare(ID, "latest")


def test_dead_letters_are_read_past_a_gap_at_the_end() -> None:
    config = KafkaConfig(brokers=kafka.brokers(), partitions=1)
    with EventBus(provider="kafka", kafka=config, group="g", environ={}) as bus:
        bus.subscribe("job", reject, name="h")
        bus.publish("job", 1)
        assert bus.join(10)
        leave_a_gap(names.DEAD)

        (letter,) = bus.dead_letters.list()
        assert bus.dead_letters.purge(letter.id) == 1


def test_a_reader_that_stands_still_is_made_anew(
    transport: KafkaTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the client sometimes does after a broker's restart; nothing else than time tells."""
    made: list[Consumer] = []

    def make(settings: dict[str, Any]) -> Consumer:
        made.append(Consumer(settings))
        return made[-1]

    monkeypatch.setattr(registry, "Consumer", make)
    assert transport.declare(ID, "latest")
    wait_for(lambda: transport._registry.read, what="the births are read")
    made[0].pause([TopicPartition(names.REGISTRY, 0)])

    begun = time.monotonic()
    assert transport.declare(SubscriptionId("g", "other.*"), "latest")
    print(f"{time.monotonic() - begun:.1f} s")
    assert len(made) == 2
    assert len(transport.list()) == 2
