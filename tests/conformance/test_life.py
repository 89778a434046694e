"""Subscribing, waiting, closing, coming back: nothing is lost and nothing is left behind."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest

from eventbus import BusClosedError, ConfigurationError, Event, EventBus
from tests.conformance.target import (
    PATIENCE,
    Gate,
    Received,
    Target,
    fail,
    in_threads,
    needs,
    wait_dead,
    wait_for,
)


def test_what_is_published_after_subscribe_returned_is_delivered(target: Target) -> None:
    bus = target.bus()
    handlers = [Received() for _ in range(30)]
    for index, handler in enumerate(handlers):
        bus.subscribe(f"live.{index}", handler)
        bus.publish(f"live.{index}", index)

    for index, handler in enumerate(handlers):
        assert handler.wait(1)[0].payload == index


def test_publish_without_any_subscription_succeeds(target: Target) -> None:
    bus = target.bus()

    events = [bus.publish("nobody.cares", n) for n in range(200)]

    assert len({event.id for event in events}) == bus.stats().published == 200


def test_publishing_starts_no_thread(target: Target) -> None:
    before = set(threading.enumerate())
    target.bus().publish("quiet")
    assert set(threading.enumerate()) == before


def test_running_handler_finishes_during_close(target: Target, gate: Gate) -> None:
    bus, finished = target.bus(), Received()

    def handle(event: Event) -> None:
        gate()
        finished(event)

    bus.subscribe("slow", handle)
    bus.publish("slow", 1)
    gate.wait_reached()
    closed: list[bool] = []
    closer = threading.Thread(target=lambda: closed.append(bus.close()))
    closer.start()
    wait_for(bus._engine.closing.is_set)
    gate.open()
    closer.join(PATIENCE)

    assert (closed, finished.payloads) == ([True], [1])


@needs(durable=True)
def test_close_with_a_running_handler_neither_loses_nor_repeats(
    target: Target, gate: Gate
) -> None:
    first, received = target.bus(max_concurrent_handlers=1), Received(gate, name="steady")
    first.subscribe("steady", received)
    first.publish_many([("steady", n) for n in range(20)])
    gate.wait_reached()
    closer = threading.Thread(target=first.close)
    closer.start()
    wait_for(first._engine.closing.is_set)
    gate.open()
    closer.join(PATIENCE)

    second = target.bus()
    second.subscribe("steady", received)
    assert second.join(10)
    assert sorted(received.payloads) == list(range(20))
    assert {event.attempt for event in received.events} == {1}


@needs(durable=True)
def test_restart_does_not_repeat_what_was_settled(target: Target) -> None:
    received = Received(name="restarted")
    for start in range(0, 60, 20):
        with target.bus() as bus:
            bus.subscribe("restart", received)
            bus.publish_many([("restart", n) for n in range(start, start + 20)])
            assert bus.join(10)
            assert bus.close()

    assert sorted(received.payloads) == list(range(60))


def test_close_leaves_a_stuck_handler_behind_in_time(target: Target, gate: Gate) -> None:
    bus = target.bus()
    bus.subscribe("stuck", Received(gate))
    bus.publish("stuck")
    gate.wait_reached()

    before = time.monotonic()
    assert bus.close(timeout=0.2) is False
    assert time.monotonic() - before < 5


def test_close_from_a_handler_only_requests_it(target: Target) -> None:
    bus, results = target.bus(), []
    bus.subscribe("last", lambda event: results.append(bus.close()), name="closer")

    bus.publish("last")

    wait_for(lambda: results)
    assert results == [False]
    assert bus.close() is True
    with pytest.raises(BusClosedError):
        bus.publish("last")


def test_close_can_be_called_again(target: Target) -> None:
    bus = target.bus()
    bus.subscribe("again", Received())
    assert [bus.close() for _ in range(3)] == [True] * 3


def test_close_of_an_unused_bus_is_true(target: Target) -> None:
    assert target.bus().close() is True


def test_ten_threads_may_close_at_once(target: Target) -> None:
    bus, received, results = target.bus(), Received(), []
    bus.subscribe("closing", received)
    bus.publish_many([("closing", n) for n in range(50)])

    in_threads(10, lambda index: results.append(bus.close()))

    assert results == [True] * 10
    assert len(set(received.payloads)) == len(received)


def test_closed_bus_refuses_to_publish_and_to_subscribe(target: Target) -> None:
    bus = target.bus()
    bus.close()

    for refused in (
        lambda: bus.publish("late"),
        lambda: bus.publish_many([("late", 1)]),
        lambda: bus.publish_soon("late"),
        lambda: bus.subscribe("late", Received()),
    ):
        with pytest.raises(BusClosedError):
            refused()


def test_handler_may_publish_while_its_bus_closes(target: Target, gate: Gate) -> None:
    bus, sent = target.bus(), []

    def handle(event: Event) -> None:
        gate()
        sent.append(bus.publish("outcome"))

    bus.subscribe("work", handle)
    bus.publish("work")
    gate.wait_reached()
    closer = threading.Thread(target=bus.close)
    closer.start()
    wait_for(bus._engine.closing.is_set)
    gate.open()
    closer.join(PATIENCE)

    assert [event.type for event in sent] == ["outcome"]


def test_leaving_the_with_block_closes(target: Target) -> None:
    with target.bus() as bus:
        bus.publish("inside")
    with pytest.raises(BusClosedError):
        bus.publish("outside")


def test_cancelled_handler_gets_nothing_more(target: Target) -> None:
    bus, cancelled, other = target.bus(), Received(), Received()
    subscription = bus.subscribe("both", cancelled)
    bus.subscribe("both", other)
    bus.publish("both", 1)
    assert bus.join(10)

    bus.unsubscribe(subscription)
    bus.publish("both", 2)

    other.wait(2)
    assert bus.join(10)
    assert (cancelled.payloads, other.payloads) == ([1], [1, 2])


def test_cancelling_twice_does_no_harm(target: Target) -> None:
    bus = target.bus()
    subscription = bus.subscribe("twice", Received())
    subscription.cancel()
    subscription.cancel()
    assert bus.close() is True


def test_durable_subscription_collects_while_its_handler_is_cancelled(target: Target) -> None:
    bus, received = target.bus(), Received(name="back")
    bus.subscribe("pause", received).cancel()
    bus.publish_many([("pause", n) for n in range(20)])

    bus.subscribe("pause", received)

    received.wait(20)
    assert bus.join(10)
    assert sorted(received.payloads) == list(range(20))


@needs(multi_process=True)
def test_cancelling_steals_nothing_from_the_other_members(target: Target) -> None:
    leaving, staying, received = target.bus(), target.bus(), Received(name="member")
    subscription = leaving.subscribe("shared", received)
    staying.subscribe("shared", received)
    publisher = target.bus("publisher")

    publisher.publish_many([("shared", n) for n in range(100)])
    subscription.cancel()
    publisher.publish_many([("shared", n) for n in range(100, 200)])

    received.wait(200)
    assert staying.join(10)
    assert sorted(received.payloads) == list(range(200))


def test_fifty_buses_leave_no_thread_and_no_file_behind(target: Target, leak_free: None) -> None:
    for n in range(50):
        with target.bus() as bus:
            received = Received(name="brief")
            bus.subscribe("brief", received)
            bus.publish("brief", n)
            received.wait(1)
            assert bus.close()


def test_fifty_subscriptions_of_one_bus_leave_no_thread_behind(target: Target) -> None:
    bus = target.bus()
    bus.subscribe("steady", Received())
    before = threading.active_count()

    for n in range(50):
        bus.subscribe(f"brief.{n}", Received()).cancel()

    wait_for(lambda: threading.active_count() <= before)
    assert [one.pattern for one in bus.health().subscriptions] == ["steady"]


@needs(history=True)
def test_subscription_born_at_earliest_gets_the_past(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.publish_many([("past", n) for n in range(20)])

    bus.subscribe("past", received, start_from="earliest")

    received.wait(20)
    assert sorted(received.payloads) == list(range(20))


@needs(history=False)
def test_earliest_is_refused_where_there_is_no_history(target: Target) -> None:
    bus = target.bus()
    with pytest.raises(ConfigurationError, match="earliest"):
        bus.subscribe("past", Received(), start_from="earliest")
    assert bus.health().subscriptions == ()


def test_subscription_born_at_latest_gets_only_what_follows(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.publish_many([("past", n) for n in range(20)])

    bus.subscribe("past", received)
    bus.publish("past", "new")

    received.wait(1)
    assert bus.join(10)
    assert received.payloads == ["new"]


@needs(history=True)
def test_start_from_counts_only_at_birth(target: Target) -> None:
    received = Received(name="reborn")
    with target.bus() as bus:
        bus.subscribe("past", received)
        bus.publish("past", 1)
        assert bus.join(10)

    bus = target.bus()
    bus.subscribe("past", received, start_from="earliest")
    bus.publish("past", 2)

    received.wait(2)
    assert bus.join(10)
    assert received.payloads == [1, 2]


def test_publish_soon_answers_with_the_event(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.subscribe("soon", received)

    futures = [bus.publish_soon("soon", n, key="k") for n in range(100)]

    done = wait(futures, PATIENCE).done
    assert len(done) == 100
    assert [future.result().payload for future in futures] == list(range(100))
    received.wait(100)
    assert received.payloads == list(range(100))


def test_close_flushes_publish_soon(target: Target) -> None:
    bus = target.bus()

    futures = [bus.publish_soon("soon", n) for n in range(500)]

    assert bus.close() is True
    assert [future.result(0).payload for future in futures] == list(range(500))
    assert bus.stats().published == 500


def test_join_waits_until_everything_is_settled(target: Target, gate: Gate) -> None:
    bus = target.bus()
    bus.subscribe("slow", Received(gate))
    bus.publish_many([("slow", n) for n in range(5)])

    assert bus.join(0.05) is False
    gate.open()
    assert bus.join(10) is True


def test_join_with_nothing_to_do_is_true(target: Target) -> None:
    bus = target.bus()
    assert bus.join(1) is True
    bus.subscribe("idle", Received())
    assert bus.join(1) is True


def test_join_counts_a_dead_letter_as_settled(target: Target) -> None:
    bus = target.bus()
    bus.subscribe("doomed", fail)
    bus.publish("doomed")
    assert bus.join(10) is True
    assert len(wait_dead(bus, 1)) == 1


@needs(multi_process=True)
def test_prefix_keeps_two_applications_apart(target: Target) -> None:
    shop, blog = target.bus(prefix="shop"), target.bus(prefix="blog")
    in_shop, in_blog = Received(), Received()
    shop.subscribe("**", in_shop)
    blog.subscribe("**", in_blog)

    shop.publish("user.created", 1)
    blog.publish("user.created", 2)

    assert in_shop.wait(1)[0].topic == "shop.user.created"
    assert in_blog.wait(1)[0].topic == "blog.user.created"
    assert shop.join(10)
    assert blog.join(10)
    assert (in_shop.payloads, in_blog.payloads) == ([1], [2])
    assert {event.type for event in in_shop.events + in_blog.events} == {"user.created"}


def test_health_describes_each_live_subscription(target: Target, gate: Gate) -> None:
    bus = target.bus(prefix="app", max_concurrent_handlers=1)
    bus.subscribe("busy.*", Received(gate))
    bus.publish_many([("busy.bee", n) for n in range(3)])
    gate.wait_reached()
    wait_for(lambda: bus.health().ok)

    health = bus.health()
    (one,) = health.subscriptions
    assert (health.provider, health.location) == (target.name, bus.config.location)
    assert (one.group, one.pattern, one.state, one.backlog) == ("g", "busy.*", "running", 3)
    assert 1 <= one.in_flight <= 3
    assert one.last_fetch is not None and 0 <= one.last_fetch < PATIENCE
    gate.open()
    assert bus.join(10)
    assert bus.health().subscriptions[0].backlog == 0


def test_stats_count_what_happened(target: Target) -> None:
    bus = target.bus()
    bus.subscribe("good", Received())
    bus.subscribe("bad", fail)

    bus.publish_many([("good", 1), ("good", 2), ("bad", 3)])

    assert bus.join(10)
    stats = bus.stats()
    assert (stats.published, stats.handled, stats.failed) == (3, 2, 3)
    assert (stats.retried, stats.dead_lettered, stats.reconnects) == (2, 1, 0)


def test_middleware_wraps_each_call_from_the_outside_in(target: Target) -> None:
    bus, calls = target.bus(), []
    for name in ("outer", "inner"):
        def layer(event: Event, call_next: object, name: str = name) -> None:
            calls.append(name)
            call_next(event)  # type: ignore[operator]

        bus.add_middleware(layer)
    bus.subscribe("wrapped", lambda event: calls.append("handler"), name="wrapped")

    bus.publish("wrapped")

    assert bus.join(10)
    assert calls == ["outer", "inner", "handler"]


def test_run_ends_when_the_bus_is_closed(target: Target) -> None:
    bus, received = target.bus(), Received()
    bus.on("running", received)
    runner = threading.Thread(target=bus.run)
    runner.start()
    wait_for(lambda: _is_live(bus))

    bus.publish("running", 1)
    received.wait(1)
    assert bus.close() is True
    runner.join(PATIENCE)

    assert not runner.is_alive()
    assert received.payloads == [1]


def _is_live(bus: EventBus) -> bool:
    health = bus.health()
    return health.ok and len(health.subscriptions) == 1
