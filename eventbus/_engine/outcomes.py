"""Turns what the workers report into the next settlement. Used by the consumer thread alone."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from ..transports.base import Capabilities, Delivery, Settlement
from . import failures
from .binding import Binding
from .breaker import Breaker
from .member import Member
from .timers import Timers
from .work import Attempt, Failure, Finished, Held, Success, is_suspect

#: Seconds up to which a retry waits in this process, its lease kept; what waits longer is parked.
LONGEST_WAIT = 60.0


class Outcomes:
    """Collects acks, retries, parked events and dead letters of one consumer's members."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.settlement = Settlement()
        self.timers = Timers()
        #: Nothing waits here any more: what is to be retried is handed back (close, breaker).
        self.draining = False
        self._records_success = capabilities.per_handler_success

    def collect(self, member: Member) -> None:
        """Take in what the member's workers have finished so far."""
        member.failed = False
        finished = member.finished
        plain: list[Delivery] = []
        for _ in range(len(finished)):
            item: Finished = finished.popleft()
            if type(item) is Delivery:
                if item.held is None and item.receipt is not None:
                    plain.append(item)
                else:
                    self._delivery(member, item)
            elif type(item) is Success:
                self._success(member, item)
            elif type(item) is Failure:
                self._failure(member, item)
        if plain:
            self._successes(member, plain)

    def fire(self, now: float) -> None:
        """Queue the retries that are due."""
        for attempt in self.timers.due(now):
            member = attempt.binding.member
            member.waiting -= 1
            if attempt.delivery.receipt is None:
                member.complete(attempt.delivery)
            else:
                member.enqueue(attempt)

    def release(self, member: Member, deliveries: list[Delivery]) -> None:
        """Give deliveries back for which no handler has begun."""
        for delivery in deliveries:
            member.forget(delivery)
            if delivery.receipt is not None:
                member.counters.released += 1
                self.settlement.releases.append(delivery)

    def unwanted(self, member: Member, deliveries: list[Delivery]) -> None:
        """Handlers that had succeeded elsewhere, or that no longer exist here."""
        names = {binding.name for binding in member.bindings}
        for delivery in deliveries:
            if names and names.issubset(delivery.succeeded):
                member.forget(delivery)
                self.settlement.acks.append(delivery)
            else:
                self.release(member, [delivery])

    def crashed(self, member: Member, delivery: Delivery, bindings: Sequence[Binding]) -> None:
        """Bury an event that has killed its process; no handler is called with it again."""
        handler = delivery.handler or (bindings[0].name if len(bindings) == 1 else None)
        member.counters.dead_lettered += 1
        self.settlement.dead.append((delivery, failures.crashed(member.id, delivery, handler)))
        self._settled(member, delivery)

    def split(self, member: Member, delivery: Delivery, bindings: Sequence[Binding]) -> None:
        """Make of one delivery to several handlers one for each, to be fetched again."""
        for binding in bindings:
            attempt = Attempt(delivery, binding, delivery.attempt, delivery.first_failed_at)
            copy = failures.parked(attempt, 0.0)
            copy.deaths = delivery.deaths
            self.settlement.parked.append((delivery, copy))
        self._settled(member, delivery)

    def _settled(self, member: Member, delivery: Delivery) -> None:
        member.forget(delivery)
        self.settlement.acks.append(delivery)

    def take_back(self, member: Member) -> None:
        """Give back what has not begun; retries keep their count."""
        released, retries = member.take_back()
        self.release(member, released)
        for attempt in retries:
            self._hand_back(member, attempt, 0.0)

    def hand_back_waiting(
        self, member: Member | None = None, binding: Binding | None = None
    ) -> None:
        """Move retries out of this process: parked with their attempts, or released in order.

        Args:
            member: only those of this member.
            binding: only those of this handler.
        """
        for due, attempt in self.timers.clear():
            owner = attempt.binding.member
            if member not in (None, owner) or binding not in (None, attempt.binding):
                self.timers.add(due, attempt)
                continue
            owner.waiting -= 1
            self._hand_back(owner, attempt, due - monotonic())

    def take(self) -> Settlement:
        """The settlement so far; the next one begins empty."""
        settlement, self.settlement = self.settlement, Settlement()
        if settlement.succeeded and settlement.acks:
            acked = set(settlement.acks)
            settlement.succeeded = [s for s in settlement.succeeded if s[0] not in acked]
        return settlement

    # -- one finished thing at a time --------------------------------------------------------

    def _successes(self, member: Member, deliveries: list[Delivery]) -> None:
        """The usual case, many at a time: the only handler has succeeded."""
        member.forget_all(deliveries)
        member.counters.handled += len(deliveries)
        Breaker.success(member)
        self.settlement.acks += deliveries

    def _delivery(self, member: Member, delivery: Delivery) -> None:
        member.forget(delivery)
        held = delivery.held
        if held is None:
            member.counters.handled += 1
            Breaker.success(member)
        if delivery.receipt is None:
            return
        if held is not None and held.abandoned:
            member.counters.released += 1
            self.settlement.releases.append(delivery)
        else:
            self.settlement.acks.append(delivery)

    def _success(self, member: Member, item: Success) -> None:
        member.counters.handled += 1
        Breaker.success(member)
        self._record(item.delivery, item.handler)

    def _record(self, delivery: Delivery, handler: str) -> None:
        several = delivery.held is not None and len(delivery.held.bindings) > 1
        if self._records_success and several and delivery.receipt is not None:
            self.settlement.succeeded.append((delivery, handler))

    def _failure(self, member: Member, failure: Failure) -> None:
        delivery = failure.attempt.delivery
        if failure.kind != "undecodable":
            member.counters.failed += 1
        if delivery.receipt is None:
            self._done(member, failure.attempt)
        elif failure.kind == "undecodable" and not member.literal:
            member.counters.skipped += 1
            self._done(member, failure.attempt)
        else:
            self._retry_or_bury(member, failure)

    def _retry_or_bury(self, member: Member, failure: Failure) -> None:
        delay = failures.next_delay(failure)
        if delay is None:
            self._bury(member, failure)
            return
        attempt = failures.following(failure)
        cancelled = attempt.binding not in member.bindings
        if self.draining or cancelled:
            self._hand_back(member, attempt, delay)
        elif self._must_park(member, attempt, delay):
            self._park(member, attempt, delay)
        else:
            member.waiting += 1
            member.counters.retried += 1
            self.timers.add(monotonic() + delay, attempt)

    def _must_park(self, member: Member, attempt: Attempt, delay: float) -> bool:
        if member.waiting >= member.max_waiting or delay > LONGEST_WAIT:
            return True
        # A suspect is marked as running until it is settled, so it must not wait here.
        return is_suspect(attempt.delivery)

    def _bury(self, member: Member, failure: Failure) -> None:
        delivery = failure.attempt.delivery
        held = delivery.held
        again = failure.kind == "undecodable" and held is not None and held.buried
        if not again:
            member.counters.dead_lettered += 1
            self.settlement.dead.append((delivery, failures.dead(failure)))
            Breaker.dead_letter(member, failure)
        if held is not None:
            held.buried = True
        self._done(member, failure.attempt)

    def _hand_back(self, member: Member, attempt: Attempt, delay: float) -> None:
        if attempt.delivery.receipt is None:
            self._done(member, attempt)
        elif attempt.delivery.key is not None:
            # Only a release keeps the key's order: a parked event would fall behind its followers.
            if member.withdraw(attempt):
                self.release(member, [attempt.delivery])
        else:
            self._park(member, attempt, max(0.0, delay))

    def _park(self, member: Member, attempt: Attempt, delay: float) -> None:
        member.counters.parked += 1
        self.settlement.parked.append((attempt.delivery, failures.parked(attempt, delay)))
        self._done(member, attempt)

    def _done(self, member: Member, attempt: Attempt) -> None:
        """The handler is through with the delivery, though not by success."""
        delivery = attempt.delivery
        self._record(delivery, attempt.binding.name)
        # At once, so that a dead letter and its ack are one settlement.
        if delivery.held is None:
            # Of one handler and in no lane, as suspects are; it must not count as a success.
            delivery.held = Held((attempt.binding,), 0)
            self._delivery(member, delivery)
        elif member.leave(delivery):
            self._delivery(member, delivery)
