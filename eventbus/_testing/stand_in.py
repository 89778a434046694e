"""Handling events where they are published, instead of an engine."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextvars import Context
from dataclasses import replace

from .._engine.binding import Binding
from .._engine.engine import Engine
from .._engine.member import Member
from ..bus import EventBus
from ..errors import ConfigurationError
from ..event import Event
from ..patterns import matcher
from ..transports.base import Record, SubscriptionId
from ..wire import decode
from .recorded import Recorded
from .recording import tell

logger = logging.getLogger("eventbus.testing")

#: Events in answer to events in answer to …: after so many, handlers go in a circle.
LONGEST_CHAIN = 1_000


class StandIn(Engine):
    """Instead of an engine: no thread, no broker; handlers run where the publisher is.

    It is one on memory, so whatever else the bus asks of its engine needs no broker either.
    """

    ended = False

    def __init__(self, bus: EventBus, recorded: Recorded, handle: bool) -> None:
        super().__init__(replace(bus.config, provider="memory", memory=None), bus._middleware)
        self.below = bus._engine
        self.listeners = [*getattr(self.below, "listeners", ()), recorded]
        self._bus = bus
        self._handles = handle
        self._turn = _Turn()

    def subscription_id(self, pattern: str, group: str | None) -> SubscriptionId:
        return self.below.subscription_id(pattern, group)

    def check_start(self, start_from: str) -> None:
        self.below.check_start(start_from)

    def recompose(self) -> None:
        super().recompose()
        self.below.recompose()

    def publish_one(self, event: Event) -> None:
        self.publish((event,))

    def publish(self, events: Sequence[Event], connection: object = None) -> None:
        self._check_publishable()
        if connection is not None and not self.below.transport.capabilities.transactional_publish:
            raise ConfigurationError(f"connection= is not possible on {self.below.config.provider}")
        records = [self.publisher.record(event) for event in events]
        tell(self.listeners, records, self.config.prefix)
        if self._handles:
            self._handle(records)

    def publish_soon(self, event: Event) -> Future[Event]:
        self.publish((event,))
        future: Future[Event] = Future()
        future.set_result(event)
        return future

    def _serve(self, member: Member) -> None:
        member.state = "running"

    def _handle(self, records: Sequence[Record]) -> None:
        turn = self._turn
        if turn.pending is not None:
            # A handler publishes. As in production, its publish returns before that is handled.
            turn.pending.extend((record, turn.depth + 1) for record in records)
            return
        turn.pending = deque((record, 1) for record in records)
        try:
            failures = list(self._failures(turn, turn.pending))
        finally:
            turn.pending = None
        for name, error in failures[1:]:
            logger.error("handler %s failed as well", name, exc_info=error)
        if failures:
            raise failures[0][1]

    def _failures(
        self, turn: _Turn, pending: deque[tuple[Record, int]]
    ) -> Iterator[tuple[str, Exception]]:
        """Handle all that is pending, what comes in answer included."""
        while pending:
            record, turn.depth = pending.popleft()
            if turn.depth > LONGEST_CHAIN:
                raise RecursionError(
                    f"{LONGEST_CHAIN} events in a chain, each published by a handler of the one "
                    f"before it, now {record.topic!r}: the handlers go in a circle"
                )
            for binding in self._bindings(record.topic):
                try:
                    self._call(binding, record)
                except Exception as error:
                    yield binding.name, error

    def _bindings(self, topic: str) -> list[Binding]:
        # Handlers may be declared at any time, and `start` takes only those that are new.
        EventBus.start(self._bus)
        members = [member for member in _live(self) if matcher(member.id.pattern)(topic)]
        return [binding for member in members for binding in member.bindings]

    def _call(self, binding: Binding, record: Record) -> None:
        event = decode(record.data, topic=record.topic, prefix=self.config.prefix, key=record.key)
        # A worker has a context of its own, too: nothing of the publisher's leaks into it.
        Context().run(binding.invoke, event)


class _Turn(threading.local):
    """What one thread's outermost publish has still to handle, and how long the chain is."""

    pending: deque[tuple[Record, int]] | None = None
    depth = 0


def _live(engine: Engine) -> list[Member]:
    """Members of the bus's own engine, then those that came while it was stood in for."""
    below = _live(engine.below) if isinstance(engine, StandIn) else []
    return [*below, *engine.members.values()]
