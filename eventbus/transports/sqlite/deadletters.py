"""Dead letters in the file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from ..base import DeadRecord, SubscriptionId
from .database import WRITE_TIMEOUT, translated

#: Dead letters read at once: each may hold an event of a megabyte.
PAGE = 50

_COLUMNS = (
    "id, grp, pattern, handler, topic, data, key, event_id, reason, error, traceback, attempts,"
    " first_failed_at, failed_at"
)


class SQLiteDeadLetters:
    """Reads and removes them through the transport's main connection."""

    def __init__(self, database: Callable[[], Any]) -> None:
        self._database = database

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        where = "" if group is None else " AND grp = ?"
        values = () if group is None else (group,)
        rest = f" WHERE (failed_at, id) > (?, ?){where} ORDER BY failed_at, id LIMIT {PAGE}"
        last = (0.0, "")
        while page := self._read(rest, (*last, *values)):
            yield from page
            last = page[-1].failed_at.timestamp(), page[-1].id

    def get(self, id: str) -> DeadRecord | None:
        records = self._read(" WHERE id = ?", (id,))
        return records[0] if records else None

    def remove(self, ids: Collection[str]) -> int:
        removed = 0
        with self._database() as database, database.write(WRITE_TIMEOUT) as connection:
            for id in ids:
                cursor = connection.execute("DELETE FROM eventbus_dead WHERE id = ?", (id,))
                removed += cursor.rowcount
        return removed

    def _read(self, rest: str, values: Sequence[object]) -> Sequence[DeadRecord]:
        with self._database() as database, translated(database.path):
            rows = database.connection.execute(
                f"SELECT {_COLUMNS} FROM eventbus_dead{rest}", values
            ).fetchall()
        return [_record(row) for row in rows]


def _record(row: tuple[Any, ...]) -> DeadRecord:
    (id, group, pattern, handler, topic, data, key, event_id, reason, error, trace, attempts,
     first, last) = row
    return DeadRecord(
        id=id, subscription=SubscriptionId(group, pattern), handler=handler, topic=topic,
        data=data, key=key, event_id=event_id, reason=reason, error=error, traceback=trace,
        attempts=attempts, first_failed_at=_time(first), failed_at=_time(last),
    )


def _time(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, timezone.utc)


