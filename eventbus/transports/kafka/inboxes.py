"""Parked and replayed events of one subscription, kept until they are due."""

from __future__ import annotations

import heapq
from itertools import count
from time import time
from typing import NamedTuple

from confluent_kafka import Message

from ..base import Delivery
from . import frames
from .share import Share

#: Seconds until the next look at what is for a handler that has gone: its inbox goes, too.
ELSEWHERE = 1.0


class _Waiting(NamedTuple):
    due: float
    number: int
    share: Share
    delivery: Delivery


class Inboxes:
    """Holds what was read from inboxes. Used by the consumer thread alone."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._numbers = count()

    def add(self, message: Message, share: Share, offset: int) -> None:
        control = frames.control_of(message.headers())
        if control is None:
            share.settled(offset)  # Nothing of ours, and nobody's.
            return
        delivery = Delivery(
            control.topic, message.value() or b"", frames.key_of(message.key()), (share, offset),
            control.handler, control.attempt, control.deaths,
            first_failed_at=control.first_failed_at, origin=control.origin,
        )
        share.suspect(delivery, offset)
        entry = _Waiting(control.due.timestamp(), next(self._numbers), share, delivery)
        heapq.heappush(self._waiting, entry)

    def due(self, limit: int, handlers: tuple[str, ...]) -> list[Delivery]:
        """What is due for handlers that are here, of partitions that are still ours."""
        found: list[Delivery] = []
        now = time()
        while self._waiting and self._waiting[0].due <= now and len(found) < limit:
            entry = heapq.heappop(self._waiting)
            if entry.delivery.handler not in (None, *handlers):
                heapq.heappush(self._waiting, entry._replace(due=now + ELSEWHERE))
            elif entry.share.alive:
                found.append(entry.delivery)
        return found

    def pause(self) -> float:
        """Seconds until something is due."""
        return max(0.0, self._waiting[0].due - time()) if self._waiting else float("inf")
