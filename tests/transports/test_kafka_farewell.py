"""Kafka without a broker: clients that cannot be closed at once."""

from __future__ import annotations

import time
from threading import Event
from typing import Any

import pytest

from eventbus.transports.kafka import farewell
from eventbus.transports.kafka.farewell import Farewells

pytestmark = pytest.mark.timeout(20)


class Client:
    """Is closed when its broker answers."""

    def __init__(self) -> None:
        self.answered, self.closed = Event(), Event()

    def close(self) -> None:
        self.answered.wait()
        self.closed.set()
        raise RuntimeError("as clients do that have been closed by another thread")


@pytest.fixture
def client() -> Any:
    made = Client()
    yield made
    made.answered.set()


class Newcomer:
    """Has its name after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.leaving = self.closed = False

    def memberid(self) -> str | None:
        return "me" if not self.looks and not self.leaving else ""

    def poll(self, timeout: float) -> None:
        self.looks -= 1

    def unsubscribe(self) -> None:
        self.leaving = not self.looks

    def close(self) -> None:
        self.closed = True


def test_a_client_that_joins_hears_its_name_before_it_leaves() -> None:
    newcomer: Any = Newcomer(3)
    assert farewell.leave(newcomer, 10.0)
    assert newcomer.leaving
    assert not farewell.leave(Newcomer(1_000_000), 0.05)  # type: ignore[arg-type]


def test_one_without_partitions_leaves_before_it_is_closed() -> None:
    newcomer: Any = Newcomer(3)
    farewells = Farewells()
    farewells.begin(newcomer, awaited=True, leaving=True)
    farewells.wait(time.monotonic() + 10)
    assert newcomer.leaving and newcomer.closed


def test_a_client_whose_broker_answers_is_waited_for(client: Any) -> None:
    farewells = Farewells()
    farewells.begin(client, awaited=True)
    client.answered.set()
    farewells.wait(time.monotonic() + 10)
    assert client.closed.is_set()


@pytest.mark.parametrize("awaited", [True, False])
def test_one_whose_broker_does_not_is_left(
    client: Any, awaited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if awaited:
        monkeypatch.setattr(farewell, "LONGEST", 0.05)
    farewells = Farewells()
    farewells.begin(client, awaited=awaited)
    farewells.wait(time.monotonic() + 60)
    assert not client.closed.is_set()


def test_one_that_has_waited_for_long_is_not_waited_for(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "LONGEST", 0.3)
    farewells = Farewells()
    farewells.begin(client, awaited=True)
    time.sleep(farewell.LONGEST)
    begun = time.monotonic()
    farewells.wait(begun + 60)
    assert time.monotonic() - begun < farewell.LONGEST


def test_no_time_is_no_wait(client: Any) -> None:
    farewells = Farewells()
    farewells.begin(client, awaited=True)
    farewells.wait(time.monotonic())
    assert not client.closed.is_set()
