"""What is true of the SQLite transport only."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
import time
import traceback
from datetime import timedelta

import pytest

from eventbus import (
    ConfigurationError,
    EventBus,
    PublishError,
    RetryPolicy,
    TopologyError,
    TransportUnavailable,
)
from eventbus._engine import maintenance
from eventbus.transports.base import SubscriptionId
from eventbus.transports.sqlite import database, owners, schema
from eventbus.transports.sqlite.leases import pack, unpack
from tests.conformance.target import Received, wait_for


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "events.db")


@pytest.fixture
def bus(path):
    with EventBus(f"sqlite:///{path}", group="g", environ={}, publish_timeout=1.0) as bus:
        yield bus


def rows(path, table):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT * FROM eventbus_{table}").fetchall()
    finally:
        connection.close()


def test_the_file_is_the_owners_alone(bus, path):
    bus.publish("a.b")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_relative_path_is_resolved_at_construction(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with EventBus("sqlite:///events.db", environ={}) as bus:
        monkeypatch.chdir("/")
        bus.publish("a.b")
        assert bus.health().location == f"sqlite:///{tmp_path}/events.db"
    assert (tmp_path / "events.db").exists()


def test_a_file_that_is_no_database_is_a_topology_error(path):
    with open(path, "w") as file:
        file.write("these are my shopping notes, do not touch them\n" * 100)
    with (
        EventBus(f"sqlite:///{path}", environ={}) as bus,
        pytest.raises(PublishError, match="not an SQLite database") as caught,
    ):
        bus.publish("a.b")
    assert isinstance(caught.value.__cause__, TopologyError)
    assert caught.value.outcome == "failed"


def test_a_missing_directory_is_named_at_once(tmp_path):
    begun = time.monotonic()
    with EventBus(f"sqlite:///{tmp_path}/nowhere/events.db", environ={}) as bus:
        with pytest.raises(TopologyError, match=r"nowhere/events\.db does not exist: create it"):
            bus.subscribe("a.b", print)
    assert time.monotonic() - begun < 5


def test_a_network_file_system_is_refused(path, monkeypatch):
    monkeypatch.setattr(database, "_file_system", lambda directory: "nfs4")
    with EventBus(f"sqlite:///{path}", environ={}) as bus:
        with pytest.raises(TopologyError, match=r"network file system \(nfs4\)"):
            bus.subscribe("a.b", print)
    assert not os.path.exists(path)


def test_the_file_system_of_a_directory_is_known_where_the_platform_tells():
    assert database._file_system("/proc") in ("proc", "")


def test_a_full_disk_fails_the_publish_and_passes_when_there_is_room(bus, path):
    bus.publish("a.b", 0)
    connection = bus._engine.transport._main.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(PublishError, match="is full: free some space") as caught:
        bus.publish_many([("a.b", "x" * 10_000) for _ in range(20)])
    assert caught.value.outcome == "failed"
    assert len(rows(path, "log")) == 1
    connection.execute("PRAGMA max_page_count=1000000")
    bus.publish("a.b", 1)
    assert len(rows(path, "log")) == 2


def test_a_read_only_file_says_what_to_change(bus, path):
    bus.publish("a.b")
    bus._engine.transport._main.connection.execute("PRAGMA query_only=1")
    with pytest.raises(PublishError, match="read-only for this process: make the file"):
        bus.publish("a.b")


def test_a_file_of_a_newer_release_is_refused(bus, path):
    bus.publish("a.b")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE eventbus_meta SET value = 99 WHERE name = 'version'")
    connection.commit()
    connection.close()
    with EventBus(f"sqlite:///{path}", environ={}) as newer:
        with pytest.raises(TopologyError, match=r"schema version 99.*upgrade eventbus"):
            newer.subscribe("a.b", print)


def test_an_older_file_is_migrated_in_place(bus, path, monkeypatch):
    bus.publish("a.b", 1)
    bus._engine.transport.close()
    further = (*schema.MIGRATIONS, "ALTER TABLE eventbus_log ADD COLUMN extra TEXT")
    monkeypatch.setattr(schema, "MIGRATIONS", further)
    monkeypatch.setattr(database, "MIGRATIONS", further)
    with EventBus(f"sqlite:///{path}", environ={}) as later:
        later.publish("a.b", 2)
    assert [row[-1] for row in rows(path, "log")] == [None, None]
    assert rows(path, "meta") == [("version", len(further))]


def test_the_tables_live_beside_those_of_an_application(path):
    own = sqlite3.connect(path)
    own.execute("CREATE TABLE log (id)")
    own.execute("PRAGMA user_version = 7")
    own.commit()
    with EventBus(f"sqlite:///{path}", environ={}) as bus:
        bus.publish("a.b")
    assert own.execute("PRAGMA user_version").fetchone() == (7,)
    own.close()


# -- publishing inside the caller's transaction ----------------------------------------------


def test_commit_publishes_and_rollback_does_not(bus, path):
    seen = []
    bus.subscribe("order.*", lambda event: seen.append(event.payload), name="h")
    own = sqlite3.connect(path)
    own.execute("CREATE TABLE orders (id)")
    own.execute("INSERT INTO orders VALUES (1)")
    bus.publish("order.saved", 1, connection=own)
    own.rollback()
    own.execute("INSERT INTO orders VALUES (2)")
    bus.publish_many([("order.saved", 2), ("order.paid", 3)], connection=own)
    assert bus.join(5) and seen == []
    own.commit()
    assert bus.join(5)
    assert sorted(seen) == [2, 3]
    assert own.execute("SELECT id FROM orders").fetchall() == [(2,)]
    own.close()


def test_a_connection_without_a_transaction_is_refused(bus, path):
    own = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(ValueError, match="execute BEGIN first"):
        bus.publish("a.b", connection=own)
    own.execute("BEGIN")
    bus.publish("a.b", connection=own)
    own.execute("COMMIT")
    own.close()
    assert len(rows(path, "log")) == 1


def test_a_connection_to_another_file_is_refused(bus, tmp_path):
    own = sqlite3.connect(tmp_path / "other.db")
    with pytest.raises(ConfigurationError, match="both must use the same file"):
        bus.publish("a.b", connection=own)
    own.close()


# -- retention, leases, topology -------------------------------------------------------------


def test_retention_removes_only_what_is_old_and_settled_by_all(path):
    options = {"environ": {}, "retention": timedelta(microseconds=1)}
    with EventBus(f"sqlite:///{path}", group="fast", **options) as bus:
        transport = bus._engine.transport
        transport.declare(SubscriptionId("slow", "a.**"), "latest")
        transport.declare(SubscriptionId("other", "z.z"), "latest")
        bus.subscribe("a.*", lambda event: None, name="h")
        bus.publish_many([("a.b", n) for n in range(50)])
        bus.publish("unmatched")
        assert bus.join(5)
        transport.maintain()
        assert len(rows(path, "log")) >= 50
        assert transport.backlog(SubscriptionId("slow", "a.**")) == 50
        assert transport.drop(SubscriptionId("slow", "a.**"))
        transport.maintain()
        assert rows(path, "log") == []
        bus.publish("a.b", "after")
        assert bus.join(5)
        assert bus.stats().handled == 51


def test_retention_keeps_what_is_young(bus, path):
    bus.publish_many([("a.b", n) for n in range(10)])
    assert bus._engine.transport.maintain() is False
    assert len(rows(path, "log")) == 10


def test_a_dropped_subscription_is_created_again_and_reported(bus, caplog):
    seen = []
    bus.subscribe("a.b", lambda event: seen.append(event.payload), name="h")
    bus._engine.transport.drop(SubscriptionId("g", "a.b"))
    deadline = time.monotonic() + 10
    while bus.stats().topology_lost == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bus.publish("a.b", "after")
    assert bus.join(10)
    assert "after" in seen
    assert "had vanished from the broker" in caplog.text


def test_a_success_of_one_handler_survives_the_release_of_the_other(path):
    url = f"sqlite:///{path}"
    calls = []
    patient = RetryPolicy(initial=30, jitter=False)

    def fails(event):
        calls.append("fails")
        raise RuntimeError("not yet")

    with EventBus(url, group="g", environ={}, retry=patient) as bus:
        bus.subscribe("a.b", lambda event: calls.append("works"), name="works")
        bus.subscribe("a.b", fails, name="fails")
        bus.publish("a.b", key="k")
        deadline = time.monotonic() + 5
        while bus.stats().retried == 0 or "works" not in calls:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert calls.count("works") == 1
    with EventBus(url, group="g", environ={}) as bus:
        done = threading.Event()
        bus.on("a.b", lambda event: calls.append("works"), name="works")
        bus.on("a.b", lambda event: done.set(), name="fails")
        bus.start()
        assert done.wait(10)
        assert bus.join(10)
    assert calls.count("works") == 1


def test_leases_are_packed_without_loss():
    assert unpack(pack({5, 2**40, 1})) == [1, 5, 2**40]


def test_a_process_is_known_by_pid_and_start_time():
    assert owners.start_time(os.getpid()) == owners.start_time(os.getpid()) is not None
    assert owners.start_time(2**22 + 1) is None


def test_a_wiped_file_is_noticed_not_served_silently(bus, path):
    bus.publish("a.b")
    connection = sqlite3.connect(path)
    for table in ("lease", "inbox", "subscription"):
        connection.execute(f"DROP TABLE eventbus_{table}")
    connection.commit()
    connection.close()
    with pytest.raises(TransportUnavailable, match="replaced while in use"):
        bus.subscribe("a.b", print, timeout=0.2)


def test_the_last_success_before_silence_is_settled_at_once(bus, path):
    bus.subscribe("a.b", lambda event: None, name="h")
    for _ in range(8):
        bus.publish_many([("a.b", n) for n in range(700)])
        begun = time.monotonic()
        assert bus.join(5)
        # Not the second for which an idle consumer may wait: the settle interval and a turn.
        assert time.monotonic() - begun < 0.5
    assert rows(path, "lease") == []


def test_a_file_that_was_replaced_is_noticed_by_publishers_and_consumers(bus, path):
    received = Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.join(10)
    for suffix in ("", "-wal", "-shm"):
        os.rename(path + suffix, f"{path}.old{suffix}")

    wait_for(lambda: bus.stats().topology_lost == 1, what="the loss to be noticed")
    bus.publish("a.b", 2)

    received.wait_for_payloads([1, 2])
    assert len(rows(path, "log")) == 1


def test_a_process_that_only_consumes_cleans_up(path, monkeypatch):
    with EventBus(f"sqlite:///{path}", group="p", environ={}) as publisher:
        publisher.publish_many(("a.b", number) for number in range(10))
    monkeypatch.setattr(maintenance, "INTERVAL", 0.2)
    with EventBus(
        f"sqlite:///{path}", group="g", environ={}, retention=timedelta(seconds=0.01)
    ) as bus:
        bus.subscribe("x.y", Received())
        wait_for(lambda: rows(path, "log") == [], what="an empty log")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_while_a_thread_writes_can_write(path):
    with EventBus(f"sqlite:///{path}", group="g", environ={}, publish_timeout=4.0) as bus:
        go, stop = threading.Event(), threading.Event()
        go.set()

        def write():
            while not stop.is_set():
                go.wait()
                bus.publish_many([("a.b", number) for number in range(200)])

        writer = threading.Thread(target=write)
        writer.start()
        failed = 0
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    bus.publish("a.b", "child")
                    code = 0
                except BaseException:
                    traceback.print_exc(file=sys.__stderr__)
                finally:
                    os._exit(code)
            go.clear()
            failed += os.waitpid(pid, 0)[1] != 0
            go.set()
        stop.set()
        writer.join()
    assert failed == 0
