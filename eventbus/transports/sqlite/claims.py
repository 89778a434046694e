"""Claiming events for a member: what others left behind first, then the inbox, then the log.

Everything here runs inside one short write transaction; no lock is held while handlers run.
"""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import datetime, timezone

from ...errors import TransportUnavailable
from ..base import Budget, Delivery, SubscriptionId
from . import leases
from .leases import InboxReceipt, Lease, LogReceipt
from .owners import lease_clock
from .topics import Topics

#: Leases of dead members taken over in one claim.
TAKE_OVER = 20


class Claims:
    """Claims for one owner.

    Args:
        owner: in whose name.
        lease: seconds a claim lasts without renewal.
        topics: the connection's topic names.
    """

    def __init__(self, owner: str, lease: float, topics: Topics) -> None:
        self._owner = owner
        self._lease = lease
        self._topics = topics

    def subscription(self, connection: sqlite3.Connection, id: SubscriptionId) -> tuple[int, int]:
        """Row id and cursor.

        Raises:
            TransportUnavailable: it is gone; the next session creates it again.
        """
        row = connection.execute(
            "SELECT id, cursor FROM eventbus_subscription WHERE grp = ? AND pattern = ?", id
        ).fetchone()
        if row is None:
            raise TransportUnavailable(f"{id.pattern!r} of group {id.group!r} has vanished")
        return int(row[0]), int(row[1])

    def has_work(self, connection: sqlite3.Connection, id: SubscriptionId) -> bool:
        """Whether a claim would find anything; a read that blocks nobody."""
        number, cursor = self.subscription(connection, id)
        free = "SELECT 1 FROM eventbus_lease WHERE subscription = ? AND owner IS NULL LIMIT 1"
        if connection.execute(free, (number,)).fetchone():
            return True
        due = "SELECT 1 FROM eventbus_inbox WHERE subscription = ? AND owner IS NULL AND due <= ?"
        if connection.execute(due + " LIMIT 1", (number, time.time())).fetchone():
            return True
        return self._next(connection, id.pattern, cursor) is not None

    def _next(self, connection: sqlite3.Connection, pattern: str, cursor: int) -> int | None:
        nearest = None
        for topic in self._topics.matching(pattern):
            row = connection.execute(
                "SELECT min(seq) FROM eventbus_log WHERE topic = ? AND seq > ?", (topic, cursor)
            ).fetchone()
            if row[0] is not None and (nearest is None or row[0] < nearest):
                nearest = row[0]
        return nearest

    def claim(
        self, connection: sqlite3.Connection, id: SubscriptionId, budget: Budget
    ) -> list[Delivery]:
        """Take what the budget allows."""
        number, cursor = self.subscription(connection, id)
        purse = _Purse(budget)
        deliveries = self._take_over(connection, number, purse)
        deliveries += self._inbox(connection, number, purse)
        deliveries += self._log(connection, number, cursor, id.pattern, purse)
        return deliveries

    def _until(self) -> float:
        return lease_clock() + self._lease

    # -- what members left behind ------------------------------------------------------------

    def _take_over(
        self, connection: sqlite3.Connection, number: int, purse: _Purse
    ) -> list[Delivery]:
        rows = connection.execute(
            "SELECT id, seqs, deaths, started, succeeded FROM eventbus_lease"
            " WHERE subscription = ? AND owner IS NULL ORDER BY id LIMIT ?",
            (number, TAKE_OVER),
        ).fetchall()
        deliveries: list[Delivery] = []
        for row in rows:
            if purse.is_empty():
                break
            deliveries += self._take_row(connection, number, row, purse)
        return deliveries

    def _take_row(
        self, connection: sqlite3.Connection, number: int, row: tuple[int, bytes, int, int, str],
        purse: _Purse,
    ) -> list[Delivery]:
        id, blob, deaths, started, succeeded = row
        free = Lease(
            id, number, leases.unpack(blob), deaths=deaths, started=started,
            succeeded=leases.load_succeeded(succeeded),
        )
        cursor = connection.execute(
            "SELECT seq, topic, key, data FROM eventbus_log"
            " WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (json.dumps(sorted(free.seqs)),),
        )
        found = purse.spend(cursor)
        taken = {seq for seq, *_ in found}
        # What is in no row of the log any more cannot be delivered, and must not stay for ever.
        rest = set() if not found else free.seqs - taken
        leases.update(connection, free, rest)
        return self._hold(connection, free, found) if found else []

    def _hold(
        self, connection: sqlite3.Connection, origin: Lease, found: list[_Row]
    ) -> list[Delivery]:
        lease = Lease(
            0, origin.subscription, (row[0] for row in found), deaths=origin.deaths,
            started=origin.started, succeeded=origin.succeeded,
        )
        lease.id = leases.insert(connection, self._owner, self._until(), lease)
        names = self._topics.names
        return [
            Delivery(
                names[topic], data, key, LogReceipt(lease, seq), deaths=lease.deaths,
                started=seq == lease.started, succeeded=lease.succeeded.get(seq, ()),
            )
            for seq, topic, key, data in found
        ]

    # -- parked and replayed events ----------------------------------------------------------

    def _inbox(
        self, connection: sqlite3.Connection, number: int, purse: _Purse
    ) -> list[Delivery]:
        if purse.is_empty():
            return []
        rows = connection.execute(
            "SELECT id, topic, key, data, handler, attempt, first_failed_at, deaths, started"
            " FROM eventbus_inbox WHERE subscription = ? AND owner IS NULL AND due <= ?"
            " AND (handler IS NULL OR handler IN (SELECT value FROM json_each(?)))"
            " ORDER BY due LIMIT ?",
            (number, time.time(), json.dumps(purse.handlers), purse.count),
        ).fetchall()
        connection.executemany(
            "UPDATE eventbus_inbox SET owner = ?, until = ? WHERE id = ?",
            [(self._owner, self._until(), row[0]) for row in rows],
        )
        purse.count -= len(rows)
        return [_parked(row, number) for row in rows]

    # -- the log -----------------------------------------------------------------------------

    def _log(
        self, connection: sqlite3.Connection, number: int, cursor: int, pattern: str,
        purse: _Purse,
    ) -> list[Delivery]:
        topics = self._topics.matching(pattern)
        if purse.is_empty() or not topics:
            return []
        end = int(connection.execute("SELECT max(seq) FROM eventbus_log").fetchone()[0] or 0)
        found = purse.spend(self._scan(connection, topics, cursor))
        # Everything was looked at unless the purse ran out.
        reached = found[-1][0] if purse.is_empty() and found else max(end, cursor)
        connection.execute(
            "UPDATE eventbus_subscription SET cursor = ? WHERE id = ?", (reached, number)
        )
        return self._hold(connection, Lease(0, number, ()), found) if found else []

    def _scan(
        self, connection: sqlite3.Connection, topics: list[int], cursor: int
    ) -> sqlite3.Cursor:
        if len(topics) == 1:
            return connection.execute(
                "SELECT seq, topic, key, data FROM eventbus_log WHERE topic = ? AND seq > ?"
                " ORDER BY seq", (topics[0], cursor),
            )
        # `+`: by the log's own order. The index would have to sort the whole backlog first.
        return connection.execute(
            "SELECT seq, topic, key, data FROM eventbus_log WHERE seq > ?"
            " AND +topic IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (cursor, json.dumps(topics)),
        )


_Row = tuple[int, int, str | None, bytes]


class _Purse:
    """A budget that is being spent."""

    def __init__(self, budget: Budget) -> None:
        self.count, self._size, self.handlers = budget
        self._untouched = True

    def is_empty(self) -> bool:
        return self.count <= 0 or (self._size <= 0 and not self._untouched)

    def spend(self, cursor: sqlite3.Cursor) -> list[_Row]:
        """Read rows while they can be afforded; the first one always can."""
        rows: list[_Row] = []
        while not self.is_empty():
            chunk = cursor.fetchmany(min(self.count, 64))
            if not chunk:
                break
            for place, row in enumerate(chunk):
                if self.is_empty():
                    rows += chunk[:place]
                    break
                self._untouched = False
                self.count -= 1
                self._size -= len(row[3])
            else:
                rows += chunk
        cursor.close()
        return rows


def _parked(row: tuple, number: int) -> Delivery:  # type: ignore[type-arg]
    id, topic, key, data, handler, attempt, failed, deaths, started = row
    return Delivery(
        topic, data, key, InboxReceipt(id, number), handler=handler, attempt=attempt,
        deaths=deaths, started=bool(started),
        first_failed_at=None if failed is None else datetime.fromtimestamp(failed, timezone.utc),
    )
