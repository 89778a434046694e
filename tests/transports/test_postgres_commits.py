"""Transactions that commit and roll back in every order: each committed event comes, and once."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus import Event, EventBus
from eventbus.transports.base import Budget, Delivery, Settlement, SubscriptionId
from eventbus.transports.postgres import shortcut
from eventbus.transports.postgres.link import Link
from tests.conformance.target import Received, started, wait_for
from tests.servers import Postgres
from tests.transports.postgres_kit import Kit, fetch

pytestmark = pytest.mark.postgres

#: Transactions that are open side by side, and readers: two members of one subscription, and a
#: wildcard.
WRITERS = 4
READERS = (SubscriptionId("g", "a.b"), SubscriptionId("g", "a.b"), SubscriptionId("g", "a.*"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres"), options={"fsync": "off"}) as server:
        yield server


@pytest.fixture
def kit(server: Postgres) -> Iterator[Kit]:
    made = Kit(server)
    yield made
    made.close()


WRITER, READER = st.integers(0, WRITERS - 1), st.integers(0, len(READERS) - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), WRITER),
        st.tuples(st.just("publish"), WRITER, st.integers(1, 4)),
        st.tuples(st.just("commit"), WRITER),
        st.tuples(st.just("rollback"), WRITER),
        st.tuples(st.just("alone"), st.integers(1, 4)),
        st.tuples(st.just("fetch"), READER, st.integers(1, 5)),
        st.tuples(st.just("settle"), READER, st.integers(0, 3)),
        st.tuples(st.just("clean")),
    ),
    max_size=60,
)


class World:
    """One bus, transactions of callers, readers, and what should be true of them."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.bus = kit.bus(retention=timedelta(microseconds=1))
        self.bus.topics()
        kit.sql.execute("TRUNCATE eventbus.log, eventbus.lease, eventbus.subscription")
        self.transport = self.bus._engine.transport
        # Members are owners of their own.
        self.members = [kit.bus() for _ in READERS]
        pairs = zip(self.members, READERS, strict=True)
        self.readers = [kit.consumer(bus, id) for bus, id in pairs]
        self.writers = [kit.connect() for _ in range(WRITERS)]
        self.waiting: list[list[str]] = [[] for _ in range(WRITERS)]
        self.committed: list[str] = []
        self.came: dict[SubscriptionId, Counter[str]] = {id: Counter() for id in READERS}
        self.held: list[list[Delivery]] = [[] for _ in READERS]
        self.settled: Counter[SubscriptionId] = Counter()

    def _events(self, count: int) -> list[Event]:
        return [Event("a.b", None) for _ in range(count)]

    def write(self, writer: int) -> None:
        """Open a transaction long before it publishes."""
        self.writers[writer].execute("CREATE TEMP TABLE IF NOT EXISTS t (i int)")

    def publish(self, writer: int, count: int) -> None:
        events = self.bus.publish_many(self._events(count), connection=self.writers[writer])
        self.waiting[writer] += [event.id for event in events]

    def commit(self, writer: int) -> None:
        self.writers[writer].commit()
        self.committed += self.waiting[writer]
        self.waiting[writer] = []

    def rollback(self, writer: int) -> None:
        self.writers[writer].rollback()
        self.waiting[writer] = []

    def alone(self, count: int) -> None:
        self.committed += [event.id for event in self.bus.publish_many(self._events(count))]

    def fetch(self, reader: int, count: int) -> None:
        id = READERS[reader]
        self.readers[reader]._news.add(id)
        found = fetch(self.readers[reader], id, 0.0, Budget(count, 1_000_000, ()))
        assert len(found) <= count
        self.held[reader] += found
        self.came[id].update(json.loads(d.data)["id"] for d in found)
        self.check()

    def settle(self, reader: int, keep: int) -> None:
        acks, self.held[reader] = self.held[reader][keep:], self.held[reader][:keep]
        assert self.readers[reader].settle(Settlement(acks=acks)) == []
        self.settled[READERS[reader]] += len(acks)

    def clean(self) -> None:
        self.transport.maintain()

    def check(self) -> None:
        for id, came in self.came.items():
            assert set(came) <= set(self.committed)
            assert max(came.values(), default=1) == 1
            assert self.transport.backlog(id) == len(self.committed) - self.settled[id]

    def end(self) -> None:
        for writer in range(WRITERS):
            (self.commit if writer % 2 else self.rollback)(writer)
        for reader in range(len(READERS)):
            while True:
                before = len(self.held[reader])
                self.fetch(reader, 3)
                if len(self.held[reader]) == before:
                    break
            self.settle(reader, 0)
        self.check()
        for came in self.came.values():
            assert set(came) == set(self.committed)
        self.clean()
        assert self.kit.count("log") == 0

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


