"""Suspects: events that were in a process's hands each time it died.

That alone proves nothing: prefetch, kills and hand-backs make suspects of the innocent. So a
suspect runs alone in its process, behind a durable mark. Only one that comes back with the mark,
and without an outcome, is known to have killed its process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..transports.base import Consumer, Delivery
from .dispatcher import Dispatcher
from .member import Member
from .outcomes import Outcomes
from .work import Attempt, is_suspect


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
        member, attempt = self._waiting.popleft()
        try:
            # What is done, or was handed back, is not to die with it.
            settle(consumer)
            consumer.mark_started(attempt.delivery)
        except BaseException:
            self._waiting.appendleft((member, attempt))
            self._dispatcher.cancel_reservation()
            raise
        self._running = member, attempt
        self._dispatcher.run_alone(attempt)

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
