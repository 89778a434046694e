"""Rows of claimed batches: written together with the cursor that a claim moves, and shrunk."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..base import Delivery
from . import leases, subscriptions
from .leases import Lease, LogReceipt
from .link import Link
from .snapshot import Cursor, Place, Snapshot
from .tables import Tables
from .window import Row

#: Of a new row: subscription, owner, seconds, deaths, started, count, held, succeeded.
VALUES = (
    "%s::bigint, %s, now() + %s * interval '1 second', %s::integer, %s::bigint, %s::integer,"
    " %s::bytea, %s"
)
#: Among the results of a statement that is a transaction of its own: have that wait for the disk,
#: or whatever the default is, as `SET LOCAL synchronous_commit TO DEFAULT` does.
DURABLY = ", set_config('synchronous_commit', NULL, true)"


class Holding:
    """Leases in one owner's name.

    Args:
        tables: where.
        owner: in whose name.
        lease: seconds a claim lasts without renewal.
    """

    def __init__(self, tables: Tables, owner: str, lease: float) -> None:
        self._tables = tables
        self._owner = owner
        self._lease = lease
        #: Moves a cursor, of the subscription of a number.
        self.move = f"UPDATE {tables.subscription} SET {subscriptions.MOVE} WHERE id = %s"
        self._insert = (
            f"INSERT INTO {tables.lease}"
            " (subscription, owner, until, deaths, started, count, held, succeeded)"
        )

    def shrink(self, link: Link, gone: Mapping[Lease, Collection[int]]) -> None:
        """Write what is left of leases; nothing left removes a row."""
        over = [lease.id for lease, ids in gone.items() if len(ids) == len(lease.held)]
        if over:
            link.run(f"DELETE FROM {self._tables.lease} WHERE id = ANY(%s)", [over])
        left = {
            lease: lease.held.keys() - ids
            for lease, ids in gone.items() if len(ids) < len(lease.held)
        }
        if left:
            self._rewrite(link, left)

    def _rewrite(self, link: Link, left: Mapping[Lease, Collection[int]]) -> None:
        # One round trip for all: a member under load has a part of many batches in hand.
        link.run(
            f"UPDATE {self._tables.lease} AS l SET held = u.held, count = u.count,"
            " succeeded = u.succeeded FROM unnest(%s::bigint[], %b::bytea[], %s::integer[],"
            " %b::text[]) AS u(id, held, count, succeeded) WHERE l.id = u.id",
            [
                [lease.id for lease in left],
                [leases.pack(lease.part(ids)) for lease, ids in left.items()],
                [len(ids) for ids in left.values()],
                [leases.dump_succeeded(lease, ids) for lease, ids in left.items()],
            ],
        )

    def hold(self, link: Link, origin: Lease, found: list[Row]) -> list[Delivery]:
        """Make a lease of what was found of another one that is over."""
        lease = _lease(origin, found)
        ((lease.id,),) = link.rows(
            f"{self._insert} VALUES ({VALUES}) RETURNING id", self._values(lease)
        )
        return _deliveries(lease, found)

    def advance(
        self, link: Link, number: int, found: list[Row], to: Cursor, since: Snapshot | None = None
    ) -> list[Delivery]:
        """Make a lease of what was found in the log, and move the cursor, in one statement.

        Args:
            link: where to.
            number: of the subscription.
            found: what was found.
            to: where the cursor comes to stand.
            since: only if it still stands here; then this is on disk with the statement, which is
                a transaction of its own, and nothing comes of it if the cursor stands elsewhere.
        """
        lease = _lease(Lease(0, number, ()), found)
        moved, where, durably = self.move, [], ""
        if since is not None:
            moved += " AND seen_xmax = %s AND seen_open = %s::bigint[] AND target_xmax IS NULL"
            where, durably = [since.xmax, list(since.open)], DURABLY
        rows = link.rows(
            f"WITH moved AS ({moved} RETURNING id)"
            f" {self._insert} SELECT {VALUES} FROM moved RETURNING id{durably}",
            [*subscriptions.values(to), number, *where, *self._values(lease)],
        )
        for row in rows:
            lease.id = row[0]
            return _deliveries(lease, found)
        return []

    def _values(self, lease: Lease) -> list[Any]:
        held = lease.held
        return [
            lease.subscription, self._owner, self._lease, lease.deaths,
            lease.started if lease.started in held else None, len(held),
            leases.pack(Place(xid, id) for id, xid in held.items()),
            leases.dump_succeeded(lease, held),
        ]


def _lease(origin: Lease, found: list[Row]) -> Lease:
    """One with what was found, by the numbers of the events."""
    found.sort(key=lambda row: row[1])
    return Lease(
        0, origin.subscription, (Place(row[0], row[1]) for row in found),
        deaths=origin.deaths, started=origin.started, succeeded=origin.succeeded,
    )


def _deliveries(lease: Lease, found: list[Row]) -> list[Delivery]:
    return [
        Delivery(
            topic, data, key, LogReceipt(lease, id), deaths=lease.deaths,
            started=id == lease.started, succeeded=lease.succeeded.get(id, ()),
        )
        for _, id, topic, key, data in found
    ]
