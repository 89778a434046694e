"""Durable subscriptions: their births and ends, as the server knows them.

A record in the registry is the subscription, and durable consumers are how it reads: one on each
stream that may have its topics. The record names the streams of its birth; on one that came later
it reads everything.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from ...patterns import is_literal
from ..base import StartFrom, SubscriptionId
from . import books, consumers, names, reader, streams
from .errors import NO_STREAM, OTHER_LAST, Refused
from .link import Link
from .lock import EXPECTED
from .streams import Stream, Streams


class Record(msgspec.Struct):
    """A subscription in the registry."""

    group: str
    pattern: str
    created_at: float
    start_from: StartFrom
    #: The streams of its birth, by name: when they were created.
    streams: dict[str, str] = {}

    @property
    def id(self) -> SubscriptionId:
        return SubscriptionId(self.group, self.pattern)

    @property
    def born(self) -> datetime:
        return datetime.fromtimestamp(self.created_at, timezone.utc)


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Record).decode


class Registry:
    """Subscriptions on one server.

    Args:
        cover: makes streams for topics and patterns.
        lease: seconds.
    """

    def __init__(self, cover: Streams, lease: float) -> None:
        self._cover = cover
        self._lease = lease
        #: What members here last knew of their streams: by name, its creation and how far all
        #: was settled. It tells a wiped server, and mends a deleted consumer without a gap.
        self.seen: dict[SubscriptionId, dict[str, tuple[str, int]]] = {}
        #: Births of these subscriptions, as they last knew them.
        self._births: dict[SubscriptionId, float] = {}

    async def declare(self, link: Link, id: SubscriptionId, start_from: StartFrom) -> bool:
        """See `Transport.declare`; a consumer that has vanished alone is made again, too."""
        found = await self._streams(link, id)
        record, number = await self._birth(link, id, start_from, found)
        born = number == 0
        # Of what went before a birth that is news to us, a peer has told.
        told = self._births.get(id, record.created_at) != record.created_at
        before = self.seen.get(id, {})
        lost = False
        for stream in found:
            policy = self._policy(record, stream, born)
            if await consumers.ensure(link, stream, id, self._lease, policy):
                lost = lost or stream.name in record.streams or stream.name in before
        self.seen[id] = {stream.name: _known(stream, before) for stream in found}
        self._births[id] = record.created_at
        if born or told or not lost:
            return born
        return await _first_to_tell(link, record, number)

    async def _streams(self, link: Link, id: SubscriptionId) -> list[Stream]:
        if not is_literal(id.pattern):
            return await self._cover.cover_pattern(link, id.pattern)
        await self._cover.cover_topic(link, id.pattern)
        found = await streams.event_streams(link)
        return [stream for stream in found if stream.covers(id.pattern)]

    async def _birth(
        self, link: Link, id: SubscriptionId, start_from: StartFrom, found: Sequence[Stream]
    ) -> tuple[Record, int]:
        """The record as it is, and the number of its last change; or a new one, and 0."""
        if (there := await _last(link, id)) is not None:
            return there
        record = Record(
            *id, time.time(), start_from, {stream.name: stream.created for stream in found}
        )
        await books.ensure(link, names.STATE)
        try:
            await link.stored(names.subscription(id), _encode(record), {EXPECTED: "0"})
        except Refused as error:
            there = await _last(link, id)
            if error.code != OTHER_LAST or there is None:
                raise
            return there
        return record, 0

    def _policy(self, record: Record, stream: Stream, born: bool) -> dict[str, Any]:
        """Where a missing consumer has to begin."""
        known = self.seen.get(record.id)
        if known is not None:
            created, settled = known.get(stream.name, ("", 0))
            if created != stream.created:
                # Younger than what we knew: a new stream, or a wiped server.
                return consumers.EVERYTHING
            return consumers.LATEST if born else consumers.after(settled)
        if record.streams.get(stream.name) != stream.created:
            return consumers.EVERYTHING
        return consumers.EVERYTHING if record.start_from == "earliest" else consumers.LATEST

    async def drop(self, link: Link, id: SubscriptionId) -> bool:
        """See `Transport.drop`."""
        if await get(link, id) is None:
            return False
        self.seen.pop(id, None)
        self._births.pop(id, None)
        durable = names.durable(id)
        found = await streams.event_streams(link)
        requests: list[tuple[str, object]] = [
            (f"CONSUMER.DELETE.{stream.name}.{durable}", None) for stream in found
        ]
        requests += [
            (f"STREAM.PURGE.{names.INBOX}", {"filter": names.inboxes(id)}),
            (f"STREAM.PURGE.{names.STATE}", {"filter": f"_eventbus.started.{durable}.>"}),
            (f"STREAM.PURGE.{names.FREED}", {"filter": f"_eventbus.freed.{durable}.>"}),
        ]
        requests += [
            (f"CONSUMER.DELETE.{names.INBOX}.{name}", None)
            for name in await consumers.inbox_names(link, id)
        ]
        await streams.gather(link, requests)
        # Last, so that a drop which is cut short can be repeated.
        await link.api(f"STREAM.PURGE.{names.STATE}", {"filter": names.subscription(id)})
        return True


def _known(stream: Stream, before: dict[str, tuple[str, int]]) -> tuple[str, int]:
    created, settled = before.get(stream.name, ("", 0))
    return stream.created, settled if created == stream.created else 0


async def get(link: Link, id: SubscriptionId) -> Record | None:
    """The record of a subscription; `None` if it does not exist."""
    found = await _last(link, id)
    return None if found is None else found[0]


async def _last(link: Link, id: SubscriptionId) -> tuple[Record, int] | None:
    """The record, and the number of its last change."""
    found = await reader.last(link, names.STATE, names.subscription(id))
    return None if found is None else (_decode(found.data), found.sequence)


async def _first_to_tell(link: Link, record: Record, number: int) -> bool:
    """Whether no other member has made the same consumers again: several may, at the same time.

    Each stores the record once more, upon the change that it knew before: the server takes one.
    """
    try:
        await link.stored(names.subscription(record.id), _encode(record), {EXPECTED: str(number)})
    except Refused as error:
        if error.code != OTHER_LAST:
            raise
        return False
    return True


async def all_records(link: Link) -> list[Record]:
    """The records of all subscriptions."""
    found = await reader.read(link, names.STATE, names.SUBSCRIPTIONS)
    return sorted((_decode(one.data) for one in found), key=lambda record: record.id)


async def topics(link: Link) -> list[str]:
    """All topics of which there are events."""
    found: set[str] = set()
    for stream in await streams.event_streams(link):
        found.update(await _subjects(link, stream.name))
    found.discard(names.PLACEHOLDER)
    return sorted(found)


async def _subjects(link: Link, name: str) -> list[str]:
    found: list[str] = []
    while True:
        try:
            info = await link.api(
                f"STREAM.INFO.{name}", {"subjects_filter": ">", "offset": len(found)}
            )
        except Refused as error:
            if error.code == NO_STREAM:
                return found
            raise
        page = list(info["state"].get("subjects") or ())
        found += page
        if not page or len(found) >= info.get("total", 0):
            return found
