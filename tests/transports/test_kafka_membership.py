"""Kafka without a broker: when a member changes what it follows."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from eventbus import KafkaConfig
from eventbus.transports.base import SubscriptionId
from eventbus.transports.kafka import membership
from eventbus.transports.kafka.membership import Membership
from eventbus.transports.kafka.options import Options
from eventbus.transports.kafka.trouble import Trouble
from tests.conformance.kafka import SETTINGS

ID = SubscriptionId("g", "job.*")


class Client:
    """Is named by its broker when the test says so."""

    def __init__(self) -> None:
        self.name = ""
        self.followed: list[list[str]] = []

    def memberid(self) -> str:
        return self.name

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self.followed.append(topics)

    def unsubscribe(self) -> None:
        self.followed.append([])


class Catalogue:
    """Topics that a test adds."""

    def __init__(self) -> None:
        self.topics: dict[str, Any] = {}
        self.version = 0

    def add(self, *names: str) -> None:
        self.topics.update(dict.fromkeys(names))
        self.version += 1

    def matching(self, id: SubscriptionId) -> dict[str, Any]:
        return self.topics


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    monkeypatch.setattr(membership, "SETTLED", 0.0)
    made = Catalogue()
    made.add("job.a")
    return made


def member(catalogue: Catalogue, **config: Any) -> Membership:
    registry: Any = SimpleNamespace(read=True, find=lambda id: "its birth")
    options = Options(KafkaConfig(brokers="127.0.0.1:1", **config), SETTINGS)
    made = Membership(options, registry, catalogue, "owner", Trouble("kafka"))  # type: ignore[arg-type]
    made.begin(ID, None)  # type: ignore[arg-type]
    return made


def test_topics_that_come_while_it_joins_wait_for_its_name(catalogue: Catalogue) -> None:
    client: Any = Client()
    joining = member(catalogue)
    joining.follow(client, ())
    catalogue.add("job.b")

    joining.follow(client, ())
    assert client.followed == [["job.a"]]

    client.name = "me"
    joining.follow(client, ())
    assert client.followed == [["job.a"], ["job.a", "job.b"]]


def test_one_that_is_named_by_nobody_follows_them_in_the_end(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "NAMELESS", 0.05)
    client: Any = Client()
    joining = member(catalogue)
    joining.follow(client, ())
    catalogue.add("job.b")

    while len(client.followed) == 1:
        joining.follow(client, ())
        time.sleep(0.005)
    assert client.followed[1] == ["job.a", "job.b"]


def test_where_members_name_themselves_nothing_is_waited_for(catalogue: Catalogue) -> None:
    client: Any = Client()
    joining = member(catalogue, protocol="consumer")
    joining.follow(client, ())
    catalogue.add("job.b")
    joining.follow(client, ())
    assert client.followed == [["job.a"], ["job.a", "job.b"]]
