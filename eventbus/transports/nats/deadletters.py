"""Dead letters on the server: a stream of their own, a subject for each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager

from ..base import DeadRecord
from . import frames, names, reader, streams
from .link import Link
from .reader import Stored

#: Dead letters read at once: each may hold an event of a megabyte.
PAGE = 50


class NATSDeadLetters:
    """Reads and removes them through the transport's connection."""

    def __init__(self, lock: Callable[[], AbstractContextManager[Link]]) -> None:
        self._lock = lock

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        chosen = f"_eventbus.dead.{'*' if group is None else names.token(group)}.*"
        after = 0
        seen: set[str] = set()
        while page := self._page(chosen, after):
            after = page[-1].sequence
            for record in (frames.unpack_dead(stored.data) for stored in page):
                if record.id not in seen:  # Else stored twice, by somebody who was cut off.
                    seen.add(record.id)
                    yield record

    def _page(self, subject: str, after: int) -> Sequence[Stored]:
        with self._lock() as link:
            return link.run(reader.read_page(link, names.DEAD, subject, after, PAGE))

    def get(self, id: str) -> DeadRecord | None:
        if not names.is_token(id):
            return None
        with self._lock() as link:
            found = link.run(reader.last(link, names.DEAD, f"_eventbus.dead.*.{id}"))
        return None if found is None else frames.unpack_dead(found.data)

    def remove(self, ids: Collection[str]) -> int:
        valid = [id for id in dict.fromkeys(ids) if names.is_token(id)]
        if not valid:
            return 0
        with self._lock() as link:
            return link.run(_remove(link, valid))


async def _remove(link: Link, ids: Collection[str]) -> int:
    answers = await streams.gather(
        link, [(f"STREAM.PURGE.{names.DEAD}", {"filter": f"_eventbus.dead.*.{i}"}) for i in ids]
    )
    return sum(answer["purged"] > 0 for answer in answers if isinstance(answer, dict))
