"""Removes events that are old *and* settled by every subscription."""

from __future__ import annotations

import sqlite3
import time

from . import leases
from .topics import Topics

#: Rows removed in one transaction: it stays short, and publishers do not wait for it.
BATCH = 1_000


def clean(connection: sqlite3.Connection, retention: float) -> int:
    """Remove one batch inside the caller's write transaction; return its size.

    Args:
        connection: of the main database.
        retention: seconds for which settled events are kept.
    """
    floor = unsettled_from(connection)
    cutoff = time.time() - retention
    rows = connection.execute(
        "SELECT seq, at FROM eventbus_log ORDER BY seq LIMIT ?", (BATCH,)
    ).fetchall()
    end = 0
    for seq, at in rows:
        if at >= cutoff or (floor is not None and seq >= floor):
            break
        end = seq
    if end:
        return connection.execute("DELETE FROM eventbus_log WHERE seq <= ?", (end,)).rowcount
    return 0


def unsettled_from(connection: sqlite3.Connection) -> int | None:
    """The first event that some subscription has not settled; `None` if there is none."""
    topics = Topics()
    topics.refresh(connection)
    found = [
        seq
        for (blob,) in connection.execute("SELECT seqs FROM eventbus_lease").fetchall()
        for seq in leases.unpack(blob)[:1]
    ]
    rows = connection.execute("SELECT pattern, cursor FROM eventbus_subscription").fetchall()
    for pattern, cursor in rows:
        for topic in topics.matching(pattern):
            first = connection.execute(
                "SELECT min(seq) FROM eventbus_log WHERE topic = ? AND seq > ?", (topic, cursor)
            ).fetchone()[0]
            if first is not None:
                found.append(first)
    return min(found, default=None)
