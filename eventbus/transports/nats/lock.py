"""One member at a time changes the streams: a server before 2.10 mixes up concurrent changes, and
none compares what is there with what the change was made from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

from ...errors import TransportError, TransportUnavailable
from . import books, names, reader
from .errors import OTHER_LAST, Refused
from .link import Link

#: Seconds after which a lock that has not changed hands is taken for one of a dead member.
STALE = 3.0
_HELD, _FREE = b"held", b"free"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"


class Lock:
    """A record on the server that one member at a time holds. Waiting is left to the engine."""

    def __init__(self) -> None:
        #: Which change of the record was the latest when we looked, and since when.
        self._seen = 0
        self._seen_at = 0.0

    @asynccontextmanager
    async def held(self, link: Link) -> AsyncIterator[None]:
        """Hold the lock.

        Raises:
            TransportUnavailable: somebody else holds it.
        """
        number = await self._take(link)
        try:
            yield
        finally:
            with suppress(TransportError):
                await link.stored(names.LOCK, _FREE, {EXPECTED: str(number)})

    async def _take(self, link: Link) -> int:
        await books.ensure(link, names.STATE)
        found = await reader.last(link, names.STATE, names.LOCK)
        if found is not None and found.data == _HELD and not self._is_stale(found.sequence):
            raise _busy(link)
        before = 0 if found is None else found.sequence
        try:
            stored = await link.stored(names.LOCK, _HELD, {EXPECTED: str(before)})
        except Refused as error:
            if error.code == OTHER_LAST:
                raise _busy(link) from None
            raise
        return int(stored["seq"])

    def _is_stale(self, number: int) -> bool:
        if number != self._seen:
            self._seen, self._seen_at = number, monotonic()
        return monotonic() - self._seen_at > STALE


def _busy(link: Link) -> TransportUnavailable:
    return TransportUnavailable(f"{link.name}: another member changes the streams just now")
