"""Clients that know no broker any more: here, that were never told of one."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from eventbus import EventBus, KafkaConfig
from eventbus.transports.base import Settings, SubscriptionId
from eventbus.transports.kafka import clients, names, stranding
from eventbus.transports.kafka.admin import Admin
from eventbus.transports.kafka.options import Options
from eventbus.transports.kafka.stranding import Forgetting, Silence
from eventbus.transports.kafka.trouble import Trouble
from tests.conformance import kafka
from tests.conformance.target import Received, wait_for

pytestmark = pytest.mark.kafka

Strand = Callable[[Callable[[type, dict[str, Any]], bool]], list[type]]


@pytest.fixture(autouse=True)
def _empty() -> None:
    kafka.reset()


@pytest.fixture
def strand(monkeypatch: pytest.MonkeyPatch) -> Strand:
    """Makes the first client of which something is true one without addresses."""
    made = clients.make

    def choose(which: Callable[[type, dict[str, Any]], bool]) -> list[type]:
        stranded: list[type] = []

        def make(kind: Any, settings: dict[str, Any], trouble: Trouble, **more: Any) -> Any:
            if not stranded and which(kind, settings):
                stranded.append(kind)
                settings = {k: v for k, v in settings.items() if k != "bootstrap.servers"}
            return made(kind, settings, trouble, **more)

        monkeypatch.setattr(clients, "make", make)
        return stranded

    return choose


def options() -> Options:
    settings = Settings(prefix="", lease=30.0, retention=1.0, publish_timeout=8.0)
    return Options(KafkaConfig(brokers=kafka.brokers()), settings)


def make() -> EventBus:
    config = KafkaConfig(brokers=kafka.brokers(), partitions=1)
    return EventBus(provider="kafka", kafka=config, group="g", environ={})


def polled(settings: dict[str, Any]) -> Forgetting:
    """What the statistics of a client say, once there are some."""
    trouble = Trouble("kafka")
    told: list[str] = []
    look = trouble.forgetting._look

    def see(statistics: str) -> None:
        told.append(statistics)
        look(statistics)

    client = Consumer({
        **settings, "group.id": "g", "log_level": 0, **trouble.callbacks(polled=True),
        "stats_cb": see,
    })
    wait_for(lambda: client.poll(0.05) or told, what="statistics")
    client.close()
    return trouble.forgetting


def test_statistics_tell_who_knows_no_broker() -> None:
    assert polled({}).found
    assert not polled({"bootstrap.servers": "127.0.0.1:1"}).found
    assert not polled({"bootstrap.servers": kafka.brokers()}).found


def test_an_outage_is_no_reason_for_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stranding, "VAIN", 0.0)
    addresses = ["127.0.0.1:1", "[::1]:1", "nowhere.invalid:1", "nonsense"]
    assert not any(map(stranding.reachable, addresses))
    away, there = Silence(addresses), Silence(["127.0.0.1:1", kafka.brokers()])
    wait_for(there.unanswered)
    assert not away.unanswered()


def test_looking_for_a_broker_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stranding, "VAIN", 0.0)
    looking, found = threading.Event(), threading.Event()

    def connect(*arguments: Any) -> socket.socket:
        looking.set()
        found.wait()
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    silence = Silence(["slow:1"])
    assert not silence.unanswered()
    assert looking.wait(10)
    assert not silence.unanswered()
    found.set()
    wait_for(silence.unanswered)


def test_a_client_that_was_answered_begins_to_wait_anew() -> None:
    silence = Silence([kafka.brokers()])
    assert not silence.unanswered()
    silence.answered()
    assert not silence.unanswered()
    wait_for(silence.unanswered)


def test_events_are_published_once_though_the_producer_is_stranded(strand: Strand) -> None:
    stranded = strand(lambda kind, settings: kind is Producer)
    received = Received(name="h")
    with make() as bus:
        bus.publish_many([("job", n) for n in range(20)])
        bus.subscribe("job", received, start_from="earliest")
        received.wait(20)
        assert bus.join(10)
    assert stranded
    assert received.payloads == list(range(20))


def test_questions_are_answered_though_their_client_is_stranded(strand: Strand) -> None:
    stranded = strand(lambda kind, settings: kind is AdminClient)
    admin = Admin(options())
    files = len(os.listdir("/proc/self/fd"))
    assert kafka.READY in admin.topics.names()
    assert stranded
    admin.reset()
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= files, what="both clients to be gone")


@pytest.mark.parametrize("onlooker", [False, True])
def test_a_stranded_asker_is_replaced(strand: Strand, onlooker: bool) -> None:
    stranded = strand(lambda kind, settings: kind is Consumer)
    admin = Admin(options())
    place = (kafka.READY, 0)
    if onlooker:
        assert admin.groups.committed("g", [place]) == {}
    else:
        assert place in admin.offsets.ends([place])
    assert stranded


@pytest.mark.parametrize("member", [False, True])
def test_a_stranded_reader_is_replaced(strand: Strand, member: bool) -> None:
    group = names.group_of(SubscriptionId("g", "job")) if member else "_eventbus"
    stranded = strand(lambda kind, settings: settings.get("enable.partition.eof") is True
                      and settings["group.id"] == group)
    received = Received(name="h")
    with make() as bus:
        bus.subscribe("job", received)
        bus.publish("job", 0)
        received.wait(1)
    assert stranded

