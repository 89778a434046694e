"""`close` in every state: bounded by one deadline, and nothing is left behind."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from eventbus import (
    BusClosedError,
    Event,
    EventBus,
    PublishError,
    RetryPolicy,
    TransportUnavailable,
)
from tests.lifecycle.waiting import Gate, Received, wait_for

#: Seconds that a close may take beyond its timeout.
TOLERANCE = 1.0

pytestmark = pytest.mark.usefixtures("leak_free")


def make(url: str, **settings: object) -> EventBus:
    return EventBus(url, environ={}, **{"group": "g", **settings})


@contextmanager
def within(seconds: float):
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds + TOLERANCE


@contextmanager
def away(bus: EventBus):
    """The broker answers nobody."""
    transport = bus._engine.transport

    def refuse(*arguments: object, **keywords: object) -> None:
        raise TransportUnavailable("away")

    for name in ("publish", "declare", "consumer"):
        setattr(transport, name, refuse)
    yield
    for name in ("publish", "declare", "consumer"):
        delattr(transport, name)


@contextmanager
def locked(url: str):
    """Another process writes to the file, for as long as the block takes."""
    with EventBus(url, environ={}) as bus:
        bus.publish("the.file.exists")
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def in_thread(action: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(action())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def ended(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


# -- not started, connecting ----------------------------------------------------------------------


def test_close_before_start(url):
    bus = make(url)
    bus.on("a.b", print, name="h")
    with within(0):
        assert bus.close() is True
    with pytest.raises(BusClosedError):
        bus.start()


def test_close_while_subscribe_waits_for_the_broker(url):
    bus = make(url)
    with away(bus):
        thread, results = in_thread(lambda: bus.subscribe("a.b", print, name="h", timeout=None))
        time.sleep(0.1)
        with within(0):
            assert bus.close(0) is True
        assert ended(thread)
    assert isinstance(results[0], BusClosedError)


def test_close_while_the_file_is_locked_by_another_process(sqlite_url):
    bus = make(sqlite_url)
    with locked(sqlite_url):
        thread, results = in_thread(lambda: bus.subscribe("a.b", print, name="h", timeout=None))
        time.sleep(0.1)
        with within(0.2):
            assert bus.close(0.2) is True
    # It was in the middle of asking; the connection that this opened is closed all the same.
    assert ended(thread)
    assert isinstance(results[0], BusClosedError)


def test_close_after_the_file_could_not_be_opened(tmp_path):
    bus = make(f"sqlite:///{tmp_path}/missing/events.db")
    with pytest.raises(Exception, match="does not exist"):
        bus.subscribe("a.b", print, name="h")
    with within(0):
        assert bus.close() is True


def test_close_while_reconnecting(url):
    bus, received = make(url), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    assert bus.join(10)
    with away(bus):
        loop = bus._engine.loops[0]
        loop._commands.append(lambda consumer: bus._engine.transport.consumer(()))
        wait_for(lambda: loop.reconnects)
        with within(0):
            assert bus.close() is True


def test_close_while_run_waits_for_the_broker(url):
    bus = make(url)
    bus.on("a.b", print, name="h")
    with away(bus):
        thread, results = in_thread(bus.run)
        time.sleep(0.1)
        with within(0):
            bus.close(0)
        assert ended(thread)
    assert results == [None]


# -- the deadline ---------------------------------------------------------------------------------


def test_past_the_deadline_the_log_names_ids_and_stacks(url, caplog):
    bus, gate = make(url), Gate()
    bus.subscribe("a.b", gate, name="stuck")
    event = bus.publish("a.b")
    gate.wait_reached()
    with caplog.at_level(logging.WARNING, "eventbus"), within(0.2):
        assert bus.close(0.2) is False
        assert bus.close(0.2) is False
    gate.open()
    (record,) = [record for record in caplog.records if "still runs" in record.message]
    assert f"event {event.id}" in record.message
    assert "handler stuck" in record.message
    assert "in __call__" in record.message


def test_past_the_deadline_a_peer_gets_the_rest_at_once(sqlite_url):
    """The lease has 30 seconds to go, and this process lives on: only what still runs waits."""
    bus, gate = make(sqlite_url, max_concurrent_handlers=2), Gate()
    bus.subscribe("a.b", gate, name="h")
    for n in range(20):
        bus.publish("a.b", n, key="k" if n % 2 else None)
    gate.wait_reached()
    wait_for(lambda: len(bus._engine.dispatcher.running) == 2)
    with within(0.2):
        assert bus.close(0.2) is False

    with make(sqlite_url) as peer:
        received = Received(name="h")
        peer.subscribe("a.b", received)
        with within(2):
            received.wait(18)
        assert {event.attempt for event in received.events} == {1}
        wait_for(lambda: peer.health().subscriptions[0].backlog == 2)
        gate.open()
        wait_for(lambda: not bus._engine.dispatcher.running)


def test_what_ran_past_the_deadline_goes_to_a_peer_when_its_lease_ends(sqlite_url):
    bus, gate = make(sqlite_url, lease=1.0), Gate()
    bus.subscribe("a.b", gate, name="h")
    bus.publish("a.b", 1)
    gate.wait_reached()
    assert bus.close(0.1) is False
    with make(sqlite_url, lease=1.0) as peer:
        received = Received(name="h")
        peer.subscribe("a.b", received)
        received.wait(1)
        gate.open()
        assert peer.join(5)
    assert received.payloads == [1]


def test_everything_that_is_stuck_shares_one_deadline(url):
    bus, gate = make(url, publish_timeout=5.0), Gate()
    bus.subscribe("a.b", gate, name="h")
    bus.publish("a.b")
    gate.wait_reached()
    sending, stuck = threading.Event(), threading.Event()
    bus._engine.transport.publish = lambda *_, **__: sending.set() or stuck.wait(20)
    future = bus.publish_soon("a.b")
    # What is queued from here on is not on its way together with the first one.
    assert sending.wait(20)
    thread, _ = in_thread(lambda: bus.publish("a.b"))
    queued = [bus.publish_soon("a.b") for _ in range(10)]
    with within(0.3):
        assert bus.close(0.3) is False
    with pytest.raises(PublishError, match="closed"):
        queued[-1].result(0)
    gate.open()
    stuck.set()
    assert ended(thread)
    future.result(5)


@pytest.mark.parametrize("timeout", [0, 0.0001, -1])
def test_no_time_at_all(url, timeout):
    bus, gate = make(url), Gate()
    bus.subscribe("a.b", gate, name="h")
    bus.publish("a.b")
    gate.wait_reached()
    with within(0):
        assert bus.close(timeout) is False
    gate.open()


def test_the_earliest_deadline_counts(url):
    bus, gate = make(url), Gate()
    bus.subscribe("a.b", gate, name="h")
    bus.publish("a.b")
    gate.wait_reached()
    thread, results = in_thread(lambda: bus.close(30))
    wait_for(bus._engine.closing.is_set)
    with within(0.1):
        assert bus.close(0.1) is False
        assert ended(thread)
    assert results == [False]
    gate.open()


def test_ten_threads_close_while_a_handler_is_stuck(url):
    bus, gate = make(url), Gate()
    bus.subscribe("a.b", gate, name="h")
    bus.publish("a.b")
    gate.wait_reached()
    with within(0.3):
        closers = [in_thread(lambda: bus.close(0.3)) for _ in range(10)]
        assert all(ended(thread) for thread, _ in closers)
    assert [results for _, results in closers] == [[False]] * 10
    gate.open()


# -- from a handler -------------------------------------------------------------------------------


def test_a_close_that_a_handler_requests_is_carried_out(url):
    """Nobody else has to call `close`: threads and files go, the event is settled."""
    bus, results = make(url), []
    futures = []

    def handle(event: object) -> None:
        futures.append(bus.publish_soon("c.d"))
        results.append(bus.close())

    bus.subscribe("a.b", handle, name="h")
    bus.publish("a.b")
    wait_for(lambda: results)
    assert results == [False]
    assert futures[0].result(5).type == "c.d"
    wait_for(lambda: all(loop.finished.is_set() for loop in bus._engine.loops))
    assert bus.stats().handled == 1


def test_run_ends_when_a_handler_requests_closing(url):
    bus, results = make(url), []
    bus.on("a.b", lambda event: results.append(bus.close()), name="h")
    thread, ends = in_thread(bus.run)
    wait_for(lambda: bus.health().subscriptions)
    bus.publish("a.b")
    assert ended(thread)
    assert (results, ends) == ([False], [None])


# -- while others use the bus ----------------------------------------------------------------------


def test_close_while_a_publish_is_under_way_closes_its_connection_after_it(sqlite_url):
    bus = make(sqlite_url)
    with locked(sqlite_url):
        thread, results = in_thread(lambda: bus.publish("a.b"))
        time.sleep(0.1)
        with within(0.1):
            assert bus.close(0.1) is True
    assert ended(thread)
    assert results


def test_publish_soon_after_close_has_begun_does_not_wait_for_ever(url):
    bus = make(url)
    bus.publish_soon("a.b").result(5)
    bus.close()
    # As a thread does that had been let in just before.
    future = bus._engine.soon.add(Event("a.b"))
    with pytest.raises(PublishError, match="closed"):
        future.result(5)


def test_join_after_close_is_false_and_opens_nothing(url):
    bus = make(url)
    bus.subscribe("a.b", print, name="h")
    bus.close()
    assert bus.join(1) is False


def test_subscribing_while_it_closes_leaves_no_consumer_behind(url):
    for n in range(30):
        bus = make(url)
        thread, results = in_thread(lambda bus=bus: bus.subscribe("a.b", print, name="h"))
        time.sleep(n * 0.0003)
        bus.close(1)
        assert ended(thread)
        loops = bus._engine.loops
        wait_for(lambda loops=loops: all(loop.finished.is_set() for loop in loops))
        assert results


# -- what was asked of the consumer thread survives its session -----------------------------------


def test_a_handler_cancelled_while_the_broker_is_away_is_not_retried(url):
    """The command waits for the next session instead of going with the last one."""
    bus, calls = make(url, retry=RetryPolicy(max_attempts=9, initial=0.4, jitter=False)), []

    def fail(event: object) -> None:
        calls.append(event)
        raise RuntimeError("no")

    bus.subscribe("a.b", Received(), name="stays")
    cancelled = bus.subscribe("a.b", fail, name="fails")
    bus.publish("a.b")
    wait_for(lambda: bus.stats().retried == 1)
    loop = bus._engine.loops[0]

    def cut(consumer: object) -> None:
        cancelled.cancel()
        raise TransportUnavailable("cut")

    loop._commands.append(cut)
    loop.wake()
    wait_for(lambda: loop.reconnects == 1 and not loop._outcomes.timers, timeout=20)
    assert bus.close() is True
    assert len(calls) == 1


def test_a_subscription_cancelled_while_the_broker_is_away_ends(url):
    bus, received = make(url), Received()
    cancelled = bus.subscribe("a.b", received)
    bus.subscribe("c.d", received)
    member = next(member for id, member in bus._engine.members.items() if id.pattern == "a.b")
    loop = bus._engine.loops[0]

    def cut(consumer: object) -> None:
        cancelled.cancel()
        raise TransportUnavailable("cut")

    loop._commands.append(cut)
    loop.wake()
    wait_for(lambda: member.state == "closed", timeout=20)
    assert bus.close() is True


def test_subscribing_anew_while_the_old_member_is_being_removed(url):
    """Two threads: the new member's command may come before the old one's."""
    bus, received = make(url), Received(name="h")
    old = bus.subscribe("a.b", received)
    loop = bus._engine.loops[0]
    held, go_on = threading.Event(), threading.Event()

    def hold(consumer: object) -> None:
        held.set()
        go_on.wait(10)

    loop._commands.append(hold)
    loop.wake()
    held.wait(10)
    removed, commands = bus._engine.members[next(iter(bus._engine.members))], loop._commands
    old.cancel()
    last = commands.pop()
    bus.subscribe("a.b", received)
    commands.append(last)
    go_on.set()
    wait_for(lambda: removed.state == "closed")
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.close() is True
