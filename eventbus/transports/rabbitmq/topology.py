"""The exchange, and a queue with its binding for each subscription."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from threading import Lock

from pika import spec

from ..base import SubscriptionId
from . import names
from .connection import ANSWER_TIMEOUT
from .errors import Missing
from .lanes import Asker, Lane
from .registry import Registry

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

    def __init__(
        self, lane: Lane[Asker], registry: Registry
    ) -> None:
        self._lane = lane
        self._registry = registry
        self._lock = Lock()
        self._vanished: set[SubscriptionId] = set()

    def declare(self, id: SubscriptionId) -> bool:
        """See `Transport.declare`; what others had to mend meanwhile counts as created, too."""
        there = self._is_there(id)
        if not there:
            # First, so that whoever finds the queue missing knows that it should be there.
            self._registry.add(id)
        self.make([id])
        with self._lock:
            mended = id in self._vanished
            self._vanished.discard(id)
        return mended or not there

    def _is_there(self, id: SubscriptionId) -> bool:
        looks = (
            names.look_at_exchange(), names.look_at_queue(names.REGISTRY),
            names.look_at_queue(names.queue(id)),
        )
        try:
            with self._lane() as asker:
                asker.call(*looks)
        except Missing:
            return False
        return True

    def look(self, timeout: float) -> None:
        """Raise `Missing` where there is no exchange."""
        with self._lane(timeout) as asker:
            asker.call(names.look_at_exchange(), timeout=timeout)

    def make(
        self, ids: Iterable[SubscriptionId], timeout: float = ANSWER_TIMEOUT
    ) -> None:
        """Make the exchange, and queues that are bound to it; what is there already stays."""
        methods = [names.declare_exchange()]
        for id in ids:
            methods.append(names.declare_queue(names.queue(id), names.QUORUM))
            methods.append(names.bind(id))
        with self._lane(timeout) as asker:
            asker.call(*methods, timeout=timeout)

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

    def mend(self, ids: Iterable[SubscriptionId]) -> None:
        """Make again what somebody has deleted."""
        lost = list(ids)
        if any(self.ready(id) is None for id in lost):
            time.sleep(SETTLED)
        self.make(lost)
        self.vanished(lost)
        for id in lost:
            logger.warning(
                "the queue or the binding of %r of group %r had vanished from the server and was "
                "made again", id.pattern, id.group,
            )

    def mend_all(self) -> None:
        """As `mend`, for every subscription there should be: the exchange is gone."""
        self.mend(self._registry.read().living())

    def known_vanished(self, ids: Collection[SubscriptionId]) -> list[SubscriptionId]:
        """Which of these were found missing, and not declared since."""
        if not self._vanished:
            return []
        with self._lock:
            return [id for id in ids if id in self._vanished]

    def is_gone(self, id: SubscriptionId) -> bool:
        """Whether there is no such subscription (any more)."""
        return id not in self._registry.read().living()

    def vanished(self, ids: Iterable[SubscriptionId]) -> None:
        """Note what was found missing; the next `declare` tells."""
        with self._lock:
            self._vanished.update(ids)

    def ready(self, id: SubscriptionId) -> int | None:
        """Messages that nobody holds; `None` where there is no queue."""
        try:
            with self._lane() as asker:
                (answer,) = asker.call(names.look_at_queue(names.queue(id)))
        except Missing:
            return None
        return int(answer.message_count)
