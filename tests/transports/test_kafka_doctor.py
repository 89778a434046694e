"""What `eventbus doctor` says of a Kafka cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from eventbus import EventBus, KafkaConfig
from eventbus.transports.base import Finding, SubscriptionId
from tests.conformance import kafka
from tests.conformance.target import Received, wait_for
from tests.servers import Kafka

pytestmark = pytest.mark.kafka

ID = SubscriptionId("g", "a.b")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    options = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with Kafka(tmp_path_factory.mktemp("kafka"), options=options) as server:
        yield server


@pytest.fixture
def bus(server: Kafka) -> Iterator[EventBus]:
    kafka.empty(server)
    with _make(server) as bus:
        yield bus


def _make(server: Kafka, **settings: object) -> EventBus:
    config = KafkaConfig(brokers=server.url, partitions=1, **settings)  # type: ignore[arg-type]
    return EventBus(provider="kafka", kafka=config, group="g", environ={})


def found(bus: EventBus, subject: str) -> list[Finding]:
    return [finding for finding in bus.diagnose() if finding.subject == subject]


def level(bus: EventBus, subject: str) -> str:
    (finding,) = found(bus, subject)
    return finding.level


def test_a_sound_cluster_of_one(bus: EventBus) -> None:
    bus.publish("a.b", 1)
    assert {f.subject: f.level for f in bus.diagnose()} == {
        "brokers": "ok", "version": "ok", "credentials": "ok", "members": "ok", "rights": "ok",
        "replication": "warning",
    }


def test_what_waits_is_told_by_partition_and_with_the_groups_state(bus: EventBus) -> None:
    bus._engine.transport.declare(ID, "latest")
    bus.publish_many([("a.b", n) for n in range(3)])

    (waiting,) = found(bus, "a.b of g")
    received = Received()
    bus.subscribe("a.b", received)
    received.wait(3)

    assert waiting.message.startswith("3 waiting (a.b/0: 3); group ")
    wait_for(lambda: "0 waiting; group stable, 1 members" in found(bus, "a.b of g")[0].message)


def test_a_backlog_that_brokers_will_soon_remove(bus: EventBus) -> None:
    bus._engine.transport.declare(ID, "latest")
    bus.publish("a.b", 1)
    assert len(found(bus, "a.b of g")) == 1

    bus._engine.transport._admin.topics.set_config("a.b", {"retention.ms": "1000"})
    time.sleep(0.6)

    assert "more than half of retention.ms in a.b" in found(bus, "a.b of g")[1].message


def test_rights_that_are_missing(bus: EventBus, server: Kafka) -> None:
    bus.publish_many([("a.b", 1), ("c.d", 1)])
    with _only_readable(server, "a.b"):
        wait_for(lambda: level(bus, "rights") == "error", what="the rights to be taken away")

        (finding,) = found(bus, "rights")
        assert "write a.b" in finding.message
        assert "read a.b" not in finding.message
        assert "c.d" not in finding.message


@contextmanager
def _only_readable(server: Kafka, topic: str) -> Iterator[None]:
    """Nobody may do more with a topic than the only ACL on it allows."""
    place = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*")
    rule = (*place, AclOperation.READ, AclPermissionType.ALLOW)
    client = kafka.admin(server.url)
    for future in client.create_acls([AclBinding(*rule)]).values():
        future.result(10)
    try:
        yield
    finally:
        for future in client.delete_acls([AclBindingFilter(*rule)]).values():
            future.result(10)


def test_sessions_that_brokers_refuse(bus: EventBus, server: Kafka) -> None:
    with _make(server, client={"session.timeout.ms": 3_000}) as hasty:
        (finding,) = found(hasty, "members")
    assert finding.level == "error"
    assert "they allow 6000 ms" in finding.message


def test_with_the_newer_protocol_brokers_decide_about_sessions(
    bus: EventBus, server: Kafka
) -> None:
    with _make(server, protocol="consumer") as newer:
        (finding,) = found(newer, "members")
    assert finding.level == "warning"
    assert "after 45 s" in finding.message
