"""`synchronous`: handlers run where the publisher is."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from eventbus import (
    BusClosedError,
    ConfigurationError,
    Event,
    EventBus,
    EventBusError,
    Reject,
    RetryLater,
    SerializationError,
    SQLiteConfig,
)
from eventbus.testing import record, synchronous


class Calls:
    """Handlers that note what they were called with."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.names: list[str] = []

    def handler(self, name, action=None):
        def handle(event):
            self.names.append(name)
            self.events.append(event)
            if action is not None:
                action(event)

        handle.__qualname__ = name
        return handle


@pytest.fixture
def calls():
    return Calls()


@pytest.fixture
def bus(tmp_path) -> Iterator[EventBus]:
    """As an application has it: on a transport that a test should leave alone."""
    path = tmp_path / "events.db"
    bus = EventBus(f"sqlite:///{path}", group="shop", environ={})
    yield bus
    bus.close()
    assert not path.exists(), "the broker was used"


def raising(error):
    def act(event):
        raise error

    return act


# -- who is called, and with what ------------------------------------------------------------


def test_declared_handlers_run_before_publish_returns_in_its_thread(bus, calls):
    threads = []
    bus.on("user.created", calls.handler("h", lambda _: threads.append(threading.get_ident())))

    with synchronous(bus) as published:
        event = bus.publish("user.created", {"id": 7}, key="7", metadata={"m": "x"})
        assert threads == [threading.get_ident()]

    (handled,) = calls.events
    assert (handled.id, handled.timestamp) == (event.id, event.timestamp)
    assert (handled.type, handled.payload, handled.key) == ("user.created", {"id": 7}, "7")
    assert (handled.metadata, handled.attempt, handled.topic) == ({"m": "x"}, 1, "user.created")
    assert published[0] == event


def test_every_way_of_publishing(bus, calls):
    bus.on("a.b", calls.handler("h"))

    with synchronous(bus) as published:
        bus.publish(Event("a.b", 1))
        assert len(calls.events) == 1
        bus.publish_many([("a.b", 2), Event("a.b", 3)])
        assert len(calls.events) == 3
        future = bus.publish_soon("a.b", 4)
        assert future.done()
        assert future.result().payload == 4

    assert [event.payload for event in calls.events] == [1, 2, 3, 4]
    assert [event.payload for event in published] == [1, 2, 3, 4]


def test_every_matching_handler_of_every_group(bus, calls):
    for pattern, name in [
        ("order.paid", "literal"), ("order.*", "star"), ("**", "all"), ("*", "every"),
        ("order.**", "deep"), ("order.sent", "other"), ("order.*.*", "longer"),
    ]:
        bus.on(pattern, calls.handler(name))
    bus.on("order.paid", calls.handler("second"))
    bus.on("order.paid", calls.handler("audit"), group="audit")

    with synchronous(bus):
        bus.publish("order.paid")

    assert sorted(calls.names) == ["all", "audit", "deep", "every", "literal", "second", "star"]


def test_each_handler_has_a_payload_of_its_own(bus, calls):
    bus.on("a.b", calls.handler("first", lambda event: event.payload.append(2)))
    bus.on("a.b", calls.handler("second"))
    payload = [1]

    with synchronous(bus) as published:
        bus.publish("a.b", payload)

    assert payload == [1]
    assert [event.payload for event in calls.events] == [[1, 2], [1]]
    assert published[0].payload == [1]


def test_payloads_have_been_bytes_in_between(bus, calls):
    bus.on("a.b", calls.handler("h"))
    at = datetime(2026, 1, 31, tzinfo=timezone.utc)

    with synchronous(bus):
        bus.publish("a.b", {"at": at, "price": Decimal("1.5"), "pair": (1, 2)})

    assert calls.events[0].payload == {
        "at": "2026-01-31T00:00:00Z", "price": "1.5", "pair": [1, 2]
    }


