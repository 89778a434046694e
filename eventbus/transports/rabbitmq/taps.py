"""How much of a subscription's queue comes to this member: prefetch, as the engine has room."""

from __future__ import annotations

from collections import deque
from math import inf
from time import monotonic

from pika import spec

from ...patterns import matcher
from ..base import Budget, Delivery, SubscriptionId
from . import names
from .channel import Channel
from .connection import PATIENCE

#: Messages asked for first, while nobody knows how large they are, and at most.
FIRST, MOST = 32, 2_000
#: Bytes that wait here for the engine.
MOST_BYTES = 16 * 2**20
#: Seconds in which a prefetch that is used up was too small, rather than the handlers slow.
QUICK = 0.5
#: Seconds for which more waits here than there is room for, after which peers get the rest.
CROWDED = 1.0
#: Seconds for the answer to a new consumer: a server that has just started leaves some without.
BEGINNING = 3.0


class Tap:
    """A subscription on a channel: what has come and waits, and how much may still come.

    The server keeps to the prefetch that a consumer began with, so another prefetch is another
    consumer; what came through the one before is held on beside it.
    """

    def __init__(self, id: SubscriptionId, number: int, channel: Channel) -> None:
        self.id = id
        self.queue = names.queue(id)
        self.matches = matcher(id.pattern)
        self.ready: deque[Delivery] = deque()
        #: Messages that came, that the server counts as ours, and that were given back.
        self.came = self.held = self.returned = 0
        #: Bytes of what is ready.
        self.waiting = 0
        self.generation = 0
        #: The consumer by which nothing more is taken.
        self._refused = ""
        #: Messages given back that come again first, and the size of the largest. A quorum queue
        #: keeps their order, unless one is given back again while others of them wait there.
        self._again = self._largest = 0
        self._channel = channel
        self._number = number
        self._prefetch = 0
        self._through: set[Delivery] = set()
        self._open = False
        self._opened_at = 0.0
        self._crowded_since = inf
        self._size = 0.0

    @property
    def tag(self) -> str:
        return f"{self._number}.{self.generation}"

    def add(self, delivery: Delivery) -> None:
        """Something came."""
        self.ready.append(delivery)
        self.waiting += len(delivery.data)
        self._through.add(delivery)
        self.came += 1
        self.held += 1
        self._size += (len(delivery.data) - self._size) / 16

    def overflows(self, tag: str) -> bool:
        """Take away the last that came, by this consumer, if there is no room for it.

        The prefetch counts messages, and these are larger than those before. What else is on its
        way is refused, too, so that all of it comes again in its order.
        """
        if tag != self._refused:
            if self.waiting <= MOST_BYTES or len(self.ready) == 1:
                self._again -= self._again > 0
                return False
            self._refused = tag
            self._open = False
            # Without an answer, and ahead of what is given back: that is not to come here at once.
            self._channel.send(spec.Basic.Cancel(self.tag, nowait=True))
        self._expect(self._taken(self.ready.pop()))
        return True

    def clear(self) -> list[Delivery]:
        """Take away all that is ready, to be given back."""
        waiting = list(self.ready)
        self.ready.clear()
        self.waiting = 0
        for delivery in waiting:
            self._expect(delivery)
        return waiting

    def _expect(self, delivery: Delivery) -> None:
        """It is given back, and comes again."""
        self._largest = max(len(delivery.data), self._largest if self._again else 0)
        self._again += 1

    def _taken(self, delivery: Delivery) -> Delivery:
        self.waiting -= len(delivery.data)
        return delivery

    def settled(self, delivery: Delivery) -> None:
        """The server does not count it as ours any more."""
        self.held -= 1
        self._through.discard(delivery)

    def provide(self, budget: Budget) -> None:
        """See that more comes, if there is room for more than is here.

        A consumer is cancelled when its prefetch is used up, and nothing on its way: RabbitMQ (seen
        with 3.10) puts that back behind what peers have got by then, and counts it as a return.
        """
        used_up = len(self._through) >= self._prefetch
        if len(self.ready) > budget.events and self._prefetch > 4 * budget.events:
            now = monotonic()
            self._crowded_since = min(self._crowded_since, now)
            if used_up or now - self._crowded_since > CROWDED:
                self.shut()
            return
        self._crowded_since = inf
        if not self.ready and (used_up or not self._open):
            self._begin(self._wanted(budget.events))

    def _wanted(self, room: int) -> int:
        """How many messages to ask for."""
        if self._again:
            return min(room, MOST_BYTES // max(1, self._largest))
        wanted = room if self._prefetch else min(FIRST, room)
        if self._open and monotonic() - self._opened_at < QUICK:
            wanted = max(room, 2 * self._prefetch)
        return min(wanted, int(MOST_BYTES / self._size) if self._size else MOST)

    def _begin(self, wanted: int) -> None:
        self.shut()
        self._prefetch = max(1, min(wanted, MOST))
        self.generation += 1
        self._through.clear()
        self._open, self._opened_at = True, monotonic()
        # Not in one go: by the first answer, all that was refused is on its way back.
        self._channel.call(spec.Basic.Qos(prefetch_count=self._prefetch), timeout=BEGINNING)
        consume = spec.Basic.Consume(queue=self.queue, consumer_tag=self.tag)
        self._channel.call(consume, timeout=BEGINNING)

    def shut(self) -> None:
        """Let nothing more come; what is here stays."""
        if self._open:
            self._open = False
            self._channel.call(spec.Basic.Cancel(self.tag), timeout=PATIENCE)

    def take(self, budget: Budget) -> list[Delivery]:
        """What is ready and within the budget; the last one may exceed the size."""
        taken: list[Delivery] = []
        left = budget.size
        while self.ready and len(taken) < budget.events and left > 0:
            taken.append(self._taken(self.ready.popleft()))
            left -= len(taken[-1].data)
        return taken
