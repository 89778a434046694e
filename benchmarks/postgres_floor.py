"""What any bus on PostgreSQL must do, with the raw client and nothing else.

It stores topic, key and encoded event with the number of its transaction, and reads in the order of
those numbers up to the oldest open one. It claims a batch by moving a cursor and writing a lease,
deletes the lease when the batch is handled, and takes over leases that have lapsed: a SIGKILL in
between loses nothing. It claims and settles without waiting for the disk.

`python -m benchmarks.postgres_floor URL FILE` consumes, and appends the number of each event that
was handled: for the test of that promise.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from eventbus import Event
from eventbus.wire import decode, encode

from .measure import payload

TOPIC = "user.created"
#: Events of a batch when publishing, and of a claim.
CHUNK, CLAIM = 1_000, 500
#: Seconds of a lease.
LEASE = 30.0

TABLES = """
    DROP SCHEMA IF EXISTS raw CASCADE;
    CREATE SCHEMA raw;
    CREATE TABLE raw.log (id bigserial, xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        topic text NOT NULL, key text, data bytea NOT NULL, PRIMARY KEY (xid, id));
    CREATE TABLE raw.cursor (xid xid8 NOT NULL, id bigint NOT NULL);
    INSERT INTO raw.cursor VALUES ('0', 0);
    CREATE TABLE raw.lease (id bigserial PRIMARY KEY, until timestamptz NOT NULL,
        first xid8 NOT NULL, last xid8 NOT NULL, ids bigint[] NOT NULL);
"""
INSERT = "INSERT INTO raw.log (topic, key, data) VALUES (%s, %s, %b)"
INSERT_MANY = (
    "INSERT INTO raw.log (topic, key, data)"
    " SELECT * FROM unnest(%b::text[], %b::text[], %b::bytea[])"
)
#: By another name: `ORDER BY xid` would sort by the text.
_COLUMNS = "xid::text AS number, id, topic, key, data"
_LEASE = (
    "INSERT INTO raw.lease (until, first, last, ids) VALUES"
    " (now() + %s * interval '1 second', %s::xid8, %s::xid8, %s) RETURNING id"
)

#: The planner knows nothing yet of a log that was just filled, and would sort all of it.
SESSION = (
    "SET synchronous_commit = off; SET enable_bitmapscan = off; SET enable_seqscan = off;"
    " SET jit = off"
)

Connection = psycopg.Connection[Any]
#: The lease, and its events: transaction, number, topic, key, bytes.
Batch = tuple[int, Sequence[tuple[Any, ...]]]


def row(number: int) -> tuple[str, None, bytes]:
    """An event as it is stored."""
    return TOPIC, None, encode(Event(TOPIC, payload(number)))


def fill(connection: Connection, count: int) -> None:
    """Publish so many events in batches."""
    for start in range(0, count, CHUNK):
        rows = [row(number) for number in range(start, min(start + CHUNK, count))]
        connection.execute(INSERT_MANY, [list(column) for column in zip(*rows, strict=True)])


def consume(connection: Connection, handle: Callable[[Event], None], lease: float = LEASE) -> None:
    """Handle everything that is there and not in the hands of somebody alive."""
    connection.execute(SESSION)
    while batch := _claim(connection, lease) or _take_over(connection, lease):
        number, rows = batch
        for _, _, topic, key, data in rows:
            handle(decode(data, topic=topic, key=key))
        connection.execute("DELETE FROM raw.lease WHERE id = %s", [number])


def _claim(connection: Connection, lease: float) -> Batch | None:
    with connection.transaction():
        cursor = connection.execute("SELECT xid, id FROM raw.cursor FOR UPDATE").fetchone()
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM raw.log WHERE (xid, id) > (%s::xid8, %s)"
            " AND xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, id"
            f" LIMIT {CLAIM}", cursor, binary=True,
        ).fetchall()
        if not rows:
            return None
        connection.execute("UPDATE raw.cursor SET xid = %s::xid8, id = %s", rows[-1][:2])
        return _leased(connection, rows, lease), rows


def _take_over(connection: Connection, lease: float) -> Batch | None:
    with connection.transaction():
        lapsed = connection.execute(
            "DELETE FROM raw.lease WHERE id = (SELECT id FROM raw.lease WHERE until < now()"
            " LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING first, last, ids"
        ).fetchone()
        if lapsed is None:
            return None
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM raw.log WHERE xid BETWEEN %s::xid8 AND %s::xid8"
            " AND id = ANY(%s)", lapsed, binary=True,
        ).fetchall()
        return _leased(connection, rows, lease), rows


def _leased(connection: Connection, rows: Sequence[tuple[Any, ...]], lease: float) -> int:
    ids = [row[1] for row in rows]
    first, last = min(rows, key=_xid)[0], max(rows, key=_xid)[0]
    made = connection.execute(_LEASE, [lease, first, last, ids]).fetchone()
    assert made is not None
    return int(made[0])


def _xid(row: tuple[Any, ...]) -> int:
    return int(row[0])


def main(url: str, path: str) -> None:
    """Consume until nothing is left, with leases short enough to be waited for."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with psycopg.connect(url, autocommit=True, prepare_threshold=1) as connection:
        while connection.execute(
            "SELECT 1 FROM raw.lease UNION ALL (SELECT 1 FROM raw.log AS l, raw.cursor AS c"
            " WHERE (l.xid, l.id) > (c.xid, c.id) LIMIT 1)"
        ).fetchone():
            consume(connection, lambda e: _note(file, e.payload["id"]), lease=0.5)
            time.sleep(0.05)


def _note(file: int, number: int) -> None:
    os.write(file, b"%d\n" % number)


if __name__ == "__main__":
    main(*sys.argv[1:])
