"""The parts of one bus in one process, put together. A forked child gets a new one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count
from threading import Lock, get_ident
from time import monotonic
from types import FrameType
from typing import Any
from weakref import WeakValueDictionary

from ..config import EventBusConfig
from ..errors import BusClosedError, ConfigurationError, SerializationError, TransportError
from ..event import Event
from ..patterns import check_group, with_prefix
from ..retry import RetryPolicy
from ..transports import make_transport
from ..transports.base import (
    DeadLetterStore,
    Delivery,
    Finding,
    StartFrom,
    SubscriptionId,
    SubscriptionInfo,
    Transport,
)
from ..wire import decode
from .binding import Binding, Handler, Middleware
from .consumer import ConsumerLoop
from .dispatcher import Dispatcher
from .maintenance import Maintenance
from .member import Counters, Member
from .publisher import Publisher
from .reconnect import until_available
from .runner import HandlerRunner
from .signals import is_within
from .soon import Soon
from .switch import Switch
from .watchdog import stack_of

logger = logging.getLogger("eventbus")

#: Seconds that disconnecting may take beyond the time a drain was given.
GRACE = 0.5
#: Seconds between two looks at the broker's backlog while joining.
JOIN_POLL = 0.01
#: The pause after a look, at least, as a multiple of what it took: counting may cost a broker much.
JOIN_PAUSE = 9.0
#: Seconds between two looks whether the bus is closed while `publish_soon` is flushed.
FLUSH_POLL = 0.1

_numbers = count(1)


class Engine:
    """Owns the transport, the publisher, the dispatcher and the consumer loops."""

    def __init__(self, config: EventBusConfig, middleware: list[Middleware]) -> None:
        self.config = config
        self.name = f"eventbus-{next(_numbers)}-{config.provider}"
        self.transport = make_transport(config)
        self.maintenance = Maintenance(self.transport)
        self.publisher = Publisher(
            self.transport, prefix=config.prefix, limit=config.max_event_bytes,
            timeout=config.publish_timeout, maintenance=self.maintenance,
        )
        self.soon = Soon(self.publisher, f"{self.name}-publisher", self._thread_ended)
        self.dispatcher = Dispatcher(
            HandlerRunner(config.prefix), cap=config.max_concurrent_handlers,
            starving=self._starving, stopped=self.stop_handling, name=f"{self.name}-worker",
        )
        self.members: dict[SubscriptionId, Member] = {}
        #: The last one that was cancelled, as long as something of it goes on.
        self._cancelled: WeakValueDictionary[SubscriptionId, Member] = WeakValueDictionary()
        self.loops: list[ConsumerLoop] = []
        #: Nobody publishes any more, but for handlers that still run.
        self.closing = Switch()
        #: No handler begins any more: the bus closes, or the interpreter exits.
        self.ending = Switch()
        self._deadlines: list[float] = []
        self._unattended = False
        self._middleware = middleware
        self._lock = Lock()
        self._warned_group = False

    # -- subscribing -------------------------------------------------------------------------

    def bind(
        self, pattern: str, handler: Handler, *, group: str | None, name: str,
        retry: RetryPolicy | None, start_from: StartFrom, timeout: float | None,
    ) -> tuple[Member, Binding]:
        """Make a handler live; returns when its durable subscription exists."""
        id = self.subscription_id(pattern, group)
        self.check_start(start_from)
        self._check_handling()
        if id not in self.members:
            self.declare(id, start_from, timeout)
        with self._lock:
            self._check_handling()
            member = self.members.get(id) or self._member(id, start_from)
            binding = Binding(handler, name, retry or self.config.retry, member)
            member.add(binding, self._middleware)
            if id not in self.members:
                if (old := self._cancelled.get(id)) is not None:
                    member.follow(old)
                self._serve(member)
                self.members[id] = member
        return member, binding

    def subscription_id(self, pattern: str, group: str | None) -> SubscriptionId:
        """The durable subscription's identity on the broker."""
        chosen = check_group(group) if group is not None else self.config.group
        if group is None and self.config.group_is_default:
            self._warn_default_group()
        return SubscriptionId(chosen, with_prefix(self.config.prefix, pattern))

    def check_start(self, start_from: str) -> None:
        """Refuse what the transport has no history for."""
        if start_from not in ("latest", "earliest"):
            raise ValueError(f"start_from is {start_from!r}: use 'latest' or 'earliest'")
        if start_from == "earliest" and not self.transport.capabilities.history:
            raise ConfigurationError(
                f"start_from='earliest' is not possible on {self.config.provider}: "
                f"{self.transport.capabilities.notes.get('history', 'it keeps no history')}"
            )

    def declare(self, id: SubscriptionId, start_from: StartFrom, timeout: float | None) -> None:
        """Create the durable subscription, waiting for the broker up to `timeout` seconds."""
        try:
            until_available(
                lambda: _declare(self.transport, id, start_from), timeout=timeout,
                stop=self.closing,
            )
        except TransportError:
            self._check_open()
            raise

    def unbind(self, member: Member, binding: Binding) -> None:
        """Stop a handler; the member goes with its last one."""
        with self._lock:
            last = member.remove(binding)
            if last and self.members.get(member.id) is member:
                del self.members[member.id]
                self._cancelled[member.id] = member
        for loop in self.loops:
            if member not in loop.members:
                continue
            if last:
                loop.remove(member)
            else:
                loop.remove_handler(member, binding)

    def recompose(self) -> None:
        """Wrap all handlers anew after the middleware has changed."""
        for member in self.members.values():
            for binding in member.bindings:
                binding.compose(self._middleware)

    def _member(self, id: SubscriptionId, start_from: StartFrom) -> Member:
        return Member(
            id, self.dispatcher.ready, start_from=start_from,
            max_in_flight=self.config.max_in_flight, max_bytes=self.config.max_in_flight_bytes,
            concurrency=self.config.max_concurrent_handlers,
        )

    def _serve(self, member: Member) -> None:
        alone = self.transport.capabilities.consumer_per_subscription
        for loop in self.loops:
            mine = not alone or any(other.id == member.id for other in loop.members)
            if mine and loop.add(member):
                return
        loop = ConsumerLoop(
            self.transport, self.dispatcher, lease=self.config.lease,
            handler_timeout=self.config.handler_timeout, maintenance=self.maintenance,
            name=f"{self.name}-consumer-{len(self.loops) + 1}", ended=self._thread_ended,
            lasting=not alone, grace=self.config.close_timeout,
        )
        loop.add(member)
        self.loops.append(loop)
        # Whoever began to end it before this line has not seen this loop.
        if self._deadlines:
            loop.drain(min(self._deadlines))
            self._check_handling()

    def _starving(self) -> None:
        for loop in self.loops:
            loop.starving()

    def _check_open(self) -> None:
        if self.closing.is_set():
            raise BusClosedError("the bus is closed: it neither publishes nor subscribes any more")

    def _check_handling(self) -> None:
        self._check_open()
        if self.ending.is_set():
            raise BusClosedError("the interpreter is exiting: no handler begins any more")

    def _warn_default_group(self) -> None:
        if self._warned_group or not self.transport.capabilities.multi_process:
            return
        self._warned_group = True
        logger.warning(
            "consumer group is the default %r: two services that share it would take each "
            "other's events. Set EventBus(..., group='your-service')", self.config.group,
        )

    # -- publishing --------------------------------------------------------------------------

    def publish_one(self, event: Event) -> None:
        """Send one event and return when it is stored."""
        outside = get_ident() not in self.dispatcher.running
        if outside and self.closing.is_set():
            self._check_open()
        self.publisher.publish_one(event, outside)

    def publish(self, events: Sequence[Event], connection: object = None) -> None:
        """Send events and return when they are stored."""
        self._check_publishable()
        if connection is not None and not self.transport.capabilities.transactional_publish:
            raise ConfigurationError(
                f"connection= is not possible on {self.config.provider}: only a transport "
                "inside a database can join the caller's transaction"
            )
        self.publisher.publish(
            events, wait=not self.dispatcher.in_worker(), connection=connection
        )

    def publish_soon(self, event: Event) -> Future[Event]:
        self._check_publishable()
        return self.soon.add(event)

    def _check_publishable(self) -> None:
        # A handler that finishes during `close` may still publish what belongs to its outcome.
        if self.closing.is_set() and not self.dispatcher.in_worker():
            self._check_open()

    # -- waiting -----------------------------------------------------------------------------

    def join(self, timeout: float | None) -> bool:
        """Wait until the backlog of now is settled."""
        deadline = float("inf") if timeout is None else monotonic() + timeout
        while not self.soon.flush(max(0.0, min(FLUSH_POLL, deadline - monotonic()))):
            if monotonic() >= deadline or self.closing.is_set():
                return False
        if self.closing.is_set():
            return False
        mark = self.transport.mark()
        ids = [member.id for member in list(self.members.values())]
        return all(self._is_drained(id, mark, deadline) for id in ids)

    def _is_drained(self, id: SubscriptionId, mark: Any, deadline: float) -> bool:
        """Wait until it is, or until the deadline."""
        while True:
            began = monotonic()
            if not self.transport.backlog(id, mark):
                return True
            now = monotonic()
            pause = max(JOIN_POLL, JOIN_PAUSE * (now - began))
            if now >= deadline or self.ending.wait(min(pause, deadline - now)):
                return False

    def backlog(self, id: SubscriptionId) -> int | None:
        """What the broker says, or `None` while it cannot be asked."""
        try:
            return self.transport.backlog(id)
        except TransportError:
            return None

    def dead_letter_store(self) -> DeadLetterStore:
        """The transport's store, while the bus is open."""
        self._check_open()
        return self.transport.dead_letters

    def list_subscriptions(self) -> Sequence[SubscriptionInfo]:
        """All durable subscriptions on the broker, of every prefix."""
        self._check_open()
        return self.transport.list()

    def drop(self, id: SubscriptionId) -> bool:
        """End a durable subscription that nobody here is a member of."""
        self._check_open()
        if id in self.members:
            raise ValueError(
                f"{id.pattern!r} of group {id.group!r} is live in this process: cancel its "
                "handlers first, or it would be created again at once"
            )
        return self.transport.drop(id)

    def topics(self) -> Sequence[str]:
        self._check_open()
        return self.transport.topics()

    def diagnose(self) -> Sequence[Finding]:
        self._check_open()
        return self.transport.diagnose()

    def counters(self) -> Counters:
        """Of all subscriptions, also of those that were cancelled: counters never go back."""
        return Counters.total(loop.counters() for loop in tuple(self.loops))

    # -- ending ------------------------------------------------------------------------------

    def stop_handling(self, timeout: float | None = None) -> None:
        """Begin no further handler; does not wait. Publishing goes on."""
        self._end_handling(timeout)
        for loop in tuple(self.loops):
            loop.wake()

    def _end_handling(self, timeout: float | None) -> None:
        seconds = self.config.close_timeout if timeout is None else timeout
        self._deadlines.append(monotonic() + seconds)
        self.ending.set()
        deadline = min(self._deadlines)
        for loop in tuple(self.loops):
            loop.ask_to_drain(deadline)

    def finish_handling(self) -> bool:
        """Stop handling and wait for running handlers; publishing goes on."""
        self.stop_handling()
        return self._wait_for_loops(min(self._deadlines) + GRACE)

    def close(self, timeout: float | None = None) -> bool:
        """See `EventBus.close`. Whoever must not wait only requests it."""
        if self._must_not_wait(sys._getframe(1)):
            self._request_close(timeout)
            return False
        seconds = self.config.close_timeout if timeout is None else timeout
        deadline = monotonic() + seconds
        self.closing.set()
        self.stop_handling(seconds)
        return self._complete(deadline)

    def _must_not_wait(self, caller: FrameType) -> bool:
        """In a handler; or in a signal handler that cut in upon a call of this very bus.

        What that call holds is not free before the signal handler returns.
        """
        parts = (self, self.publisher, self.soon, self.transport, self.transport.dead_letters)
        return self.dispatcher.in_worker() or is_within(parts, caller)

    def _request_close(self, timeout: float | None = None) -> None:
        """Let the last of the bus's own threads close it. Takes no lock and wakes nobody.

        Not even the consumer: its `wake` is the transport's, which may take a lock.
        """
        self._unattended = True
        self.closing.set()
        self._end_handling(timeout)

    @property
    def busy(self) -> bool:
        """Whether threads of the bus are there that nobody has asked to end."""
        running = any(not loop.finished.is_set() for loop in self.loops)
        return not self.ending.is_set() and (running or self.soon.threaded)

    def wind_down(self) -> None:
        """Nobody can reach the bus any more: let its threads finish. Does not wait."""
        self._request_close()
        self.soon.end()

    def send_at_once(self) -> None:
        """`publish_soon` sends in the calling thread from now on: the process may end any time."""
        self.soon.send_at_once()

    def _complete(self, deadline: float) -> bool:
        self.soon.flush(max(0.0, deadline - monotonic()))
        drained = self._wait_for_loops(deadline + GRACE)
        # Again: handlers that finished meanwhile may have queued something.
        flushed = self.soon.close(max(0.0, deadline - monotonic()))
        self.dispatcher.stop()
        self.transport.close(max(0.0, deadline - monotonic()))
        return flushed and drained

    def _wait_for_loops(self, limit: float) -> bool:
        ended = [loop.finished.wait(max(0.0, limit - monotonic())) for loop in tuple(self.loops)]
        drained = all(ended) and all(loop.drained for loop in self.loops)
        if not drained:
            self._report_stuck()
        return drained

    def _thread_ended(self) -> None:
        """Called by each thread of the bus but the workers, as the last thing it does."""
        if self._unattended and all(loop.finished.is_set() for loop in self.loops):
            self._complete(min(self._deadlines))

    def _report_stuck(self) -> None:
        for ident, running in list(self.dispatcher.running.items()):
            if running.reported:
                continue
            running.reported = True
            delivery = running.attempt.delivery
            logger.warning(
                "close: handler %s still runs; its event %s (topic %s) stays unsettled, and goes "
                "to a peer when its lease ends, or this process. It is here:\n%s",
                running.attempt.binding.name, _event_id(delivery, self.config.prefix),
                delivery.topic, stack_of(ident),
            )


def _event_id(delivery: Delivery, prefix: str) -> str:
    try:
        return decode(delivery.data, topic=delivery.topic, prefix=prefix).id
    except SerializationError:
        return "of unknown id"


def _declare(transport: Transport, id: SubscriptionId, start_from: StartFrom) -> None:
    transport.declare(id, start_from)
