"""Behind PgBouncer, which hands a session to somebody else after each transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.target import Received, in_threads, wait_for
from tests.servers import Postgres
from tests.transports.pgbouncer import PgBouncer
from tests.transports.postgres_kit import Kit

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with Postgres(folder, options={"default_transaction_isolation": "serializable"}) as server:
        yield server


@pytest.fixture
def pooler(server: Postgres, tmp_path: Path) -> Iterator[PgBouncer]:
    with PgBouncer(tmp_path, server) as pooler:
        yield pooler


@pytest.fixture
def kit(server: Postgres) -> Iterator[Kit]:
    made = Kit(server)
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_members_behind_a_pooler_share_all_events(kit: Kit, tmp_path: Path, mode: str) -> None:
    with PgBouncer(tmp_path, kit.server, mode) as pooler:
        _share(kit, pooler.url)
        kit.close()


def _share(kit: Kit, url: str) -> None:
    everything = [Received() for _ in range(4)]
    for received in everything:
        kit.bus(url).subscribe("a.*", received, name="handler")
    publisher = kit.bus(url)

    def publish(thread: int) -> None:
        for number in range(25):
            publisher.publish("a.b", [thread, number])
        publisher.publish_many(("a.c", [thread, number]) for number in range(100))

    in_threads(4, publish)
    wait_for(lambda: sum(map(len, everything)) >= 500, what="all events")
    assert publisher.join(5)

    handled = Counter(event.id for received in everything for event in received.events)
    assert (len(handled), set(handled.values())) == (500, {1})


def test_a_pooler_in_transaction_mode_is_noticed(kit: Kit, pooler: PgBouncer) -> None:
    bus, received = kit.bus(pooler.url), Received()
    bus.subscribe("a.b", received)
    transport = bus._engine.transport

    bus.publish("a.b")
    received.wait(1, timeout=2.0)

    assert transport._publishing._link.pooled
    # Nobody listens on a session that others use, and nothing is prepared on it.
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
    assert kit.sql.execute(sessions).fetchone() == (0,)


def test_a_restarted_pooler_is_found_again(kit: Kit, pooler: PgBouncer) -> None:
    bus, received = kit.bus(pooler.url), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)

    pooler.restart()
    bus.publish("a.b", 2)

    received.wait_for_payloads([1, 2])
