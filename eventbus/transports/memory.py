"""Events in bounded queues of this process: for tests, scripts and single-process services.

Each bus has its own; nothing outlives it. A publish waits for room in a full queue, so that a
slow handler slows its publishers instead of filling the memory; a publish from inside a handler
never waits, because the room may be its own to make.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import count
from operator import attrgetter
from threading import Condition, RLock
from time import monotonic
from typing import Any

from ..config import MemoryConfig
from ..errors import TransportUnavailable
from ..patterns import matcher
from .base import (
    Budget,
    Capabilities,
    DeadRecord,
    Delivery,
    Finding,
    Parked,
    PartlyStored,
    Record,
    Settings,
    Settlement,
    StartFrom,
    SubscriptionId,
    SubscriptionInfo,
    no_subscription,
)

CAPABILITIES = Capabilities(
    name="memory",
    durable=False,
    multi_process=False,
    history=False,
    deduplicates=False,
    transactional_publish=False,
    per_handler_success=False,
    leases=False,
    receipts_survive=True,
    cross_process_order=False,
    bounded=True,
    concurrent_publish=True,
    retention="none",
    notes={
        "durable": "lost with the process",
        "history": "an event is kept only for the subscriptions that exist when it is published",
        "leases": "accepted and ignored: nobody else could take an event over",
    },
)


#: Events are numbered as they come.
_receipt = attrgetter("receipt")


class _Queue:
    """What one subscription has not settled yet. Guarded by the transport's lock."""

    def __init__(self, pattern: str) -> None:
        self.matches: Callable[[str], bool] = matcher(pattern)
        self.waiting: deque[Delivery] = deque()
        self.in_flight: dict[int, Delivery] = {}
        self.parked: list[tuple[datetime, int, Parked]] = []
        #: Parked events that are due and whose handler is not here at the moment.
        self.due: list[Parked] = []
        self.created_at = datetime.now(timezone.utc)
        self.dropped = False

    def unsettled(self, upto: int | None) -> int:
        if upto is None:
            return len(self.waiting) + len(self.in_flight)
        waiting = sum(1 for delivery in self.waiting if delivery.receipt <= upto)
        return waiting + sum(1 for number in self.in_flight if number <= upto)

    def take(self, budget: Budget) -> list[Delivery]:
        taken: list[Delivery] = []
        size = budget.size
        while self.waiting and len(taken) < budget.events and (size > 0 or not taken):
            delivery = self.waiting.popleft()
            self.in_flight[delivery.receipt] = delivery
            taken.append(delivery)
            size -= len(delivery.data)
        return taken


class MemoryTransport:
    """The queues of one bus; its consumers are views of them."""

    capabilities = CAPABILITIES

    def __init__(self, config: MemoryConfig, settings: Settings) -> None:
        self._size = config.buffer_size
        self._lock = RLock()
        #: For consumers: something is to be had. `_fetching` while one waits for being told so.
        self._arrived = Condition(self._lock)
        #: For publishers: a queue has room again.
        self._room = Condition(self._lock)
        self._queues: dict[SubscriptionId, _Queue] = {}
        self._routes: dict[str, list[_Queue]] = {}
        self._numbers = count(1)
        self._last = 0
        self._fetching = False
        self._publishing = 0
        self.dead_letters = _DeadLetters()

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        deadline = 0.0
        with self._lock:
            for stored, record in enumerate(records):
                queues = self._routes.get(record.topic)
                if queues is None:
                    queues = self._route(record.topic)
                if wait:
                    for queue in queues:
                        if len(queue.waiting) >= self._size:
                            deadline = deadline or monotonic() + timeout
                            self._wait_for_room(queue, stored, deadline)
                for queue in queues:
                    self._last = number = next(self._numbers)
                    queue.waiting.append(Delivery(record.topic, record.data, record.key, number))
            if self._fetching:
                self._wake_consumers()

    def _route(self, topic: str) -> list[_Queue]:
        queues = [queue for queue in self._queues.values() if queue.matches(topic)]
        self._routes[topic] = queues
        return queues

    def _put(self, queue: _Queue, delivery: Delivery) -> None:
        self._last = delivery.receipt = next(self._numbers)
        queue.waiting.append(delivery)

    def _wake_consumers(self) -> None:
        # Once per wait: a consumer that was told need not be told again by each further publish.
        self._fetching = False
        self._arrived.notify_all()

    def _wait_for_room(self, queue: _Queue, stored: int, deadline: float) -> None:
        if self._fetching:
            self._wake_consumers()
        self._publishing += 1
        try:
            while len(queue.waiting) >= self._size and not queue.dropped:
                if not self._room.wait(deadline - monotonic()) and monotonic() >= deadline:
                    raise PartlyStored(
                        f"the queue is full: {self._size} events (MemoryConfig.buffer_size) wait "
                        "for a handler", stored=stored,
                    )
        finally:
            self._publishing -= 1

    def deliver(self, parked: Sequence[Parked]) -> None:
        with self._lock:
            for item in parked:
                if item.subscription not in self._queues:
                    raise no_subscription(item.subscription)
            self.park(parked)

    def park(self, parked: Sequence[Parked]) -> None:
        """Keep events until they are due; those of a dropped subscription are dropped too."""
        with self._lock:
            for item in parked:
                queue = self._queues.get(item.subscription)
                if queue is not None:
                    heapq.heappush(queue.parked, (item.due, next(self._numbers), item))
            self._wake_consumers()

    # -- subscriptions -----------------------------------------------------------------------

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        with self._lock:
            if subscription in self._queues:
                return False
            self._queues[subscription] = _Queue(subscription.pattern)
            self._routes.clear()
            return True

    def drop(self, subscription: SubscriptionId) -> bool:
        with self._lock:
            self._routes.clear()
            queue = self._queues.pop(subscription, None)
            if queue is None:
                return False
            queue.dropped = True
            self._wake_consumers()
            self._room.notify_all()
            return True

    def list(self) -> Sequence[SubscriptionInfo]:
        with self._lock:
            return [
                SubscriptionInfo(id.group, id.pattern, queue.unsettled(None), queue.created_at)
                for id, queue in self._queues.items()
            ]

    def topics(self) -> Sequence[str]:
        with self._lock:
            return sorted(self._routes)

    def mark(self) -> int:
        return self._last

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        with self._lock:
            queue = self._queues.get(subscription)
            return 0 if queue is None else queue.unsettled(upto)

    # -- life --------------------------------------------------------------------------------

    def consumer(self, held: Collection[Delivery]) -> MemoryConsumer:
        return MemoryConsumer(self)

    def maintain(self) -> bool:
        """Nothing is kept that is settled."""
        return False

    def diagnose(self) -> Sequence[Finding]:
        return [Finding("ok", "memory", "in this process; events are lost when it ends")]

    def close(self, timeout: float = 0.0) -> None:
        """Nothing is open."""

    def forget(self) -> None:
        """Nothing is shared with the parent; the engine makes a new transport."""