@pytest.mark.parametrize("way", ["publish", "publish_many", "publish_soon"])
def test_what_is_no_json_fails_as_in_production(bus, calls, way):
    bus.on("a.b", calls.handler("h"))
    arguments = ([("a.b", 1), ("a.b", {"tags": {1}})],)

    with synchronous(bus) as published, pytest.raises(SerializationError, match=r"payload\.tags"):
        getattr(bus, way)(*(arguments if way == "publish_many" else ("a.b", {"tags": {1}})))

    assert calls.events == []
    published.assert_nothing_published()


def test_the_size_limit_holds(tmp_path):
    bus = EventBus("memory:", group="g", environ={}, max_event_bytes=300)
    with synchronous(bus), pytest.raises(SerializationError, match="max_event_bytes=300"):
        bus.publish("a.b", "x" * 300)


def test_prefix_and_default_names(calls):
    bus = EventBus("memory:", group="g", prefix="staging", environ={})
    bus.on("a.*", calls.handler("h"))
    bus.on("**", calls.handler("all"))
    bus.on("staging.a.*", calls.handler("wrong"))

    with synchronous(bus) as published:
        bus.publish("a.b")

    assert calls.names == ["h", "all"]
    assert (calls.events[0].type, calls.events[0].topic) == ("a.b", "staging.a.b")
    assert published.types == ["a.b"]


def test_middleware_wraps_each_handler(bus, calls):
    def outer(event, call_next):
        calls.names.append("outer")
        call_next(event)
        calls.names.append("/outer")

    def inner(event, call_next):
        calls.names.append("inner")
        call_next(event)

    bus.add_middleware(outer)
    bus.on("a.b", calls.handler("h1"))
    bus.on("a.b", calls.handler("h2"))

    with synchronous(bus):
        bus.publish("a.b")
        assert calls.names == ["outer", "h1", "/outer", "outer", "h2", "/outer"]
        calls.names.clear()
        bus.add_middleware(inner)
        bus.publish("a.b")

    assert calls.names[:4] == ["outer", "inner", "h1", "/outer"]


def test_a_handler_does_not_see_the_publishers_context(bus, calls):
    variable = contextvars.ContextVar("variable", default="none")
    seen = []
    bus.on("a.b", calls.handler("h", lambda _: seen.append(variable.get()) or variable.set("h")))

    with synchronous(bus):
        variable.set("publisher")
        bus.publish("a.b")

    assert seen == ["none"]
    assert variable.get() == "publisher"


# -- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), Reject("never"), RetryLater(delay=60.0)])
@pytest.mark.parametrize("way", ["publish", "publish_many", "publish_soon"])
def test_what_a_handler_raises_reaches_the_publisher(bus, calls, error, way):
    bus.on("a.b", calls.handler("h", raising(error)))

    with synchronous(bus) as published, pytest.raises(type(error)) as caught:
        getattr(bus, way)(*([[("a.b", 1)]] if way == "publish_many" else ["a.b", 1]))

    assert caught.value is error
    assert calls.names == ["h"]
    published.assert_published("a.b", count=1)


def test_the_other_handlers_run_nevertheless(bus, calls, caplog):
    first, second = ValueError("first"), ValueError("second")
    bus.on("a.b", calls.handler("h1", raising(first)))
    bus.on("a.b", calls.handler("h2", raising(second)))
    bus.on("a.b", calls.handler("h3"))

    with synchronous(bus), pytest.raises(ValueError, match="first"):
        bus.publish("a.b")

    assert calls.names == ["h1", "h2", "h3"]
    (logged,) = caplog.records
    assert (logged.levelno, logged.exc_info[1]) == (logging.ERROR, second)
    assert "h2" in logged.getMessage()


def test_what_is_no_exception_ends_it_at_once(bus, calls):
    bus.on("a.b", calls.handler("h1", raising(KeyboardInterrupt())))
    bus.on("a.b", calls.handler("h2"))

    with synchronous(bus):
        with pytest.raises(KeyboardInterrupt):
            bus.publish("a.b")
        bus.publish("a.c")

    assert calls.names == ["h1"]


