"""Topic names and their numbers in the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ...patterns import matcher


class Topics:
    """What one connection has seen of the topic table, which only grows."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._latest = 0
        self._matching: dict[str, list[int]] = {}

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Read the topics that are new."""
        rows = connection.execute(
            "SELECT id, name FROM eventbus_topic WHERE id > ?", (self._latest,)
        ).fetchall()
        for id, name in rows:
            self.names[id] = name
            self._ids[name] = id
            self._latest = max(self._latest, id)
            for pattern, ids in self._matching.items():
                if matcher(pattern)(name):
                    ids.append(id)

    def matching(self, pattern: str) -> list[int]:
        """Numbers of the topics a pattern covers."""
        ids = self._matching.get(pattern)
        if ids is None:
            matches = matcher(pattern)
            ids = [id for id, name in self.names.items() if matches(name)]
            self._matching[pattern] = ids
        return ids

    def known(self, name: str) -> int | None:
        return self._ids.get(name)


def number(connection: sqlite3.Connection, name: str) -> int:
    """The topic's number, new if need be; inside the caller's write transaction."""
    connection.execute("INSERT OR IGNORE INTO eventbus_topic (name) VALUES (?)", (name,))
    row = connection.execute("SELECT id FROM eventbus_topic WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def numbers(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    return {name: number(connection, name) for name in names}
