"""The exchange, and a queue with its binding for each subscription."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from threading import Lock
from typing import Any

from pika import spec

from ..base import SubscriptionId
from . import names
from .connection import ANSWER_TIMEOUT
from .errors import Missing
from .lanes import Asker, Lane
from .registry import Book, Registry

#: Seconds in which the server tells consumers that their queue is gone. A queue that is made anew
#: before that leaves them behind as consumers that are counted, given messages, and never served.
SETTLED = 0.5

logger = logging.getLogger("eventbus.transport")


class Topology:
    """Makes what is missing, and remembers what was found missing.

    Args:
        lane: gives the connection to ask on.
        registry: what subscriptions there should be.
    """

    def __init__(self, lane: Lane[Asker], registry: Registry) -> None:
        self._lane = lane
        self._registry = registry
        self._lock = Lock()
        #: Those that were there once, as far as this process knows.
        self._known: set[SubscriptionId] = set()
        self._vanished: set[SubscriptionId] = set()

    def declare(self, id: SubscriptionId) -> bool:
        """See `Transport.declare`; what this process had to mend meanwhile counts as created."""
        looks = (
            names.look_at_exchange(), names.look_at_queue(names.REGISTRY),
            names.look_at_queue(names.queue(id)),
        )
        made: Collection[SubscriptionId] = ()
        if self._are_there(*looks):
            self._make([id])
        else:
            made = self._complete([id], (id,))
        with self._lock:
            self._known.add(id)
            mended = id in self._vanished
            self._vanished.discard(id)
        return mended or id in made

    def _are_there(self, *looks: Any) -> bool:
        try:
            with self._lane() as asker:
                asker.call(*looks)
        except Missing:
            return False
        return True

    def _complete(
        self, ids: Sequence[SubscriptionId], births: Sequence[SubscriptionId] = ()
    ) -> list[SubscriptionId]:
        """Make what is missing, alone among all processes; return those that had been missing.

        Without an exchange no queue is bound to one any more, whoever makes it again.
        """
        made: list[SubscriptionId] = []

        def complete(book: Book) -> None:
            bound, living = self._are_there(names.look_at_exchange()), book.living()
            # What was dropped since must not be brought back.
            wanted = [id for id in living if id in ids or not bound]
            there = [id for id in wanted if self.ready(id) is not None]
            made.extend(id for id in wanted if not bound or id not in there)
            if any(id in self._known for id in made if id not in there):
                time.sleep(SETTLED)
            self._make(wanted)
            _tell(id for id in made if id not in births)

        # Registered first: whoever finds the queue missing knows that it should be there.
        self._registry.add(births, complete)
        return made

    def make_sure(self, timeout: float) -> None:
        """See that there is an exchange, with all that belongs to it."""
        try:
            with self._lane(timeout) as asker:
                asker.call(names.look_at_exchange(), timeout=timeout)
        except Missing:
            self.mend(())

    def _make(self, ids: Iterable[SubscriptionId]) -> None:
        """Make the exchange, and queues that are bound to it; what is there already stays."""
        methods = [names.declare_exchange()]
        for id in ids:
            methods.append(names.declare_queue(names.queue(id), names.QUORUM))
            methods.append(names.bind(id))
        with self._lane() as asker:
            asker.call(*methods)

    def drop(self, id: SubscriptionId) -> bool:
        """See `Transport.drop`."""
        known = self._registry.remove(id)
        with self._lane() as asker:
            looked, _ = asker.call(
                names.declare_queue(names.queue(id), names.QUORUM),
                spec.Queue.Delete(queue=names.queue(id)),
            )
            if looked.consumer_count:
                time.sleep(SETTLED)
        with self._lock:
            self._vanished.discard(id)
        return known

    def look_after(self) -> None:
        """Make again what has vanished of subscriptions that may have no member to notice it."""
        self.make_sure(ANSWER_TIMEOUT)
        if gone := [id for id in self._registry.read().living() if self.ready(id) is None]:
            self.mend(gone)

    def mend(self, ids: Iterable[SubscriptionId]) -> None:
        """Make again what somebody has deleted, be it a binding, and all if it is the exchange."""
        wanted = list(ids)
        unbound = [id for id in wanted if self.ready(id) is not None]
        with self._lock:
            self._known.update(wanted)
        made = self._complete(wanted)
        _tell(id for id in unbound if id not in made)
        with self._lock:
            self._vanished.update([*made, *unbound])

    def known_vanished(self, ids: Collection[SubscriptionId]) -> list[SubscriptionId]:
        """Which of these were found missing, and not declared since."""
        if not self._vanished:
            return []
        with self._lock:
            return [id for id in ids if id in self._vanished]

    def is_gone(self, id: SubscriptionId) -> bool:
        """Whether there is no such subscription (any more)."""
        return id not in self._registry.read().living()

    def ready(self, id: SubscriptionId) -> int | None:
        """Messages that nobody holds; `None` where there is no queue."""
        try:
            with self._lane() as asker:
                (answer,) = asker.call(names.look_at_queue(names.queue(id)))
        except Missing:
            return None
        return int(answer.message_count)


def _tell(ids: Iterable[SubscriptionId]) -> None:
    for id in ids:
        logger.warning(
            "the queue or the binding of %r of group %r had vanished from the server and was made "
            "again", id.pattern, id.group,
        )
