"""The consuming side of one subscription: one client, one thread, and its share of the group."""

from __future__ import annotations

import logging
from bisect import bisect
from collections import deque
from collections.abc import Callable, Collection, Mapping
from heapq import heappop
from itertools import accumulate
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from ...errors import EventBusError, TransportUnavailable
from ..base import Budget, Delivery, Settlement, SubscriptionId
from . import clients, farewell, frames, names
from .admin import Admin
from .catalogue import Catalogue
from .commits import Commits
from .errors import MISSING, translate
from .farewell import Farewells
from .inboxes import Inboxes
from .membership import Membership
from .options import Options
from .registry import Registry
from .settling import Store, is_lost
from .share import Share
from .standstill import Standstill
from .trouble import Trouble

logger = logging.getLogger("eventbus.consumer")

#: Seconds of one wait for messages: the client's own cannot be ended by another thread.
SLICE = 0.02
#: Seconds between the news that no broker answers and an answer that is later than that.
AGAIN = 0.2
#: Seconds for the last commit.
FAREWELL = 1.0
#: Messages that are taken in without room for them before the client is told to stop fetching.
SURPLUS = 200
#: Seconds of waiting in vain for events that are there, after which the client is given up.
STALLED = 3.0
#: First guess at the bytes of an event, for how many to take at once.
USUAL_SIZE = 1_000


