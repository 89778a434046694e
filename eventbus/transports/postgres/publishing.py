"""Writing events, and telling those who wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from ..base import Record
from .link import Link
from .tables import Tables

#: Seconds between two announcements of one topic by this process. Consumers look often for a while
#: after they have heard of it (see `consumer.ACTIVE`), so nobody need be told of every event.
PAUSE = 0.1
#: The same inside a caller's transaction, whose commit waits for all others that announce.
CALLERS_PAUSE = 0.5
#: More topics at once are announced as "look everywhere".
TOPICS = 8

_COLUMNS = "(topic, key, data)"


def insert(tables: Tables, records: Sequence[Record]) -> tuple[str, list[Any]]:
    """A statement and its values, for a connection of ours."""
    if len(records) == 1:
        (record,) = records
        return (
            f"INSERT INTO {tables.log} {_COLUMNS} VALUES (%s, %s, %b)",
            [record.topic, record.key, record.data],
        )
    return (
        # The number of the transaction once, instead of the column's default for each row.
        f"INSERT INTO {tables.log} (xid, topic, key, data)"
        " SELECT (SELECT pg_current_xact_id()::text::bigint), *"
        " FROM unnest(%b::text[], %b::text[], %b::bytea[])",
        [[r.topic for r in records], [r.key for r in records], [r.data for r in records]],
    )


def insert_anywhere(tables: Tables, records: Sequence[Record]) -> tuple[str, list[Any]]:
    """The same for a caller's connection, whatever client and settings it has.

    Clients escape bytes in an array by settings that the server may have changed; nobody misreads
    hexadecimal digits.
    """
    return (
        f"INSERT INTO {tables.log} {_COLUMNS} SELECT u.topic, u.key, decode(u.data, 'hex')"
        " FROM unnest(%s::text[], %s::text[], %s::text[]) AS u(topic, key, data)",
        [[r.topic for r in records], [r.key for r in records], [r.data.hex() for r in records]],
    )


class Announcements:
    """What was announced lately. A race announces once too often, or leaves it to a look."""

    def __init__(self, channel: str, pause: float) -> None:
        self._channel = channel
        self._pause = pause
        self._until: dict[str, float] = {}

    def announce(self, topics: Iterable[str], execute: Callable[[str, list[Any]], Any]) -> None:
        """Tell those who listen, unless they have just heard of it.

        Args:
            topics: that have news.
            execute: takes a statement and its values.
        """
        now = monotonic()
        new = [topic for topic in dict.fromkeys(topics) if self._until.get(topic, 0.0) <= now]
        if not new:
            return
        if len(self._until) > 10_000:
            self._until.clear()
        self._until.update(dict.fromkeys(new, now + self._pause))
        for topic in new if len(new) <= TOPICS else [""]:
            execute("SELECT pg_notify(%s, %s)", [self._channel, topic])


def publish(
    link: Link, tables: Tables, records: Sequence[Record], timeout: float
) -> None:
    """Store events durably on a connection of ours: one statement, one commit."""
    link.run(*insert(tables, records), timeout=timeout)
