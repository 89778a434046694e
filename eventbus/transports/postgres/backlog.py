"""How much a subscription has not settled yet."""

from __future__ import annotations

from ..base import SubscriptionId
from . import leases, subscriptions
from .link import Link
from .snapshot import Snapshot
from .tables import Tables
from .window import COUNT_TIMEOUT, Log


def of(link: Link, tables: Tables, id: SubscriptionId, upto: Snapshot | None) -> int:
    """Events that nobody has claimed, and those that are claimed; only what a snapshot sees."""
    # One snapshot for all of it: a claim in between would be counted in neither place.
    with link.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
        found = subscriptions.find(link, tables, id)
        if found is None:
            return 0
        held = link.rows(
            f"SELECT count, held FROM {tables.lease} WHERE subscription = %s",
            [found.number], COUNT_TIMEOUT,
        )
        waiting = Log(tables, id.pattern).count(link, found.cursor, upto)
    return waiting + sum(_seen(count, blob, upto) for count, blob in held)


def _seen(count: int, held: bytes, upto: Snapshot | None) -> int:
    if upto is None:
        return count
    return sum(upto.sees(place.xid) for place in leases.unpack(held))