@pytest.fixture(autouse=True)
def fast_readers_stay_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader tries the short way also when another one has just been faster."""
    monkeypatch.setattr(shortcut, "SHARED", 0.0)


@settings(
    max_examples=60, suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large,
    ],
)
@given(steps=STEPS)
def test_each_committed_event_comes_once_and_no_other(server: Postgres, steps: list[Any]) -> None:
    kit = Kit(server, fresh=False)
    world = World(kit)
    try:
        for name, *arguments in steps:
            getattr(world, name)(*arguments)
        world.end()
    finally:
        world.close()
        kit.close()


@pytest.mark.parametrize("peers", [1, 2])
def test_what_is_committed_between_two_statements_of_a_claim_comes_later(
    kit: Kit, peers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = kit.bus()
    readers = [kit.consumer(kit.bus()) for _ in range(peers)]
    published: list[str] = []
    execute = Link._execute

    def executed(link: Link, *arguments: Any) -> Any:
        """After each statement of a reader, somebody commits."""
        answer = execute(link, *arguments)
        if len(published) < 200 and any(link is reader._link for reader in readers):
            published.append(bus.publish("a.b", None).id)
        return answer

    monkeypatch.setattr(Link, "_execute", executed)
    found: list[Delivery] = []
    empty = 0
    while empty < 3:
        came = [fetch(reader, timeout=0.3) for reader in readers]
        empty = 0 if any(came) else empty + 1
        for reader, deliveries in zip(readers, came, strict=True):
            reader.settle(Settlement(acks=deliveries))
            found += deliveries

    assert len(published) == 200
    assert [json.loads(d.data)["id"] for d in found] == published


def _commit_at_random(url: str, bus: EventBus, number: int, committed: list[str]) -> None:
    chance = random.Random(number)
    with psycopg.connect(url) as caller:
        for _ in range(60):
            caller.execute("SELECT pg_current_xact_id()")
            time.sleep(chance.random() * 0.01)
            events = [("a.b", None)] * chance.randint(1, 5)
            made = bus.publish_many(events, connection=caller)
            time.sleep(chance.random() * 0.02)
            if chance.random() < 0.3:
                caller.rollback()
            else:
                caller.commit()
                committed += [event.id for event in made]


def test_threads_that_commit_and_roll_back_while_two_members_handle(kit: Kit) -> None:
    one, two = Received(), Received(name="two")
    publisher = kit.bus()
    for received in (one, two):
        kit.bus().subscribe("a.*", received, name="handler")
    committed: list[str] = []

    with started(8, lambda n: _commit_at_random(kit.server.url, publisher, n, committed)):
        pass
    wait_for(lambda: len(one) + len(two) >= len(committed), what="all of them")
    assert publisher.join(5)

    handled = Counter(event.id for event in (*one.events, *two.events))
    assert set(handled) == set(committed)
    assert set(handled.values()) == {1}
    assert min(len(one), len(two)) > 0


# -- a transaction that stays open ---------------------------------------------------------------


def _open_writer(kit: Kit, where: str) -> psycopg.Connection[Any]:
    """A transaction that has written something, and goes on."""
    writer = psycopg.connect(kit.server.url.rpartition("/")[0] + f"/{where}")
    writer.execute("CREATE TABLE IF NOT EXISTS busy (i int)")
    return writer


@pytest.fixture
def elsewhere(kit: Kit) -> str:
    """Another database of the same cluster."""
    with psycopg.connect(kit.server.admin_url, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS elsewhere WITH (FORCE)")
        admin.execute("CREATE DATABASE elsewhere OWNER bus")
    return "elsewhere"


@pytest.mark.slow
def test_transactions_open_for_a_minute_delay_nobody_elses_events(
    kit: Kit, elsewhere: str
) -> None:
    with _open_writer(kit, "bus"), _open_writer(kit, elsewhere):
        _each_is_handled_at_once(kit, 60.0)


@pytest.mark.parametrize("where", ["elsewhere", "bus"])
def test_an_open_transaction_delays_nobody_elses_events(
    kit: Kit, elsewhere: str, where: str
) -> None:
    with _open_writer(kit, where):
        _each_is_handled_at_once(kit, 2.0)


def _each_is_handled_at_once(kit: Kit, seconds: float) -> None:
    """Within a second, and once by each of two subscriptions."""
    bus, late = kit.bus(), []
    handled: Counter[str] = Counter()
    published: list[str] = []

    def handle(event: Event) -> None:
        handled[event.id] += 1
        late.append(time.monotonic() - event.payload)

    bus.subscribe("a.b", handle, name="handle")
    bus.subscribe("a.*", handle, name="handle")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        published.append(bus.publish("a.b", time.monotonic()).id)
        threading.Event().wait(0.05)
    wait_for(lambda: len(late) >= 2 * len(published), what="all of them")
    assert bus.join(5)

    print(f"{len(published)} events, the latest after {1000 * max(late):.0f} ms")
    assert handled == Counter(dict.fromkeys(published, 2))
    assert max(late) < 1.0
