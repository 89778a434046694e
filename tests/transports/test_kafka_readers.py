"""Readers of topics: ends without a record, and clients that read no more."""

from __future__ import annotations

import gc
import logging
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from eventbus import Event, EventBus, KafkaConfig, Reject, TransportUnavailable
from eventbus.transports.base import SubscriptionId
from eventbus.transports.kafka import (
    KafkaTransport,
    consumer,
    farewell,
    membership,
    names,
    registry,
)
from eventbus.transports.kafka.standstill import Standstill
from tests.conformance import kafka
from tests.conformance.target import Received, wait_for

pytestmark = pytest.mark.kafka

ID = SubscriptionId("g", "user.*")


@pytest.fixture(autouse=True)
def _empty() -> None:
    kafka.reset()


@pytest.fixture
def transport() -> Iterator[KafkaTransport]:
    made = KafkaTransport(KafkaConfig(brokers=kafka.brokers(), partitions=1), kafka.SETTINGS)
    yield made
    made.close()


@pytest.fixture
def bus() -> Iterator[EventBus]:
    config = KafkaConfig(brokers=kafka.brokers(), partitions=1)
    with EventBus(provider="kafka", kafka=config, group="g", environ={}) as made:
        yield made


class Client(Consumer):
    """One that can be told to stand still."""

    topic = ""

    def poll(self, timeout: float = -1) -> Message | None:
        if self.topic:
            # Here: while another thread polls, it would never return.
            self.pause([TopicPartition(self.topic, 0)])
            self.topic = ""
        return super().poll(timeout)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    """Those that are made from now on, of the registry and of members."""
    made: list[Client] = []

    def make(settings: dict[str, Any]) -> Client:
        made.append(Client(settings))
        return made[-1]

    for module in (registry, consumer):
        monkeypatch.setattr(module, "Consumer", make)
    return made


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is in no cycle is gone with its last name."""
    gc.disable()
    yield
    gc.enable()


def reject(event: Event) -> None:
    raise Reject("no")


def leave_a_gap(topic: str) -> None:
    """An end without a record: an aborted transaction's, or where compaction took one away."""
    settings = {"bootstrap.servers": kafka.brokers(), "transactional.id": "gap"}
    producer = Producer({**settings, **kafka.SILENT})
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


def test_dead_letters_are_read_past_a_gap_at_the_end(bus: EventBus) -> None:
    bus.subscribe("job", reject, name="h")
    bus.publish("job", 1)
    assert bus.join(10)
    leave_a_gap(names.DEAD)

    (letter,) = bus.dead_letters.list()
    assert bus.dead_letters.purge(letter.id) == 1


def test_nothing_is_left_to_do_before_a_gap_at_the_end(bus: EventBus) -> None:
    received = Received(name="h")
    bus.subscribe("job", received)
    bus.publish("job", 1)
    received.wait(1)
    leave_a_gap("job")

    assert bus.join(10)
    assert received.payloads == [1]


def test_a_member_that_stands_still_begins_anew(
    bus: EventBus, clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "REFRESH", 0.5)
    received = Received(name="h")
    bus.subscribe("job", received)
    bus.publish("job", 1)
    received.wait(1)
    for client in clients:  # The registry's has no such partition.
        client.topic = "job"
    wait_for(lambda: not any(client.topic for client in clients), what="they stand still")

    bus.publish("job", 2)
    received.wait(2)
    assert bus.join(10)
    assert received.payloads == [1, 2]
    assert bus.stats().reconnects == 1


def test_a_member_without_events_soon_learns_that_brokers_answer_again(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "REFRESH", 60.0)
    bus.subscribe("job", Received(name="h"))
    bus.publish("job", 1)
    assert bus.join(10)
    reader = bus._engine.loops[0]._consumer
    wait_for(lambda: reader._standstill.dry > 0.5, what="nothing comes any more")
    reader._registry._look_at = time.monotonic() + 60.0

    reader._trouble.silent()  # As the client says when it has lost all brokers.
    wait_for(lambda: not reader._trouble.down, what="it knows")


