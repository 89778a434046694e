"""The consumer thread against a scripted broker: how long it waits, what it settles and keeps."""

from __future__ import annotations

import logging
import threading
import time

import msgspec
import pytest

from eventbus import RetryPolicy
from eventbus._engine import consumer, outcomes
from eventbus._engine import member as member_module
from tests.unit.engine_fakes import (
    CAPABILITIES,
    ID,
    Clock,
    InlineDispatcher,
    ScriptedBroker,
    add_handler,
    begin,
    delivery,
    loop_of,
    member,
    play,
)

INTERVAL = CAPABILITIES.settle_interval


@pytest.fixture
def clock(monkeypatch):
    return Clock().install(monkeypatch, consumer, outcomes)


@pytest.fixture
def dispatcher():
    return InlineDispatcher()


# -- how long a fetch may wait -------------------------------------------------------------------


def test_a_success_that_waits_for_company_is_settled_within_the_interval(clock, dispatcher):
    """Also when it is the last one and nothing else is in flight."""
    first, last = delivery(1), delivery(2)
    settled_at = {}

    def pass_time():
        clock.sleep(broker.timeouts[-1])

    # The first is settled at once, which begins the interval; the last has to wait for its end.
    broker = ScriptedBroker([first], [last], *[pass_time] * 10)
    broker.on_settle = lambda settlement: settled_at.update(
        (one.receipt, clock.now) for one in settlement.acks
    )
    play(loop_of(broker, dispatcher), member(dispatcher))

    assert settled_at.keys() == {first.receipt, last.receipt}
    assert 0.0 < settled_at[last.receipt] - settled_at[first.receipt] <= INTERVAL + 1e-6
    # Each wait in between is part of the interval, and the first one after it is long again.
    waits = broker.timeouts[2:]
    pending = waits[: waits.index(consumer.IDLE)]
    assert pending and all(0.0 < wait <= INTERVAL for wait in pending)


def test_with_nothing_going_on_a_fetch_waits_long(clock, dispatcher):
    broker = ScriptedBroker((), ())
    play(loop_of(broker, dispatcher), member(dispatcher))
    assert broker.timeouts[:2] == [consumer.IDLE] * 2


def test_a_fetch_ends_when_a_retry_is_due(clock, dispatcher):
    seen = []

    def fail_once(event):
        seen.append((event.attempt, clock.now))
        if event.attempt == 1:
            raise RuntimeError("not yet")

    broker = ScriptedBroker([delivery()], *[lambda: clock.sleep(broker.timeouts[-1])] * 40)
    retry = RetryPolicy(max_attempts=2, initial=0.33, jitter=False)
    play(loop_of(broker, dispatcher), member(dispatcher, fail_once, retry=retry))

    (_, failed_at), (attempt, again_at) = seen
    assert attempt == 2
    assert again_at - failed_at == pytest.approx(0.33)
    assert min(broker.timeouts) >= 0.0


def test_leases_are_renewed_at_each_third(clock, dispatcher):
    dispatcher.busy = True
    one, begun, renewed = delivery(), clock.now, []
    broker = ScriptedBroker([one], *[lambda: clock.sleep(broker.timeouts[-1])] * 160)
    broker.on_keep = lambda: renewed.append(clock.now - begun)
    play(loop_of(broker, dispatcher, lease=3.0), member(dispatcher))

    assert renewed == pytest.approx([1.0, 2.0, 3.0])
    assert broker.sessions[0].kept == [[one]] * 3


# -- settling ------------------------------------------------------------------------------------


def test_the_outcome_of_a_lost_lease_is_ignored(clock, dispatcher, caplog):
    dispatcher.busy = True
    one = delivery()

    def lose():
        broker.lost = [one]
        clock.sleep(1.0)

    def finish():
        broker.lost = []
        dispatcher.busy = False

    broker = ScriptedBroker([one], lose, finish, ())
    served = member(dispatcher)
    with caplog.at_level(logging.WARNING):
        play(loop_of(broker, dispatcher, lease=3.0), served)

    assert served.counters.leases_lost == 1
    assert "lease of an event was lost" in caplog.text
    assert served.counters.handled == 1
    assert broker.settlements == []


def test_a_lease_reported_lost_twice_is_counted_once(clock, dispatcher):
    dispatcher.busy = True
    one = delivery()
    broker = ScriptedBroker([one], *[lambda: clock.sleep(1.0)] * 3)
    broker.lost = [one]
    served = member(dispatcher)
    play(loop_of(broker, dispatcher, lease=3.0), served)

    assert served.counters.leases_lost == 1
    # It is not ours any more, so nobody asks to renew it.
    assert broker.sessions[0].kept == [[one]]


