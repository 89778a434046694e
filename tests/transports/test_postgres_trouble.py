"""PostgreSQL in trouble: what fails says so in time, and what is said to be stored is."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventbus import AuthenticationError, EventBus, PublishError, TopologyError
from eventbus.errors import ConfigurationError
from eventbus.transports.base import Settlement
from eventbus.transports.postgres import link
from tests.conformance.target import Received, wait_for
from tests.servers import Postgres, make_certificates
from tests.transports.postgres_kit import LITERAL, Kit, fetch

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with Postgres(folder, password="right-one") as server:
        yield server


@pytest.fixture
def kit(server: Postgres) -> Iterator[Kit]:
    made = Kit(server)
    yield made
    made.close()


def outcome_of(publish: Callable[[], object], within: float) -> str:
    began = time.monotonic()
    with pytest.raises(PublishError) as caught:
        publish()
    assert time.monotonic() - began < within
    return caught.value.outcome


# -- getting in ----------------------------------------------------------------------------------


def test_a_wrong_password_fails_at_once_and_is_not_shown(kit: Kit) -> None:
    bus = kit.bus(kit.server.url.replace("right-one", "wrong-secret"))
    began = time.monotonic()
    with pytest.raises(AuthenticationError) as caught:
        bus.subscribe("a.b", Received())
    with pytest.raises(PublishError) as refused:
        bus.publish("a.b")

    assert time.monotonic() - began < 5
    assert "secret" not in f"{caught.value}{refused.value}{bus!r}{bus.health()}"
    assert refused.value.outcome == "failed"


def test_a_database_that_is_not_there_is_named(kit: Kit) -> None:
    bus = kit.bus(kit.server.url.rpartition("/")[0] + "/nowhere")

    with pytest.raises(TopologyError, match=r'"nowhere" does not exist.*create it'):
        bus.subscribe("a.b", Received())


@pytest.mark.parametrize(
    ("query", "message"), [("?foo=1", r'parameter: "foo"'), ("?options=%zz", "not understood")]
)
def test_what_the_client_does_not_understand_is_named(query: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        EventBus(f"postgresql://u:secret@127.0.0.1:1/d{query}", environ={})
    assert "secret" not in str(caught.value)


def test_nothing_listens() -> None:
    url = "postgresql://bus:secret@127.0.0.1:1/bus"
    with EventBus(url, group="g", environ={}, publish_timeout=1.0) as bus:
        assert outcome_of(lambda: bus.publish("a.b"), 3.0) == "failed"


def test_the_next_host_is_tried(kit: Kit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        others = f"127.0.0.1:1,127.0.0.1:{silent.getsockname()[1]}"
        url = kit.server.url.replace("@", f"@{others},") + "?target_session_attrs=read-write"
        bus, received = kit.bus(url), Received()
        began = time.monotonic()
        bus.publish("a.b", 1)
        assert time.monotonic() - began < 5.0
        bus.subscribe("a.b", received, start_from="earliest")
        received.wait(1)


def test_many_hosts_that_swallow_everything_take_no_longer_than_one(kit: Kit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = ",".join([f"127.0.0.1:{silent.getsockname()[1]}"] * 4)
        bus = kit.bus(f"postgresql://bus:secret@{hosts}/bus", publish_timeout=1.0)
        assert outcome_of(lambda: bus.publish("a.b"), 2.0) == "failed"


def test_no_connection_is_left_over(kit: Kit) -> None:
    with psycopg.connect(kit.server.admin_url, autocommit=True) as admin:
        admin.execute("ALTER ROLE bus CONNECTION LIMIT 3")
        _with_few_connections(kit)
        admin.execute("ALTER ROLE bus CONNECTION LIMIT -1")


def _with_few_connections(kit: Kit) -> None:
    bus = kit.bus(publish_timeout=0.5)
    with kit.connect(), kit.connect():
        assert outcome_of(lambda: bus.publish("a.b"), 2.0) == "failed"
    bus.publish("a.b")


# -- a server that is busy, paused, killed --------------------------------------------------------


def test_a_paused_server_times_out_with_an_honest_outcome(kit: Kit) -> None:
    bus, received = kit.bus(publish_timeout=1.0), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    kit.server.pause()
    try:
        assert outcome_of(lambda: bus.publish("a.b", 2), 2.0) == "unknown"
        began = time.monotonic()
        bus.close(2.0)
        assert time.monotonic() - began < 4.0
    finally:
        kit.server.resume()
    kit.bus().publish("a.b", 3)


def test_a_locked_log_is_certainly_not_written(kit: Kit) -> None:
    bus, received = kit.bus(publish_timeout=1.0), Received()
    bus.subscribe("a.b", received)
    with kit.connect() as other:
        other.execute("LOCK TABLE eventbus.log IN ACCESS EXCLUSIVE MODE")
        assert outcome_of(lambda: bus.publish("a.b", "never"), 2.0) == "failed"
    bus.publish("a.b", "later")

    received.wait_for_payloads(["later"])
    assert bus.join(10)
    assert received.payloads == ["later"]


def test_a_killed_server_loses_nothing_that_was_confirmed(kit: Kit) -> None:
    bus, received = kit.bus(lease=2.0), Received()
    bus.subscribe("a.b", received)
    confirmed = []
    for number in range(300):
        if number == 150:
            kit.server.kill()
            kit.server.start()
        try:
            bus.publish("a.b", number)
            confirmed.append(number)
        except PublishError:
            continue

    received.wait_for_payloads(confirmed)
    assert len(confirmed) >= 298


@pytest.mark.parametrize("short", [False, True])
def test_a_claim_outlives_a_crash_of_the_server(kit: Kit, short: bool) -> None:
    bus = kit.bus()
    reader = kit.consumer(bus)
    if short:
        # A reader that knows where the cursor stands claims in another way.
        fetch(reader, timeout=0.0)
        assert reader._shortcut.knows(LITERAL)
    bus.publish("a.b")
    held = fetch(reader)
    kit.server.kill()
    kit.server.start()

    again = kit.consumer(bus, held=held)

    # Had it been taken back, a peer would handle at this moment what this member goes on with.
    assert fetch(kit.consumer(kit.bus()), timeout=0.3) == []
    assert again.settle(Settlement(acks=held)) == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_settlement_outlives_a_crash_of_the_server(kit: Kit, whole: bool) -> None:
    reader = kit.consumer(kit.bus())
    kit.bus().publish_many([("a.b", 1), ("a.b", 2)])
    held = fetch(reader)
    reader.settle(Settlement(acks=held if whole else held[:1]))
    kit.server.kill()
    kit.server.start()

    with kit.connect() as sql:
        left = sql.execute("SELECT coalesce(sum(count), 0) FROM eventbus.lease").fetchone()
    assert left == (0 if whole else 1,)


def test_sessions_that_are_terminated_come_back(kit: Kit) -> None:
    bus, received = kit.bus(), Received()
    bus.subscribe("a.b", received)
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'bus'"
    for number in range(5):
        kit.sql.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")
        # An idle connection that has ended is noticed before anything is sent.
        bus.publish("a.b", number)

    received.wait_for_payloads(range(5))
    assert bus.join(10)
    wait_for(lambda: bus.health().ok, what="a healthy bus")


def test_a_wiped_server_is_noticed(kit: Kit) -> None:
    bus, received = kit.bus(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.join(5)

    kit.sql.close()
    kit.server.wipe()
    wait_for(lambda: bus.stats().topology_lost == 1, what="the loss to be counted")
    bus.publish("a.b", 2)

    received.wait_for_payloads([1, 2])


# -- settings of the server -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statement_timeout", "1ms"),
        ("lock_timeout", "1ms"),
        ("idle_in_transaction_session_timeout", "1ms"),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("DateStyle", "German"),
        ("bytea_output", "escape"),
        ("TimeZone", "Asia/Kolkata"),
        ("search_path", "pg_catalog"),
        ("standard_conforming_strings", "off"),
        ("enable_indexscan", "off"),
    ],
)
def test_a_setting_of_the_role_does_no_harm(kit: Kit, name: str, value: str) -> None:
    kit.bus().topics()
    kit.sql.execute(f"ALTER ROLE bus SET {name} = '{value}'")
    try:
        bus, received = kit.bus(), Received()
        bus.subscribe("a.*", received)
        kit.bus(group="other").subscribe("a.b", lambda event: None, name="literal")
        bus.publish_many(("a.b", number) for number in range(200))
        bus.publish("a.c", "é", key="ü\\")
        received.wait_for_payloads([*range(200), "é"])
        assert bus.join(10)
        assert bus.stats().reconnects == 0
    finally:
        kit.sql.execute("SET default_transaction_read_only = off")
        kit.sql.execute(f"ALTER ROLE bus RESET {name}")


def test_a_timeout_of_the_role_that_is_too_short_for_preparing_is_outlasted(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.bus().topics()
    execute, cancelled = link._Connection.execute, []

    def slow(connection: Any, sql: str, *values: Any, **options: Any) -> Any:
        preparing = sql.startswith(("SELECT pg_backend_pid", "SET statement_timeout"))
        if preparing and cancelled.count(sql) < 2:
            cancelled.append(sql)
            raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
        return execute(connection, sql, *values, **options)

    monkeypatch.setattr(link._Connection, "execute", slow)
    bus, received = kit.bus(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait_for_payloads([1])

    assert len(cancelled) >= 4
    assert bus.stats().reconnects == 0


def test_a_read_only_server_is_waited_for(kit: Kit) -> None:
    bus = kit.bus(publish_timeout=0.5)
    bus.publish("a.b")
    link = bus._engine.transport._publishing._link
    link.script("SET default_transaction_read_only = on")

    assert outcome_of(lambda: bus.publish("a.b"), 2.0) == "failed"


# -- doctor ---------------------------------------------------------------------------------------


def found(bus: EventBus, subject: str) -> list[tuple[str, str]]:
    return [(f.level, f.message) for f in bus.diagnose() if f.subject == subject]


def test_doctor_finds_nothing_on_a_healthy_server(kit: Kit) -> None:
    bus = kit.bus()
    bus.subscribe("a.b", Received())

    assert {finding.level for finding in bus.diagnose()} == {"ok"}


def test_doctor_names_what_holds_up_vacuum(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventbus.transports.postgres.doctor.LONG", 0.1)
    bus = kit.bus()
    with kit.connect() as other:
        other.execute("SELECT pg_current_xact_id()")
        time.sleep(0.2)
        ((level, message),) = found(bus, "oldest transaction")
    assert (level, "open for" in message) == ("warning", True)
    with psycopg.connect(kit.server.admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
        try:
            ((level, message),) = found(bus, "replication slot")
        finally:
            admin.execute("SELECT pg_drop_replication_slot('forgotten')")
    assert (level, "forgotten: nobody reads it" in message) == ("warning", True)


def test_doctor_names_stuck_leases_and_lag(kit: Kit) -> None:
    bus = kit.bus(lease=0.1)
    reader = kit.consumer(bus)
    bus.publish_many([("a.b", 1), ("a.b", 2)])
    assert reader.fetch({}, 0) == []
    ((level, message),) = found(bus, "a.b of g")
    assert (level, "the oldest that nobody has claimed" in message) == ("ok", True)
    assert len(fetch(reader)) == 2
    time.sleep(0.3)

    assert found(bus, "a.b of g") == [
        ("warning", "2 not settled, 2 of them stuck: no member is alive")
    ]


def test_doctor_names_settings_that_lose_events(kit: Kit) -> None:
    kit.sql.execute("ALTER ROLE bus SET synchronous_commit = off")
    try:
        ((level, message),) = found(kit.bus(), "synchronous_commit")
    finally:
        kit.sql.execute("ALTER ROLE bus RESET synchronous_commit")
    assert (level, "lost when the server crashes" in message) == ("warning", True)


# -- TLS ------------------------------------------------------------------------------------------


def test_the_server_is_verified_when_that_is_asked_for(tmp_path: Path) -> None:
    right, wrong = (make_certificates(tmp_path / name) for name in ("right", "wrong"))
    with Postgres(tmp_path / "server", tls=right) as server:
        with EventBus(server.url, group="g", environ={}) as bus:
            received = Received()
            bus.subscribe("a.b", received)
            bus.publish("a.b")
            received.wait(1)
            assert found(bus, "encryption") == [("ok", "TLS, server verified")]
        impostor: Any = server.url.replace(str(right.ca), str(wrong.ca))
        with EventBus(impostor, group="g", environ={}) as bus:
            with pytest.raises(AuthenticationError, match="certificate verify failed"):
                bus.subscribe("a.b", Received())
