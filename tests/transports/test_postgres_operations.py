"""Rights, restores and housekeeping."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventbus import AuthenticationError, EventBus, PublishError, TopologyError
from eventbus._engine import maintenance
from eventbus.transports.base import Settlement
from eventbus.transports.postgres import leases, retention, schema
from eventbus.transports.postgres.snapshot import Place
from tests.conformance.target import Received, in_threads
from tests.servers import Postgres
from tests.transports import postgres_user
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


# -- rights ---------------------------------------------------------------------------------------


@pytest.fixture
def roles(kit: Kit) -> Iterator[None]:
    with psycopg.connect(kit.server.admin_url, autocommit=True) as admin:
        for role in ("events", "publisher"):
            postgres_user.create(admin, role)
        yield
        for role in ("events", "publisher"):
            admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_without_the_right_to_make_tables_it_says_what_to_do(kit: Kit, roles: None) -> None:
    bus = kit.bus(postgres_user.url(kit.server.url, "events"))

    with pytest.raises(AuthenticationError, match="run `eventbus declare` once with a role that"):
        bus.subscribe("a.b", Received())
    with pytest.raises(PublishError, match="run `eventbus declare` once"):
        bus.publish("a.b")

    kit.bus().declare()
    kit.bus().topics()
    with pytest.raises(AuthenticationError, match="permission denied"):
        kit.bus(postgres_user.url(kit.server.url, "events")).subscribe("a.b", Received())


def test_a_role_that_only_publishes(kit: Kit, roles: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(maintenance, "INTERVAL", 0.0)
    owner, received = kit.bus(), Received()
    owner.subscribe("a.b", received)
    postgres_user.allow(kit.sql, "publisher")
    url = postgres_user.url(kit.server.url, "publisher")
    publisher = kit.bus(url)

    publisher.publish("a.b", 1)
    publisher.publish_many([("a.b", 2), ("a.b", 3)])
    with psycopg.connect(url) as caller:
        publisher.publish("a.b", 4, connection=caller)

    received.wait_for_payloads([1, 2, 3, 4])
    with pytest.raises(AuthenticationError):
        publisher.subscribe("a.b", Received())


def test_tables_of_a_newer_version_are_refused(kit: Kit) -> None:
    kit.bus().topics()
    kit.sql.execute("UPDATE eventbus.meta SET value = '99' WHERE name = 'version'")

    with pytest.raises(TopologyError, match=r"version 99.*upgrade eventbus"):
        kit.bus().subscribe("a.b", Received())


def test_many_processes_may_bring_older_tables_forward_at_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.bus().publish("a.b", "older")
    # Twice would be an error, and so would a half of it.
    newer = "ALTER TABLE {log} ADD COLUMN more int; CREATE TABLE {meta}_more (i int);"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, newer))
    buses = [kit.bus() for _ in range(8)]

    in_threads(8, lambda number: buses[number].publish("a.b", number))

    assert kit.count("log") == 9
    (version,) = kit.sql.execute("SELECT value FROM eventbus.meta WHERE name = 'version'")
    assert version == (str(len(schema.MIGRATIONS)),)


def test_an_application_may_have_tables_of_the_same_names(kit: Kit) -> None:
    kit.sql.execute("CREATE TABLE IF NOT EXISTS public.log (id int)")
    kit.bus().publish("a.b")

    assert kit.count("log") == 1
    assert kit.sql.execute("SELECT count(*) FROM public.log").fetchone() == (0,)


# -- a dump in another cluster --------------------------------------------------------------------


def _dump(url: str, path: Path) -> None:
    from services.postgres import _program

    argv = [_program("pg_dump"), "--schema=eventbus", "-f", path, url]
    subprocess.run([str(word) for word in argv], check=True, timeout=60)


def _load(url: str, path: Path) -> None:
    from services.postgres import _program

    argv = [_program("psql"), "-q", "-v", "ON_ERROR_STOP=1", "-f", path, url]
    subprocess.run([str(word) for word in argv], check=True, timeout=60, capture_output=True)


def test_a_dump_in_a_younger_cluster_is_noticed_and_nothing_is_skipped(
    kit: Kit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = kit.bus(lease=1.0)
    reader = kit.consumer(old)
    kit.sql.execute("DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT;"
                    " END LOOP; END $$")
    old.publish_many(("a.b", ["old", number]) for number in range(10))
    done = fetch(reader)[:3]
    reader.settle(Settlement(acks=done))
    old.publish_many(("a.b", ["waiting", number]) for number in range(5))
    _dump(kit.server.url, tmp_path / "dump.sql")

    with Postgres(tmp_path / "younger") as younger:
        _load(younger.url, tmp_path / "dump.sql")
        received = Received()
        with EventBus(younger.url, group="g", environ={}, lease=1.0) as bus:
            bus.publish("a.b", ["new", 0])
            bus.subscribe("a.b", received)
            bus.publish("a.b", ["new", 1])
            received.wait(14, timeout=20.0)
            assert bus.join(10)

    wanted = [["old", n] for n in range(3, 10)] + [["waiting", n] for n in range(5)]
    assert sorted(received.payloads) == sorted([*wanted, ["new", 0], ["new", 1]])
    assert "was restored from another cluster" in caplog.text


def test_a_dump_in_an_older_cluster_goes_on(kit: Kit, tmp_path: Path) -> None:
    with Postgres(tmp_path / "younger") as younger:
        with EventBus(younger.url, group="g", environ={}) as bus:
            bus._engine.transport.declare(LITERAL, "latest")
            bus.publish_many(("a.b", number) for number in range(5))
        _dump(younger.url, tmp_path / "dump.sql")
    kit.sql.execute("DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT;"
                    " END LOOP; END $$")
    _load(kit.server.url, tmp_path / "dump.sql")
    bus, received = kit.bus(), Received()

    bus.subscribe("a.b", received)
    bus.publish("a.b", 5)

    received.wait(6)
    assert bus.join(5)
    assert received.payloads == [0, 1, 2, 3, 4, 5]


# -- housekeeping ---------------------------------------------------------------------------------


def test_what_is_committed_while_old_events_are_removed_is_not_removed(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = kit.bus(retention=timedelta(seconds=0.1))
    reader = kit.consumer(bus)
    look = retention.unsettled_from
    with kit.connect() as caller:
        bus.publish("a.b", "late", connection=caller)
        bus.publish("a.b", "old")
        reader.settle(Settlement(acks=fetch(reader)))
        time.sleep(0.2)

        def look_and_commit(*arguments: Any) -> Place | None:
            floor = look(*arguments)
            caller.commit()
            return floor

        monkeypatch.setattr(retention, "unsettled_from", look_and_commit)
        bus._engine.transport.maintain()
        assert kit.count("log") == 1

    assert len(fetch(reader)) == 1


def test_removing_keeps_pace_and_leaves_no_bloat(kit: Kit, monkeypatch: Any) -> None:
    monkeypatch.setattr(maintenance, "INTERVAL", 0.2)
    bus, received = kit.bus(retention=timedelta(seconds=0.5)), Received()
    bus.subscribe("a.b", received)
    sizes, total = [], 0
    began = time.monotonic()
    while time.monotonic() - began < 12.0:
        bus.publish_many(("a.b", "x" * 200) for _ in range(1_000))
        total += 1_000
        received.wait(total)
        # What autovacuum does here each minute.
        kit.sql.execute("VACUUM eventbus.log, eventbus.lease, eventbus.subscription")
        (size,) = kit.sql.execute("SELECT pg_total_relation_size('eventbus.log')").fetchone()
        sizes.append(size)

    half = len(sizes) // 2
    assert total >= 20_000
    assert kit.count("log") < total / 2
    assert max(sizes[half:]) <= 1.5 * max(sizes[:half])


def test_places_are_packed_and_unpacked() -> None:
    places = [Place(-5, 3), Place(2**40, 4), Place(7, 900)]

    assert leases.unpack(leases.pack(reversed(places))) == places
    assert leases.unpack(leases.pack([])) == []
    # A full batch takes less than a kilobyte, so that no lease is stored out of line.
    batch = [Place(10_000 + n // 3, 50_000 + n) for n in range(1_000)]
    assert len(leases.pack(batch)) < 1_000
