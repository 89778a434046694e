"""Reading the log between two snapshots, a batch at a time, in the order of places."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...patterns import is_literal
from .link import Link
from .snapshot import Cursor, Place, Snapshot
from .tables import Tables
from .topics import condition

#: Events of other topics that a wildcard passes over in one look: some ten milliseconds.
LOOK = 20_000
#: Seconds that counting a backlog may take.
COUNT_TIMEOUT = 30.0

Row = tuple[int, int, str, str | None, bytes]


class Found(NamedTuple):
    """Events in the order of places, and how far the claim came with them."""

    rows: list[Row]
    cursor: Cursor


class Log:
    """Statements on the log for one pattern."""

    def __init__(self, tables: Tables, pattern: str) -> None:
        self._tables = tables
        self._where, self._values = condition(pattern)
        self._selective = bool(self._where) and not is_literal(pattern)
        self._source = f"SELECT xid, id, topic, key, data FROM {tables.log}"
        self._places = f"SELECT xid, id FROM {tables.log}"

    def read(self, link: Link, cursor: Cursor, count: int, size: int) -> Found:
        """Up to `count` events, and no more after `size` bytes; a target must be set."""
        rows: list[Row] = []
        if late := cursor.late():
            rows = self._late(link, cursor, late, count, size)
        left, room = count - len(rows), size - size_of(rows)
        if left > 0 and room > 0:
            fresh, end = self._fresh(link, cursor, left, room)
            rows += fresh
        else:
            end = Place(*rows[-1][:2])
        return Found(rows, cursor.finished() if end is None else cursor.at(end))

    def _late(
        self, link: Link, cursor: Cursor, late: list[int], count: int, size: int
    ) -> list[Row]:
        """From transactions that were open when the window began."""
        where = f" AND {self._where}" if self._where else ""
        sql = (
            f"SELECT l.* FROM unnest(%s::bigint[]) AS x CROSS JOIN LATERAL ({self._source}"
            f" WHERE xid = x AND (xid, id) > (%s, %s){where} ORDER BY xid, id LIMIT %s) AS l"
            " ORDER BY xid, id LIMIT %s"
        )
        values = [late, *cursor.place, *self._values, count, count]
        return _within(link, sql, values, size)

    def _fresh(
        self, link: Link, cursor: Cursor, count: int, size: int
    ) -> tuple[list[Row], Place | None]:
        """From transactions that began later; with the place where to go on, if there is one."""
        range_, bounds = self._range(cursor)
        if self._selective:
            inner = f"{self._source} WHERE {range_} ORDER BY xid, id LIMIT {LOOK}"
            sql = f"SELECT * FROM ({inner}) AS i WHERE {self._where} LIMIT %s"
        else:
            where = f"{self._where} AND " if self._where else ""
            sql = f"{self._source} WHERE {where}{range_} ORDER BY xid, id LIMIT %s"
            bounds = [*self._values, *bounds]
        values = [*bounds, *(self._values if self._selective else ()), count]
        rows = _within(link, sql, values, size)
        if len(rows) == count or size_of(rows) >= size:
            return rows, Place(*rows[-1][:2])
        return rows, self._looked(link, range_, bounds) if self._selective else None

    def _looked(self, link: Link, range_: str, bounds: list[Any]) -> Place | None:
        """How far a look went that found less than it might have; `None`: to the end."""
        sql = f"{self._places} WHERE {range_} ORDER BY xid, id OFFSET {LOOK - 1} LIMIT 1"
        rows = link.rows(sql, bounds)
        return Place(*rows[0]) if rows else None

    def _range(self, cursor: Cursor) -> tuple[str, list[Any]]:
        assert cursor.target is not None
        after, (xmax, still_open) = cursor.fresh_after(), cursor.target
        text, values = "(xid, id) > (%s, %s) AND xid < %s", [*after, xmax]
        if still_open:
            return f"{text} AND xid <> ALL(%s::bigint[])", [*values, list(still_open)]
        return text, values

    @property
    def is_plain(self) -> bool:
        """Whether nothing of other topics is passed over on the way."""
        return not self._selective

    def beyond(self, link: Link, seen: Snapshot, count: int, size: int) -> Found:
        """What is committed now and a snapshot does not see, in one round trip; if it is plain."""
        where = f"{self._where} AND " if self._where else ""
        parts = [f"{self._source} WHERE {where}(xid, id) > (%s, 0) ORDER BY xid, id LIMIT %s"]
        values = [*self._values, seen.xmax, count]
        if seen.open:
            # What is open now is not worth walking over its rows.
            parts.insert(
                0, f"SELECT l.* FROM unnest(%s::bigint[]) AS x CROSS JOIN LATERAL ({self._source}"
                f" WHERE {where}xid = x ORDER BY xid, id LIMIT %s) AS l WHERE x < 3 OR"
                " pg_visible_in_snapshot(x::text::xid8, pg_current_snapshot())",
            )
            values = [list(seen.open), *self._values, count, *values]
        both = " UNION ALL ".join(f"({part})" for part in parts)
        sql = f"SELECT * FROM ({both}) AS b ORDER BY xid, id LIMIT %s"
        rows = _within(link, sql, [*values, count], size, ", (SELECT pg_current_snapshot()::text)")
        if not rows:
            return Found([], Cursor(seen))
        now = Snapshot.parse(rows[0][5])
        found: list[Row] = [row[:5] for row in rows]
        if len(found) < count and size_of(found) < size:
            return Found(found, Cursor(now))
        return Found(found, Cursor(seen, now, Place(*found[-1][:2])))

    # -- what is not claimed yet -------------------------------------------------------------

    def first(self, link: Link, cursor: Cursor) -> Place | None:
        """The place of the first event that is not claimed."""
        found: list[tuple[int, int]] = []
        for where, values in self._unclaimed(cursor):
            sql = f"{self._places} WHERE {where} ORDER BY xid, id LIMIT 1"
            found += link.rows(sql, values)
        return min((Place(*row) for row in found), default=None)

    def count(self, link: Link, cursor: Cursor, upto: Snapshot | None) -> int:
        """How many are not claimed; only those that a snapshot sees, if there is one."""
        total = 0
        for where, values in self._unclaimed(cursor):
            sql = f"SELECT count(*) FROM {self._tables.log} WHERE {where}"
            if upto is not None:
                sql += " AND xid < %s AND xid <> ALL(%s::bigint[])"
                values = [*values, upto.xmax, list(upto.open)]
            ((number,),) = link.rows(sql, values, COUNT_TIMEOUT)
            total += number
        return total

    def _unclaimed(self, cursor: Cursor) -> list[tuple[str, list[Any]]]:
        """Two conditions that have no event in common."""
        seen, target, place = cursor
        still_open = list(target.open) if target else []
        where, values = "xid <> ALL(%s::bigint[]) AND (xid, id) > (%s, %s)", [still_open]
        parts: list[tuple[str, list[Any]]] = [(where, [*values, *cursor.fresh_after()])]
        if late := [*seen.open, *still_open]:
            where = "xid = ANY(%s::bigint[])"
            if target:
                where += " AND NOT ((xid, id) <= (%s, %s) AND xid <> ALL(%s::bigint[]))"
            parts.append((where, [late, *place, still_open] if target else [late]))
        prefix = f"{self._where} AND " if self._where else ""
        return [(prefix + text, [*self._values, *bounds]) for text, bounds in parts]


def size_of(rows: list[Row]) -> int:
    """Bytes of events."""
    return sum([len(row[4]) for row in rows])


def _within(
    link: Link, sql: str, values: list[Any], size: int, more: str = ""
) -> list[Any]:
    """The rows before which fewer than `size` bytes come: the first one always."""
    cut = (
        f"SELECT xid, id, topic, key, data{more} FROM (SELECT *, sum(octet_length(data)) OVER"
        f" (ROWS UNBOUNDED PRECEDING) AS total FROM ({sql}) AS q) AS w"
        " WHERE total - octet_length(data) < %s"
    )
    return link.rows(cut, [*values, size])

