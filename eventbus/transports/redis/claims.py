"""Entries that somebody else holds and lets go: what silent members left, what was given back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..base import Delivery
from . import frames, keys
from .link import Command, Link
from .sources import Source

#: Entries looked at per stream at a time.
BATCH = 100
#: Seconds that foreign members of a group (Watermill's) hold an entry without a sign of life; they
#: claim each other's after the same time, and their `XACK` asks nobody.
FOREIGN_IDLE = 60.0
#: Seconds of idleness that an entry is given with which nobody is busy.
FREED_IDLE = 86_400.0


class Candidate(NamedTuple):
    """An entry that can be claimed, if it is still as idle when that is done."""

    id: bytes
    idle: float
    deaths: int


class Claims:
    """Claims in the name of one consumer.

    Args:
        consumer: in whose name.
        lease: seconds after which another member's entry may be taken.
    """

    def __init__(self, consumer: str, lease: float) -> None:
        self._consumer = consumer
        self._lease = lease
        self._found: dict[Source, list[Candidate]] = {}

    def look(self, link: Link, sources: Iterable[Source]) -> None:
        """See what there is to be claimed; `take` does it."""
        asked = list(sources)
        least = int(min(self._lease, FOREIGN_IDLE) * 1000)
        commands: list[Command] = [
            ("XPENDING", one.stream, one.group, "IDLE", least, "-", "+", BATCH) for one in asked
        ]
        self._found = {}
        for source, rows in zip(asked, link.pipeline(commands), strict=True):
            if found := [c for row in rows if (c := self._candidate(row)) is not None]:
                self._found[source] = found

    def _candidate(self, row: tuple[bytes, bytes, int, int]) -> Candidate | None:
        id, owner, idle, count = row
        name = owner.decode()
        if name == self._consumer:
            return None
        ours = name.startswith(keys.CONSUMER_PREFIX)
        needed = self._lease if ours else max(self._lease, FOREIGN_IDLE)
        if idle < needed * 1000:
            return None
        # What was given back carries the count that it had before.
        return Candidate(id, needed, count)

    def __contains__(self, source: Source) -> bool:
        return source in self._found

    def take(self, link: Link, source: Source, count: int) -> list[Delivery]:
        """Claim up to `count`, each of them only if it is still idle."""
        candidates = self._found.pop(source)
        chosen, rest = candidates[:count], candidates[count:]
        if rest:
            self._found[source] = rest
        commands: list[Command] = [
            ("XCLAIM", source.stream, source.group, self._consumer, int(one.idle * 1000), one.id)
            for one in chosen
        ]
        suspects = [one for one in chosen if one.deaths > 1]
        commands += [
            ("HEXISTS", keys.STARTED, f"{source.group} {source.stream} ".encode() + one.id)
            for one in suspects
        ]
        answers = link.pipeline(commands)
        marks = answers[len(chosen) :]
        marked = {one.id for one, mark in zip(suspects, marks, strict=True) if mark}
        return [
            source.delivery(
                id, frames.mapping(entry), deaths=one.deaths, started=one.id in marked
            )
            for one, claimed in zip(chosen, answers, strict=False)
            for id, entry in claimed
            if entry is not None
        ]
