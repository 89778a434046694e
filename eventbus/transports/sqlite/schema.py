"""The tables, and how an older file becomes a current one.

The file may be the application's own database, so every name begins with `eventbus_` and the
version is kept in a table: `PRAGMA user_version` belongs to the application.
"""

from __future__ import annotations

import sqlite3

from ...errors import TopologyError

#: One script per schema version; a file is brought forward through those it lacks. Never edit
#: one that was released: append the next.
MIGRATIONS = (
    """
    -- Names are stored once: the log is wide enough.
    CREATE TABLE eventbus_topic (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    -- AUTOINCREMENT: a number is never used again, even when the log was emptied.
    CREATE TABLE eventbus_log (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, at REAL NOT NULL,
        key TEXT, data BLOB NOT NULL);
    CREATE INDEX eventbus_log_topic ON eventbus_log (topic, seq);
    -- Everything up to the cursor is settled, leased or does not match.
    CREATE TABLE eventbus_subscription (
        id INTEGER PRIMARY KEY, grp TEXT NOT NULL, pattern TEXT NOT NULL,
        cursor INTEGER NOT NULL, created_at REAL NOT NULL, UNIQUE (grp, pattern));
    -- One row per claimed batch: what of it is not settled yet. No owner: free to be claimed.
    CREATE TABLE eventbus_lease (
        id INTEGER PRIMARY KEY AUTOINCREMENT, subscription INTEGER NOT NULL, owner TEXT,
        until REAL NOT NULL, deaths INTEGER NOT NULL, started INTEGER, seqs BLOB NOT NULL,
        succeeded TEXT NOT NULL);
    CREATE INDEX eventbus_lease_subscription ON eventbus_lease (subscription, owner);
    -- Parked and replayed events, each for one handler, or for all of them (NULL).
    CREATE TABLE eventbus_inbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, subscription INTEGER NOT NULL,
        handler TEXT, topic TEXT NOT NULL, key TEXT, data BLOB NOT NULL,
        attempt INTEGER NOT NULL, due REAL NOT NULL, first_failed_at REAL,
        owner TEXT, until REAL NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
        started INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX eventbus_inbox_due ON eventbus_inbox (subscription, due);
    CREATE TABLE eventbus_owner (
        id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL);
    CREATE TABLE eventbus_dead (
        id TEXT PRIMARY KEY, grp TEXT NOT NULL, pattern TEXT NOT NULL, handler TEXT,
        topic TEXT NOT NULL, key TEXT, data BLOB NOT NULL, event_id TEXT, reason TEXT NOT NULL,
        error TEXT NOT NULL, traceback TEXT NOT NULL, attempts INTEGER NOT NULL,
        first_failed_at REAL NOT NULL, failed_at REAL NOT NULL);
    CREATE INDEX eventbus_dead_group ON eventbus_dead (grp, failed_at, id);
    """,
)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of the file; 0 where there are no tables of ours yet."""
    table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'eventbus_meta'"
    if connection.execute(table).fetchone() is None:
        return 0
    row = connection.execute("SELECT value FROM eventbus_meta WHERE name = 'version'").fetchone()
    return 0 if row is None else int(row[0])


def check_version(version: int, path: str) -> None:
    """Refuse a file that a newer release has migrated."""
    if version > len(MIGRATIONS):
        raise TopologyError(
            f"{path} has schema version {version}, this eventbus knows up to {len(MIGRATIONS)}: "
            "upgrade eventbus in this process"
        )


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the file to the current version; the caller holds the write transaction."""
    version = version_of(connection)
    check_version(version, path)
    if version == 0:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS eventbus_meta (name TEXT PRIMARY KEY, value)"
        )
    for script in MIGRATIONS[version:]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(
        "INSERT OR REPLACE INTO eventbus_meta VALUES ('version', ?)", (len(MIGRATIONS),)
    )


def _statements(script: str) -> list[str]:
    """`executescript` would commit first; comments hold no semicolon."""
    return [statement for statement in script.split(";") if statement.strip()]
