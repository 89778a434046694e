"""How much of a subscription's queue comes to this member: prefetch, as the engine has room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from pika import spec

from ...patterns import matcher
from ..base import Budget, Delivery, SubscriptionId
from . import names
from .connection import PATIENCE

#: Messages asked for first, while nobody knows how large they are, and at most.
FIRST, MOST = 32, 2_000
#: Bytes that wait here for the engine.
MOST_BYTES = 16 * 2**20
#: Seconds in which a prefetch that is used up was too small, rather than the handlers slow.
QUICK = 0.5

#: Seconds for the answer to a new consumer: a server that has just started leaves some without.
BEGINNING = 3.0

Call = Callable[..., list[Any]]


class Tap:
    """A subscription on a channel: what has come and waits, and how much may still come.

    The server keeps to the prefetch that a consumer began with, so another prefetch is another
    consumer; what came through the one before is held on beside it.
    """

    def __init__(self, id: SubscriptionId, number: int, call: Call) -> None:
        self.id = id
        self.queue = names.queue(id)
        self.matches = matcher(id.pattern)
        self.ready: deque[Delivery] = deque()
        #: Messages that came, that the server counts as ours, and that were given back.
        self.came = self.held = self.returned = 0
        self.generation = 0
        self._call = call
        self._number = number
        self._prefetch = 0
        self._through: set[Delivery] = set()
        self._open = False
        self._opened_at = 0.0
        self._size = 0.0

    @property
    def tag(self) -> str:
        return f"{self._number}.{self.generation}"

    def add(self, delivery: Delivery) -> None:
        """Something came."""
        self.ready.append(delivery)
        self._through.add(delivery)
        self.came += 1
        self.held += 1
        self._size += (len(delivery.data) - self._size) / 16

    def settled(self, delivery: Delivery) -> None:
        """The server does not count it as ours any more."""
        self.held -= 1
        self._through.discard(delivery)

    def provide(self, budget: Budget) -> None:
        """See that more comes, if there is room for more than is here."""
        if self.ready:
            if len(self.ready) > budget.events and self._prefetch > 4 * budget.events:
                self.shut()
        elif not self._open:
            self._begin(min(FIRST, budget.events) if not self._prefetch else budget.events)
        elif len(self._through) >= self._prefetch:
            quick = monotonic() - self._opened_at < QUICK
            self._begin(max(budget.events, 2 * self._prefetch if quick else 0))

    def _begin(self, wanted: int) -> None:
        self.shut()
        affordable = int(MOST_BYTES / self._size) if self._size else MOST
        self._prefetch = max(1, min(wanted, affordable, MOST))
        self.generation += 1
        self._through.clear()
        self._open, self._opened_at = True, monotonic()
        self._call(
            spec.Basic.Qos(prefetch_count=self._prefetch),
            spec.Basic.Consume(queue=self.queue, consumer_tag=self.tag), timeout=BEGINNING,
        )

    def shut(self) -> None:
        """Let nothing more come; what is here stays."""
        if self._open:
            self._open = False
            self._call(spec.Basic.Cancel(self.tag), timeout=PATIENCE)

    def take(self, budget: Budget) -> list[Delivery]:
        """What is ready and within the budget; the last one may exceed the size."""
        taken: list[Delivery] = []
        left = budget.size
        while self.ready and len(taken) < budget.events and left > 0:
            taken.append(self.ready.popleft())
            left -= len(taken[-1].data)
        return taken
