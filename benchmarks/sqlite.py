"""SQLite against the raw client: same file, same durability, same bytes.

The raw client does what any bus must: it stores number, topic, time, key and encoded event, and
claims a batch before it handles and deletes it, so that a crash in between loses nothing.
"""

from __future__ import annotations

import sqlite3
import time

from eventbus import Event, EventBus
from eventbus.wire import decode, encode

from .measure import Figure, in_turns, payload, rate, scratch

#: Several checkpoints' worth, so that one more or less makes no difference, and long enough for
#: the last batch's settlement not to count.
COUNT = 60_000
CHUNK = 1_000
CLAIM = 500
SINGLES = 1_000
TABLE = (
    "CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " topic INTEGER NOT NULL, at REAL NOT NULL, key TEXT, data BLOB NOT NULL, owner TEXT)"
)
INSERT = "INSERT INTO log (topic, at, key, data) VALUES (?, ?, ?, ?)"


def _ignore(event: Event) -> None:
    return


def _raw(path: str, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute(TABLE)
    return connection


def _row(number: int) -> tuple[int, float, None, bytes]:
    return 1, time.time(), None, encode(Event("user.created", payload(number)))


def _insert(connection: sqlite3.Connection, numbers: range) -> None:
    rows = [_row(n) for n in numbers]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, rows)
    connection.execute("COMMIT")


def _fill_raw(path: str) -> float:
    connection = _raw(path, "FULL")
    begun = time.perf_counter()
    for start in range(0, COUNT, CHUNK):
        _insert(connection, range(start, start + CHUNK))
    seconds = time.perf_counter() - begun
    connection.close()
    return COUNT / seconds


def _bus(path: str) -> EventBus:
    return EventBus(f"sqlite:///{path}", group="bench", environ={})


def _fill(path: str) -> float:
    with _bus(path) as bus:
        bus.subscribe("user.created", _ignore, name="ignore").cancel()
        begun = time.perf_counter()
        for start in range(0, COUNT, CHUNK):
            bus.publish_many([("user.created", payload(n)) for n in range(start, start + CHUNK)])
        return COUNT / (time.perf_counter() - begun)


def _publish_many() -> Figure:
    def ours() -> float:
        with scratch() as path:
            return _fill(path)

    def floor() -> float:
        with scratch() as path:
            return _fill_raw(path)

    mine, raw, ratio = in_turns(ours, floor)
    name = "sqlite: publish_many / raw batched inserts, FULL"
    return Figure(name, rate(mine), rate(raw), ratio, ">= 0.7")


def _consume_raw() -> float:
    with scratch() as path:
        _fill_raw(path)
        connection = _raw(path, "NORMAL")
        begun = time.perf_counter()
        while rows := _claim(connection):
            for _, key, data in rows:
                _ignore(decode(data, topic="user.created", key=key))
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM log WHERE seq = ?", [(r[0],) for r in rows])
            connection.execute("COMMIT")
        seconds = time.perf_counter() - begun
        connection.close()
        return COUNT / seconds


def _claim(connection: sqlite3.Connection) -> list[tuple[int, str | None, bytes]]:
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute(
        "UPDATE log SET owner = 'me' WHERE seq IN (SELECT seq FROM log WHERE owner IS NULL"
        f" ORDER BY seq LIMIT {CLAIM}) RETURNING seq, key, data"
    ).fetchall()
    connection.execute("COMMIT")
    return rows


def _consume() -> float:
    with scratch() as path:
        _fill(path)
        with _bus(path) as bus:
            begun = time.perf_counter()
            bus.subscribe("user.created", _ignore, name="ignore")
            bus.join()
            return COUNT / (time.perf_counter() - begun)


def _consuming() -> Figure:
    mine, raw, ratio = in_turns(_consume, _consume_raw)
    name = "sqlite: consume through the pool / raw claim + delete"
    return Figure(name, rate(mine), rate(raw), ratio, ">= 0.45")


def _single_raw() -> float:
    with scratch() as path:
        connection = _raw(path, "FULL")
        begun = time.perf_counter()
        for n in range(SINGLES):
            _insert(connection, range(n, n + 1))
        seconds = time.perf_counter() - begun
        connection.close()
        return seconds / SINGLES * 1e6


def _single() -> float:
    with scratch() as path, _bus(path) as bus:
        bus.subscribe("user.created", _ignore, name="ignore").cancel()
        begun = time.perf_counter()
        for n in range(SINGLES):
            bus.publish("user.created", payload(n))
        return (time.perf_counter() - begun) / SINGLES * 1e6


def _single_publish() -> Figure:
    mine, raw, ratio = in_turns(_single, _single_raw)
    name = "sqlite: one durable publish / raw insert + commit, FULL"
    return Figure(name, f"{mine:.0f} us", f"{raw:.0f} us", ratio, "<= 1.4")


def measure() -> list[Figure]:
    return [_publish_many(), _consuming(), _single_publish()]