class MemoryConsumer:
    """Hands over what waits in the transport's queues."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._lock = transport._lock
        self._queues: dict[SubscriptionId, _Queue] = {}
        self._woken = False

    def attach(self, subscription: SubscriptionId) -> None:
        with self._lock:
            self._queues[subscription] = self._transport._queues[subscription]

    def detach(self, subscription: SubscriptionId) -> None:
        with self._lock:
            self._queues.pop(subscription, None)

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        deadline = monotonic() + timeout
        with self._lock:
            # Whoever wakes may do so because a member that is asked for here is cancelled.
            while not self._woken:
                wake_at = self._move_due(budgets)
                fetched = self._take(budgets)
                pause = min(deadline, wake_at) - monotonic()
                if fetched or monotonic() >= deadline:
                    return fetched
                self._wait(pause)
            self._woken = False
            return []

    def _take(
        self, budgets: Mapping[SubscriptionId, Budget]
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        fetched = []
        for id, budget in budgets.items():
            queue = self._queue(id)
            if queue.waiting:
                fetched.append((id, queue.take(budget)))
        if fetched and self._transport._publishing:
            self._transport._room.notify_all()
        return fetched

    def _queue(self, id: SubscriptionId) -> _Queue:
        queue = self._queues[id]
        if self._transport._queues.get(id) is not queue:
            raise TransportUnavailable(f"{id.pattern!r} of {id.group!r} was dropped")
        return queue

    def _wait(self, seconds: float) -> None:
        self._transport._fetching = True
        self._transport._arrived.wait(max(0.0, seconds))

    def _move_due(self, budgets: Mapping[SubscriptionId, Budget]) -> float:
        """Queue parked events that are due; return the monotonic time of the next look."""
        now = datetime.now(timezone.utc)
        nearest = float("inf")
        for id, budget in budgets.items():
            queue = self._queue(id)
            while queue.parked and queue.parked[0][0] <= now:
                queue.due.append(heapq.heappop(queue.parked)[2])
            if queue.due:
                self._put_due(queue, budget.handlers)
            if queue.parked:
                nearest = min(nearest, (queue.parked[0][0] - now).total_seconds())
        return monotonic() + nearest

    def _put_due(self, queue: _Queue, handlers: tuple[str, ...]) -> None:
        """Queue the events of these handlers; the others wait until theirs comes back."""
        due, queue.due = queue.due, []
        for item in due:
            if item.handler is None or item.handler in handlers:
                self._transport._put(queue, _delivery(item))
            else:
                queue.due.append(item)

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        with self._lock:
            for _, dead in settlement.dead:
                self._transport.dead_letters.put(dead)
            self._ack(settlement.acks)
            # What waited behind another event comes before it here.
            for delivery in sorted(settlement.releases, key=_receipt, reverse=True):
                queue = self._done(delivery)
                if queue is not None:
                    queue.waiting.appendleft(delivery)
        self._transport.park([parked for _, parked in settlement.parked])
        return ()

    def _ack(self, deliveries: Sequence[Delivery]) -> None:
        for queue in self._transport._queues.values():
            for delivery in deliveries:
                queue.in_flight.pop(delivery.receipt, None)

    def _done(self, delivery: Delivery) -> _Queue | None:
        for queue in self._transport._queues.values():
            if queue.in_flight.pop(delivery.receipt, None) is not None:
                return queue
        return None

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        return ()

    def mark_started(self, delivery: Delivery) -> None:
        """A process that dies takes its events along: nobody would read the mark."""

    def wake(self) -> None:
        with self._lock:
            self._woken = True
            self._transport._wake_consumers()

    def close(self) -> None:
        """Nothing is open."""


def _delivery(item: Parked) -> Delivery:
    return Delivery(
        item.topic, item.data, item.key, handler=item.handler, attempt=item.attempt,
        first_failed_at=item.first_failed_at,
    )


class _DeadLetters:
    """Dead letters by id, oldest first. Single dict operations are atomic."""

    def __init__(self) -> None:
        self._records: dict[str, DeadRecord] = {}

    def put(self, record: DeadRecord) -> None:
        self._records[record.id] = record

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        records = list(self._records.values())
        return (r for r in records if group is None or r.subscription.group == group)

    def get(self, id: str) -> DeadRecord | None:
        return self._records.get(id)

    def remove(self, ids: Collection[str]) -> int:
        return sum(self._records.pop(id, None) is not None for id in ids)
