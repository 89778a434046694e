"""Claiming events for a member: what others left behind first, then the inbox, then the log.

Everything here runs inside one short transaction that holds the subscription's row; nothing is
held while handlers run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...errors import TransportUnavailable
from ...patterns import matcher
from ..base import Budget, Delivery, SubscriptionId
from . import leases, subscriptions
from .holding import Holding
from .leases import InboxReceipt, Lease
from .link import Link
from .purse import Purse
from .snapshot import Place, Snapshot
from .subscriptions import Subscription
from .tables import Tables
from .window import Log, Row

#: Leases that were freed, taken over in one claim.
TAKE_OVER = 20


class Claimed(NamedTuple):
    """What one claim has taken."""

    deliveries: list[Delivery]
    #: There may be more in the log that the budget did not allow, or that was not looked at yet.
    more: bool
    #: The same of what others have left, and of the inbox.
    more_left: bool
    #: As it is now.
    subscription: Subscription


class Claims:
    """Claims for one owner.

    Args:
        tables: where.
        owner: in whose name.
        lease: seconds a claim lasts without renewal.
        holding: where claimed batches are written.
    """

    def __init__(self, tables: Tables, owner: str, lease: float, holding: Holding) -> None:
        self._tables = tables
        self._owner = owner
        self._lease = lease
        self._holding = holding
        self._logs: dict[str, Log] = {}

    def claim(
        self, link: Link, id: SubscriptionId, budget: Budget, leftovers: bool
    ) -> Claimed:
        """Take what the budget allows.

        Args:
            link: where to.
            id: the subscription.
            budget: how much.
            leftovers: look for freed leases and for the inbox, too.

        Raises:
            TransportUnavailable: the subscription is gone; the next session creates it again.
        """
        purse = Purse(budget)
        link.connect()
        with link.transaction(opening=[self._lock(link, id), subscriptions.NOW]):
            subscription, seen = _opened(link, id)
            deliveries: list[Delivery] = []
            if leftovers:
                deliveries += self._take_over(link, subscription.number, purse)
                deliveries += self._inbox(link, subscription.number, purse)
            more_left = leftovers and purse.is_empty()
            subscription, found = self._from_log(link, subscription, seen, purse)
            deliveries += found
            if deliveries:
                # Or, after a crash, peers would claim what this member goes on with.
                link.commit_durably()
        more = purse.is_empty() or subscription.cursor.target is not None
        return Claimed(deliveries, more, more_left, subscription)

    def _lock(self, link: Link, id: SubscriptionId) -> str:
        return (
            f"SELECT {subscriptions.COLUMNS} FROM {self._tables.subscription}"
            f" WHERE grp = {link.literal(id.group)} AND pattern = {link.literal(id.pattern)}"
            " FOR NO KEY UPDATE"
        )

    # -- what members left behind ------------------------------------------------------------

    def _take_over(self, link: Link, number: int, purse: Purse) -> list[Delivery]:
        rows = link.rows(
            f"SELECT id, held, deaths, started, succeeded FROM {self._tables.lease}"
            " WHERE subscription = %s AND owner IS NULL ORDER BY id LIMIT %s"
            " FOR UPDATE SKIP LOCKED", [number, TAKE_OVER],
        )
        deliveries: list[Delivery] = []
        for row in rows:
            if purse.is_empty():
                break
            deliveries += self._take_row(link, number, row, purse)
        return deliveries

    def _take_row(
        self, link: Link, number: int, row: tuple[Any, ...], purse: Purse
    ) -> list[Delivery]:
        id, held, deaths, started, succeeded = row
        free = Lease(
            id, number, leases.unpack(held), deaths=deaths, started=started,
            succeeded=leases.load_succeeded(succeeded),
        )
        wanted = free.part(sorted(free.held)[: purse.count])
        found = purse.spend(self._read(link, wanted, purse.size))
        taken = {row[1] for row in found}
        # What is in no row of the log any more cannot be delivered, and must not stay for ever.
        through = taken if purse.is_empty() else {place.id for place in wanted}
        self._holding.shrink(link, {free: through})
        return self._holding.hold(link, free, found) if found else []

    def _read(self, link: Link, places: list[Place], size: int) -> list[Row]:
        columns = [list(column) for column in zip(*places, strict=True)]
        sql = (
            "SELECT l.xid, l.id, l.topic, l.key, l.data, sum(octet_length(l.data))"
            " OVER (ORDER BY l.id ROWS UNBOUNDED PRECEDING) AS total"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS h(xid, id)"
            f" JOIN {self._tables.log} AS l ON l.xid = h.xid AND l.id = h.id"
        )
        return link.rows(
            f"SELECT xid, id, topic, key, data FROM ({sql}) AS q"
            " WHERE total - octet_length(data) < %s ORDER BY id", [*columns, size],
        )

    # -- parked and replayed events ----------------------------------------------------------

    def _inbox(self, link: Link, number: int, purse: Purse) -> list[Delivery]:
        if purse.is_empty():
            return []
        due = (
            f"SELECT id, due, data FROM {self._tables.inbox}"
            " WHERE subscription = %s AND owner IS NULL AND due <= now()"
            " AND (handler IS NULL OR handler = ANY(%s)) ORDER BY due LIMIT %s"
        )
        cut = (
            "SELECT id FROM (SELECT id, octet_length(data) AS size, sum(octet_length(data))"
            f" OVER (ORDER BY due, id) AS total FROM ({due}) AS d) AS w WHERE total - size < %s"
        )
        rows = link.rows(
            f"UPDATE {self._tables.inbox} SET owner = %s, until = now() + %s * interval '1 second'"
            f" WHERE id IN ({cut}) RETURNING due, id, topic, key, data, handler, attempt,"
            " first_failed_at, deaths, started, succeeded",
            [self._owner, self._lease, number, list(purse.handlers), purse.count, purse.size],
        )
        rows.sort(key=lambda row: row[:2])
        purse.pay(len(rows), sum(len(row[4]) for row in rows))
        return [_parked(row, number) for row in rows]

    # -- the log -----------------------------------------------------------------------------

    def _from_log(
        self, link: Link, subscription: Subscription, seen: Snapshot, purse: Purse
    ) -> tuple[Subscription, list[Delivery]]:
        number, id, cursor = subscription
        log = self.log(id.pattern)
        rows: list[Row] = []
        while not purse.is_empty():
            last = cursor.target is None
            if last:
                cursor = cursor.towards(seen)
            found = log.read(link, cursor, purse.count, purse.size)
            rows += purse.spend(found.rows)
            cursor = found.cursor
            if last:
                break
        matches = matcher(id.pattern)
        rows = [row for row in rows if matches(row[2])]
        deliveries: list[Delivery] = []
        if rows:
            deliveries = self._holding.advance(link, number, rows, cursor)
        elif cursor != subscription.cursor:
            link.run(self._holding.move, [*subscriptions.values(cursor), number])
        return subscription._replace(cursor=cursor), deliveries

    def log(self, pattern: str) -> Log:
        """The statements for a pattern."""
        if pattern not in self._logs:
            self._logs[pattern] = Log(self._tables, pattern)
        return self._logs[pattern]


def _opened(link: Link, id: SubscriptionId) -> tuple[Subscription, Snapshot]:
    """The locked row, and what is committed since it is locked."""
    locked, ((seen,),) = link.opened
    if not locked:
        raise TransportUnavailable(f"{id.pattern!r} of group {id.group!r} has vanished")
    return subscriptions.parse(locked[0]), Snapshot.parse(seen)


def _parked(row: tuple[Any, ...], number: int) -> Delivery:
    _, id, topic, key, data, handler, attempt, failed, deaths, started, succeeded = row
    return Delivery(
        topic, data, key, InboxReceipt(id, number), handler=handler, attempt=attempt,
        deaths=deaths, started=started, first_failed_at=failed, succeeded=succeeded,
    )