# -- members -------------------------------------------------------------------------------------


def test_a_removed_member_is_detached_and_what_it_had_not_begun_goes_back(dispatcher):
    dispatcher.busy = True
    one, served = delivery(), member(dispatcher)
    broker = ScriptedBroker([one], lambda: loop.remove(served), ())
    loop = loop_of(broker, dispatcher)
    play(loop, served, member(dispatcher, id=ID._replace(group="other")))

    assert broker.sessions[0].detached == [ID]
    assert broker.released == [one]
    assert (served.state, served.counters.released) == ("closed", 1)


@pytest.mark.parametrize("shared", [False, True])
def test_while_its_last_handlers_run_a_closing_loop_takes_nothing_more(dispatcher, shared):
    dispatcher.busy = True
    running, waiting = delivery(1), delivery(2)
    served = member(dispatcher)
    broker = ScriptedBroker(
        [running, waiting], lambda: begin(dispatcher) and (),
        capabilities=msgspec.structs.replace(CAPABILITIES, cross_process_order=shared),
    )
    seen = []
    loop = loop_of(broker, dispatcher)
    broker.on_end = lambda: loop.drain(time.monotonic() + 0.05)
    broker.on_settle = lambda _: seen.append(list(broker.sessions[0].detached))
    play(loop, served)

    # What had not begun is given back before: it belongs in front of what comes back then.
    assert (broker.released, seen[0]) == ([waiting], [])
    # Who leaves a group that assigns shares would have to wait for the handlers.
    assert broker.sessions[0].detached == ([] if shared else [ID])


def test_a_removed_member_is_forgotten_but_for_its_counters(dispatcher):
    dispatcher.busy = True
    served, other = member(dispatcher), member(dispatcher, id=ID._replace(group="other"))
    broker = ScriptedBroker([delivery()], lambda: loop.remove(served), ())
    loop = loop_of(broker, dispatcher)
    play(loop, served, other)

    assert loop.members == (other,)
    assert loop.counters().released == 1


@pytest.mark.parametrize(
    ("succeeded", "called"), [(("one",), ["two"]), (("one", "two"), []), ((), ["one", "two"])]
)
def test_handlers_that_had_succeeded_elsewhere_are_not_called_again(dispatcher, succeeded, called):
    seen, event = [], delivery()
    event.succeeded = succeeded
    broker = ScriptedBroker([event])
    served = member(dispatcher, lambda event: seen.append("one"), name="one")
    add_handler(served, lambda event: seen.append("two"), name="two")
    play(loop_of(broker, dispatcher), served)

    assert seen == called
    assert (broker.acked, broker.released) == ([event], [])


def test_an_event_for_a_handler_that_is_not_here_goes_back(dispatcher):
    seen, one = [], delivery()
    one.handler = "gone"
    broker = ScriptedBroker([one])
    play(loop_of(broker, dispatcher), member(dispatcher, seen.append))

    assert (broker.released, broker.acked, seen) == ([one], [], [])


def test_what_waits_behind_stuck_workers_goes_back_after_a_third_of_the_lease(
    monkeypatch, dispatcher
):
    """A peer can begin what waits here; what runs is kept."""
    clock = Clock().install(monkeypatch, consumer, outcomes, member_module)
    dispatcher.busy, dispatcher.idle = True, 0
    running, waiting = delivery(1), delivery(2)
    begun, released_at = clock.now, []

    def pass_time():
        clock.sleep(0.1)
        if clock.now - begun > 8.0:
            loop.drain(clock.now)

    broker = ScriptedBroker([running, waiting], lambda: begin(dispatcher) and ())
    broker.on_settle = lambda settlement: released_at.append(clock.now - begun)
    loop = loop_of(broker, dispatcher, lease=9.0)
    loop._wakeup = Ticking(pass_time)
    broker.on_end = pass_time
    play(loop, member(dispatcher))

    assert broker.released == [waiting]
    assert 3.0 < released_at[0] < 3.0 + 2 * consumer.WAITING_CHECK
    assert [set(kept) for kept in broker.sessions[0].kept] == [{running, waiting}, {running}]
    assert not loop.drained


class Ticking(threading.Event):
    """A flag that nobody waits for in vain: time passes instead."""

    def __init__(self, tick):
        super().__init__()
        self._tick = tick

    def wait(self, timeout=None):
        self._tick()
        return self.is_set()
