"""Publishing inside a caller's transaction: psycopg 3, Django on psycopg 3, Django on psycopg2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventbus import ConfigurationError, Event, PublishError
from tests.conformance.target import Received
from tests.servers import Postgres
from tests.transports.postgres_kit import Kit, fetch

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
#: A key that is hard to quote.
ODD = """ \\ ' " , {} NULL %s """


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def kit(server: Postgres) -> Iterator[Kit]:
    made = Kit(server)
    yield made
    made.close()


def test_an_event_and_a_row_are_one_commit(kit: Kit) -> None:
    bus = kit.bus()
    reader = kit.consumer(bus)
    kit.sql.execute("CREATE TABLE IF NOT EXISTS orders (id int)")
    kit.sql.execute("TRUNCATE orders")
    with kit.connect() as caller:
        caller.execute("INSERT INTO orders VALUES (1)")
        bus.publish("a.b", 1, connection=caller)
        bus.publish_many([("a.b", 2), ("a.b", 3)], connection=caller)
        assert fetch(reader, timeout=0.1) == []
        caller.commit()
        found = fetch(reader)
        caller.execute("INSERT INTO orders VALUES (2)")
        bus.publish("a.b", "never", connection=caller)
        caller.rollback()

    assert len(found) == 3
    assert fetch(reader, timeout=0.4) == []
    assert kit.sql.execute("SELECT id FROM orders").fetchall() == [(1,)]


def test_a_transaction_block_and_a_savepoint(kit: Kit) -> None:
    bus = kit.bus()
    reader = kit.consumer(bus)
    with kit.connect(autocommit=True) as caller:
        with caller.transaction():
            bus.publish("a.b", "outer", connection=caller)
            with pytest.raises(RuntimeError), caller.transaction():
                bus.publish("a.b", "inner", connection=caller)
                raise RuntimeError
            with caller.transaction():
                bus.publish("a.b", "other", connection=caller)

    assert [json.loads(d.data)["payload"] for d in fetch(reader)] == ["outer", "other"]


def test_the_callers_settings_do_not_matter(kit: Kit) -> None:
    bus = kit.bus()
    reader = kit.consumer(bus)
    with kit.connect(row_factory=psycopg.rows.dict_row, prepare_threshold=None) as caller:
        caller.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        caller.execute("SET client_encoding = 'latin1'; SET standard_conforming_strings = off")
        bus.publish("a.b", "é", key="ü", connection=caller)
        bus.publish_many([Event("a.b", 1, key=ODD), Event("a.b", 2)], connection=caller)

    found = fetch(reader)
    assert [d.key for d in found] == ["ü", ODD, None]
    assert json.loads(found[0].data)["payload"] == "é"


def test_autocommit_is_refused_and_says_what_to_do(kit: Kit) -> None:
    bus = kit.bus()
    with kit.connect(autocommit=True) as caller:
        with pytest.raises(ValueError, match=r"autocommit.*with connection\.transaction\(\)"):
            bus.publish("a.b", connection=caller)


@pytest.mark.parametrize("wrong", [object(), "postgresql://h/db", 7])
def test_what_is_no_connection_is_refused(kit: Kit, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"connection must be a psycopg\.Connection or Django's"):
        kit.bus().publish("a.b", connection=wrong)


def test_another_database_is_refused(kit: Kit) -> None:
    bus, admin = kit.bus(), psycopg.connect(kit.server.admin_url, autocommit=True)
    admin.execute("DROP DATABASE IF EXISTS other")
    admin.execute("CREATE DATABASE other OWNER bus")
    url = kit.server.url.rpartition("/")[0] + "/other"
    bus.publish("a.b")
    with psycopg.connect(url) as caller:
        with pytest.raises(ConfigurationError, match="another database"):
            bus.publish("a.b", connection=caller)
        # The same tables, but not the same.
        kit.bus(url).publish("a.b")
        with pytest.raises(ConfigurationError, match="another database"):
            bus.publish("a.b", connection=caller)
        assert caller.execute("SELECT 1").fetchone() == (1,)
    admin.close()


