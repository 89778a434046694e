"""A bus that nobody can reach any more: it says so, and its threads end."""

from __future__ import annotations

import gc
import logging
import threading
import warnings
import weakref

import pytest

from eventbus import EventBus
from tests.lifecycle.scripts import run
from tests.lifecycle.waiting import Gate, Received, wait_for

pytestmark = pytest.mark.usefixtures("leak_free")


def make(url: str, **settings: object) -> EventBus:
    return EventBus(url, group="g", environ={}, **settings)


def drop(holder: list[EventBus]) -> list[warnings.WarningMessage]:
    """Forget the only reference; return what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        holder.clear()
        gc.collect()
    return [one for one in caught if "EventBus" in str(one.message)]


def test_dropping_a_bus_with_a_live_subscription_warns_and_ends_it(url, caplog):
    received, holder = Received(), [make(url)]
    holder[0].subscribe("a.b", received)
    holder[0].publish("a.b", 1)
    received.wait(1)
    engine, reference = holder[0]._engine, weakref.ref(holder[0])
    with caplog.at_level(logging.WARNING, "eventbus"):
        (warning,) = drop(holder)
    assert warning.category is ResourceWarning
    assert "was dropped without close(): it handles 'a.b' no longer" in str(warning.message)
    # It names the bus as its source.
    del warning
    assert reference() is None
    assert "Keep a reference" in caplog.text
    wait_for(lambda: all(loop.finished.is_set() for loop in engine.loops))
    wait_for(lambda: getattr(engine.transport, "_main", None) is None)


def test_what_runs_when_a_bus_is_dropped_is_finished_and_settled(sqlite_url):
    gate, holder = Gate(), [make(sqlite_url)]
    received = Received(gate, name="h")
    holder[0].subscribe("a.b", received)
    holder[0].publish("a.b", 1)
    gate.wait_reached()
    (loop,) = holder[0]._engine.loops
    drop(holder)
    gate.open()
    wait_for(loop.finished.is_set)
    with make(sqlite_url) as bus:
        bus.subscribe("a.b", received)
        assert bus.join(5)
    assert received.payloads == [1]


def test_what_was_queued_when_a_bus_is_dropped_is_sent(sqlite_url):
    holder = [make(sqlite_url)]
    futures = [holder[0].publish_soon("a.b", n) for n in range(500)]
    engine = holder[0]._engine
    assert drop(holder) == []
    assert [future.result(5).payload for future in futures] == list(range(500))
    wait_for(lambda: engine.transport._main is None)


def test_a_bus_in_a_reference_cycle_is_collected(url):
    holder = [make(url)]
    holder[0].cycle = holder[0]  # type: ignore[attr-defined]
    holder[0].subscribe("a.b", Received())
    assert len(drop(holder)) == 1


@pytest.mark.parametrize(
    "end",
    [
        lambda bus: None,
        lambda bus: bus.publish("a.b"),
        lambda bus: (bus.publish_soon("a.b").result(5), bus.close()),
        lambda bus: (bus.subscribe("a.b", print, name="h"), bus.close()),
        lambda bus: bus.subscribe("a.b", print, name="h").cancel(),
    ],
    ids=["unused", "published", "queued-closed", "closed", "cancelled"],
)
def test_without_a_live_subscription_there_is_nothing_to_warn_of(url, end):
    holder = [make(url)]
    end(holder[0])
    assert drop(holder) == []


def test_a_subscription_that_can_still_be_cancelled_keeps_its_bus(url):
    received, bus = Received(), make(url)
    subscription = bus.subscribe("a.b", received)
    engine = bus._engine
    holder = [bus]
    del bus
    assert drop(holder) == []
    assert not engine.ending.is_set()
    subscription.cancel()
    del subscription
    gc.collect()
    wait_for(lambda: all(loop.finished.is_set() for loop in engine.loops))


def test_a_bus_whose_construction_failed_is_collected_in_silence():
    holder: list[EventBus] = []
    with pytest.raises(ValueError, match="scheme"):
        holder.append(EventBus("nonsense://", environ={}))
    assert drop(holder) == []


def test_collecting_a_bus_while_its_own_threads_hold_locks_does_not_block(url):
    """A finalizer runs wherever the collector happens to: on top of any frame of ours."""
    for _ in range(20):
        holder, gate = [make(url)], threading.Event()
        holder[0].cycle = holder[0]  # type: ignore[attr-defined]

        def collect(event: object, gate: threading.Event = gate) -> None:
            gc.collect()
            gate.set()

        holder[0].subscribe("a.b", collect, name="h")
        engine = holder[0]._engine
        holder[0].publish("a.b")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            holder.clear()
            assert gate.wait(10)
            gc.collect()
        wait_for(lambda loops=engine.loops: all(loop.finished.is_set() for loop in loops))


def test_the_exit_of_the_interpreter_warns_of_nothing(url):
    result = run(
        """
        import sys, warnings
        warnings.simplefilter("default", ResourceWarning)
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        bus.subscribe("a.b", lambda event: None, name="h")
        bus.publish("a.b")
        """,
        url,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
