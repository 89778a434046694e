"""The durable subscriptions and how far each was claimed."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..base import StartFrom, SubscriptionId
from .link import Link
from .snapshot import NOTHING, START, Cursor, Place, Snapshot
from .tables import Tables

COLUMNS = (
    "id, grp, pattern, seen_xmax, seen_open, target_xmax, target_open, place_xid, place_id"
)


class Subscription(NamedTuple):
    """A row: its number, whose it is, and the cursor."""

    number: int
    id: SubscriptionId
    cursor: Cursor


def parse(row: tuple[Any, ...]) -> Subscription:
    """From `COLUMNS`."""
    number, group, pattern, xmax, opened, target_xmax, target_open, place_xid, place_id = row
    seen = Snapshot(xmax, tuple(opened))
    if target_xmax is None:
        return Subscription(number, SubscriptionId(group, pattern), Cursor(seen))
    target = Snapshot(target_xmax, tuple(target_open))
    place = START if place_id is None else Place(place_xid, place_id)
    return Subscription(number, SubscriptionId(group, pattern), Cursor(seen, target, place))


def values(cursor: Cursor) -> list[Any]:
    """For the columns behind `SET` in `MOVE`."""
    seen, target, place = cursor
    return [
        seen.xmax, list(seen.open), target and target.xmax, target and list(target.open), *place
    ]


#: Moves a cursor.
MOVE = (
    "seen_xmax = %s, seen_open = %s::bigint[], target_xmax = %s, target_open = %s::bigint[],"
    " place_xid = %s, place_id = %s"
)


#: What is committed at this moment; see `Snapshot.parse`.
NOW = "SELECT pg_current_snapshot()::text"


def now(link: Link) -> Snapshot:
    """What is committed at this moment."""
    ((text,),) = link.rows(NOW)
    return Snapshot.parse(text)


def find(link: Link, tables: Tables, id: SubscriptionId) -> Subscription | None:
    """The row as it is."""
    rows = link.rows(
        f"SELECT {COLUMNS} FROM {tables.subscription} WHERE grp = %s AND pattern = %s", id
    )
    return parse(rows[0]) if rows else None


def every(link: Link, tables: Tables) -> list[Subscription]:
    return [parse(row) for row in link.rows(f"SELECT {COLUMNS} FROM {tables.subscription}")]


def declare(link: Link, tables: Tables, id: SubscriptionId, start: StartFrom) -> bool:
    """Make it, if there is none; `True` also when what it had was lost with a table."""
    seen = now(link) if start == "latest" else NOTHING
    made = link.run(
        f"INSERT INTO {tables.subscription} (grp, pattern, seen_xmax, seen_open)"
        " VALUES (%s, %s, %s, %s::bigint[]) ON CONFLICT (grp, pattern) DO NOTHING",
        [*id, seen.xmax, list(seen.open)],
    )
    if made:
        return True
    return bool(
        link.run(
            f"UPDATE {tables.subscription} SET lost = false"
            " WHERE grp = %s AND pattern = %s AND lost", id,
        )
    )


def drop(link: Link, tables: Tables, id: SubscriptionId) -> bool:
    """End it, with all that waits in it."""
    with link.transaction():
        rows = link.rows(
            f"DELETE FROM {tables.subscription} WHERE grp = %s AND pattern = %s RETURNING id", id
        )
        for (number,) in rows:
            for table in (tables.lease, tables.inbox):
                link.run(f"DELETE FROM {table} WHERE subscription = %s", [number])
    return bool(rows)
