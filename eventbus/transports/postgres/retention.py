"""Removes events that are old *and* settled by every subscription, in small batches."""

from __future__ import annotations

from time import monotonic

from . import leases, subscriptions
from .link import Link
from .snapshot import START, Place
from .tables import Tables
from .window import Log

#: Rows removed in one transaction: some ten milliseconds.
BATCH = 5_000
#: Seconds after which no further batch is begun: other administration waits for this one.
LONGEST = 0.1


def clean(link: Link, tables: Tables, retention: float) -> bool:
    """Remove batch after batch for a moment.

    Args:
        link: where to.
        tables: where.
        retention: seconds for which settled events are kept.

    Returns:
        Whether there is more to be removed.
    """
    until, done = monotonic() + LONGEST, START
    while True:
        removed, done = _remove(link, tables, retention, done)
        if removed < BATCH or monotonic() >= until:
            return removed == BATCH


def _remove(link: Link, tables: Tables, retention: float, done: Place) -> tuple[int, Place]:
    """Remove one batch; return its size, 0 where somebody else is at it, and its last place.

    Args:
        link: where to.
        tables: where.
        retention: seconds for which settled events are kept.
        done: how far earlier batches went, so as not to pass over their dead rows again.
    """
    # One snapshot for all of it: an old event that is committed after we have looked for what is
    # unsettled must not be seen by the removal.
    with link.transaction("ISOLATION LEVEL REPEATABLE READ"):
        lock = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))"
        if link.rows(lock, [tables.channel]) != [(True,)]:
            return 0, done
        if not _any_old(link, tables, retention, done):
            return 0, done
        where, values = "(xid, id) > (%s, %s)", [*done]
        if (floor := unsettled_from(link, tables)) is not None:
            where, values = f"{where} AND (xid, id) < (%s, %s)", [*values, *floor]
        # The first ones are the oldest, but for transactions that took long.
        first = f"SELECT xid, id, at FROM {tables.log} WHERE {where} ORDER BY xid, id LIMIT {BATCH}"
        rows = link.rows(
            f"WITH gone AS (DELETE FROM {tables.log} WHERE (xid, id) IN (SELECT xid, id"
            f" FROM ({first}) AS f WHERE at < now() - %s * interval '1 second') RETURNING xid, id)"
            " SELECT count(*) OVER (), xid, id FROM gone ORDER BY xid DESC, id DESC LIMIT 1",
            [*values, retention],
        )
    return (rows[0][0], Place(*rows[0][1:])) if rows else (0, done)


def _any_old(link: Link, tables: Tables, retention: float, done: Place) -> bool:
    rows = link.rows(
        f"SELECT at < now() - %s * interval '1 second' FROM {tables.log}"
        " WHERE (xid, id) > (%s, %s) ORDER BY xid, id LIMIT 1", [retention, *done],
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
