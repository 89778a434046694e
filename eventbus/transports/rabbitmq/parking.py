"""Events that are not due yet: a queue per group, which members hold until the time has come.

A member takes what waits, keeps it unacked, and moves it to the queue of its subscription when it
is due: stored there first, acked here then, so a kill at any moment loses nothing. What a member
holds when it dies goes to its peers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from itertools import count
from time import monotonic, time
from typing import NamedTuple
from uuid import uuid4

from pika import spec

from ..base import Delivery, SubscriptionId
from . import frames, names
from .backstage import Backstage
from .channel import Channel, Message
from .frames import Control, Outgoing
from .sender import Batch

#: Events held per group; more are looked through in turns.
HOLD = 500
#: Seconds between two turns, and for which anything is held at most: the server takes a message
#: for forgotten that is not acked in half an hour.
TURN, LONGEST = 2.0, 600.0
#: Seconds until an event is offered again for which no member hosts the handler, first and last.
FIRST_WAIT, LAST_WAIT = 0.5, 30.0


class Entry(NamedTuple):
    """A message that waits; the one that is due first is the smallest."""

    due: float
    number: int
    since: float
    queue: str
    message: Message
    control: Control

    @property
    def subscription(self) -> SubscriptionId:
        return SubscriptionId(self.control.group, self.control.pattern)


class Parking:
    """Holds the parked events of the groups this member belongs to."""

    def __init__(
        self, channel: Channel, backstage: Backstage, gone: Callable[[SubscriptionId], bool]
    ) -> None:
        self._channel = channel
        self._backstage = backstage
        self._gone = gone
        channel.on_message = self._came
        self._queues: dict[str, str] = {}
        self._numbers = count()
        #: A heap: the next one that is due first.
        self._held: list[Entry] = []
        self._turn_at = 0.0

    def watch(self, group: str) -> None:
        """Take what waits for a group."""
        queue = names.parked(group)
        if queue in self._queues.values():
            return
        tag = str(len(self._queues))
        self._queues[tag] = queue
        self._channel.call(
            names.declare_queue(queue, names.QUORUM), spec.Basic.Qos(prefetch_count=HOLD),
            spec.Basic.Consume(queue=queue, consumer_tag=tag),
        )

    def _came(self, message: Message) -> None:
        _, headers = frames.read_properties(message.properties)
        control = frames.control_of(headers)
        if control is None:
            self._channel.ack(message.tag, False)  # Nothing of ours, and nobody's.
            return
        queue = self._queues[message.consumer]
        due = control.due.timestamp()
        entry = Entry(due, next(self._numbers), monotonic(), queue, message, control)
        heapq.heappush(self._held, entry)

    def pause(self) -> float:
        """Seconds until something is to be done."""
        due = self._held[0].due - time() if self._held else TURN
        return max(0.0, min(due, self._turn_at - monotonic() if self._held else TURN))

    def work(self) -> None:
        """Move what is due, unless an alarm forbids it."""
        if not self._held or self._backstage.blocked:
            return
        due = []
        while self._held and self._held[0].due <= time():
            due.append(heapq.heappop(self._held))
        if due:
            self._move(due, lambda entry: names.queue(entry.subscription))
        if monotonic() >= self._turn_at:
            self._turn_at = monotonic() + TURN
            self._take_turns()

    def _take_turns(self) -> None:
        """Put to the end of the queue what is not soon due, so that the rest of it comes here."""
        now = monotonic()
        old = {entry.number for entry in self._held if now - entry.since > LONGEST}
        if len(self._held) >= HOLD:
            old.update(entry.number for entry in heapq.nlargest(HOLD // 2, self._held))
        if not old:
            return
        leaving = [entry for entry in self._held if entry.number in old]
        self._held = [entry for entry in self._held if entry.number not in old]
        heapq.heapify(self._held)
        self._move(leaving, lambda entry: entry.queue)

    def _move(self, entries: list[Entry], queue: Callable[[Entry], str]) -> None:
        messages = [
            frames.with_control(entry.control, uuid4().hex, queue(entry), entry.message.body)
            for entry in entries
        ]
        self._backstage.put(messages, lambda batch: self._moved(entries, batch))

    def _moved(self, entries: Iterable[Entry], batch: Batch) -> None:
        for entry, message in zip(entries, batch.messages, strict=True):
            if message.id not in batch.returned or self._gone(entry.subscription):
                self._channel.ack(entry.message.tag, False)
            else:
                # Its queue has vanished and will be made again.
                heapq.heappush(self._held, entry._replace(due=time() + TURN))


def elsewhere(delivery: Delivery) -> Outgoing:
    """An event whose handler is not here, to be offered again a little later."""
    old: Control = delivery.receipt.control
    wait = min(LAST_WAIT, FIRST_WAIT * 2.0 ** min(old.waits, 16))
    due = datetime.now(timezone.utc) + timedelta(seconds=wait)
    control = Control(
        old.group, old.pattern, old.handler, old.topic, old.key, old.attempt, due,
        old.first_failed_at, delivery.deaths, old.waits + 1, old.origin,
    )
    return frames.with_control(control, uuid4().hex, names.parked(old.group), delivery.data)
