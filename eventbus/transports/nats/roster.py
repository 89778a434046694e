"""What a session reads through: the sources of each subscription, found and looked after."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ...errors import TransportUnavailable
from ..base import Budget, SubscriptionId
from . import consumers, names, streams
from .freed import Notes
from .link import Link
from .registry import Registry
from .sources import Source


class Roster:
    """The sources of one connection.

    Args:
        link: the connection.
        known: what members here know of subscriptions, for when one has to be made again.
        lease: seconds.
        stir: called when a source has something to hand over, or to ask for.
        lease_from: tells since when a message that comes now may have been ours.
    """

    def __init__(
        self, link: Link, known: Registry, lease: float, stir: Callable[[], None],
        lease_from: Callable[[], float],
    ) -> None:
        self._link = link
        self._known = known
        self._lease = lease
        self._stir = stir
        self._lease_from = lease_from
        self._sources: dict[SubscriptionId, list[Source]] = {}
        self._epochs: dict[str, str] = {}
        self.notes: dict[Source, Notes] = {}

    def all(self) -> list[Source]:
        return [source for sources in self._sources.values() for source in sources]

    def wanted(self, id: SubscriptionId, budget: Budget) -> list[Source]:
        """Those from which a budget may be filled."""
        tokens = {None, names.handler_token(None), *map(names.handler_token, budget.handlers)}
        return [source for source in self._sources.get(id, ()) if source.handler in tokens]

    async def add(self, id: SubscriptionId) -> list[Source]:
        """Find the sources of a declared subscription."""
        self._sources[id] = []
        await self._discover(id, await streams.event_streams(self._link))
        await self._open_inboxes(await consumers.inbox_tokens(self._link))
        return self._sources[id]

    def remove(self, id: SubscriptionId) -> list[Source]:
        """Forget a subscription; its sources are the caller's to close."""
        return self._sources.pop(id, [])

    async def recheck(self) -> None:
        """Notice what has vanished, and what is new.

        Raises:
            TransportUnavailable: a subscription has to be declared again.
        """
        await self._check_consumers()
        found = await streams.event_streams(self._link)
        for id in self._sources:
            await self._discover(id, found)
        await self._open_inboxes(await consumers.inbox_tokens(self._link))

    async def epoch(self, stream: str) -> str:
        """Of a stream as it is now; empty if there is none."""
        if stream not in self._epochs:
            found = await streams.stream_info(self._link, stream)
            self._epochs[stream] = "" if found is None else found.epoch
        return self._epochs[stream]

    async def _check_consumers(self) -> None:
        """Remember how far all is settled, and notice what has vanished."""
        sources = self.all()
        answers = await streams.gather(
            self._link, [(f"CONSUMER.INFO.{one.stream}.{one.durable}", None) for one in sources]
        )
        for source, about in zip(sources, answers, strict=True):
            source.suspicious = False
            if not isinstance(about, dict) or about["created"] != source.created:
                if source.handler is not None:
                    # Idle for long; it is made again when there is something in it.
                    self._sources[source.subscription].remove(source)
                    await source.close(self._link)
                    continue
                id = source.subscription
                raise TransportUnavailable(f"{id.pattern!r} of group {id.group!r} has vanished")
            source.lease = about["config"]["ack_wait"] / 1e9
            floor = about["ack_floor"]["stream_seq"]
            self.notes[source].forget_until(floor)
            if source.handler is None:
                known = self._known.seen.get(source.subscription, {})
                if source.stream in known:
                    known[source.stream] = (known[source.stream][0], floor)

    async def _discover(self, id: SubscriptionId, found: Sequence[streams.Stream]) -> None:
        """Read through the consumers that a declared subscription has."""
        known = {source.stream for source in self._sources[id]}
        for stream in found:
            self._epochs[stream.name] = stream.epoch
            if stream.name in known or not streams.concerns(stream, id.pattern):
                continue
            about = await consumers.info(self._link, stream.name, names.durable(id))
            if about is None:
                about = await self._adopt(id, stream)
            self._open(id, stream.name, stream.epoch, about, None)

    async def _adopt(self, id: SubscriptionId, stream: streams.Stream) -> dict[str, Any]:
        """A stream that is younger than the subscription: all of it is to be read."""
        await self._known.declare(self._link, id, "latest")
        about = await consumers.info(self._link, stream.name, names.durable(id))
        if about is None:
            raise TransportUnavailable(f"{id.pattern!r} of group {id.group!r} has vanished")
        return about

    def _open(
        self, id: SubscriptionId, stream: str, epoch: str, about: dict[str, Any],
        handler: str | None,
    ) -> None:
        made = Source(id, stream, epoch, about, handler, self._stir, self._lease_from)
        self._sources[id].append(made)
        self.notes[made] = Notes(made)

    async def _open_inboxes(self, tokens: Mapping[str, Collection[str]]) -> None:
        for id, sources in self._sources.items():
            known = {source.handler for source in sources}
            for token in sorted(tokens.get(names.durable(id), set())):
                if token not in known:
                    about = await consumers.ensure_inbox(self._link, id, token, self._lease)
                    if about is not None:
                        epoch = await self.epoch(names.INBOX)
                        self._open(id, names.INBOX, epoch, about, token)
