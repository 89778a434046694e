"""Which events were handed back: they come again, though nobody has died with them.

The server counts deliveries, not deaths. So whoever hands events back leaves a note first, and
whoever gets one of them again takes it off the count. A note that is lost makes a suspect, which
runs alone; no event is ever buried for that.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..base import Delivery
from . import books, names
from .errors import NO_STREAM, Refused
from .link import Link
from .reader import read
from .sources import Receipt, Source

_pack = msgspec.msgpack.encode
_unpack = msgspec.msgpack.Decoder(dict[int, tuple[int, int]]).decode


async def note(link: Link, deliveries: Iterable[Delivery]) -> None:
    """Write down the deaths of what is about to be handed back."""
    by_source: dict[tuple[str, str], dict[int, tuple[int, int]]] = {}
    for delivery in deliveries:
        receipt: Receipt = delivery.receipt
        rows = by_source.setdefault((receipt.source.durable, receipt.source.epoch), {})
        rows[receipt.sequence] = (receipt.delivered, delivery.deaths)
    for (durable, epoch), rows in by_source.items():
        await _store(link, names.freed(durable, epoch), _pack(rows))


async def _store(link: Link, subject: str, data: bytes) -> None:
    try:
        await link.stored(subject, data)
    except Refused as error:
        if error.code != NO_STREAM:
            raise
        await books.ensure(link, names.FREED)
        await link.stored(subject, data)


class Notes:
    """What is known of one source's events that were handed back."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows: dict[int, tuple[int, int]] = {}
        self._last = 0

    async def load(self, link: Link) -> None:
        """Read what was noted since the last time."""
        subject = names.freed(self._source.durable, self._source.epoch)
        for stored in await read(link, names.FREED, subject, self._last):
            self._last = stored.sequence
            self._rows.update(_unpack(stored.data))

    def deaths(self, delivery: Delivery) -> int:
        """How often the event came back without having been handed back."""
        receipt: Receipt = delivery.receipt
        noted = self._rows.get(receipt.sequence)
        delivered, deaths = noted or (int(receipt.early), delivery.deaths)
        return max(0, deaths + receipt.delivered - delivered - 1)

    def forget_until(self, sequence: int) -> None:
        """What is settled does not come again."""
        self._rows = {one: row for one, row in self._rows.items() if one > sequence}
