"""Suspects: events that were in a process's hands each time it died.

That alone proves nothing: prefetch, kills and hand-backs make suspects of the innocent. So a
suspect runs alone in its process, behind a durable mark. Only one that comes back with the mark,
and without an outcome, is known to have killed its process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock

from ..transports.base import Consumer, Delivery
from .dispatcher import Dispatcher
from .member import Member
from .outcomes import Outcomes
from .work import Attempt, is_suspect

#: Seconds that writing a mark may take before the consumer thread goes on without it.
MARK_TIMEOUT = 30.0


class _Mark:
    """Written by the worker, in its last moment before the handler.

    Written here, a process that is killed while the worker wakes up would leave the mark on an
    event that had not begun. This thread waits meanwhile, so the consumer still serves one.
    """

    def __init__(self, consumer: Consumer, delivery: Delivery) -> None:
        self._consumer = consumer
        self._delivery = delivery
        self._lock = Lock()
        self._done = Event()
        self._given_up = False
        self._error: Exception | None = None

    def write(self) -> bool:
        with self._lock:
            if self._given_up:
                return False
            try:
                self._consumer.mark_started(self._delivery)
            except Exception as error:
                self._error = error
            self._done.set()
        return self._error is None

    def is_written(self) -> bool:
        """Wait for the worker; raises what it met."""
        if not self._done.wait(MARK_TIMEOUT):
            with self._lock:
                self._given_up = not self._done.is_set()
        if self._error is not None:
            raise self._error
        return self._done.is_set()


class Quarantine:
    """The suspects of one consumer loop, one at a time. Used by the consumer thread alone."""

    def __init__(self, dispatcher: Dispatcher, outcomes: Outcomes) -> None:
        self._dispatcher = dispatcher
        self._outcomes = outcomes
        self._waiting: deque[tuple[Member, Attempt]] = deque()
        self._running: tuple[Member, Attempt] | None = None
        self._holding = False

    def __bool__(self) -> bool:
        """Whether nothing else may begin here now."""
        return self._holding

    def admit(self, member: Member, deliveries: list[Delivery]) -> list[Delivery]:
        """Take the suspects out of what was fetched; return the others."""
        if not any(map(is_suspect, deliveries)):
            return deliveries
        return [delivery for delivery in deliveries if not self._took(member, delivery)]

    def _took(self, member: Member, delivery: Delivery) -> bool:
        bindings = member.bindings_for(delivery)
        if not is_suspect(delivery) or not bindings:
            return False
        member.hold(delivery)
        if delivery.started:
            self._outcomes.crashed(member, delivery, bindings)
        elif len(bindings) > 1:
            # So that the mark tells which handler it was, and the others are not run again.
            self._outcomes.split(member, delivery, bindings)
        else:
            attempt = Attempt(delivery, bindings[0], delivery.attempt, delivery.first_failed_at)
            self._waiting.append((member, attempt))
            self._hold()
        return True

    def _hold(self) -> None:
        if not self._holding:
            self._holding = True
            self._dispatcher.hold()

    def step(self, consumer: Consumer, settle: Callable[[Consumer], None]) -> None:
        """Begin the next suspect, once nothing else runs and the last one's outcome is in."""
        if self._running is not None:
            member, attempt = self._running
            if attempt.delivery in member.in_flight:
                return
            self._running = None
        if not self._waiting:
            self._holding = False
            self._dispatcher.resume()
        elif self._dispatcher.reserve():
            self._begin(consumer, settle)

    def _begin(self, consumer: Consumer, settle: Callable[[Consumer], None]) -> None:
        try:
            # What is done, or was handed back, is not to die with it.
            settle(consumer)
        except BaseException:
            self._dispatcher.cancel_reservation()
            raise
        mark = _Mark(consumer, self._waiting[0][1].delivery)
        self._dispatcher.run_alone(self._waiting[0][1], mark.write)
        if mark.is_written():
            self._running = self._waiting.popleft()

    def release(self, member: Member | None = None) -> None:
        """Give back the suspects (of one member) that have not begun."""
        waiting, self._waiting = self._waiting, deque()
        for owner, attempt in waiting:
            if member in (None, owner):
                self._outcomes.release(owner, [attempt.delivery])
            else:
                self._waiting.append((owner, attempt))

    def disown(self) -> None:
        """The session is gone, and the receipts with it: the suspects come again."""
        for member, attempt in self._waiting:
            member.forget(attempt.delivery)
        self._waiting.clear()
