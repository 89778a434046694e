"""This process's membership of one durable subscription."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from threading import Lock
from time import monotonic
from typing import Literal

import msgspec

from ..patterns import is_literal
from ..transports.base import Budget, Delivery, StartFrom, SubscriptionId
from .binding import Binding, Middleware
from .lanes import Lanes
from .ready import Ready
from .window import Window
from .work import Attempt, Failure, Finished, Held, Success

State = Literal["connecting", "running", "paused", "failed", "closed"]


class Counters(msgspec.Struct):
    """What happened since the member began. Written by the consumer thread alone."""

    handled: int = 0
    failed: int = 0
    retried: int = 0
    parked: int = 0
    dead_lettered: int = 0
    released: int = 0
    skipped: int = 0
    leases_lost: int = 0
    topology_lost: int = 0

    @classmethod
    def total(cls, all_of_them: Iterable[Counters]) -> Counters:
        """Their sums."""
        rows = zip(*(msgspec.structs.astuple(one) for one in all_of_them), strict=True)
        return cls(*map(sum, rows))


class Member:
    """Handlers of one (group, pattern) and the deliveries that this process holds for them.

    The consumer thread owns `in_flight`, `counters` and the window. Workers share `unstarted`
    and `finished` with it, whose single operations are atomic, and `lanes` under the lock.
    """

    def __init__(
        self, id: SubscriptionId, ready: Ready, *, start_from: StartFrom,
        max_in_flight: int, max_bytes: int, concurrency: int,
    ) -> None:
        self.id = id
        self.start_from: StartFrom = start_from
        self.literal = is_literal(id.pattern)
        self.bindings: tuple[Binding, ...] = ()
        self.unstarted: dict[Attempt, float] = {}
        self.finished: deque[Finished] = deque()
        self.in_flight: set[Delivery] = set()
        self.in_flight_bytes = 0
        self.waiting = 0
        self.max_waiting = max(1, max_in_flight // 2)
        self.counters = Counters()
        self.state: State = "connecting"
        self.last_fetch: float | None = None
        self.removed = False
        self.streak = 0
        self.probe_at = 0.0
        self.must_hand_back = False
        self.closing = False
        self._given_up: list[Delivery] = []
        #: A failure was reported and not taken in yet.
        self.failed = False
        self.window = Window(max_in_flight, concurrency)
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._ready = ready
        self._lock = Lock()
        self._lanes = Lanes()
        #: Serves the same subscription after this one was cancelled.
        self._successor: Member | None = None

    @property
    def label(self) -> str:
        """How log lines name it."""
        return f"subscription {self.id.pattern!r} of group {self.id.group!r}"

    @property
    def may_fetch(self) -> bool:
        """Whether there is a handler here to fetch for."""
        return bool(self.bindings) and not self.removed

    def oldest_wait(self) -> float:
        """Seconds for which the oldest event has waited for a worker."""
        try:
            return monotonic() - next(iter(self.unstarted.values()))
        except (StopIteration, RuntimeError):  # Empty, or changed by a worker meanwhile.
            return 0.0

    def disown(self) -> None:
        """The session is gone, and the receipts with it: what is held here comes again."""
        for delivery in self.in_flight:
            delivery.receipt = None
        released, retries = self.take_back()
        for delivery in released:
            self.forget(delivery)
        for attempt in retries:
            if self.withdraw(attempt):
                self.forget(attempt.delivery)

    def follow(self, old: Member) -> None:
        """Let no event begin here whose key still has one running there."""
        with old._lock, self._lock:
            old._successor = self
            for key in old._lanes.taken():
                self._lanes.take(key)

    # -- handlers ------------------------------------------------------------------------

    def add(self, binding: Binding, middleware: Sequence[Middleware]) -> None:
        with self._lock:
            if any(other.name == binding.name for other in self.bindings):
                raise ValueError(
                    f"a handler named {binding.name!r} is registered for {self.id.pattern!r} in "
                    f"group {self.id.group!r} already: pass name='...' to tell the two apart"
                )
            binding.compose(middleware)
            self.bindings += (binding,)

    def remove(self, binding: Binding) -> bool:
        """Forget a handler; `True` if it was the last one."""
        with self._lock:
            self.bindings = tuple(other for other in self.bindings if other is not binding)
            return not self.bindings

    # -- the consumer thread -------------------------------------------------------------

    def budget(self, idle_workers: int) -> Budget:
        """How much to fetch now; zero while it is not worth a round trip."""
        free = self._max_in_flight - len(self.in_flight)
        room = self.window.room(len(self.unstarted), idle_workers)
        size = self._max_bytes - self.in_flight_bytes
        if size <= 0 and self.in_flight:
            return Budget(0, 0, ())
        names = tuple(binding.name for binding in self.bindings)
        return Budget(max(0, min(free, room)), max(1, size), names)

    def admit(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Queue what was fetched for the workers; return what no handler here is for."""
        self.in_flight.update(deliveries)
        self.in_flight_bytes += sum([len(delivery.data) for delivery in deliveries])
        unwanted, attempts = [], []
        bindings = self.bindings
        only = bindings[0] if len(bindings) == 1 else None
        for delivery in deliveries:
            plain = delivery.key is None and delivery.handler is None and not delivery.succeeded
            if only is not None and plain:
                attempts.append(
                    Attempt(delivery, only, delivery.attempt, delivery.first_failed_at)
                )
            elif not self._admit_special(delivery):
                unwanted.append(delivery)
        self.unstarted.update(dict.fromkeys(attempts, monotonic()))
        self._ready.put_all(attempts)
        return unwanted

    def hold(self, delivery: Delivery) -> None:
        """It is in this process's hands now."""
        self.in_flight.add(delivery)
        self.in_flight_bytes += len(delivery.data)

    def _admit_special(self, delivery: Delivery) -> bool:
        bindings = self.bindings_for(delivery)
        if not bindings:
            return False
        delivery.held = Held(bindings, len(bindings))
        with self._lock:
            if delivery.key is None or self._lanes.enter(delivery.key, delivery):
                self._enqueue(delivery)
        return True

    def bindings_for(self, delivery: Delivery) -> list[Binding]:
        """The handlers here that have not dealt with it yet."""
        return [
            binding
            for binding in self.bindings
            if delivery.handler in (None, binding.name) and binding.name not in delivery.succeeded
        ]

    def _enqueue(self, delivery: Delivery) -> None:
        for binding in delivery.held.bindings:
            self.enqueue(
                Attempt(delivery, binding, delivery.attempt, delivery.first_failed_at)
            )

    def enqueue(self, attempt: Attempt) -> None:
        self.unstarted[attempt] = monotonic()
        self._ready.put(attempt)

    def forget(self, delivery: Delivery) -> None:
        """It is settled, or not ours any more."""
        if delivery in self.in_flight:
            self.in_flight.discard(delivery)
            self.in_flight_bytes -= len(delivery.data)

    def forget_all(self, deliveries: Sequence[Delivery]) -> None:
        """The same as `forget` for each of several that are in flight."""
        self.in_flight.difference_update(deliveries)
        self.in_flight_bytes -= sum([len(delivery.data) for delivery in deliveries])

    def take_back(self) -> tuple[list[Delivery], list[Attempt]]:
        """Stop everything that has not begun.

        Returns:
            The deliveries to be released now (one of which another handler runs already is
            released when that one is done), and the retries whose count must not be forgotten.
        """
        released, retries = [], []
        with self._lock:
            if not self.closing:
                released += self._lanes.clear_waiting()
            for attempt in list(self.unstarted):
                if self.unstarted.pop(attempt, None) is None:
                    continue
                if attempt.number > attempt.delivery.attempt:
                    retries.append(attempt)
                elif self._withdraw(attempt):
                    released.append(attempt.delivery)
        return released, retries

    def close(self) -> None:
        """From now on nothing begins; what waits behind a running event goes when that is done."""
        with self._lock:
            self.closing = True

    def given_up(self, all_of_it: bool = False) -> list[Delivery]:
        """What waited behind events that are done or were given back; with `all_of_it`, behind
        running ones, too."""
        if not self._given_up and not all_of_it:
            return []
        with self._lock:
            found, self._given_up = self._given_up, []
            return found + (self._lanes.clear_waiting() if all_of_it else [])

    def withdraw(self, attempt: Attempt) -> bool:
        """Give up on an attempt; `True` when nothing else of its delivery goes on here."""
        with self._lock:
            return self._withdraw(attempt)

    def _withdraw(self, attempt: Attempt) -> bool:
        held: Held | None = attempt.delivery.held
        if held is None:
            return True
        held.abandoned = True
        held.remaining -= 1
        if held.remaining:
            return False
        self._next_of_lane(attempt.delivery, given_back=True)
        return True

    # -- whoever finishes an attempt -----------------------------------------------------

    def fail(self, failure: Failure) -> None:
        """Called by the worker; the consumer thread decides what becomes of it."""
        self.finished.append(failure)
        self.failed = True

    def succeed(self, attempt: Attempt) -> None:
        """Called by the worker, so that the next event of the key need not wait for a tick."""
        delivery = attempt.delivery
        if delivery.held is None:
            self.finished.append(delivery)
        else:
            self.finished.append(Success(delivery, attempt.binding.name))
            self.complete(delivery)

    def complete(self, delivery: Delivery) -> None:
        """One handler of the delivery is through with it, one way or another."""
        if self.leave(delivery):
            self.finished.append(delivery)

    def leave(self, delivery: Delivery) -> bool:
        """As `complete`, for the consumer thread: `True` when it was the last handler."""
        held: Held | None = delivery.held
        if held is None:
            return True
        with self._lock:
            held.remaining -= 1
            if held.remaining:
                return False
            self._next_of_lane(delivery)
        return True

    def _next_of_lane(self, delivery: Delivery, given_back: bool = False) -> None:
        if delivery.key is not None:
            self._leave_lane(delivery.key, given_back)

    def _leave_lane(self, key: str, given_back: bool) -> None:
        if self.closing or given_back:
            # Behind this one, whose outcome is decided now: given back before it, they would
            # overtake it if it is given back, too; and it is overtaken if they begin here.
            self._given_up += self._lanes.end(key)
        elif following := self._lanes.leave(key):
            self._enqueue(following)
            return
        if self._successor is not None:
            self._successor.pass_lane(key, given_back)

    def pass_lane(self, key: str, given_back: bool) -> None:
        """The member before this one is through with the key, or gives back its event."""
        with self._lock:
            self._leave_lane(key, given_back)
