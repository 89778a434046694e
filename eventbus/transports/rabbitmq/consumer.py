"""The consuming side: one connection for messages, acks and questions."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from threading import RLock
from time import monotonic
from typing import Any, TypeVar, cast

from ...errors import TransportError, TransportUnavailable
from ..base import Budget, Delivery, Settlement, SubscriptionId
from . import names, parking
from .backstage import Backstage
from .channel import Message
from .connection import PATIENCE
from .counting import Count, Mark
from .lanes import GOODBYE, Asker
from .link import Connector
from .marks import Marks
from .parking import Parking
from .receipts import Holding, delivery_of
from .returns import Returns
from .settling import Settling
from .taps import Tap
from .topology import Topology

#: Seconds between two looks at whether the server still answers, and has our queues.
LOOK = 2.0
#: Seconds after which what waits here and cannot begin is given back.
IDLE = 10.0
#: Seconds in which the consumer's thread answers questions of others, and for which it may be busy.
SOON, BUSY = 0.02, 0.5


Method = TypeVar("Method", bound=Callable[..., Any])


def alone(method: Method) -> Method:
    """Let no question of another thread come in between."""

    @wraps(method)
    def locked(self: Consumer, *args: Any) -> Any:
        with self._alone:
            return method(self, *args)

    return cast(Method, locked)


class Consumer:
    """Takes messages as far as there is room, and settles them.

    Args:
        connector: how to connect.
        marks: of events that ran alone in this process.
        returns: of messages to their queues that were no deaths.
        topology: told of queues that are gone.
    """

    def __init__(
        self, connector: Connector, marks: set[str], returns: Returns,
        topology: Topology,
    ) -> None:
        self._topology = topology
        self._returns = returns
        self._taps: dict[SubscriptionId, Tap] = {}
        self._numbers: dict[str, Tap] = {}
        self._counts: deque[Count] = deque()
        self._lost: list[str] = []
        #: Held by the thread of this consumer while it is in here.
        self._alone = RLock()
        self._connection = connector.connect()
        self._bell, self._rope = socket.socketpair()
        try:
            for end in (self._bell, self._rope):
                end.setblocking(False)
            self._connection.wake_by(self._bell)
            self._channel = self._connection.channel()
            self._channel.on_message = self._came
            self._channel.on_cancel = self._lost.append
            self._asker = Asker(self._connection)
            self._marks = Marks(self._asker, marks)
            self._backstage = Backstage(connector)
            self._holding = Holding(self._channel, returns)
            self._settling = Settling(self._holding, self._backstage, self._marks.clear)
            self._parking = Parking(self._connection.channel(), self._backstage, topology.is_gone)
        except BaseException:
            self.close()
            raise
        self._look_at = self._handed_at = monotonic()

    # -- subscriptions -----------------------------------------------------------------------

    @alone
    def attach(self, subscription: SubscriptionId) -> None:
        tap = Tap(subscription, len(self._numbers), self._channel)
        self._taps[subscription] = self._numbers[str(len(self._numbers))] = tap
        self._asker.call(names.declare_queue(names.dead(subscription.group), names.DEAD))
        self._parking.watch(subscription.group)

    @alone
    def detach(self, subscription: SubscriptionId) -> None:
        tap = self._taps.pop(subscription, None)
        if tap is not None:
            tap.shut()
            self._return_ready(tap)
            self._connection.flush(monotonic() + PATIENCE)

    def _return_ready(self, tap: Tap) -> None:
        """Give back what has come and was not handed over."""
        self._settling.give_back(tap.clear())

    def _came(self, message: Message) -> None:
        tap = self._numbers[message.consumer.partition(".")[0]]
        delivery = delivery_of(message, tap, self._returns)
        if delivery is None:
            # Through a binding that is not ours.
            self._channel.ack(message.tag, False)
        else:
            tap.add(delivery)
            self._holding.add(delivery)
            if tap.overflows(message.consumer):
                self._settling.give_back([delivery])

    # -- fetching ----------------------------------------------------------------------------

    @alone
    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        deadline = monotonic() + timeout
        while True:
            self._work()
            for id, budget in budgets.items():
                if id in self._taps:
                    self._taps[id].provide(budget)
            fetched = self._hand_over(budgets)
            now = monotonic()
            if fetched or now >= deadline:
                return fetched
            pause = min(deadline - now, self._look_at - now, self._parking.pause())
            if self._connection.pump(max(0.0, pause)):
                self._answer_bell()
                return self._hand_over(budgets)

    def _hand_over(
        self, budgets: Mapping[SubscriptionId, Budget]
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        fetched: dict[SubscriptionId, list[Delivery]] = {}
        for id, budget in budgets.items():
            tap = self._taps.get(id)
            if tap is not None and tap.ready:
                taken = self._hosted(tap.take(budget), budget)
                if taken := self._marks.judge(taken):
                    fetched[id] = taken
        for delivery in self._marks.certain():
            fetched.setdefault(delivery.receipt.tap.id, []).append(delivery)
        if fetched:
            self._handed_at = monotonic()
        return list(fetched.items())

    def _hosted(self, deliveries: list[Delivery], budget: Budget) -> list[Delivery]:
        """Without what is for handlers elsewhere, which is put aside for their members."""
        handlers = (None, *budget.handlers)
        strange = [d for d in deliveries if d.handler not in handlers]
        if not strange:
            return deliveries
        self._settling.replace([parking.elsewhere(d) for d in strange], strange)
        return [d for d in deliveries if d.handler in handlers]

    def _work(self) -> None:
        """Everything but events."""
        self._check()
        self._backstage.work()
        self._parking.work()
        if monotonic() >= self._look_at:
            self._look()
        self._answer_counts()

    def _answer_counts(self) -> None:
        while self._counts:
            self._counts.popleft().by(self._ready_of, self._taps, self._holding)

    def _ready_of(self, queue: str) -> int:
        """On the channel of the messages, so that what left the queue earlier is here."""
        (answer,) = self._channel.call(names.look_at_queue(queue), timeout=PATIENCE)
        return int(answer.message_count)

    def _check(self) -> None:
        self._channel.check()
        lost = [tap.id for tag in self._lost if (tap := self._numbers.get(tag.partition(".")[0]))]
        self._lost.clear()
        # Whoever mended it in this process may have been faster than the server's message.
        if lost := lost or self._topology.known_vanished(self._taps):
            raise self._gone(lost[0])

    def _gone(self, id: SubscriptionId) -> TransportUnavailable:
        return TransportUnavailable(
            f"{self._connection.name}: the queue of {id.pattern!r} of group {id.group!r} vanished"
        )

    def _look(self) -> None:
        """See that the server answers, and that everything is there."""
        self._look_at = monotonic() + LOOK
        looks = [names.look_at_queue(tap.queue) for tap in self._taps.values()]
        self._asker.call(names.look_at_exchange(), *looks, timeout=PATIENCE)

    # -- settling ----------------------------------------------------------------------------

    @alone
    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        # What the engine cannot begin, it cannot use the next of either.
        for tap in {d.receipt.tap for d in settlement.releases if self._holding.has(d)}:
            tap.shut()
            settlement.releases += tap.clear()
        self._settling.settle(settlement)
        self._connection.flush(monotonic() + PATIENCE)
        return ()

    @alone
    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        self._connection.pump(0.0)
        self._work()
        self._backstage.beat()
        if monotonic() - self._handed_at > IDLE:
            for tap in self._taps.values():
                if tap.ready:
                    tap.shut()
                    self._return_ready(tap)
        self._connection.flush(monotonic() + PATIENCE)
        return ()

    @alone
    def mark_started(self, delivery: Delivery) -> None:
        self._marks.make(delivery)

    # -- other threads -----------------------------------------------------------------------

    def serves(self, id: SubscriptionId) -> bool:
        return id in self._taps

    def mark(self) -> dict[SubscriptionId, Mark]:
        """What is published now, as far as it concerns the subscriptions here."""
        counts = {id: self._answer(Count(id)) for id in list(self._taps)}
        return {id: count.mark for id, count in counts.items() if count.mark is not None}

    def count(self, id: SubscriptionId, upto: Mark | None) -> int | None:
        """How many events are not settled; `None` while there is no connection."""
        return self._answer(Count(id, upto)).number

    def _answer(self, count: Count) -> Count:
        self._counts.append(count)
        self.wake()
        # Its thread may have nothing to do here for a while.
        if not count.wait(SOON) and self._alone.acquire(timeout=BUSY):
            try:
                self._answer_counts()
            except TransportError:
                pass  # Its thread will learn of it.
            finally:
                self._alone.release()
        return count

    def wake(self) -> None:
        try:
            self._rope.send(b"\0")
        except OSError:
            return

    def _answer_bell(self) -> None:
        try:
            while len(self._bell.recv(1024)) == 1024:
                continue
        except OSError:
            return

    def close(self) -> None:
        self._connection.close(GOODBYE)
        if hasattr(self, "_holding"):
            self._returns.note(self._holding.all())
        if hasattr(self, "_backstage"):
            self._backstage.close()
        self._bell.close()
        self._rope.close()
