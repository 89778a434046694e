"""The consuming side: one connection, driven by the thread that fetches and settles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from ...errors import TransportUnavailable
from ..base import Budget, Delivery, Settlement, SubscriptionId
from . import consumers, names, settling, streams
from .freed import Notes
from .link import Connector
from .memory import Memory
from .registry import Registry
from .settling import ACK, PROGRESS
from .sources import Receipt, Source

#: Seconds between two looks for consumers that have vanished, new streams and new inboxes; what
#: is in a hurry rings the bell.
RECHECK = 5.0
#: Seconds for which events wait here for somebody to fetch them; then peers may have them.
STALE = 1.0
#: Seconds that handing back takes at most when the connection is closed.
GOODBYE = 0.25
#: Seconds after the beginning of a wait in which messages may be as old as the wait before.
BACKLOG = 0.02
#: Events of an inbox asked for at once.
INBOX_BATCH = 50
#: Seconds beyond its timeout after which a fetch is certainly stuck.
MARGIN = 5.0


class NATSConsumer:
    """Pulls, renews and settles over one connection.

    Args:
        connector: how to connect.
        known: what members here know of subscriptions, for when one has to be made again.
        lease: seconds.
        memory: of the sessions before.
    """

    def __init__(
        self, connector: Connector, known: Registry, lease: float,
        memory: Memory,
    ) -> None:
        self._known = known
        self._lease = lease
        self._memory = memory
        self._sources: dict[SubscriptionId, list[Source]] = {}
        self._notes: dict[Source, Notes] = {}
        self._epochs: dict[str, str] = {}
        self._recheck_at = 0.0
        self._driven_until = self._drive_began = monotonic()
        self._fetched_at = monotonic()
        self._size = 1_000.0
        self._news: asyncio.Future[None] | None = None
        self._awake = False
        self._waiting = False
        self._link = connector.link()
        try:
            self._drive(self._link.subscribe(names.BELL, lambda message: self._ring()))
        except BaseException:
            self._link.close()
            raise

    def _drive(self, work, timeout: float = 5.0):  # type: ignore[no-untyped-def]
        """Run the client; while nobody does, messages wait in the socket."""
        self._drive_began = monotonic()
        try:
            return self._link.run(work, timeout)
        finally:
            self._driven_until = monotonic()

    def _lease_from(self) -> float:
        """Since when a message that is read now may have been ours, at the earliest."""
        now = monotonic()
        return self._driven_until if now - self._drive_began < BACKLOG else now

    # -- subscriptions -----------------------------------------------------------------------

    def attach(self, subscription: SubscriptionId) -> None:
        self._sources[subscription] = []
        self._drive(self._attach(subscription))

    async def _attach(self, id: SubscriptionId) -> None:
        await self._discover(id, await streams.event_streams(self._link))
        await self._open_inboxes(await consumers.inbox_tokens(self._link))
        for source in self._sources[id]:
            source.ready.extend(self._memory.leftovers(source))
            for reply in self._memory.acks(source):
                self._link.send(reply, ACK)

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
        self._notes[made] = Notes(made)

    async def _open_inboxes(self, tokens: Mapping[str, Collection[str]]) -> None:
        for id, sources in self._sources.items():
            known = {source.handler for source in sources}
            for token in sorted(tokens.get(names.durable(id), set())):
                if token not in known:
                    about = await consumers.ensure_inbox(self._link, id, token, self._lease)
                    if about is not None:
                        epoch = await self._epoch(names.INBOX)
                        self._open(id, names.INBOX, epoch, about, token)

    async def _epoch(self, stream: str) -> str:
        if stream not in self._epochs:
            found = await streams.stream_info(self._link, stream)
            self._epochs[stream] = "" if found is None else found.epoch
        return self._epochs[stream]

    def detach(self, subscription: SubscriptionId) -> None:
        self._drive(self._close_sources(self._sources.pop(subscription, [])))

    async def _close_sources(self, sources: Iterable[Source]) -> None:
        """Take pulls back, and give back what they have brought."""
        waiting = await self._take_back(sources)
        await settling.settle(self._link, Settlement(releases=waiting))

    async def _take_back(self, sources: Iterable[Source]) -> list[Delivery]:
        """End all pulls, so that nothing comes any more; return what has come."""
        closing = list(sources)
        await asyncio.gather(*(source.close(self._link) for source in closing))
        await self._look_into(closing)
        return [delivery for source in closing for delivery in source.waiting()]

    # -- fetching ----------------------------------------------------------------------------

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        self._link.check()
        self._drive(self._turn(budgets, monotonic() + timeout), timeout + MARGIN)
        self._link.check()
        self._fetched_at = monotonic()
        return self._hand_over(budgets)

    async def _turn(self, budgets: Mapping[SubscriptionId, Budget], deadline: float) -> None:
        self._waiting = True
        while True:
            if monotonic() >= self._recheck_at:
                await self._recheck()
            await self._pull(budgets)
            # One turn of the loop, in which it sends, and reads what is there.
            await asyncio.sleep(0)
            await self._look_into(self._all())
            if self._available(budgets) or self._awake or monotonic() >= deadline:
                break
            await self._wait(min(deadline, self._recheck_at))
            self._link.check()
        self._waiting = self._awake = False

    def _available(self, budgets: Mapping[SubscriptionId, Budget]) -> bool:
        return any(source.ready for id in budgets for source in self._wanted(id, budgets[id]))

    def _wanted(self, id: SubscriptionId, budget: Budget) -> list[Source]:
        tokens = {None, names.handler_token(None), *map(names.handler_token, budget.handlers)}
        return [source for source in self._sources.get(id, ()) if source.handler in tokens]

    async def _pull(self, budgets: Mapping[SubscriptionId, Budget]) -> None:
        """Keep as much asked for as there is room for; the next pull overlaps with the last."""
        now = monotonic()
        for id, budget in budgets.items():
            sources = self._wanted(id, budget)
            room = min(budget.events, max(1, int(budget.size / self._size)))
            room -= sum(len(source.ready) for source in sources)
            share = -(-room // max(1, sum(source.handler is None for source in sources)))
            for source in sources:
                if source.silent:
                    source.asked = 0  # A server has died with the pull.
                most = share if source.handler is None else min(share, INBOX_BATCH)
                if source.oversized:
                    most = 1
                if source.asked <= most // 2 and most > source.asked and now >= source.pull_at:
                    await source.pull(self._link, most - source.asked, budget.size)

    async def _look_into(self, sources: Iterable[Source]) -> None:
        """What was delivered before has a history; what is not for us, or too early, goes back."""
        busy = [s for s in sources if s.again or s.unmatched or s.early]
        if busy:
            self._tidy(busy)
        for source in busy:
            if source.again:
                again, source.again = source.again, []
                await self._examine(source, again)

    def _tidy(self, sources: Iterable[Source]) -> None:
        for source in sources:
            unmatched, source.unmatched = source.unmatched, []
            for reply in unmatched:
                self._link.send(reply, ACK)
            early, source.early = source.early, []
            for reply, pause in early:
                settling.send_back(self._link, reply, pause)

    async def _examine(self, source: Source, deliveries: Sequence[Delivery]) -> None:
        notes = self._notes[source]
        await notes.load(self._link)
        suspects = []
        for delivery in deliveries:
            delivery.deaths = notes.deaths(delivery)
            if delivery.deaths > 0:
                suspects.append(delivery)
        marks = await streams.gather(
            self._link,
            [
                (f"STREAM.MSG.GET.{names.STATE}", {"last_by_subj": delivery.receipt.mark})
                for delivery in suspects
            ],
        )
        for delivery, mark in zip(suspects, marks, strict=True):
            delivery.started = isinstance(mark, dict)
        # New events may have come meanwhile, and are to stay behind.
        source.ready.extend(deliveries)
        source.sort()

    def _hand_over(
        self, budgets: Mapping[SubscriptionId, Budget]
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        fetched = []
        now = monotonic()
        for id, budget in budgets.items():
            chosen: list[Delivery] = []
            size = budget.size
            for source in sorted(self._wanted(id, budget), key=lambda s: s.handler is None):
                while source.ready and len(chosen) < budget.events and size > 0:
                    delivery = source.ready.popleft()
                    if delivery.receipt.until <= now:
                        continue  # It waited too long: the server gives it to somebody else.
                    if self._memory.knows(delivery):
                        if self._memory.is_acked(delivery):
                            source.unmatched.append(delivery.receipt.reply)
                        continue
                    self._memory.handed(delivery)
                    chosen.append(delivery)
                    size -= len(delivery.data)
                    self._size += (len(delivery.data) - self._size) / 16
            if chosen:
                fetched.append((id, chosen))
        return fetched

    # -- waiting -----------------------------------------------------------------------------

    async def _wait(self, until: float) -> None:
        """Wait for news; the time that is left is how long at most."""
        self._news = news = self._link.loop.create_future()
        timer = self._link.loop.call_at(until, self._stir)
        try:
            if not self._awake and self._link.usable:
                await news
        finally:
            self._news = None
            timer.cancel()

    def _stir(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _ring(self) -> None:
        self._recheck_at = 0.0
        self._stir()

    def wake(self) -> None:
        self._awake = True
        if self._waiting:
            # Between the two somebody may have closed the loop.
            with contextlib.suppress(RuntimeError):
                self._link.loop.call_soon_threadsafe(self._stir)

    def _all(self) -> list[Source]:
        return [source for sources in self._sources.values() for source in sources]

    async def _recheck(self) -> None:
        self._recheck_at = monotonic() + min(RECHECK, self._lease)
        await self._check_consumers()
        found = await streams.event_streams(self._link)
        for id in self._sources:
            await self._discover(id, found)
        await self._open_inboxes(await consumers.inbox_tokens(self._link))

    async def _check_consumers(self) -> None:
        """Remember how far all is settled, and notice what has vanished."""
        sources = self._all()
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
            self._notes[source].forget_until(floor)
            if source.handler is None:
                known = self._known.seen.get(source.subscription, {})
                if source.stream in known:
                    known[source.stream] = (known[source.stream][0], floor)

    # -- settling ----------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        self._link.check()
        concerned = (*settlement.acks, *settlement.releases)
        return self._drive(self._settle(settlement, concerned))  # type: ignore[no-any-return]

    async def _settle(
        self, settlement: Settlement, concerned: Iterable[Delivery]
    ) -> set[Delivery]:
        lost = await self._lost(concerned)
        if lost:
            settlement = _without(settlement, lost)
        if settlement.releases:
            # Or our own pulls would bring it again, and in another order.
            sources = {delivery.receipt.source for delivery in settlement.releases}
            waiting = await self._take_back(sources & set(self._all()))
            settlement.releases = [*settlement.releases, *waiting]
        await settling.settle(self._link, settlement)
        self._memory.acked(settlement.acks)
        self._memory.returned(settlement.releases)
        await self._let_go_of_stale()
        return lost

    async def _lost(self, deliveries: Iterable[Delivery]) -> set[Delivery]:
        """Those that may be a peer's by now; and those of a stream that is not there any more,
        whose places another stream may have given to other events."""
        now = monotonic()
        lost = set()
        for delivery in deliveries:
            receipt: Receipt = delivery.receipt
            if now >= receipt.until or receipt.source.epoch != await self._epoch(
                receipt.source.stream
            ):
                lost.add(delivery)
        return lost

    async def _let_go_of_stale(self) -> None:
        """Nobody fetches: what has come meanwhile is not to wait here."""
        if monotonic() - self._fetched_at > STALE:
            await self._close_sources(s for s in self._all() if s.ready or s.again)

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        self._link.check()
        return self._drive(self._keep(held))  # type: ignore[no-any-return]

    async def _keep(self, held: Collection[Delivery]) -> list[Delivery]:
        lost = await self._lost(held)
        await self._let_go_of_stale()
        ready = [delivery for source in self._all() for delivery in source.ready]
        kept = [d for d in (*held, *ready) if d not in lost]
        began = monotonic()
        for delivery in kept:
            self._link.send(delivery.receipt.reply, PROGRESS)
        await self._link.flush()
        for delivery in kept:
            delivery.receipt.until = began + delivery.receipt.source.lease
        return [delivery for delivery in held if delivery in lost]

    def mark_started(self, delivery: Delivery) -> None:
        receipt: Receipt = delivery.receipt
        receipt.marked = True
        self._link.check()
        self._drive(self._link.stored(receipt.mark, b"1"))

    def forget(self) -> None:
        """In a forked child: let go of the connection without touching it."""
        self._link.loop.detach()

    def close(self) -> None:
        sources = self._all()
        if self._link.usable:
            with contextlib.suppress(Exception):
                self._drive(self._close_sources(sources), GOODBYE)
        # With a broken connection, what had come is kept for the next one.
        self._memory.keep(delivery for source in sources for delivery in source.waiting())
        self._link.close()


def _without(settlement: Settlement, lost: Collection[Delivery]) -> Settlement:
    return Settlement(
        acks=[d for d in settlement.acks if d not in lost],
        releases=[d for d in settlement.releases if d not in lost],
        dead=[pair for pair in settlement.dead if pair[0] not in lost],
        parked=[pair for pair in settlement.parked if pair[0] not in lost],
    )