def test_tables_that_are_made_again_are_recognised(kit: Kit) -> None:
    bus = kit.bus()
    with kit.connect() as caller:
        bus.publish("a.b", 1, connection=caller)
    kit.sql.execute("DROP SCHEMA eventbus CASCADE")
    bus.publish("a.b", 2)
    with kit.connect() as caller:
        bus.publish("a.b", 3, connection=caller)

    assert kit.count("log") == 2


def test_an_error_of_the_callers_transaction_is_told(kit: Kit) -> None:
    bus = kit.bus()
    with kit.connect() as caller:
        with pytest.raises(psycopg.errors.DivisionByZero):
            caller.execute("SELECT 1 / 0")
        with pytest.raises(PublishError, match="aborted") as caught:
            bus.publish("a.b", connection=caller)
    assert caught.value.outcome == "failed"


def test_a_listening_consumer_hears_of_the_commit_at_once(kit: Kit, monkeypatch: Any) -> None:
    monkeypatch.setattr("eventbus.transports.postgres.consumer.SLOW", 60.0)
    bus, received = kit.bus(), Received()
    bus.subscribe("a.b", received)
    with kit.connect() as caller:
        bus.publish("a.b", 1, connection=caller)

    received.wait(1, timeout=5.0)


DJANGO = """
    import sys
    import eventbus.transports.postgres
    old = sys.argv[2] == "psycopg2"
    if old:
        # What Django finds when only the older client is there.
        hidden = {name: sys.modules.pop(name) for name in list(sys.modules)
                  if name.partition(".")[0] == "psycopg"}
        sys.modules["psycopg"] = None
    import django
    from django.conf import settings
    from urllib.parse import urlsplit
    url = urlsplit(sys.argv[1])
    settings.configure(DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "HOST": url.hostname,
        "PORT": url.port, "USER": url.username, "PASSWORD": url.password}})
    django.setup()
    from django.db import connection, transaction
    connection.ensure_connection()
    if old:
        sys.modules.update(hidden)
    assert type(connection.connection).__module__.partition(".")[0] == sys.argv[2]
    from eventbus import Event, EventBus
    bus = EventBus(sys.argv[1], group="g", environ={})

    try:
        bus.publish("a.b", "autocommit", connection=connection)
    except ValueError as error:
        assert "transaction.atomic()" in str(error), error
    else:
        raise AssertionError("autocommit was accepted")
    with transaction.atomic():
        bus.publish("a.b", "one", key="ü", connection=connection)
        bus.publish_many([("a.b", "two"), Event("a.b", "three", key=sys.argv[3])],
                         connection=transaction.get_connection())
    try:
        with transaction.atomic():
            bus.publish("a.b", "never", connection=connection)
            bus.publish_many([("a.b", "nor this")] * 2, connection=connection)
            raise KeyError
    except KeyError:
        pass
    with transaction.atomic():
        bus.publish("a.b", "outer", connection=connection)
        try:
            with transaction.atomic():
                bus.publish("a.b", "savepoint", connection=connection)
                raise KeyError
        except KeyError:
            pass
    try:
        with transaction.atomic():
            try:
                connection.cursor().execute("SELECT 1/0")
            except Exception:
                bus.publish("a.b", "aborted", connection=connection)
    except Exception as error:
        print(type(error).__name__)
    bus.close()
"""


@pytest.mark.parametrize("client", ["psycopg", "psycopg2"])
def test_djangos_connection(kit: Kit, client: str) -> None:
    bus = kit.bus()
    reader = kit.consumer(bus)
    kit.sql.execute('LISTEN "eventbus:eventbus"')

    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DJANGO), kit.server.url, client, ODD],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == "PublishError"
    found: list[Any] = []
    while batch := fetch(reader, timeout=0.3):
        found += batch
    payloads = [json.loads(d.data)["payload"] for d in found]
    assert payloads == ["one", "two", "three", "outer"]
    assert [d.key for d in found] == ["ü", None, ODD, None]
    # Told after the commit, and not of each event.
    assert [n.payload for n in kit.sql.notifies(timeout=0.2)] in (["a.b"], ["a.b", "a.b"])
