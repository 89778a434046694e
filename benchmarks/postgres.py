"""PostgreSQL against the raw client: same server, same durability, same bytes.

The raw client does what any bus must. It stores topic, key and encoded event with the number of
its transaction, and reads in the order of those numbers up to the oldest open one. It claims a
batch by moving a cursor and writing a lease, and deletes the lease when the batch is handled; a
SIGKILL in between loses nothing. It claims and settles without waiting for the disk, as we do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg

from eventbus import Event, EventBus
from eventbus.wire import decode, encode

from .measure import Figure, in_turns, payload, rate

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))

COUNT = 30_000
CHUNK = 1_000
CLAIM = 500
SINGLES = 1_500
THREADS = 8

TABLES = """
    DROP SCHEMA IF EXISTS raw CASCADE;
    DROP SCHEMA IF EXISTS eventbus CASCADE;
    CREATE SCHEMA raw;
    CREATE TABLE raw.log (id bigserial, xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        topic text NOT NULL, key text, data bytea NOT NULL, PRIMARY KEY (xid, id));
    CREATE TABLE raw.cursor (xid xid8 NOT NULL, id bigint NOT NULL);
    INSERT INTO raw.cursor VALUES ('0', 0);
    CREATE TABLE raw.lease (id bigserial PRIMARY KEY, until timestamptz, ids bigint[]);
"""


class Server:
    """The shared server, with empty tables for each measurement."""

    def __init__(self) -> None:
        from services.shared import provide

        self.url = provide("postgres") + "?application_name=bench"

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True, prepare_threshold=1)

    def empty(self) -> None:
        with self.connect() as connection:
            connection.execute(TABLES)

    @contextmanager
    def bus(self) -> Iterator[EventBus]:
        with EventBus(self.url, group="bench", environ={}, publish_timeout=30.0) as bus:
            bus.topics()
            yield bus


def _ignore(event: Event) -> None:
    return


def _row(number: int) -> tuple[str, None, bytes]:
    return "user.created", None, encode(Event("user.created", payload(number)))


INSERT = "INSERT INTO raw.log (topic, key, data) VALUES (%s, %s, %b)"
INSERT_MANY = (
    "INSERT INTO raw.log (topic, key, data)"
    " SELECT * FROM unnest(%b::text[], %b::text[], %b::bytea[])"
)


def _fill_raw(server: Server, count: int = COUNT) -> float:
    server.empty()
    with server.connect() as connection:
        begun = time.perf_counter()
        for start in range(0, count, CHUNK):
            rows = [_row(number) for number in range(start, start + CHUNK)]
            connection.execute(INSERT_MANY, [list(column) for column in zip(*rows, strict=True)])
        return count / (time.perf_counter() - begun)


def _fill(server: Server, bus: EventBus, count: int = COUNT) -> float:
    bus.subscribe("user.created", _ignore, name="ignore").cancel()
    # The raw client has its connection already, too.
    bus.publish("warm.up")
    begun = time.perf_counter()
    for start in range(0, count, CHUNK):
        bus.publish_many([("user.created", payload(n)) for n in range(start, start + CHUNK)])
    return count / (time.perf_counter() - begun)


def _publish_many(server: Server) -> Figure:
    def ours() -> float:
        server.empty()
        with server.bus() as bus:
            return _fill(server, bus)

    mine, raw, ratio = in_turns(ours, lambda: _fill_raw(server))
    name = "postgres: publish_many / raw inserts of 1,000"
    return Figure(name, rate(mine), rate(raw), ratio, ">= 0.7")


def _consume_raw(server: Server) -> float:
    _fill_raw(server)
    with server.connect() as connection:
        # The planner knows nothing yet of a log that was just filled, and would sort all of it.
        connection.execute("SET synchronous_commit = off; SET enable_bitmapscan = off")
        begun = time.perf_counter()
        while rows := _claim(connection):
            for _, _, _, topic, key, data in rows:
                _ignore(decode(data, topic=topic, key=key))
            connection.execute("DELETE FROM raw.lease WHERE id = %s", [rows[0][0]])
        return COUNT / (time.perf_counter() - begun)


def _claim(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    with connection.transaction():
        cursor = connection.execute("SELECT xid, id FROM raw.cursor FOR UPDATE").fetchone()
        rows = connection.execute(
            "SELECT xid::text, id, topic, key, data FROM raw.log WHERE (xid, id) > (%s::xid8, %s)"
            " AND xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, id"
            f" LIMIT {CLAIM}", cursor, binary=True,
        ).fetchall()
        if not rows:
            return []
        connection.execute("UPDATE raw.cursor SET xid = %s::xid8, id = %s",
                           rows[-1][:2])
        lease = connection.execute(
            "INSERT INTO raw.lease (until, ids) VALUES (now() + interval '30 s', %s) RETURNING id",
            [[row[1] for row in rows]],
        ).fetchone()
    assert lease is not None
    return [(lease[0], *row) for row in rows]


def _consume(server: Server, count: int = COUNT) -> float:
    server.empty()
    with server.bus() as bus:
        _fill(server, bus, count)
        begun = time.perf_counter()
        bus.subscribe("user.created", _ignore, name="ignore")
        bus.join()
        return count / (time.perf_counter() - begun)


def _consuming(server: Server) -> Figure:
    mine, raw, ratio = in_turns(lambda: _consume(server), lambda: _consume_raw(server))
    name = "postgres: consume through the pool / raw claim + delete"
    return Figure(name, rate(mine), rate(raw), ratio, ">= 0.5")


def _backlog(server: Server) -> Figure:
    small, large = _consume(server, 10_000), _consume(server, 1_000_000)
    name = "postgres: cost per event, backlog of 10^6 / of 10^4"
    return Figure(name, rate(large), rate(small), small / large, "<= 1.3")


def _single_raw(server: Server) -> float:
    server.empty()
    with server.connect() as connection:
        begun = time.perf_counter()
        for number in range(SINGLES):
            connection.execute(INSERT, _row(number))
        return SINGLES / (time.perf_counter() - begun)


def _single(server: Server, threads: int = 1) -> float:
    server.empty()
    with server.bus() as bus:
        bus.subscribe("user.created", _ignore, name="ignore").cancel()
        bus.publish("user.created", payload(0))

        def publish() -> None:
            for number in range(SINGLES):
                bus.publish("user.created", payload(number))

        return threads * SINGLES / _timed([publish] * threads)


def _timed(actions: list[Callable[[], None]]) -> float:
    workers = [Thread(target=action) for action in actions]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - begun


def _single_publish(server: Server) -> Figure:
    mine, raw, ratio = in_turns(lambda: _single(server), lambda: _single_raw(server))
    name = "postgres: one publish / raw insert + commit"
    return Figure(name, rate(mine), rate(raw), ratio, ">= 0.8")


def _many_threads(server: Server) -> Figure:
    mine, raw, ratio = in_turns(lambda: _single(server, THREADS), lambda: _single(server))
    name = "postgres: 8 publishing threads / one"
    return Figure(name, rate(mine), rate(raw), ratio, ">= 3.0")


def measure() -> Iterator[Figure]:
    server = Server()
    for figure in (_publish_many, _consuming, _single_publish, _many_threads, _backlog):
        yield figure(server)
    server.empty()
