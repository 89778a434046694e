"""Dead letters in their table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Any

from ..base import DeadRecord, SubscriptionId
from .link import Link
from .tables import Tables

#: Dead letters read at once: each may hold an event of a megabyte.
PAGE = 50

_COLUMNS = (
    "id, grp, pattern, handler, topic, data, key, event_id, reason, error, traceback, attempts,"
    " first_failed_at, failed_at"
)
_EARLIEST = datetime(1, 1, 2, tzinfo=timezone.utc)


class PostgresDeadLetters:
    """Reads and removes them through the transport's connection for administration."""

    def __init__(
        self, link: Callable[[], AbstractContextManager[Link]], tables: Tables
    ) -> None:
        self._link = link
        self._table = tables.dead

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        where = "" if group is None else " AND grp = %s"
        values = () if group is None else (group,)
        rest = f" WHERE (failed_at, id) > (%s, %s){where} ORDER BY failed_at, id LIMIT {PAGE}"
        last = (_EARLIEST, "")
        while page := self._read(rest, (*last, *values)):
            yield from page
            last = page[-1].failed_at, page[-1].id

    def get(self, id: str) -> DeadRecord | None:
        records = self._read(" WHERE id = %s", (id,))
        return records[0] if records else None

    def remove(self, ids: Collection[str]) -> int:
        with self._link() as link:
            return link.run(f"DELETE FROM {self._table} WHERE id = ANY(%s::text[])", [[*ids]])

    def _read(self, rest: str, values: Sequence[object]) -> Sequence[DeadRecord]:
        with self._link() as link:
            rows = link.rows(f"SELECT {_COLUMNS} FROM {self._table}{rest}", values)
        return [_record(row) for row in rows]


def _record(row: tuple[Any, ...]) -> DeadRecord:
    (id, group, pattern, handler, topic, data, key, event_id, reason, error, trace, attempts,
     first, last) = row
    return DeadRecord(
        id=id, subscription=SubscriptionId(group, pattern), handler=handler, topic=topic,
        data=data, key=key, event_id=event_id, reason=reason, error=error, traceback=trace,
        attempts=attempts, first_failed_at=first.astimezone(timezone.utc),
        failed_at=last.astimezone(timezone.utc),
    )