def test_a_middleware_may_swallow_what_a_handler_raises(bus, calls):
    def forgiving(event, call_next):
        try:
            call_next(event)
        except ValueError:
            calls.names.append("forgiven")

    bus.add_middleware(forgiving)
    bus.on("a.b", calls.handler("h", raising(ValueError())))

    with synchronous(bus):
        bus.publish("a.b")

    assert calls.names == ["h", "forgiven"]


def test_after_a_failure_the_next_publish_is_handled(bus, calls):
    bus.on("a.bad", calls.handler("bad", raising(ValueError())))
    bus.on("a.good", calls.handler("good"))

    with synchronous(bus):
        with pytest.raises(ValueError):
            bus.publish("a.bad")
        bus.publish("a.good")

    assert calls.names == ["bad", "good"]


# -- handlers that publish -------------------------------------------------------------------


def test_answers_are_handled_in_turn_before_the_outermost_publish_returns(bus, calls):
    def answer(event):
        bus.publish("invoice.created", event.payload)
        calls.names.append("answered")

    bus.on("order.paid", calls.handler("charge", answer))
    bus.on("order.paid", calls.handler("ship"))
    bus.on("invoice.created", calls.handler("mail"))

    with synchronous(bus) as published:
        bus.publish("order.paid", 7)

    assert calls.names == ["charge", "answered", "ship", "mail"]
    assert published.types == ["order.paid", "invoice.created"]


def test_what_answering_handlers_raise_reaches_the_outermost_publisher(bus, calls):
    bus.on("a.one", calls.handler("one", lambda event: bus.publish("a.two")))
    bus.on("a.two", calls.handler("two", raising(Reject("no"))))

    with synchronous(bus), pytest.raises(Reject):
        bus.publish("a.one")

    assert calls.names == ["one", "two"]


def test_what_was_published_before_the_failure_is_handled(bus, calls):
    def publish_and_fail(event):
        bus.publish("a.two")
        raise ValueError("after it")

    bus.on("a.one", calls.handler("one", publish_and_fail))
    bus.on("a.two", calls.handler("two"))

    with synchronous(bus), pytest.raises(ValueError, match="after it"):
        bus.publish("a.one")

    assert calls.names == ["one", "two"]


def test_a_lock_held_while_publishing_is_no_deadlock(bus, calls):
    lock = threading.Lock()

    def holding(event):
        with lock:
            bus.publish("a.two")

    bus.on("a.one", calls.handler("one", holding))
    bus.on("a.two", calls.handler("two", lambda event: lock.acquire(timeout=0) or pytest.fail()))

    with synchronous(bus):
        bus.publish("a.one")

    assert calls.names == ["one", "two"]


def test_long_chains_are_fine_and_circles_are_found(bus, calls):
    def countdown(event):
        if event.payload:
            bus.publish("a.b", event.payload - 1)

    bus.on("a.b", calls.handler("h", countdown))
    bus.on("ping", lambda event: bus.publish("pong"), name="ping")
    bus.on("pong", lambda event: bus.publish("ping"), name="pong")

    with synchronous(bus):
        bus.publish("a.b", 500)
        assert len(calls.events) == 501
        with pytest.raises(RecursionError, match="the handlers go in a circle"):
            bus.publish("ping")


def test_each_thread_handles_what_it_publishes(bus, calls):
    threads = set()
    barrier = threading.Barrier(4)

    def handle(event):
        barrier.wait(10)
        threads.add((event.payload, threading.get_ident()))

    bus.on("a.b", calls.handler("h", handle))

    def publish(number):
        bus.publish("a.b", number)
        return number, threading.get_ident()

    with synchronous(bus) as published, ThreadPoolExecutor(4) as executor:
        publishers = set(executor.map(publish, range(4)))

    assert threads == publishers
    published.assert_published("a.b", count=4)


# -- the bus meanwhile, and afterwards -------------------------------------------------------


def test_start_is_neither_needed_nor_harmful(bus, calls):
    bus.on("a.b", calls.handler("h"))

    with synchronous(bus):
        assert bus.start() is bus
        bus.publish("a.b")
        bus.start()
        bus.publish("a.b")
        assert bus.join(1)

    assert calls.names == ["h", "h"]


