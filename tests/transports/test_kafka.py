"""What only Kafka has: offsets with a story, topics that come and go, rebalances."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from eventbus import Event, EventBus, KafkaConfig, PublishError, TopologyError
from eventbus.transports.base import SubscriptionId
from eventbus.transports.kafka import names
from eventbus.transports.kafka.commits import Commits
from tests.conformance import kafka
from tests.conformance.target import Gate, Received, fail, wait_for

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _empty() -> None:
    kafka.reset()


@pytest.fixture
def admin() -> AdminClient:
    return kafka.admin(kafka.brokers())


def make(partitions: int = 2, group: str = "g", **settings: Any) -> EventBus:
    client = settings.pop("client", {})
    config = KafkaConfig(brokers=kafka.brokers(), partitions=partitions, client=client)
    return EventBus(provider="kafka", kafka=config, group=group, environ={}, **settings)


@pytest.fixture
def bus() -> Iterator[EventBus]:
    with make() as bus:
        yield bus


# -- positions -----------------------------------------------------------------------------------


def test_what_is_done_behind_a_stuck_event_is_not_done_again() -> None:
    gate, received = Gate(), Received(name="h")

    def handle(event: Event) -> None:
        received(event)
        if event.payload == 0:
            gate()

    bus = make(partitions=1, close_timeout=1.0)
    bus.subscribe("job", handle, name="h")
    bus.publish_many([("job", n) for n in range(50)])
    received.wait(50)
    assert not bus.close()
    gate.open()

    again = Received(name="h")
    with make(partitions=1) as bus:
        bus.subscribe("job", again, name="h")
        again.wait(1)
        assert bus.join(10)
    assert again.payloads == [0]


def test_close_hears_the_answer_to_its_last_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each close takes a second, and is written down as well."""
    answered: list[bool] = []
    last = Commits.last

    def listen(commits: Commits, seconds: float) -> bool:
        answered.append(last(commits, seconds))
        return answered[-1]

    monkeypatch.setattr(Commits, "last", listen)
    received = Received(name="h")
    with make() as bus:
        bus.subscribe("job", received)
        bus.publish("job")
        received.wait(1)
    assert answered == [True]


def test_what_an_operator_has_rewound_is_read_again(admin: AdminClient) -> None:
    received = Received(name="h")
    with make(partitions=1) as bus:
        bus.subscribe("job", received)
        bus.publish_many([("job", n) for n in range(20)])
        received.wait(20)
        assert bus.join(10)
    group = names.group_of(SubscriptionId("g", "job"))
    rewound = ConsumerGroupTopicPartitions(group, [TopicPartition("job", 0, 15)])
    for future in admin.alter_consumer_group_offsets([rewound]).values():
        future.result(10)

    again = Received(name="h")
    with make(partitions=1) as bus:
        bus.subscribe("job", again)
        again.wait(5)
        assert bus.join(10)
    assert again.payloads == [15, 16, 17, 18, 19]


def test_a_topic_made_again_while_nobody_looks_is_read_from_its_start(admin: AdminClient) -> None:
    received = Received(name="h")
    with make(partitions=1) as bus:
        bus.subscribe("job", received)
        bus.publish_many([("job", n) for n in range(5)])
        received.wait(5)
        assert bus.join(10)
    _delete(admin, "job")
    with make(partitions=1) as bus:
        bus.publish_many([("job", 100 + n) for n in range(20)])
        bus.subscribe("job", received)
        received.wait_for_payloads(range(100, 120))


def test_a_topic_made_again_under_a_living_member_is_read_from_its_start(
    admin: AdminClient,
) -> None:
    received = Received(name="h")
    with make(partitions=1) as bus:
        bus.subscribe("job", received)
        bus.publish_many([("job", n) for n in range(5)])
        received.wait(5)
        assert bus.join(10)
        _delete(admin, "job")
        bus.publish_many([("job", 100 + n) for n in range(20)])
        received.wait_for_payloads(range(100, 120))


def test_members_are_told_that_a_topic_was_made_again(admin: AdminClient) -> None:
    received = Received(name="h")
    with make(partitions=1) as bus:
        bus.subscribe("job", received)
        bus.publish("job", 0)
        received.wait(1)
        assert bus.join(10)
        _delete(admin, "job")
        with make(partitions=1) as other:
            other.publish("job", 100)
        # Less than `REFRESH` takes, which would find it, too.
        received.wait(2, timeout=3.0)


def _delete(admin: AdminClient, topic: str) -> None:
    """And wait until the broker has heard of it: until then it stores what goes with the topic."""
    for future in admin.delete_topics([topic]).values():
        future.result(10)
    wait_for(lambda: topic not in admin.list_topics(timeout=10).topics)


