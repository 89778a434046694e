"""What is true of the PostgreSQL transport only: tables, leases, retention, on a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from eventbus.transports.base import Budget, Settlement, SubscriptionId
from eventbus.transports.postgres import consumer, shortcut
from eventbus.transports.postgres.looks import BEHIND
from tests.conformance.target import Received, in_threads, wait_for
from tests.servers import Postgres
from tests.transports.postgres_kit import LITERAL, Kit, fetch

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def kit(server: Postgres) -> Iterator[Kit]:
    made = Kit(server)
    yield made
    made.close()


# -- topology ------------------------------------------------------------------------------------


def test_a_schema_of_another_name_is_another_bus(kit: Kit) -> None:
    name = "Other-schema_2"
    bus, other = kit.bus(), kit.bus(f"{kit.server.url}?schema={name}")
    one, two = Received(), Received()
    try:
        bus.subscribe("a.b", one)
        other.subscribe("a.b", two)
        bus.publish("a.b", 1)
        other.publish("a.b", 2)

        one.wait(1)
        two.wait(1)
        assert bus.join(5)
        assert other.join(5)
        assert (one.payloads, two.payloads) == ([1], [2])
    finally:
        other.close()
        kit.sql.execute(f'DROP SCHEMA "{name}" CASCADE')


def test_many_processes_may_make_the_tables_at_once(kit: Kit) -> None:
    buses = [kit.bus() for _ in range(8)]

    in_threads(8, lambda number: buses[number].publish("a.b", number))

    assert kit.count("log") == 8


# The last ones in the order in which readers lock them, or one of the two would be a deadlock's
# victim.
@pytest.mark.parametrize("tables", ["log", "lease", "inbox", "subscription, log, lease, inbox"])
def test_dropped_tables_are_made_again_and_counted(kit: Kit, tables: str) -> None:
    bus, received = kit.bus(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.join(5)

    names = ", ".join(f"eventbus.{name.strip()}" for name in tables.split(","))
    kit.sql.execute(f"DROP TABLE {names}")
    wait_for(lambda: bus.stats().topology_lost == 1, what="the loss to be counted")
    bus.publish("a.b", 2)

    received.wait_for_payloads([1, 2])
    wait_for(lambda: bus.health().ok, what="a healthy bus")


def test_dropped_tables_are_made_again_once_whoever_notices(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    buses = [kit.bus() for _ in range(6)]
    for bus in buses:
        bus.subscribe("a.b", Received())
    with kit.connect() as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('eventbus:eventbus', 0))")
        # One by one: readers do not all lock them in one order.
        kit.sql.execute("DROP TABLE eventbus.subscription")
        kit.sql.execute("DROP TABLE eventbus.log")
        wait_for(lambda: _waiting(kit) >= 3, what="some to be about to make them")

    wait_for(lambda: sum(bus.stats().reconnects for bus in buses) >= 3, what="them to come back")
    wait_for(lambda: all(bus.health().ok for bus in buses), what="healthy buses")

    assert sum(bus.stats().topology_lost for bus in buses) == 1
    assert caplog.text.count("had vanished and was made again") == 1


def _waiting(kit: Kit) -> int:
    """Sessions that wait to be the one that makes tables."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
    ((number,),) = kit.sql.execute(sql).fetchall()
    return int(number)


def test_a_dropped_schema_is_made_again_by_a_publisher(kit: Kit) -> None:
    publisher = kit.bus()
    publisher.publish("a.b", 1)

    kit.sql.execute("DROP SCHEMA eventbus CASCADE")
    publisher.publish("a.b", 2)

    assert kit.count("log") == 1


def test_dropping_leaves_nothing_of_a_subscription(kit: Kit) -> None:
    bus = kit.bus()
    reader = kit.consumer(bus)
    bus.publish_many([("a.b", 1), ("a.b", 2)])
    assert len(fetch(reader)) == 2

    assert bus._engine.transport.drop(LITERAL)

    assert [kit.count(table) for table in ("subscription", "lease", "inbox")] == [0, 0, 0]


