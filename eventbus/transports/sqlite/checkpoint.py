"""Moves the write-ahead log into the database, one checkpointer at a time.

SQLite before 3.51.3 can corrupt a file when two connections checkpoint at the same instant
(sqlite.org/wal.html#walresetbug), and nearly every Python ships such a version. So automatic
checkpoints are off, and whoever has written enough takes a lock file first.
"""

from __future__ import annotations

import logging
import os
import sqlite3

try:
    import fcntl
except ImportError:  # pragma: no cover - not on this platform
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("eventbus.transport")

#: Bytes one connection writes between two checkpoints: SQLite's own default, 1,000 pages.
INTERVAL = 4 * 1024 * 1024
#: Bytes that a transaction costs beside its data: the pages it touches.
OVERHEAD = 8 * 1024
#: Pages of log from which on writers are made to wait until it is emptied.
FORCE = 16_384


class Checkpointer:
    """Counts what one connection writes and checkpoints when it is due."""

    def __init__(self, path: str) -> None:
        self._lock_path = path + "-eventbus-lock"
        self._written = 0

    def wrote(self, connection: sqlite3.Connection, size: int) -> None:
        """Call after each commit; the caller may write again only when this returned.

        Never raises: what was committed is committed, whatever becomes of the log.
        """
        self._written += size + OVERHEAD
        if self._written < INTERVAL:
            return
        self._written = 0
        try:
            self._checkpoint(connection)
        except (OSError, sqlite3.Error) as error:
            logger.warning("%s: the log was not emptied: %s", self._lock_path, error)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > FORCE:
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except (BlockingIOError, sqlite3.OperationalError):
            return  # Somebody else is at it, or a reader is: the next one will do.
        finally:
            os.close(descriptor)
