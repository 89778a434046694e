"""The consuming side: one connection to fetch and settle, another one to wait on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from ...errors import TransportUnavailable
from ...patterns import is_literal, matcher
from ..base import Budget, Delivery, Settlement, SubscriptionId
from . import frames, keys, scripts, settling
from .bell import Bell
from .claims import Claims
from .link import Command, Connector
from .sources import Receipt, Source, inbox_source, topic_source

#: Seconds between two looks for idle entries, parked events that are due and lost groups.
RECHECK = 1.0
#: Seconds between two readings of the own history: it shows a group's foreign members that we
#: live, who remove consumers that are idle for ten minutes.
HISTORY = 120.0
#: Seconds after which a session does it for the first time: up to then the server may have answered
#: the last question of a session before, whose connection had died.
FIRST_HISTORY = 2.0
#: Entries of the own history read at once, and ids per script call.
PAGE = 500
#: So many streams are read before it is known which of them have news: the commands are small.
FEW = 4
#: Fraction of the lease after which nobody is asked for an ack any more without looking first.
SURE = 0.7
#: The last id that a stream can have.
END = b"18446744073709551615-18446744073709551615"


class RedisConsumer:
    """Reads, claims, renews and settles in the name of one consumer.

    Args:
        connector: how to connect.
        name: of the consumer, the same for all sessions of a transport.
        lease: seconds.
        held: deliveries of an earlier session whose handlers still run.
    """

    def __init__(
        self, connector: Connector, name: str, lease: float, held: Collection[Delivery]
    ) -> None:
        self._name = name
        self._lease = lease
        self._link = connector.link()
        self._bell = Bell(connector, self._link)
        self._claims = Claims(name, lease)
        self._sources: dict[SubscriptionId, list[Source]] = {}
        self._dirty: set[Source] = set()
        self._rung: dict[str, bytes] = {}
        self._stale: set[str] = {keys.BELL}
        self._held: dict[tuple[Source, bytes], Delivery] = {
            (d.receipt.source, d.receipt.id): d for d in held if d.receipt is not None
        }
        self._ready: dict[SubscriptionId, list[Delivery]] = {}
        self._let_go: set[Delivery] = set()
        self._kept_at = monotonic()
        self._recheck_at = 0.0
        self._history_at = monotonic() + FIRST_HISTORY
        self._size = 1_000.0
        try:
            self._link.call("PING")
            # While we were away some may have been taken: their outcomes are looked at twice.
            self._let_go = self._renew(self._held.values())
        except BaseException:
            self.close()
            raise

    # -- subscriptions -----------------------------------------------------------------------

    def attach(self, subscription: SubscriptionId) -> None:
        self._sources[subscription] = []
        self._discover(subscription)
        self._recheck_at = 0.0

    def detach(self, subscription: SubscriptionId) -> None:
        self._dirty.difference_update(self._sources.pop(subscription, ()))
        waiting = self._ready.pop(subscription, [])
        if waiting:
            self.settle(Settlement(releases=waiting))

    def _discover(self, id: SubscriptionId) -> None:
        """Find the streams of a subscription, and read what was ours on those that are new."""
        wanted = [topic_source(id, topic) for topic in self._topics(id)]
        handlers = self._link.call("SMEMBERS", keys.inboxes(id))
        wanted += [inbox_source(id, handler.decode()) for handler in sorted(handlers)]
        known = set(self._sources[id])
        fresh = [source for source in wanted if source not in known]
        for source in fresh:
            if not is_literal(id.pattern) and source.handler is None:
                self._make_group(source)
            self._sources[id].append(source)
            self._stale.add(source.stream)
            self._dirty.add(source)
        self._read_history(fresh)

    def _topics(self, id: SubscriptionId) -> list[str]:
        if is_literal(id.pattern):
            return [id.pattern]
        matches = matcher(id.pattern)
        found = (topic.decode() for topic in self._link.call("SMEMBERS", keys.TOPICS))
        return sorted(topic for topic in found if matches(topic))

    def _make_group(self, source: Source) -> None:
        """The topic is younger than the subscription, so all of it is to be read."""
        create = ("XGROUP", "CREATE", source.stream, source.group, "0", "MKSTREAM")
        (answer,) = self._link.replies([create])
        if isinstance(answer, Exception) and "BUSYGROUP" not in str(answer):
            self._link.pipeline([create])

    def _read_history(self, sources: Iterable[Source]) -> None:
        """Take up entries that are pending in our name and held by nobody here."""
        for source in sources:
            last: bytes | str = "0"
            while rows := self._read(source, last, PAGE):
                last = rows[-1][0]
                for id, entry in rows:
                    if entry is None:
                        self._link.call("XACK", source.stream, source.group, id)
                    elif (source, id) not in self._held:
                        self._keep(source, source.delivery(id, frames.mapping(entry)))

    def _read(self, source: Source, after: bytes | str, count: int) -> list[Any]:
        answer = self._link.call(
            "XREADGROUP", "GROUP", source.group, self._name, "COUNT", count, "STREAMS",
            source.stream, after,
        )
        return answer[0][1] if answer else []

    def _keep(self, source: Source, delivery: Delivery) -> None:
        self._held[source, delivery.receipt.id] = delivery
        self._ready.setdefault(source.subscription, []).append(delivery)
        # Half the weight on the last ones: sizes change with the type.
        self._size += (len(delivery.data) - self._size) / 16

    # -- fetching ----------------------------------------------------------------------------

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        deadline = monotonic() + timeout
        while True:
            self._recheck(budgets)
            self._gather(budgets)
            waited = (
                not any(map(self._ready.get, budgets))
                and monotonic() < deadline
                and self._wait(budgets, min(deadline, self._recheck_at) - monotonic())
            )
            fetched = self._hand_over(budgets)
            if fetched or not waited:
                return fetched

    def _hand_over(
        self, budgets: Mapping[SubscriptionId, Budget]
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        fetched = []
        for id, budget in budgets.items():
            waiting = self._ready.get(id)
            if waiting:
                count = _affordable(waiting, budget)
                fetched.append((id, waiting[:count]))
                self._ready[id] = waiting[count:]
        return fetched

    def _gather(self, budgets: Mapping[SubscriptionId, Budget]) -> None:
        """Fill what is ready from what others left, then from the streams, in one round trip."""
        asked: list[tuple[Source, int]] = []
        for id, budget in budgets.items():
            sources = self._wanted(id, budget)
            for source in sources:
                if source in self._claims and (room := self._room(id, budget)) > 0:
                    for delivery in self._claims.take(self._link, source, room):
                        self._keep(source, delivery)
            dirty = [source for source in sources if source in self._dirty]
            asked += _shares(dirty, self._room(id, budget))
        if asked:
            self._read_new(asked)

    def _wanted(self, id: SubscriptionId, budget: Budget) -> list[Source]:
        handlers = (None, "", *budget.handlers)
        return [source for source in self._sources.get(id, ()) if source.handler in handlers]

    def _room(self, id: SubscriptionId, budget: Budget) -> int:
        affordable = max(1, int(budget.size / max(1.0, self._size)))
        return min(budget.events, affordable) - len(self._ready.get(id, ()))

    def _read_new(self, asked: list[tuple[Source, int]]) -> None:
        self._take_new(asked, self._link.pipeline(self._commands(asked)))

    def _commands(self, asked: list[tuple[Source, int]]) -> list[Command]:
        return [
            (
                "XREADGROUP", "GROUP", source.group, self._name, "COUNT", count, "STREAMS",
                source.stream, ">",
            )
            for source, count in asked
        ]

    def _take_new(self, asked: list[tuple[Source, int]], answers: list[Any]) -> None:
        for (source, count), answer in zip(asked, answers, strict=True):
            rows = answer[0][1] if answer else []
            for id, entry in rows:
                self._keep(source, source.delivery(id, frames.mapping(entry)))
            if rows:
                self._rung[source.stream] = _later(rows[-1][0], self._rung.get(source.stream))
                # Peers may have had later ones; then the bell rings for nothing, once.
                self._stale.discard(source.stream)
            if len(rows) < count:
                self._dirty.discard(source)

    # -- waiting -----------------------------------------------------------------------------

    def _wait(self, budgets: Mapping[SubscriptionId, Budget], seconds: float) -> bool:
        """Wait for news; `False` when somebody wants the thread back."""
        if self._stale:
            self._look_at_ends()
            return True
        # What is to be read anyway, once there is room, need not ring.
        quiet = {source.stream for source in self._dirty}
        asked = {s: END if s in quiet else id for s, id in self._rung.items()}
        along = self._few_wanted(budgets)
        ring = self._bell.wait(asked, self._commands(along), seconds)
        self._note(ring.ids)
        self._take_new(along, ring.answers)
        return not ring.woken

    def _few_wanted(self, budgets: Mapping[SubscriptionId, Budget]) -> list[tuple[Source, int]]:
        """What is asked for along, before it is known which of the streams will ring."""
        found: list[tuple[Source, int]] = []
        for id, budget in budgets.items():
            sources = [s for s in self._wanted(id, budget) if s not in self._dirty]
            found += _shares(sources, self._room(id, budget))
        old = any(source in self._claims for source, _ in found)
        return found if len(found) <= FEW and not old else []

    def _note(self, rung: Mapping[str, bytes]) -> None:
        for stream, id in rung.items():
            if stream == keys.BELL:
                self._recheck_at = 0.0
            elif self._rung.get(stream) == id:
                continue
            self._rung[stream] = id
            # If peers were faster, the end is further on than this id.
            self._stale.add(stream)
            self._dirty.update(s for s in self._all() if s.stream == stream)

    def _look_at_ends(self) -> None:
        """Learn the last ids; what came up to them is fetched before the bell is asked."""
        streams = sorted(self._stale)
        ends = self._link.pipeline([("XREVRANGE", s, "+", "-", "COUNT", 1) for s in streams])
        for stream, end in zip(streams, ends, strict=True):
            self._rung[stream] = end[0][0] if end else b"0-0"
            self._dirty.update(s for s in self._all() if s.stream == stream)
        self._stale.clear()

    def _all(self) -> list[Source]:
        return [source for sources in self._sources.values() for source in sources]

    def _recheck(self, budgets: Mapping[SubscriptionId, Budget]) -> None:
        if monotonic() < self._recheck_at:
            return
        self._recheck_at = monotonic() + min(RECHECK, self._lease / 5)
        self._check_registered()
        for id in self._sources:
            self._discover(id)
        if monotonic() >= self._history_at:
            self._history_at = monotonic() + HISTORY
            self._read_history(self._all())
        self._move_due()
        self._claims.look(self._link, self._all())
        # A read that finds the group gone is how a wiped stream is noticed.
        self._dirty.update(self._all())

    def _check_registered(self) -> None:
        ids = list(self._sources)
        found = self._link.pipeline([("HEXISTS", keys.SUBSCRIPTIONS, keys.field(i)) for i in ids])
        for id, exists in zip(ids, found, strict=True):
            if not exists:
                raise TransportUnavailable(f"{id.pattern!r} of group {id.group!r} has vanished")

    def _move_due(self) -> None:
        inboxes = [source for source in self._all() if source.handler is not None]
        commands: list[Command] = [
            (
                "EVAL", scripts.MOVE, 2, one.stream, keys.due(one.subscription, one.handler), 100
            )
            for one in inboxes
        ]
        for pause in self._link.pipeline(commands):
            if pause >= 0:
                self._recheck_at = min(self._recheck_at, monotonic() + pause / 1000)

    # -- settling ----------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        lost = self._verify(settlement)
        if lost:
            settlement = _without(settlement, lost)
        commands = settling.commands(settlement)
        if commands:
            self._link.pipeline(commands)
        for delivery in (*settlement.acks, *settlement.releases, *lost):
            self._held.pop((delivery.receipt.source, delivery.receipt.id), None)
            self._let_go.discard(delivery)
        if settlement.parked:
            self._recheck_at = 0.0
        return lost

    def _verify(self, settlement: Settlement) -> set[Delivery]:
        """Those that are not ours any more; asks nobody while no lease can have ended."""
        concerned = [*settlement.acks, *settlement.releases]
        if monotonic() - self._kept_at > SURE * self._lease:
            return self._renew(concerned)
        return self._renew([d for d in concerned if d in self._let_go]) if self._let_go else set()

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        began = monotonic()
        ready = [delivery for waiting in self._ready.values() for delivery in waiting]
        kept = {*held, *ready}
        self._let_go = {delivery for delivery in self._held.values() if delivery not in kept}
        lost = self._renew(kept)
        self._kept_at = began
        for delivery in lost:
            self._held.pop((delivery.receipt.source, delivery.receipt.id), None)
        for id, waiting in self._ready.items():
            self._ready[id] = [delivery for delivery in waiting if delivery not in lost]
        return [delivery for delivery in held if delivery in lost]

    def _renew(self, deliveries: Iterable[Delivery]) -> set[Delivery]:
        by_source: dict[Source, list[Delivery]] = {}
        for delivery in deliveries:
            by_source.setdefault(delivery.receipt.source, []).append(delivery)
        lost: set[Delivery] = set()
        for source, all_of_it in by_source.items():
            for start in range(0, len(all_of_it), PAGE):
                lost |= self._renew_page(source, all_of_it[start : start + PAGE])
        return lost

    def _renew_page(self, source: Source, page: list[Delivery]) -> set[Delivery]:
        ids = self._link.call(
            "EVAL", scripts.RENEW, 1, source.stream, source.group, self._name,
            *(delivery.receipt.id for delivery in page),
        )
        gone = set(ids)
        return {delivery for delivery in page if delivery.receipt.id in gone}

    def mark_started(self, delivery: Delivery) -> None:
        receipt: Receipt = delivery.receipt
        receipt.marked = True
        self._link.call("HSET", keys.STARTED, receipt.mark, 1)

    def wake(self) -> None:
        self._bell.wake()

    def close(self) -> None:
        self._bell.close()
        self._link.close()


def _shares(sources: Sequence[Source], room: int) -> list[tuple[Source, int]]:
    """How many entries to ask each of them for."""
    return [(source, -(-room // len(sources))) for source in sources] if room > 0 else []


def _affordable(deliveries: Sequence[Delivery], budget: Budget) -> int:
    """How many of them fit; the last one may exceed the size."""
    left = budget.size
    for count, delivery in enumerate(deliveries[: budget.events]):
        if left <= 0:
            return count
        left -= len(delivery.data)
    return min(len(deliveries), budget.events)


def _later(id: bytes, other: bytes | None) -> bytes:
    return id if other is None or _number(id) > _number(other) else other


def _number(id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = id.partition(b"-")
    return int(milliseconds), int(sequence)


def _without(settlement: Settlement, lost: Collection[Delivery]) -> Settlement:
    return Settlement(
        acks=[d for d in settlement.acks if d not in lost],
        releases=[d for d in settlement.releases if d not in lost],
        dead=[pair for pair in settlement.dead if pair[0] not in lost],
        parked=[pair for pair in settlement.parked if pair[0] not in lost],
    )