def test_a_dropped_subscription_ends_the_session_and_begins_anew(kit: Kit) -> None:
    bus, received = kit.bus(), Received()
    bus.subscribe("a.b", received)

    kit.sql.execute("DELETE FROM eventbus.subscription")
    wait_for(lambda: bus.publish("a.b") and bus.stats().topology_lost == 1, what="a new one")

    bus.publish("a.b", "last")
    received.wait_for_payloads(["last"])


# -- what is claimed -----------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["a.b", "a.*"])
def test_a_cursor_moves_on_where_nothing_comes(
    kit: Kit, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each look would have to pass over more and more."""
    monkeypatch.setattr(consumer, "MOVE_ON", 0.1)
    id = SubscriptionId("g", pattern)
    bus = kit.bus()
    reader = kit.consumer(bus, id)
    assert fetch(reader, id, timeout=0.0) == []
    for _ in range(BEHIND + 10):
        bus.publish("other")
    (now,) = kit.sql.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()

    wait_for(lambda: fetch(reader, id, timeout=0.1) == [] and _seen(kit) >= now - BEHIND)


def _seen(kit: Kit) -> int:
    ((seen,),) = kit.sql.execute("SELECT seen_xmax FROM eventbus.subscription").fetchall()
    return int(seen)


def test_two_readers_take_turns_at_the_short_way(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcut, "SHARED", 0.0)
    bus = kit.bus()
    readers = [kit.consumer(kit.bus()) for _ in range(2)]
    published, found, short = [], [], 0
    for number in range(20):
        published.append(bus.publish("a.b", number).id)
        reader = readers[number // 3 % 2]
        short += reader._shortcut.knows(LITERAL)
        found += [json.loads(d.data)["id"] for d in fetch(reader)]

    assert found == published
    assert short >= 10


def test_a_budget_of_bytes_is_kept_and_one_event_always_comes(kit: Kit) -> None:
    bus = kit.bus()
    reader = kit.consumer(bus)
    bus.publish_many(("a.b", "x" * 10_000) for _ in range(5))
    size = kit.sql.execute("SELECT octet_length(data) FROM eventbus.log LIMIT 1").fetchone()[0]

    small = fetch(reader, budget=Budget(100, 1, ()))
    two = fetch(reader, budget=Budget(100, size + 1, ()))
    rest = fetch(reader, budget=Budget(100, 10 * size, ()))

    assert [len(small), len(two), len(rest)] == [1, 2, 2]


def test_a_wildcard_passes_over_what_is_not_for_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventbus.transports.postgres.window.LOOK", 10)
    bus, id = kit.bus(), SubscriptionId("g", "a.*.c")
    reader = kit.consumer(bus, id)
    for number in range(5):
        bus.publish_many(("other.topic", None) for _ in range(17))
        bus.publish("a.b.c", number)
        bus.publish("a.c", number)

    found: list[Any] = []
    wait_for(lambda: found.extend(fetch(reader, id, 0.1)) or len(found) == 5, what="all of them")

    assert [d.topic for d in found] == ["a.b.c"] * 5
    assert bus._engine.transport.backlog(id) == 5


@pytest.mark.parametrize("pattern", ["a.b", "**"])
def test_a_backlog_is_read_in_order_once_and_counted(kit: Kit, pattern: str) -> None:
    bus, id = kit.bus(), SubscriptionId("g", pattern)
    reader = kit.consumer(bus, id)
    bus.publish_many(("a.b", number) for number in range(1_000))
    transport = bus._engine.transport
    mark = transport.mark()
    bus.publish_many(("a.b", number) for number in range(1_000, 1_500))
    assert [transport.backlog(id), transport.backlog(id, mark)] == [1_500, 1_000]

    seen: list[int] = []
    while found := fetch(reader, id, 0.2):
        seen += [d.receipt.id for d in found]
        assert reader.settle(Settlement(acks=found[1:])) == []
        left = len(seen) // 100
        assert transport.backlog(id) == 1_500 - len(seen) + left

    assert len(seen) == len(set(seen)) == 1_500
    assert seen == sorted(seen)
    assert transport.backlog(id, mark) == 10


# -- leases --------------------------------------------------------------------------------------


def test_the_events_of_a_silent_member_are_taken_over(kit: Kit) -> None:
    first, second = kit.bus(lease=1.0), kit.bus(lease=1.0)
    silent = kit.consumer(first)
    first.publish("a.b", 1)
    held = fetch(silent)
    assert len(held) == 1
    began = time.monotonic()
    other = kit.consumer(second)

    while not (found := fetch(other)):
        assert time.monotonic() - began < 10

    assert time.monotonic() - began >= 0.9
    assert [(d.deaths, d.started) for d in found] == [(1, False)]
    # The late outcome of the silent one is ignored.
    assert list(silent.settle(Settlement(acks=held))) == held
    assert other.settle(Settlement(acks=found)) == []
    assert kit.count("lease") == 0


def test_a_renewed_lease_is_not_taken_over(kit: Kit) -> None:
    first, second = kit.bus(lease=1.0), kit.bus(lease=1.0)
    busy, other = kit.consumer(first), kit.consumer(second)
    first.publish("a.b", 1)
    held = fetch(busy)
    until = time.monotonic() + 2.5

    while time.monotonic() < until:
        assert busy.keepalive(held) == []
        assert fetch(other, timeout=0.2) == []

    assert busy.settle(Settlement(acks=held)) == []


def test_what_is_let_go_goes_to_a_peer_when_the_lease_ends(kit: Kit) -> None:
    first, second = kit.bus(lease=1.0), kit.bus(lease=1.0)
    stuck, other = kit.consumer(first), kit.consumer(second)
    first.publish_many([("a.b", 1), ("a.b", 2)])
    kept, let_go = fetch(stuck)
    stuck.keepalive([kept])
    began = time.monotonic()

    while not (found := fetch(other, timeout=0.2)):
        assert time.monotonic() - began < 10
        stuck.keepalive([kept])

    assert time.monotonic() - began > 0.5
    assert [d.receipt.id for d in found] == [let_go.receipt.id]
    assert stuck.settle(Settlement(acks=[kept, let_go])) == [let_go]
    assert other.settle(Settlement(acks=found)) == []
    assert kit.count("lease") == 0


def test_what_is_given_back_goes_to_a_peer_at_once_and_without_a_death(kit: Kit) -> None:
    first, second = kit.bus(), kit.bus()
    one, other = kit.consumer(first), kit.consumer(second)
    first.publish_many([("a.b", 1), ("a.b", 2)])
    done, held = fetch(one)
    assert fetch(other, timeout=0.0) == []
    began = time.monotonic()

    one.settle(Settlement(acks=[done], releases=[held]))
    found = fetch(other, timeout=5.0)

    assert time.monotonic() - began < 2.0
    assert [(d.deaths, d.receipt.id) for d in found] == [(0, held.receipt.id)]


def test_a_mark_is_found_by_whoever_takes_over(kit: Kit) -> None:
    kit.consumer(kit.bus())
    kit.bus().publish("a.b", 1)
    found: list[Any] = []
    for _ in range(3):
        dying = kit.consumer(kit.bus(lease=0.3))
        wait_for(lambda c=dying: found.extend(fetch(c, timeout=0.1)) or found, what="the event")
        (delivery,) = found
        found.clear()
        dying.mark_started(delivery)
        dying.close()

    last = kit.consumer(kit.bus(lease=0.3))
    wait_for(lambda: found.extend(fetch(last, timeout=0.1)) or found, what="the event")

    assert [(d.deaths, d.started) for d in found] == [(3, True)]


def test_own_events_come_back_after_a_reconnect(kit: Kit) -> None:
    bus = kit.bus()
    before = kit.consumer(bus)
    bus.publish_many([("a.b", 1), ("a.b", 2), ("a.b", 3)])
    held, lost_with_the_answer = fetch(before, budget=Budget(2, 1_000_000, ()))
    (lost_with_the_batch,) = fetch(before)
    before.close()
    after = kit.consumer(bus, held=[held])

    found = fetch(after)

    lost = [lost_with_the_answer.receipt.id, lost_with_the_batch.receipt.id]
    assert sorted(d.receipt.id for d in found) == lost
    assert [d.deaths for d in found] == [0, 0]
    assert after.settle(Settlement(acks=[held, *found])) == []
    assert kit.count("lease") == 0


def test_a_settlement_whose_answer_was_lost_is_not_done_twice(kit: Kit) -> None:
    bus = kit.bus()
    before = kit.consumer(bus)
    bus.publish_many([("a.b", 1), ("a.b", 2), ("a.b", 3)])
    acked, released, kept = fetch(before)
    settlement = Settlement(acks=[acked], releases=[released])
    memory = dict(acked.receipt.lease.held)
    before.settle(settlement)
    # As if the answer to COMMIT had never come.
    acked.receipt.lease.held = memory
    before.close()
    after = kit.consumer(bus, held=[acked, released, kept])

    assert set(after.settle(settlement)) == {acked, released}

    assert [d.receipt.id for d in fetch(after)] == [released.receipt.id]
    assert fetch(after, timeout=0.2) == []


def test_successes_are_remembered_for_whoever_takes_over(kit: Kit) -> None:
    first, second = kit.bus(lease=0.5), kit.bus(lease=0.5)
    dying, other = kit.consumer(first), kit.consumer(second)
    first.publish_many([("a.b", 1), ("a.b", 2)])
    one, two = fetch(dying)

    dying.settle(Settlement(succeeded=[(two, "h"), (two, "other")]))
    found: list[Any] = []
    wait_for(lambda: found.extend(fetch(other, timeout=0.1)) or found, what="the events")

    assert [(d.receipt.id, tuple(d.succeeded)) for d in found] == [
        (one.receipt.id, ()), (two.receipt.id, ("h", "other")),
    ]


# -- retention -----------------------------------------------------------------------------------


def test_only_what_is_old_and_settled_by_all_is_removed(kit: Kit) -> None:
    bus = kit.bus(retention=timedelta(seconds=0.2))
    received = Received()
    bus.subscribe("a.b", received)
    slow = SubscriptionId("slow", "a.*")
    bus._engine.transport.declare(slow, "earliest")
    bus.publish_many(("a.b", number) for number in range(500))
    received.wait(500)
    assert bus.join(10)
    time.sleep(0.3)

    bus._engine.transport.maintain()
    assert kit.count("log") == 500
    reader = kit.consumer(bus, slow)
    held = fetch(reader, slow)
    reader.settle(Settlement(acks=[d for d in held if d is not held[10]]))
    bus._engine.transport.maintain()
    assert kit.count("log") == 490

    bus.subscriptions.drop("slow", "a.*")
    bus._engine.transport.maintain()
    assert kit.count("log") == 0


def test_what_is_young_is_kept(kit: Kit) -> None:
    bus = kit.bus(retention=timedelta(seconds=30))
    bus.publish("a.b")

    assert bus._engine.transport.maintain() is False
    assert kit.count("log") == 1


def test_an_old_event_that_is_committed_late_is_not_removed_before_it_was_seen(kit: Kit) -> None:
    bus = kit.bus(retention=timedelta(seconds=0.1))
    reader = kit.consumer(bus)
    with kit.connect() as caller:
        bus.publish("a.b", "late", connection=caller)
        bus.publish_many(("a.b", number) for number in range(10))
        found = fetch(reader)
        reader.settle(Settlement(acks=found))
        time.sleep(0.2)
        bus._engine.transport.maintain()
        assert kit.count("log") == 0
        caller.commit()
    bus._engine.transport.maintain()

    assert len(fetch(reader)) == 1


def test_removing_goes_on_while_there_is_more(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventbus.transports.postgres.retention.BATCH", 10)
    bus = kit.bus(retention=timedelta(seconds=0.01))
    bus.publish_many(("a.b", number) for number in range(35))
    time.sleep(0.02)
    transport = bus._engine.transport

    monkeypatch.setattr("eventbus.transports.postgres.retention.LONGEST", 0.0)
    assert (transport.maintain(), kit.count("log")) == (True, 25)
    monkeypatch.setattr("eventbus.transports.postgres.retention.LONGEST", 60.0)
    assert (transport.maintain(), kit.count("log")) == (False, 0)


def test_topics_are_those_of_the_log(kit: Kit) -> None:
    bus = kit.bus()
    bus.publish_many((topic, None) for topic in ("b", "a.b", "b", "a.c") for _ in range(50))

    assert bus.topics() == ["a.b", "a.c", "b"]