class KafkaConsumer:
    """Reads the topics of one subscription and the inboxes of the handlers that are here.

    Args:
        owner: name of this process in what is committed.
        farewells: of clients that cannot be closed at once.
    """

    def __init__(
        self, options: Options, admin: Admin, registry: Registry, catalogue: Catalogue,
        store: Store, owner: str, farewells: Farewells,
    ) -> None:
        self._options = options
        self._admin = admin
        self._registry = registry
        self._catalogue = catalogue
        self._store = store
        self._farewells = farewells
        self._trouble = Trouble(options.name)
        self._client: Consumer | None = None
        self._commits: Commits | None = None
        self._id = SubscriptionId("", "")
        self._membership = Membership(options, registry, catalogue, owner, self._trouble)
        self._shares = self._membership.shares
        self._standstill = Standstill(STALLED)
        self._inboxes = Inboxes()
        self._buffer: deque[Delivery] = deque()
        self._mean = float(USUAL_SIZE)
        self._woken = False
        self._failure: Exception | None = None

    @property
    def surrender(self) -> Callable[[Callable[[Delivery], bool], float], None]:
        """Set by the engine: hands over what it holds of partitions that are taken away."""
        return self._membership.surrender

    @surrender.setter
    def surrender(self, hand_over: Callable[[Callable[[Delivery], bool], float], None]) -> None:
        self._membership.surrender = hand_over

    # -- the contract ------------------------------------------------------------------------

    def attach(self, subscription: SubscriptionId) -> None:
        if self._client is not None:
            # Of a member that leaves, and keeps the share until all of it is through.
            self._membership.look_again()
            return
        self._id = subscription
        settings = self._options.consumer(names.group_of(subscription))
        settings["on_commit"] = self._committed
        self._client = clients.make(Consumer, settings, self._trouble, polled=True)
        self._commits = Commits(
            self._client, self._trouble, self._shares, names.group_of(subscription),
            self._registry.keep,
        )
        self._membership.begin(subscription, self._commits)
        self._registry.start()
        self._registry.watchers.add(self._compare)

    def detach(self, subscription: SubscriptionId) -> None:
        if self._client is not None:
            self._membership.leave(self._client)

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        budget = budgets[self._id]
        self._woken = False
        deadline = monotonic() + timeout
        assert self._client is not None
        while True:
            self._membership.follow(self._client, budget.handlers)
            self._check()
            found = self._ready(budget)
            if not found and not self._buffer:
                self._membership.resume(self._client)
                found = self._read(budget, self._slice(deadline))
            if found:
                return [(self._id, found)]
            if self._woken or monotonic() >= deadline:
                return []

    def serve(self) -> None:
        """Stay a member while there is no room for events; nothing is handed over."""
        if self._client is None:
            return
        message = self._client.poll(0)
        if message is not None:
            self._buffer += self._taken([message])
            if len(self._buffer) > SURPLUS:
                self._membership.pause(self._client)
        self._check()
        self._commit()

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        lost = [d for d in settlement.acks if is_lost(d)]
        self._store.keep(settlement)
        for delivery in settlement.acks:
            share, offset = delivery.receipt
            if share.alive:
                share.settled(offset)
        for delivery in settlement.releases:
            if is_lost(delivery):
                lost.append(delivery)
            else:
                self._give_back(delivery)
        self._commit()
        return lost

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        return [delivery for delivery in held if is_lost(delivery)]

    def mark_started(self, delivery: Delivery) -> None:
        share, offset = delivery.receipt
        share.note.started = offset
        assert self._commits is not None
        self._commits.mark()

    def wake(self) -> None:
        self._woken = True

    def close(self) -> None:
        self._membership.close()
        self._registry.watchers.discard(self._compare)
        client, self._client = self._client, None
        # It holds all that it went through, and that in turn clients and this.
        self._failure = None
        if client is None:
            return
        # The answer to the last commit comes through this.
        answered = self._commits is not None and self._commits.last(FAREWELL)
        self._commits = None
        self._membership.end()
        leaving = self._options.classic and self._membership.empty_handed
        if answered and leaving:
            answered = farewell.leave(client, FAREWELL)
        if answered:
            farewell.close(client)
        else:
            self._farewells.begin(client, not self._trouble.down, leaving)

    # -- reading -----------------------------------------------------------------------------

    def _slice(self, deadline: float) -> float:
        return max(0.0, min(SLICE, deadline - monotonic(), self._inboxes.pause()))

    def _ready(self, budget: Budget) -> list[Delivery]:
        """What was given back, what is due, and what was read beyond an earlier budget."""
        found: list[Delivery] = []
        size = 0
        for share in list(self._shares.values()):
            while share.returned and len(found) < budget.events and size < budget.size:
                if share.returned[0][1].handler not in (None, *budget.handlers):
                    break  # Its inbox is not followed any more.
                found.append(heappop(share.returned)[1])
                size += len(found[-1].data)
        found += self._inboxes.due(budget.events - len(found), budget.handlers)
        while self._buffer and len(found) < budget.events and size < budget.size:
            delivery = self._buffer.popleft()
            if not is_lost(delivery):
                found.append(delivery)
                size += len(delivery.data)
        return found

    def _read(self, budget: Budget, timeout: float) -> list[Delivery]:
        assert self._client is not None
        try:
            first = self._client.poll(timeout)
            if first is None:
                self._standstill.dry += timeout
                self._commit()
                return []
            messages = [first]
            number = min(budget.events, int(budget.size / self._mean)) - 1
            if number > 0:
                messages += self._client.consume(number, 0)
        except (KafkaException, RuntimeError) as error:
            # What the client had taken out of its queue is gone with it.
            raise TransportUnavailable(f"{self._options.name}: {error}") from None
        self._trouble.works()
        found = self._taken(messages)
        if len(found) > 1:
            return self._within(found, budget)
        return found

    def _within(self, found: list[Delivery], budget: Budget) -> list[Delivery]:
        sizes = [len(delivery.data) for delivery in found]
        size = sum(sizes)
        if size > budget.size:
            number = max(1, bisect(list(accumulate(sizes)), budget.size))
            self._buffer.extend(found[number:])
            return found[:number]
        self._mean += (size / len(found) - self._mean) / 4 + 1
        return found

    def _taken(self, messages: list[Message]) -> list[Delivery]:
        found: list[Delivery] = []
        shares = self._shares
        for message in messages:
            topic, offset = message.topic(), message.offset()
            share = shares.get((topic, message.partition()))  # type: ignore[arg-type]
            if message.error() is not None:
                self._problem(message.error(), share, offset or 0)
                continue
            if share is None or not share.takes(offset):  # type: ignore[arg-type]
                continue
            if share.inbox:
                self._inboxes.add(message, share, offset)  # type: ignore[arg-type]
                continue
            key = message.key()
            delivery = Delivery(
                topic, message.value() or b"", None if key is None else frames.key_of(key),  # type: ignore[arg-type]
                (share, offset), origin="",
            )
            if offset < share.suspects:  # type: ignore[operator]
                share.suspect(delivery, offset)  # type: ignore[arg-type]
            found.append(delivery)
        return found

    def _problem(self, error: KafkaError | None, share: Share | None, offset: int) -> None:
        assert error is not None
        if error.code() == KafkaError._PARTITION_EOF:
            if share is not None:
                share.reached(offset)
        elif error.code() in MISSING:
            self._membership.look_again()
            self._registry.look_soon()
        elif error.code() != KafkaError._MAX_POLL_EXCEEDED:
            known = translate(error, self._options.name)
            if error.fatal() or not isinstance(known, TransportUnavailable):
                self._failure = known
            else:
                logger.info("%s", known)

    def _give_back(self, delivery: Delivery) -> None:
        share, offset = delivery.receipt
        again = Delivery(
            delivery.topic, delivery.data, delivery.key, delivery.receipt, delivery.handler,
            delivery.attempt, delivery.deaths, delivery.started, delivery.first_failed_at,
            origin=delivery.origin,
        )
        share.give_back(offset, again)

    @property
    def connected(self) -> bool:
        """Whether brokers answer, as far as is known."""
        return not self._trouble.down

    def _check(self) -> None:
        if self._trouble.down:
            # Without events and commits nothing else tells.
            if self._catalogue.looked_at > self._trouble.down_at + AGAIN:
                self._trouble.works()
            else:
                self._registry.look_soon()
        self._trouble.check()
        if self._standstill.found is not None:
            raise self._trouble.unavailable(f"nothing comes from {self._standstill.found} any more")
        if self._failure is not None:
            raise self._failure
        self._membership.check()

    def _compare(self) -> None:
        """With where the partitions end; called by the registry's thread, never raises."""
        positions = {place: share.next for place, share in list(self._shares.items())}
        try:
            ends = self._admin.offsets.ends_now(positions) if positions else {}
        except (EventBusError, KafkaException):
            ends = {}  # Without an answer nothing is known.
        self._standstill.compare(positions, ends)

    # -- commits -----------------------------------------------------------------------------

    def _commit(self) -> None:
        if self._commits is not None and self._client is not None:
            self._commits.begin()

    def _committed(self, error: KafkaError | None, partitions: Any) -> None:
        """Called by the client; must not raise."""
        if self._commits is not None:
            self._commits.ended(error, partitions)
