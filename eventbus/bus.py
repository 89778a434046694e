"""`EventBus`: the public face. It owns the parts and does no work itself."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import msgspec

from .config import EventBusConfig, effective_config
from .event import Event
from .health import Health, Stats, SubscriptionHealth
from .patterns import canonical, type_within
from .retry import RetryPolicy
from .subscription import Subscription, Subscriptions

# The engine is imported with the first bus: many a module imports `Event` alone.
if TYPE_CHECKING:
    from concurrent.futures import Future

    from ._engine.binding import Handler, Middleware
    from ._engine.engine import Engine
    from .deadletter import DeadLetters
    from .transports.base import Finding, StartFrom

logger = logging.getLogger("eventbus")

H = TypeVar("H", bound="Handler")


class _Declared(NamedTuple):
    pattern: str
    handler: Handler
    group: str | None
    retry: RetryPolicy | None
    name: str
    start_from: StartFrom


class EventBus:
    """A synchronous event bus over one transport. Safe to use from any thread.

    Args:
        config: an `EventBusConfig`, a URL such as `sqlite:///events.db`, or `None` for the
            provider that `EVENT_BUS_PROVIDER` names (else memory).
        group: the consumer group of this service.
        environ: where to look for environment variables, which win over everything but
            `subscribe(group=)`; `{}` ignores them.
        overrides: fields of `EventBusConfig`; they win over `config`.

    Raises:
        ConfigurationError: something is unknown, missing or wrong. No I/O happens here.
    """

    def __init__(
        self,
        config: EventBusConfig | str | None = None,
        *,
        group: str | None = None,
        environ: Mapping[str, str] = os.environ,
        **overrides: Any,
    ) -> None:
        self.config = effective_config(config, group=group, environ=environ, overrides=overrides)
        self._middleware: list[Middleware] = []
        self._declared: list[_Declared] = []
        self._lock = Lock()
        self._started = 0
        self._engine = self._make_engine()

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, type: str | Event, payload: Any = None, *, key: str | None = None,
        metadata: Mapping[str, str] | None = None, connection: Any = None,
    ) -> Event:
        """Publish one event; returns once the broker has durably confirmed it.

        Args:
            type: the dot-separated event type, or a whole `Event`.
            payload: any JSON value; datetime, UUID and Decimal become strings.
            key: events of one key are handled one at a time, in order.
            metadata: short texts that travel with the event.
            connection: write inside this connection's transaction (sqlite, postgres).

        Raises:
            PublishError: not confirmed within `publish_timeout`; see its `outcome`.
            SerializationError: the payload is no JSON value; nothing was written.
            ValueError: a bad name, or a `connection` in autocommit mode.
            BusClosedError: the bus is closed.
        """
        event = _event(type, payload, key, metadata)
        if connection is None:
            self._engine.publish_one(event)
        else:
            self._engine.publish((event,), connection)
        return event

    def publish_many(
        self, events: Iterable[Event | tuple[str, Any]], *, connection: Any = None
    ) -> list[Event]:
        """Publish events in order, in chunks of 1,000 with one confirmation each.

        Args:
            events: `Event` objects or `(type, payload)` pairs.
            connection: as for `publish`.

        Raises:
            PublishError: as for `publish`; `outcomes` tells for each event id what became of it.
        """
        batch = [item if isinstance(item, Event) else _event(*item) for item in events]
        self._engine.publish(batch, connection)
        return batch

    def publish_soon(
        self, type: str | Event, payload: Any = None, *, key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Future[Event]:
        """Publish without waiting; `close` flushes what is queued (10,000 events at most).

        Returns:
            A future of the event. It fails with `PublishError`, at once if the queue is full.
        """
        return self._engine.publish_soon(_event(type, payload, key, metadata))

    # -- handling ----------------------------------------------------------------------------

    @overload
    def on(self, pattern: str, handler: None = None, **options: Any) -> Callable[[H], H]: ...
    @overload
    def on(self, pattern: str, handler: H, **options: Any) -> H: ...
    def on(self, pattern: str, handler: Any = None, **options: Any) -> Any:
        """Declare a handler; it goes live at `start` or `run`. The function stays what it was.

        Args:
            pattern: an event type; `*` stands for one segment, `**` for any number of them.
            handler: a callable taking one `Event`; without it this is a decorator.
            options: `group`, `retry`, `name` and `start_from`, as for `subscribe`.
        """
        if handler is None:
            return lambda function: self.on(pattern, function, **options)
        self._declare(pattern, handler, **options)
        return handler

    def subscribe(
        self, pattern: str, handler: Handler, *, group: str | None = None,
        retry: RetryPolicy | None = None, name: str | None = None,
        start_from: StartFrom = "latest", timeout: float | None = 30.0,
    ) -> Subscription:
        """Start to handle events; returns once whatever is published from now on is delivered.

        Args:
            pattern: an event type; `*` stands for one segment, `**` for any number of them.
            handler: a callable taking one `Event`. Returning means success, raising failure.
            group: the consumer group, if not the bus's own.
            retry: how often and when to try again; the bus's policy by default.
            name: under which failures are stored; `module.qualname` by default.
            start_from: `"latest"` or `"earliest"`; counts at the durable subscription's birth.
            timeout: seconds to wait for the broker; `None` waits for ever.

        Raises:
            TypeError: the handler is async, a generator, or does not take one argument.
            ValueError: a bad pattern or group, or a handler of that name exists already.
            TransportUnavailable: the broker did not answer in time.
        """
        from ._engine.binding import check_handler, handler_name

        check_handler(handler)
        bound = handler_name(handler, name)
        member, binding = self._engine.bind(
            pattern, handler, group=group, name=bound, retry=retry,
            start_from=start_from, timeout=timeout,
        )
        engine = self._engine

        def cancel(bus: EventBus = self) -> None:
            """Keeps the bus alive, as long as somebody can still cancel."""
            engine.unbind(member, binding)

        return Subscription(member.id.group, pattern, bound, cancel)

    def unsubscribe(self, subscription: Subscription) -> None:
        """The same as `subscription.cancel()`."""
        subscription.cancel()

    def add_middleware(self, middleware: Middleware) -> None:
        """Wrap each handler call in `middleware(event, call_next)`; the first is the outermost."""
        if not callable(middleware):
            raise TypeError(f"a middleware must be callable, not {middleware!r}")
        self._middleware.append(middleware)
        self._engine.recompose()

    # -- life --------------------------------------------------------------------------------

    def start(self, timeout: float | None = 30.0) -> EventBus:
        """Make all declared handlers live and return the bus.

        Args:
            timeout: seconds to wait for the broker in all; `None` waits for ever.

        Raises:
            TransportUnavailable: the broker did not answer in time.
        """
        deadline = None if timeout is None else monotonic() + timeout
        with self._lock:
            while self._started < len(self._declared):
                item = self._declared[self._started]
                left = None if deadline is None else max(0.0, deadline - monotonic())
                self.subscribe(**item._asdict(), timeout=left)
                self._started += 1
        return self

    def declare(self, timeout: float | None = 30.0) -> None:
        """Create the durable subscriptions of all declared handlers, without consuming.

        Run it like a migration, before anything publishes: from then on every matching event
        waits for its handlers. Those that exist already stay as they are.

        Args:
            timeout: seconds to wait for the broker in all; `None` waits for ever.

        Raises:
            TransportUnavailable: the broker did not answer in time.
        """
        deadline = None if timeout is None else monotonic() + timeout
        for item in list(self._declared):
            left = None if deadline is None else max(0.0, deadline - monotonic())
            id = self._engine.subscription_id(item.pattern, item.group)
            self._engine.declare(id, item.start_from, left)

    def run(self) -> None:
        """Start, and handle events until SIGTERM or SIGINT; then close. A second signal forces.

        Keeps trying while the broker is away. Outside the main thread no signal is caught:
        `close` from another thread ends it.
        """
        from ._engine.signals import run_until_signal

        run_until_signal(self)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until what is published now is settled, by whichever member.

        Waiting retries count as unsettled, parked ones do not.

        Args:
            timeout: seconds; `None` waits for ever.

        Returns:
            `False` when the time is over first.
        """
        return self._engine.join(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Stop fetching, let running handlers finish, settle what they did, disconnect.

        What has not begun is given back. What still runs after the timeout is logged with its
        stack and left behind: its event goes to a peer when its lease ends, or this process.
        From inside a handler this only requests closing, and so it does from a signal handler that
        cut in upon another call of this bus. Calling it again does no harm.

        Args:
            timeout: seconds; `close_timeout` by default.

        Returns:
            `True` when everything was drained in time.
        """
        from ._engine import lifecycle

        drained = self._engine.close(timeout)
        if drained:
            lifecycle.unregister(self._engine)
        return drained

    def __enter__(self) -> EventBus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- looking at it -----------------------------------------------------------------------

    def health(self) -> Health:
        """A snapshot of each live subscription; asks the broker for backlogs."""
        prefix = len(self.config.prefix) + 1 if self.config.prefix else 0
        subscriptions = []
        for member in list(self._engine.members.values()):
            fetched = member.last_fetch
            subscriptions.append(
                SubscriptionHealth(
                    group=member.id.group, pattern=member.id.pattern[prefix:],
                    state=member.state,
                    last_fetch=None if fetched is None else monotonic() - fetched,
                    in_flight=len(member.in_flight), backlog=self._engine.backlog(member.id),
                )
            )
        return Health(
            provider=str(self.config.provider), location=self.config.location,
            ok=all(one.state == "running" for one in subscriptions),
            subscriptions=tuple(subscriptions),
        )

    @property
    def dead_letters(self) -> DeadLetters:
        """Events that handlers have finally failed: list, get, replay, purge."""
        from .deadletter import DeadLetters

        return DeadLetters(self._engine)

    @property
    def subscriptions(self) -> Subscriptions:
        """The durable subscriptions on the broker: list, drop."""
        return Subscriptions(self._engine)

    def topics(self) -> list[str]:
        """The event types ever published under the prefix that the broker still knows."""
        found = (type_within(self.config.prefix, topic) for topic in self._engine.topics())
        return sorted(type for type in found if type is not None)

    def diagnose(self) -> list[Finding]:
        """What is right and wrong with the broker: `level`, `subject` and `message` of each.

        Raises:
            TransportError: the broker did not answer.
        """
        return list(self._engine.diagnose())

    def stats(self) -> Stats:
        """Counters since the bus was made."""
        engine = self._engine
        return Stats(
            published=engine.publisher.published,
            reconnects=sum(loop.reconnects for loop in tuple(engine.loops)),
            **msgspec.structs.asdict(engine.counters()),
        )

    def __del__(self) -> None:
        engine: Engine | None = getattr(self, "_engine", None)
        if engine is None or not engine.busy:
            return
        if engine.members:
            patterns = ", ".join(repr(id.pattern) for id in engine.members)
            text = f"{self!r} was dropped without close(): it handles {patterns} no longer"
            logger.warning("%s. Keep a reference to the bus, and close it", text)
            warnings.warn(text, ResourceWarning, source=self, stacklevel=1)
        engine.wind_down()

    def __repr__(self) -> str:
        return f"EventBus({self.config.location!r}, group={self.config.group!r})"

    # -- internal ----------------------------------------------------------------------------

    def _declare(
        self, pattern: str, handler: Handler, *, group: str | None = None,
        retry: RetryPolicy | None = None, name: str | None = None,
        start_from: StartFrom = "latest",
    ) -> None:
        from ._engine.binding import check_handler, handler_name

        check_handler(handler)
        item = _Declared(
            pattern, handler, group, retry, handler_name(handler, name), start_from
        )
        engine = self._engine
        engine.check_start(start_from)
        id = engine.subscription_id(pattern, group)
        with self._lock:
            for other in self._declared:
                same = engine.subscription_id(other.pattern, other.group) == id
                if same and other.name == item.name:
                    raise ValueError(
                        f"a handler named {item.name!r} is declared for "
                        f"{canonical(pattern)!r} already: pass name='...' to tell the two apart"
                    )
            self._declared.append(item)

    def _after_fork(self) -> None:
        from ._engine import lifecycle

        parent = self._engine
        parent.dispatcher.abandon()
        lifecycle.abandon(parent)
        self._lock = Lock()
        self._started = 0
        self._engine = self._make_engine()
        if parent.closing.is_set():
            self._engine.close()

    def _make_engine(self) -> Engine:
        from ._engine import lifecycle
        from ._engine.engine import Engine

        engine = Engine(self.config, self._middleware)
        lifecycle.register(self, engine)
        return engine


def _event(
    type: str | Event, payload: Any = None, key: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Event:
    if isinstance(type, Event):
        if payload is not None or key is not None or metadata is not None:
            raise TypeError("an Event brings its own payload, key and metadata: pass it alone")
        return type
    return Event(type, payload, key=key, metadata=metadata or {})