def test_an_error_that_is_remembered_keeps_nothing_open(
    transport: KafkaTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[Client]] = []

    def look() -> None:
        client = Client({"bootstrap.servers": kafka.brokers(), "group.id": "g", **kafka.SILENT})
        seen.append(weakref.ref(client))
        raise TransportUnavailable("away")

    transport.declare(ID, "latest")
    monkeypatch.setattr(transport._catalogue, "look", look)
    transport._registry._look_at = 0.0
    wait_for(lambda: transport._registry.error, what="it has failed")

    with pytest.raises(TransportUnavailable, match="away"):
        transport.backlog(ID)
    assert seen[0]() is None


def test_a_session_that_failed_keeps_nothing_open(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    without_collector: None,
) -> None:
    caplog.set_level(logging.CRITICAL, "eventbus")  # A line that is kept holds the error.
    seen: list[weakref.ref[Client]] = []
    take_up = membership.taken_up

    def fail_once(*arguments: Any) -> Any:
        if seen:
            return take_up(*arguments)
        client = Client({"bootstrap.servers": kafka.brokers(), "group.id": "g", **kafka.SILENT})
        seen.append(weakref.ref(client))
        raise TransportUnavailable("away")

    monkeypatch.setattr(membership, "taken_up", fail_once)
    waiting: list[Consumer] = []
    close = farewell.close
    monkeypatch.setattr(farewell, "close", waiting.append)
    bus.publish("job", 1)
    bus.subscribe("job", Received(name="h"))
    wait_for(lambda: bus.stats().reconnects == 1, what="the session failed")

    # Its own client still waits for a broker, and knows whom to call back.
    assert len(waiting) == 1
    wait_for(lambda: seen[0]() is None, what="nothing holds it")
    close(waiting[0])


def test_a_reader_that_stands_still_is_made_anew(
    transport: KafkaTransport, clients: list[Client]
) -> None:
    """As the client sometimes does after a broker's restart; nothing else than time tells."""
    assert transport.declare(ID, "latest")
    wait_for(lambda: transport._registry.read, what="the births are read")
    clients[0].topic = names.REGISTRY
    wait_for(lambda: not clients[0].topic, what="it stands still")

    begun = time.monotonic()
    assert transport.declare(SubscriptionId("g", "other.*"), "latest")
    print(f"{time.monotonic() - begun:.1f} s")
    assert len(clients) == 2
    assert len(transport.list()) == 2


# -- what counts as standing still, without a broker ---------------------------------------------

PLACE = ("job", 0)


def compared(*looks: tuple[float, int, int]) -> Standstill:
    """Looks of (seconds that the client was waited for in vain, its position, the end)."""
    watch = Standstill(3.0)
    for watch.dry, position, end in looks:
        watch.compare({PLACE: position}, {PLACE: end})
    return watch


def test_a_client_that_is_asked_for_what_is_there_and_has_nothing_stands_still() -> None:
    assert compared((7.0, 5, 6), (12.0, 5, 7)).found == PLACE


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([(7.0, 5, 5), (12.0, 5, 5)], id="it is at the end"),
        pytest.param([(7.0, 5, 5), (12.0, 5, 6)], id="the event has just come"),
        pytest.param([(7.0, 5, 6), (7.1, 5, 6)], id="it was hardly asked since"),
        pytest.param([(7.0, 5, 9), (12.0, 6, 9)], id="it gets on"),
    ],
)
def test_others_do_not(looks: list[tuple[float, int, int]]) -> None:
    assert compared(*looks).found is None


def test_without_an_answer_it_is_not_known_how_long_events_have_been_there() -> None:
    watch = compared((7.0, 5, 6))
    watch.dry = 12.0
    watch.compare({PLACE: 5}, {})
    watch.compare({PLACE: 5}, {PLACE: 6})
    assert watch.found is None
