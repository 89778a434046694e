"""Stand-ins around the engine's parts: a clock, a dispatcher without threads, a scripted broker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from types import ModuleType
from typing import Any

import pytest

from eventbus import Event, RetryPolicy
from eventbus._engine.binding import Binding
from eventbus._engine.consumer import ConsumerLoop
from eventbus._engine.maintenance import Maintenance
from eventbus._engine.member import Member
from eventbus._engine.ready import Ready
from eventbus._engine.runner import HandlerRunner
from eventbus._engine.work import Attempt
from eventbus.event import new_id
from eventbus.transports.base import (
    Capabilities,
    Delivery,
    Record,
    Settlement,
    SubscriptionId,
)
from eventbus.wire import encode

ID = SubscriptionId("g", "a.b")

CAPABILITIES = Capabilities(
    name="fake", durable=True, multi_process=True, history=True, deduplicates=False,
    transactional_publish=False, per_handler_success=False, leases=True, receipts_survive=True,
    cross_process_order=False, bounded=False, concurrent_publish=False, settle_interval=0.04,
)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def install(self, patch: pytest.MonkeyPatch, *modules: ModuleType) -> Clock:
        """Make it the `monotonic` of these modules."""
        for module in modules:
            patch.setattr(module, "monotonic", self)
        return self


class InlineDispatcher:
    """Runs what is ready in the thread that asks for it."""

    def __init__(self, cap: int = 8) -> None:
        self.ready = Ready()
        self.running: dict[int, Any] = {}
        self.idle = self.cap = cap
        self.taken = 0
        self.busy = False
        self._run = HandlerRunner("")

    def start(self) -> None:
        while not self.busy and (attempt := self.ready.get()) is not None:
            self.taken += 1
            if attempt.binding.member.unstarted.pop(attempt, None) is not None:
                self._run(attempt)

    def tick(self) -> bool:
        return False

    # What is begun is over when the call returns, so the dispatcher can always be had alone.

    def hold(self) -> None:
        self.busy = True

    def resume(self) -> None:
        self.busy = False
        self.start()

    def reserve(self) -> bool:
        return True

    def cancel_reservation(self) -> None:
        """Nothing was kept."""

    def run_alone(self, attempt: Attempt, prepare: Callable[[], bool]) -> None:
        self.taken += 1
        if prepare():
            self._run(attempt)


class ScriptedConsumer:
    """Plays one step per fetch: a list of deliveries, an error to raise, or a function."""

    def __init__(self, broker: ScriptedBroker) -> None:
        self._broker = broker
        self.settled: list[Settlement] = []
        self.kept: list[list[Delivery]] = []
        self.attached: list[SubscriptionId] = []
        self.detached: list[SubscriptionId] = []
        self.closed = False

    def attach(self, subscription: SubscriptionId) -> None:
        self.attached.append(subscription)

    def detach(self, subscription: SubscriptionId) -> None:
        self.detached.append(subscription)

    def fetch(self, budgets: Any, timeout: float) -> list[tuple[SubscriptionId, list[Delivery]]]:
        self._broker.timeouts.append(timeout)
        step = self._broker.next_step()
        result = step() if callable(step) else step
        if isinstance(result, Exception):
            raise result
        return [(ID, list(result))] if result else []

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        if self._broker.settle_errors:
            raise self._broker.settle_errors.pop(0)
        self.settled.append(settlement)
        self._broker.steps_taken += [("acked", one) for one in settlement.acks]
        self._broker.on_settle(settlement)
        return self._broker.lost

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        self.kept.append(list(held))
        self._broker.on_keep()
        return self._broker.lost

    def mark_started(self, delivery: Delivery) -> None:
        if self._broker.mark_errors:
            raise self._broker.mark_errors.pop(0)
        self._broker.steps_taken.append(("marked", delivery))

    def wake(self) -> None:
        """No fetch ever waits."""

    def close(self) -> None:
        self.closed = True


Step = Callable[[], Any] | Iterable[Delivery] | Exception


class ScriptedBroker:
    """A transport whose consumers play one script after the other; at its end `on_end` is called.

    Attributes:
        held: what each attempt to connect was told to be in the process's hands.
        timeouts: of each fetch, in seconds.
        sessions: each consumer that was made.
        refusals: errors for the next attempts to connect.
        settle_errors: errors for the next settlements.
        mark_errors: errors for the next marks of a suspect.
        steps_taken: marks and acks, in their order.
        lost: what keepalive and settle report as lost.
        vanished: `declare` finds the subscription gone.
    """

    def __init__(self, *steps: Step, capabilities: Capabilities = CAPABILITIES) -> None:
        self.capabilities = capabilities
        self.timeouts: list[float] = []
        self.sessions: list[ScriptedConsumer] = []
        self.refusals: list[Exception] = []
        self.settle_errors: list[Exception] = []
        self.mark_errors: list[Exception] = []
        self.steps_taken: list[tuple[str, Delivery]] = []
        self.lost: list[Delivery] = []
        self.held: list[list[Delivery]] = []
        self.vanished = False
        self.on_end: Callable[[], None] = lambda: None
        self.on_keep: Callable[[], None] = lambda: None
        self.on_settle: Callable[[Settlement], None] = lambda settlement: None
        self._steps = list(steps)

    def next_step(self) -> Step:
        if self._steps:
            return self._steps.pop(0)
        self.on_end()
        return ()

    def declare(self, subscription: SubscriptionId, start_from: str) -> bool:
        return self.vanished

    def consumer(self, held: Collection[Delivery]) -> ScriptedConsumer:
        self.held.append(list(held))
        if self.refusals:
            raise self.refusals.pop(0)
        self.sessions.append(ScriptedConsumer(self))
        return self.sessions[-1]

    @property
    def settlements(self) -> list[Settlement]:
        return [settlement for session in self.sessions for settlement in session.settled]

    @property
    def acked(self) -> list[Delivery]:
        return [delivery for settlement in self.settlements for delivery in settlement.acks]

    @property
    def released(self) -> list[Delivery]:
        return [delivery for settlement in self.settlements for delivery in settlement.releases]


def delivery(
    payload: Any = None, *, key: str | None = None, data: bytes | None = None,
    origin: str | None = None,
) -> Delivery:
    """An event as a consumer hands it over; its receipt is a string."""
    if data is None:
        data = encode(Event("a.b", payload))
    return Delivery("a.b", data, key, receipt=f"receipt of {payload}", origin=origin)


def record(payload: Any = None, topic: str = "a.b") -> Record:
    return Record(new_id(), topic, encode(Event(topic, payload)))


def member(
    dispatcher: Any, handler: Callable[[Event], object] = lambda event: None, *,
    retry: RetryPolicy | None = None, name: str = "h", id: SubscriptionId = ID,
) -> Member:
    """A member with one handler."""
    made = Member(
        id, dispatcher.ready, start_from="latest", max_in_flight=100, max_bytes=1_000_000,
        concurrency=8,
    )
    add_handler(made, handler, name=name, retry=retry)
    return made


def add_handler(
    to: Member, handler: Callable[[Event], object], *, name: str, retry: RetryPolicy | None = None
) -> Binding:
    binding = Binding(handler, name, retry or RetryPolicy(max_attempts=1), to)
    to.add(binding, [])
    return binding


def begin(dispatcher: Any) -> Attempt:
    """What a worker does first; the attempt then runs until somebody reports its outcome."""
    attempt = dispatcher.ready.get()
    attempt.binding.member.unstarted.pop(attempt)
    dispatcher.taken += 1
    return attempt


def loop_of(
    broker: ScriptedBroker, dispatcher: Any, *, lease: float = 30.0,
    handler_timeout: float | None = None, lasting: bool = True, grace: float = 0.0,
) -> ConsumerLoop:
    """A loop that is drained when the broker's script has ended."""
    loop = ConsumerLoop(
        broker, dispatcher, lease=lease, handler_timeout=handler_timeout,
        maintenance=Maintenance(broker), name="eventbus-test", lasting=lasting, grace=grace,
    )
    broker.on_end = lambda: loop.drain(float("inf"))
    return loop


def play(loop: ConsumerLoop, *members: Member) -> None:
    """Serve the members until the script has ended."""
    for one in members:
        loop.add(one)
    assert loop.finished.wait(20), "the loop does not end"
