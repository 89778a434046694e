"""Removes events that are old *and* settled by every subscription, in small batches."""

from __future__ import annotations

from . import leases, subscriptions
from .link import Link
from .snapshot import Place
from .tables import Tables
from .window import Log

#: Rows removed in one transaction: some ten milliseconds.
BATCH = 5_000


def clean(link: Link, tables: Tables, retention: float) -> int:
    """Remove one batch; return its size, or 0 where somebody else is at it.

    Args:
        link: where to.
        tables: where.
        retention: seconds for which settled events are kept.
    """
    # One snapshot for all of it: an old event that is committed after we have looked for what is
    # unsettled must not be seen by the removal.
    with link.transaction("ISOLATION LEVEL REPEATABLE READ"):
        lock = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))"
        if link.rows(lock, [tables.channel]) != [(True,)]:
            return 0
        if not _any_old(link, tables, retention):
            return 0
        floor = unsettled_from(link, tables)
        below, values = ("", []) if floor is None else (" WHERE (xid, id) < (%s, %s)", [*floor])
        # The first ones are the oldest, but for transactions that took long.
        first = f"SELECT xid, id, at FROM {tables.log}{below} ORDER BY xid, id LIMIT {BATCH}"
        return link.run(
            f"DELETE FROM {tables.log} WHERE (xid, id) IN (SELECT xid, id FROM ({first}) AS f"
            " WHERE at < now() - %s * interval '1 second')", [*values, retention],
        )


def _any_old(link: Link, tables: Tables, retention: float) -> bool:
    rows = link.rows(
        f"SELECT at < now() - %s * interval '1 second' FROM {tables.log} ORDER BY xid, id LIMIT 1",
        [retention],
    )
    return rows == [(True,)]


def unsettled_from(link: Link, tables: Tables) -> Place | None:
    """The first event that some subscription has not settled; `None` if there is none."""
    held = link.rows(f"SELECT held FROM {tables.lease} WHERE count > 0")
    places = [min(leases.unpack(blob)) for (blob,) in held]
    for subscription in subscriptions.every(link, tables):
        first = Log(tables, subscription.id.pattern).first(link, subscription.cursor)
        if first is not None:
            places.append(first)
    return min(places, default=None)