def test_handlers_declared_and_subscribed_meanwhile(bus, calls):
    with synchronous(bus):
        bus.on("a.b", calls.handler("declared"))
        subscription = bus.subscribe("a.b", calls.handler("subscribed"), group="other")
        bus.publish("a.b")
        assert sorted(calls.names) == ["declared", "subscribed"]
        subscription.cancel()
        calls.names.clear()
        bus.publish("a.b")
        assert calls.names == ["declared"]
    with synchronous(bus):
        bus.publish("a.b")

    assert calls.names == ["declared", "declared"]


def test_subscribing_refuses_what_it_refuses_in_production(bus, calls):
    with synchronous(bus):
        bus.subscribe("a.b", calls.handler("h"))
        with pytest.raises(ValueError, match=r"registered for 'a\.b'"):
            bus.subscribe("a.b", calls.handler("h"))
        bus.subscribe("a.c", calls.handler("early"), start_from="earliest")
    memory = EventBus("memory:", group="g", environ={})
    with synchronous(memory), pytest.raises(ConfigurationError, match="earliest"):
        memory.subscribe("a.c", calls.handler("early"), start_from="earliest")


def test_closing_counts_for_the_block(bus, calls):
    bus.on("a.b", calls.handler("h"))
    for _ in range(2):
        with synchronous(bus):
            with bus:
                bus.publish("a.b")
            with pytest.raises(BusClosedError):
                bus.publish("a.b")

    assert calls.names == ["h", "h"]


def test_health_and_stats_answer(bus, calls):
    bus.on("a.b", calls.handler("h"))

    with synchronous(bus):
        bus.start()
        bus.publish("a.b")
        health = bus.health()
        bus.stats()

    assert health.ok
    assert [one.pattern for one in health.subscriptions] == ["a.b"]


def test_looking_at_the_broker_needs_none(bus, calls):
    bus.on("a.b", calls.handler("h"))

    with synchronous(bus):
        bus.declare()
        bus.publish("a.b")
        assert [one.pattern for one in bus.subscriptions.list()] == ["a.b"]
        assert bus.dead_letters.list("*") == []
        bus.topics()
        bus.diagnose()


def test_a_forked_child_has_the_real_bus(bus, calls):
    bus.on("a.b", calls.handler("h"))

    with synchronous(bus):
        engine = bus._engine
        bus._after_fork()
        own = bus._engine
        assert type(own) is not type(engine)
        bus._started = 7
    assert bus._engine is own
    assert bus._started == 7


def test_connection_is_taken_where_the_transport_takes_one(bus, calls):
    bus.on("a.b", calls.handler("h"))
    with synchronous(bus):
        bus.publish("a.b", connection=object())
    memory = EventBus("memory:", group="g", environ={})
    with synchronous(memory), pytest.raises(ConfigurationError, match="connection= is not"):
        memory.publish("a.b", connection=object())

    assert calls.names == ["h"]


def test_afterwards_the_bus_is_as_before(calls):
    with EventBus("memory:", group="g", environ={}) as bus:
        bus.on("a.b", calls.handler("h"))
        engine = bus._engine
        with synchronous(bus):
            bus.start()
            bus.publish("a.b", "inside")
        assert bus._engine is engine
        bus.publish("a.b", "between")
        bus.start()
        bus.publish("a.b", "outside")
        assert bus.join(5)

    assert [event.payload for event in calls.events] == ["inside", "outside"]


def test_afterwards_too_when_the_block_raised(bus):
    engine = bus._engine
    with pytest.raises(ValueError, match="in the block"), synchronous(bus):
        bus.start()
        raise ValueError("in the block")

    assert bus._engine is engine
    assert bus._started == 0


def test_live_handlers_are_called_here_and_only_once(calls):
    threads = []
    with EventBus("memory:", group="g", environ={}) as bus:
        note = calls.handler("h", lambda _: threads.append(threading.get_ident()))
        bus.on("a.b", note)
        bus.subscribe("a.*", calls.handler("subscribed"))
        bus.start()
        with synchronous(bus):
            bus.start()
            bus.publish("a.b")
            assert sorted(calls.names) == ["h", "subscribed"]
        assert bus.join(5)
        bus.publish("a.b")
        assert bus.join(5)

    assert sorted(calls.names) == ["h", "h", "subscribed", "subscribed"]
    assert threads[0] == threading.get_ident() != threads[1]