def test_a_member_that_leaves_while_it_joins_keeps_nobody_waiting() -> None:
    """The group would wait a session for one that has been named and never joins."""
    for moment in range(12):
        with make(partitions=1) as bus:
            bus.subscribe("job", Received(name="h"))
            time.sleep(moment / 100)
        received = Received(name="h")
        with make(partitions=1) as bus:
            bus.subscribe("job", received)
            bus.publish("job", moment)
            received.wait(1, timeout=4.0)


def test_one_without_partitions_leaves_though_it_seems_that_nobody_answers(
    admin: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that has lost them while topics were deleted and made again."""
    with make(partitions=1) as bus, make(partitions=1) as idle:
        received = Received(name="h")
        bus.subscribe("job", received)
        bus.publish("job", 1)
        received.wait(1)
        idle.subscribe("job", Received(name="h"))
        wait_for(lambda: _settled(admin) == 2, what="both are members")

        monkeypatch.setattr(Commits, "last", lambda self, seconds: False)
        idle.close()
        wait_for(lambda: _settled(admin) == 1, timeout=4.0, what="it has left")


def _settled(admin: AdminClient) -> int:
    """Members of the group, unless it is in the middle of a rebalance."""
    group = names.group_of(SubscriptionId("g", "job"))
    about = admin.describe_consumer_groups([group])[group].result(10)
    return len(about.members) if about.state is ConsumerGroupState.STABLE else 0


# -- topics --------------------------------------------------------------------------------------


def test_a_running_wildcard_gets_the_first_event_of_a_new_topic_within_a_second(
    bus: EventBus,
) -> None:
    received = Received(name="h")
    bus.subscribe("user.*", received)
    bus.publish("user.known", 0)
    received.wait(1)
    with make() as other:
        other.publish("else", 0)
        other.publish("user.new", 1)
        began = time.monotonic()
        received.wait(2)
    print(f"{time.monotonic() - began:.2f} s")
    assert time.monotonic() - began < 1.0


def test_types_that_kafka_would_confuse_are_refused(bus: EventBus) -> None:
    bus.publish("a.b")
    with pytest.raises(TopologyError, match=r"a_b.*a\.b"):
        bus.subscribe("a_b", Received())


def test_a_type_that_is_refused_stops_no_other_thread(bus: EventBus) -> None:
    bus.publish("a.b")

    def publish(number: int) -> str:
        try:
            bus.publish("a_b" if number % 4 == 0 else "a.b", number)
        except PublishError as error:
            assert "a_b" in str(error)
            return error.outcome
        return "ok"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(publish, range(80)))

    assert outcomes == ["failed" if number % 4 == 0 else "ok" for number in range(80)]


def test_foreign_topics_are_skipped(bus: EventBus, admin: AdminClient) -> None:
    for future in admin.create_topics([NewTopic("not..ours", 1, 1)]).values():
        future.result(10)
    received = Received(name="h")
    bus.subscribe("**", received)
    bus.publish("ours", 1)
    received.wait(1)
    assert bus.join(10)
    assert "not..ours" not in bus._engine.topics()


def test_an_internal_topic_that_the_broker_made_is_set_right(
    bus: EventBus, admin: AdminClient
) -> None:
    for future in admin.create_topics([NewTopic(names.DEAD, 3, 1)]).values():
        future.result(10)
    bus.subscribe("job", fail, name="fail")
    bus.publish("job", 1)
    wait_for(lambda: bus.dead_letters.list(), what="the dead letter")

    (found,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, names.DEAD)]).values()
    assert found.result(10)["cleanup.policy"].value == "compact"


def test_an_internal_topic_is_set_right_though_its_broker_has_not_heard_of_it_yet(
    bus: EventBus,
) -> None:
    admin = bus._engine.transport._admin
    for n in range(100):
        assert admin.topics.create(f"made.{n}", 1, {})
        admin.topics.set_config(f"made.{n}", {"cleanup.policy": "compact"})


# -- membership ----------------------------------------------------------------------------------


def test_a_slow_handler_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It runs for longer than a client may be silent, with no room for further events."""
    gate, received = Gate(), Received(name="h")

    def handle(event: Event) -> None:
        received(event)
        if event.payload == "slow":
            gate()

    with make(
        max_in_flight=2, max_concurrent_handlers=2, client={"max.poll.interval.ms": 6_000}
    ) as bus:
        bus.subscribe("job", handle, name="h")
        bus.publish("job", "slow", key="s")
        gate.wait_reached()
        began = time.monotonic()
        while time.monotonic() - began < 7.5:
            bus.publish("job", time.monotonic(), key="q")
            time.sleep(0.2)
        gate.open()
        assert bus.join(10)
    assert received.payloads.count("slow") == 1
    assert len(set(received.payloads)) == len(received)
    assert "max.poll" not in caplog.text.lower()
