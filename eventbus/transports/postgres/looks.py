"""Looking for work without taking it: reads that lock nothing and hold up nobody."""

from __future__ import annotations

from collections.abc import Collection

from ..base import SubscriptionId
from .link import Link
from .tables import Tables

#: A cursor that is so many transactions behind is moved on even if nothing was found for it.
BEHIND = 50


class Looks:
    """What there is for some subscriptions.

    The first row in the order of an index is asked for instead of `EXISTS`, which the planner may
    answer by reading the whole log.
    """

    def __init__(self, tables: Tables, owner: str) -> None:
        self._owner = owner
        self._these = (
            f"FROM {tables.subscription} AS s JOIN unnest(%s::text[], %s::text[]) AS wanted(g, p)"
            " ON s.grp = wanted.g AND s.pattern = wanted.p"
        )
        self._log = (
            f"SELECT s.grp, s.pattern {self._these} WHERE s.target_xmax IS NOT NULL"
            f" OR CASE WHEN strpos(s.pattern, '*') = 0"
            f" THEN {_any(tables.log, ' AND l.topic = s.pattern', 'l.topic, ')}"
            f" ELSE {_any(tables.log, '', '')} END"
        )
        self._behind = (
            f"SELECT s.grp, s.pattern {self._these}"
            " WHERE pg_snapshot_xmax(pg_current_snapshot())::text::bigint - s.seen_xmax > %s"
        )
        self._left = (
            f"SELECT s.grp, s.pattern {self._these} WHERE s.id IN"
            f" (SELECT subscription FROM {tables.lease} WHERE owner IS NULL)"
            f" OR (SELECT i.id FROM {tables.inbox} AS i WHERE i.subscription = s.id"
            " AND i.owner IS NULL AND i.due <= now() ORDER BY i.due LIMIT 1) IS NOT NULL"
        )
        lapsed = "owner IS NOT NULL AND owner <> %s AND until < now()"
        self._lapsed = " UNION ALL ".join(
            f"(SELECT 1 FROM {table} WHERE {lapsed} ORDER BY until LIMIT 1)"
            for table in (tables.lease, tables.inbox)
        )
        self._free = [
            f"UPDATE {table} SET owner = NULL, deaths = deaths + 1 WHERE id IN"
            f" (SELECT id FROM {table} WHERE {lapsed} FOR UPDATE SKIP LOCKED)"
            for table in (tables.lease, tables.inbox)
        ]

    def log(self, link: Link, ids: Collection[SubscriptionId]) -> set[SubscriptionId]:
        """Those for which the log may hold something that is not claimed."""
        with link.with_settings():
            return _ids(link.rows(self._log, _columns(ids)))

    def behind(self, link: Link, ids: Collection[SubscriptionId]) -> set[SubscriptionId]:
        """Those whose cursor should move, be there anything for them or not."""
        return _ids(link.rows(self._behind, [*_columns(ids), BEHIND]))

    def left(self, link: Link, ids: Collection[SubscriptionId]) -> set[SubscriptionId]:
        """Those with freed leases, or events in their inbox that are due."""
        with link.with_settings():
            return _ids(link.rows(self._left, _columns(ids)))

    def free_the_lapsed(self, link: Link) -> None:
        """Take leases that have ended from their owners, who are taken for dead."""
        if link.rows(self._lapsed, [self._owner, self._owner]):
            for sql in self._free:
                link.run(sql, [self._owner])


def _any(log: str, topic: str, order: str) -> str:
    fresh = (
        f"(SELECT l.xid FROM {log} AS l WHERE l.xid >= s.seen_xmax{topic}"
        f" ORDER BY {order}l.xid, l.id LIMIT 1) IS NOT NULL"
    )
    late = (
        "(SELECT found.xid FROM unnest(s.seen_open) AS o(xid) CROSS JOIN LATERAL"
        f" (SELECT l.xid FROM {log} AS l WHERE l.xid = o.xid{topic}"
        f" ORDER BY {order}l.xid, l.id LIMIT 1) AS found"
        # What is still open is not worth walking over its rows.
        " WHERE o.xid < 3 OR"
        " pg_visible_in_snapshot(o.xid::text::xid8, pg_current_snapshot()) LIMIT 1) IS NOT NULL"
    )
    return f"({fresh} OR cardinality(s.seen_open) > 0 AND {late})"


def _columns(ids: Collection[SubscriptionId]) -> list[list[str]]:
    return [[id.group for id in ids], [id.pattern for id in ids]]


def _ids(rows: list[tuple[str, str]]) -> set[SubscriptionId]:
    return {SubscriptionId(group, pattern) for group, pattern in rows}