def test_middleware_added_meanwhile_wraps_live_handlers_too(calls):
    def outer(event, call_next):
        calls.names.append("outer")
        call_next(event)

    with EventBus("memory:", group="g", environ={}) as bus:
        bus.subscribe("a.b", calls.handler("h"))
        with synchronous(bus):
            bus.add_middleware(outer)
            bus.publish("a.b")

    assert calls.names == ["outer", "h"]


def test_works_on_a_bus_that_was_closed(calls):
    bus = EventBus("memory:", group="g", environ={})
    bus.on("a.b", calls.handler("h"))
    bus.start()
    bus.close()

    with synchronous(bus):
        bus.publish("a.b")

    assert calls.names == ["h"]


def test_no_thread_is_started(bus, calls, leak_free):
    bus.on("a.b", calls.handler("h"))
    before = set(threading.enumerate())

    with synchronous(bus):
        bus.start()
        bus.publish("a.b")
        bus.publish_soon("a.b")
        assert set(threading.enumerate()) == before


def test_a_broker_that_is_away_is_not_missed(calls):
    bus = EventBus("sqlite:////proc/nowhere/events.db", group="g", environ={}, publish_timeout=0.1)
    bus.on("a.b", calls.handler("h"))

    with synchronous(bus):
        bus.publish("a.b")
    assert calls.names == ["h"]
    with pytest.raises(EventBusError):
        bus.publish("a.b")


def test_recordings_around_and_inside(bus, calls):
    bus.on("a.b", calls.handler("h", lambda event: bus.publish("a.c")))

    with record(bus) as outer, synchronous(bus) as own:
        with record(bus) as inner:
            bus.publish("a.b")
        bus.publish("a.d")

    assert inner.types == ["a.b", "a.c"]
    assert own.types == outer.types == ["a.b", "a.c", "a.d"]


def test_all_recordings_keep_an_event_whose_handler_failed(bus, calls):
    bus.on("a.b", calls.handler("h", raising(Reject("no"))))

    with record(bus) as first, record(bus) as second, synchronous(bus) as own:
        with record(bus) as inner, pytest.raises(Reject):
            bus.publish("a.b")

    assert [one.types for one in (first, second, own, inner)] == [["a.b"]] * 4


def test_inside_each_other(bus, calls):
    bus.on("a.b", calls.handler("h"))

    with synchronous(bus) as outer:
        bus.subscribe("a.b", calls.handler("subscribed"))
        with synchronous(bus) as inner:
            bus.publish("a.b")
        assert sorted(calls.names) == ["h", "subscribed"]
        bus.publish("a.b")

    assert (len(outer), len(inner)) == (2, 1)
    assert len(calls.names) == 4


def test_within_a_held_back_recording_handlers_run(bus, calls):
    bus.on("a.b", calls.handler("h"))

    with record(bus, forward=False) as kept:
        bus.publish("a.b")
        assert calls.names == []
        with synchronous(bus):
            bus.publish("a.b")

    assert calls.names == ["h"]
    assert kept.types == ["a.b", "a.b"]


def test_as_a_decorator(calls):
    bus = EventBus("memory:", group="g", environ={})
    bus.on("a.b", calls.handler("h"))

    @synchronous(bus)
    def act():
        bus.publish("a.b")

    act()
    act()
    assert calls.names == ["h", "h"]


def test_only_a_bus_can_be_synchronous():
    with pytest.raises(TypeError, match="an EventBus is needed, not None"), synchronous(None):
        pass


def test_the_group_of_the_providers_own_config_counts(tmp_path, calls):
    own = SQLiteConfig(path=str(tmp_path / "events.db"), consumer_group="billing")
    bus = EventBus(provider="sqlite", sqlite=own, environ={})

    with synchronous(bus):
        assert bus.subscribe("a.b", calls.handler("h")).group == "billing"
