"""Publishing and administration: one `synchronous=FULL` connection, one thread at a time."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from time import monotonic
from typing import Any

from ..._lock import OwnedLock
from ...config import SQLiteConfig
from ...errors import ConfigurationError, TransportUnavailable
from ..base import (
    Capabilities,
    Delivery,
    Finding,
    Parked,
    Record,
    Settings,
    StartFrom,
    SubscriptionId,
    SubscriptionInfo,
    no_subscription,
)
from . import leases, retention
from .consumer import SQLiteConsumer
from .database import WRITE_TIMEOUT, Database, translated
from .deadletters import SQLiteDeadLetters
from .forking import Guard
from .owners import Owner
from .schema import MIGRATIONS, check_version, migrate, version_of
from .settling import insert_parked, subscription_row
from .topics import Topics, numbers

CAPABILITIES = Capabilities(
    name="sqlite",
    durable=True,
    multi_process=True,
    history=True,
    deduplicates=False,
    transactional_publish=True,
    per_handler_success=True,
    leases=True,
    receipts_survive=True,
    cross_process_order=False,
    bounded=False,
    concurrent_publish=False,
    notes={
        "multi_process": "processes of one host, on a local file system",
        "leases": "also end at once when the owner's process is gone",
    },
)

#: Seconds that closing waits for a publish which is under way.
CLOSE_TIMEOUT = 0.2

#: Connections of a parent process: closing them in a child would drop the parent's locks.
_inherited: list[object] = []


class SQLiteTransport:
    """Events in one file, shared by the processes of a host."""

    capabilities = CAPABILITIES

    def __init__(self, config: SQLiteConfig, settings: Settings) -> None:
        self._path = config.absolute
        self._settings = settings
        self._owner = Owner()
        self._lock = OwnedLock()
        self._main: Database | None = None
        self._closed = False
        self._topics = Topics()
        self.dead_letters = SQLiteDeadLetters(self._database)

    @contextmanager
    def _database(self, timeout: float = WRITE_TIMEOUT) -> Iterator[Database]:
        if self._lock.mine():
            raise TransportUnavailable(f"{self._path}: this thread is writing already")
        try:
            if not self._lock.acquire(timeout=max(0.001, timeout)):
                raise TransportUnavailable(f"{self._path}: another thread is still writing")
            if self._closed:
                raise TransportUnavailable(f"{self._path}: the bus is closed")
            if self._main is not None and not self._main.is_current():
                # What is written to a file without a name is gone with its last process.
                self._main.close()
                self._main, self._topics = None, Topics()
            if self._main is None:
                self._main = Database(self._path, "FULL")
            with self._main.use():
                yield self._main
        finally:
            if self._lock.mine():
                if self._closed:
                    self._disconnect()
                self._lock.release()

    def _disconnect(self) -> None:
        main, self._main = self._main, None
        if main is not None:
            main.close()

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        if connection is not None:
            self._publish_within(connection, records)
            return
        deadline = monotonic() + timeout
        with self._database(timeout) as database:
            size = sum(len(record.data) for record in records)
            known = self._topics.known
            ids = {record.topic: known(record.topic) for record in records}
            with database.write(deadline - monotonic(), size) as writing:
                fresh = numbers(writing, [name for name, id in ids.items() if id is None])
                ids.update(fresh)
                _insert(writing, records, ids)
            if fresh:
                self._topics.refresh(database.connection)

    def _publish_within(self, connection: Any, records: Sequence[Record]) -> None:
        """Write in the caller's transaction; whether it commits is the caller's affair."""
        self._check_connection(connection)
        with translated(self._path):
            # Read elsewhere: a read in the caller's deferred transaction would fix its snapshot,
            # and the write after it fail at once when another process has written meanwhile.
            if self._version() < len(MIGRATIONS):
                # Here, not on a connection of ours: the caller holds the file's write lock.
                migrate(connection, self._path)
            ids = numbers(connection, dict.fromkeys(record.topic for record in records))
            _insert(connection, records, ids)

    def _version(self) -> int:
        if self._main is not None:
            return len(MIGRATIONS)
        with Guard(), closing(sqlite3.connect(self._path)) as reader:
            version = version_of(reader)
        check_version(version, self._path)
        return version

    def _check_connection(self, connection: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            raise TypeError(f"connection must be a sqlite3.Connection, not {connection!r}")
        files = connection.execute("PRAGMA database_list").fetchall()
        path = next((file for _, name, file in files if name == "main"), "")
        if not path or os.path.realpath(path) != os.path.realpath(self._path):
            raise ConfigurationError(
                f"connection is open on {path or 'a database in memory'}, the bus on {self._path}: "
                "both must use the same file to share a transaction"
            )
        explicit = connection.isolation_level is None or (
            getattr(connection, "autocommit", -1) is True
        )
        if explicit and not connection.in_transaction:
            raise ValueError(
                "connection is in autocommit mode with no transaction open: execute BEGIN first"
            )

    def maintain(self) -> bool:
        with self._database() as database, database.write(WRITE_TIMEOUT) as connection:
            removed = retention.clean(connection, self._settings.retention)
        return removed == retention.BATCH

    def deliver(self, parked: Sequence[Parked]) -> None:
        with self._database() as database, database.write(WRITE_TIMEOUT) as connection:
            for item in parked:
                if not insert_parked(connection, item):
                    raise no_subscription(item.subscription)

    # -- subscriptions -----------------------------------------------------------------------

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        with self._database() as database:
            with translated(self._path):
                if subscription_row(database.connection, subscription) is not None:
                    return False
            with database.write(WRITE_TIMEOUT) as connection:
                cursor = _end(connection) if start_from == "latest" else 0
                created = connection.execute(
                    "INSERT OR IGNORE INTO eventbus_subscription"
                    " (grp, pattern, cursor, created_at) VALUES (?, ?, ?, ?)",
                    (*subscription, cursor, time.time()),
                )
                return created.rowcount == 1

    def drop(self, subscription: SubscriptionId) -> bool:
        with self._database() as database, database.write(WRITE_TIMEOUT) as connection:
            row = subscription_row(connection, subscription)
            if row is None:
                return False
            for table in ("eventbus_lease", "eventbus_inbox"):
                connection.execute(f"DELETE FROM {table} WHERE subscription = ?", (row[0],))
            connection.execute("DELETE FROM eventbus_subscription WHERE id = ?", (row[0],))
            return True

    def list(self) -> Sequence[SubscriptionInfo]:
        with self._database() as database, translated(self._path):
            rows = database.connection.execute(
                "SELECT grp, pattern, created_at FROM eventbus_subscription ORDER BY grp, pattern"
            ).fetchall()
        return [
            SubscriptionInfo(
                group, pattern, self.backlog(SubscriptionId(group, pattern)),
                datetime.fromtimestamp(created, timezone.utc),
            )
            for group, pattern, created in rows
        ]

    def topics(self) -> Sequence[str]:
        with self._database() as database, translated(self._path):
            self._topics.refresh(database.connection)
            return sorted(self._topics.names.values())

    def mark(self) -> int:
        with self._database() as database, translated(self._path):
            return _end(database.connection)

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        with self._database() as database, translated(self._path):
            return _backlog(database.connection, self._topics, subscription, upto)

    # -- life --------------------------------------------------------------------------------

    def consumer(self, held: Collection[Delivery]) -> SQLiteConsumer:
        return SQLiteConsumer(
            self._path, self._owner, self._settings.lease, held
        )

    def diagnose(self) -> Sequence[Finding]:
        version = sqlite3.sqlite_version
        with self._database() as database, translated(self._path):
            check = database.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        level = "ok" if check == "ok" else "error"
        return [
            Finding("ok", "sqlite", f"SQLite {version}, {self._path}"),
            Finding(level, "integrity", str(check)),  # type: ignore[arg-type]
        ]

    def close(self, timeout: float = 0.0) -> None:
        self._closed = True
        # Whoever is in the middle of something now disconnects when that is over.
        if self._lock.acquire(timeout=CLOSE_TIMEOUT):
            self._disconnect()
            self._lock.release()

    def forget(self) -> None:
        _inherited.append(self._main)
        self._main = None


def _insert(
    connection: sqlite3.Connection, records: Sequence[Record], ids: Any
) -> None:
    now = time.time()
    connection.executemany(
        "INSERT INTO eventbus_log (topic, at, key, data) VALUES (?, ?, ?, ?)",
        [(ids[record.topic], now, record.key, record.data) for record in records],
    )


def _end(connection: sqlite3.Connection) -> int:
    """The last number that was ever given to an event, be it removed since."""
    row = connection.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = 'eventbus_log'"
    ).fetchone()
    return 0 if row is None else int(row[0])


def _backlog(
    connection: sqlite3.Connection, topics: Topics, id: SubscriptionId, upto: int | None
) -> int:
    # One snapshot for all of it: a claim in between would be counted in neither place.
    connection.execute("BEGIN")
    try:
        row = subscription_row(connection, id)
        if row is None:
            return 0
        topics.refresh(connection)
        end = _end(connection) if upto is None else upto
        count = sum(
            connection.execute(
                "SELECT count(*) FROM eventbus_log WHERE topic = ? AND seq > ? AND seq <= ?",
                (topic, row[1], end),
            ).fetchone()[0]
            for topic in topics.matching(id.pattern)
        )
        held = connection.execute(
            "SELECT seqs FROM eventbus_lease WHERE subscription = ?", (row[0],)
        ).fetchall()
        return int(count) + sum(seq <= end for (blob,) in held for seq in leases.unpack(blob))
    finally:
        connection.execute("ROLLBACK")
