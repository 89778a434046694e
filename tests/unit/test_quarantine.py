"""Suspects: each alone, behind a mark; only one that comes back with the mark is a killer."""

from __future__ import annotations

import pytest

from eventbus import RetryPolicy, TransportUnavailable
from eventbus._engine import reconnect
from tests.unit.engine_fakes import (
    InlineDispatcher,
    ScriptedBroker,
    add_handler,
    delivery,
    loop_of,
    member,
    play,
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    for name in ("SHORTEST", "LONGEST"):
        monkeypatch.setattr(reconnect, name, 0.0)


@pytest.fixture
def dispatcher():
    return InlineDispatcher()


def suspect(payload, *, deaths=2, started=False, key=None):
    made = delivery(payload, key=key)
    made.deaths, made.started = deaths, started
    return made


def idle_until(broker, condition):
    """Nothing more comes; the script ends when the condition is true."""
    end = broker.on_end
    broker.on_end = lambda: end() if condition() else None


def test_each_suspect_is_marked_and_settled_before_the_next_begins(dispatcher):
    seen, first, second = [], suspect(1), suspect(2)
    broker = ScriptedBroker([first, second])
    loop = loop_of(broker, dispatcher)
    idle_until(broker, lambda: len(broker.acked) == 2)
    play(loop, member(dispatcher, lambda event: seen.append(event.payload)))

    assert broker.steps_taken == [
        ("marked", first), ("acked", first), ("marked", second), ("acked", second),
    ]
    assert seen == [1, 2]


def test_what_came_with_a_suspect_goes_back_before_it_is_marked(dispatcher):
    seen, one, other = [], suspect("suspect"), delivery("innocent")
    broker = ScriptedBroker([other, one])
    steps = broker.steps_taken
    broker.on_settle = lambda settlement: steps.extend(
        ("released", one) for one in settlement.releases
    )
    loop = loop_of(broker, dispatcher)
    idle_until(broker, lambda: broker.acked)
    play(loop, member(dispatcher, lambda event: seen.append(event.payload)))

    assert steps == [("released", other), ("marked", one), ("acked", one)]
    assert seen == ["suspect"]


@pytest.mark.parametrize("deaths", [0, 1])
def test_fewer_deaths_are_no_suspicion(dispatcher, deaths):
    broker = ScriptedBroker([suspect(1, deaths=deaths), suspect(2, deaths=deaths)])
    play(loop_of(broker, dispatcher), member(dispatcher))
    assert {step for step, _ in broker.steps_taken} == {"acked"}


def test_one_that_comes_back_with_its_mark_is_buried_and_not_called(dispatcher, caplog):
    seen, killer = [], suspect(1, deaths=3, started=True)
    broker = ScriptedBroker([killer])
    served = member(dispatcher, seen.append)
    play(loop_of(broker, dispatcher), served)

    ((buried, record),) = [dead for settled in broker.settlements for dead in settled.dead]
    assert buried is killer
    assert (record.reason, record.handler, record.attempts) == ("crashed", "h", 1)
    assert record.data == killer.data
    assert "died 3 times" in record.error
    assert (seen, broker.acked, served.counters.dead_lettered) == ([], [killer], 1)
    assert "its process died 3 times with event" in caplog.text
    assert (served.in_flight, served.in_flight_bytes) == (set(), 0)


def test_for_several_handlers_it_becomes_an_event_for_each(dispatcher):
    """So that the mark tells which of them it was."""
    seen, one = [], suspect(1)
    broker = ScriptedBroker([one])
    served = member(dispatcher, seen.append, name="one")
    add_handler(served, seen.append, name="two")
    play(loop_of(broker, dispatcher), served)

    parked = [copy for settled in broker.settlements for _, copy in settled.parked]
    assert [(copy.handler, copy.deaths, copy.data) for copy in parked] == [
        ("one", 2, one.data), ("two", 2, one.data),
    ]
    assert (seen, broker.acked) == ([], [one])


@pytest.mark.parametrize("key", [None, "k"])
def test_a_suspect_that_merely_fails_waits_in_the_broker_without_its_mark(dispatcher, key):
    def fail(event):
        raise RuntimeError("no")

    one = suspect(1)
    one.key = key
    broker = ScriptedBroker([one])
    served = member(dispatcher, fail, retry=RetryPolicy(initial=0.01))
    loop = loop_of(broker, dispatcher)
    idle_until(broker, lambda: broker.acked)
    play(loop, served)

    ((_, copy),) = [parked for settled in broker.settlements for parked in settled.parked]
    assert (copy.handler, copy.attempt) == ("h", 2)
    assert served.counters.parked == 1


def test_a_suspect_whose_mark_was_not_written_does_not_begin(dispatcher):
    seen, one = [], suspect(1)
    broker = ScriptedBroker([one])
    broker.mark_errors = [TransportUnavailable("cut")]
    loop = loop_of(broker, dispatcher)
    idle_until(broker, lambda: broker.acked)
    play(loop, member(dispatcher, lambda event: seen.append(list(broker.steps_taken))))

    # It began after the next session had written it, and once.
    assert seen == [[("marked", one)]]
    assert (broker.acked, loop.reconnects) == ([one], 1)


def test_suspects_that_have_not_begun_are_given_back_when_the_bus_closes(dispatcher):
    dispatcher.reserve = lambda: False
    ones = [suspect(1), suspect(2)]
    broker = ScriptedBroker(ones)
    loop = loop_of(broker, dispatcher)
    admit = loop._quarantine.admit

    def admit_and_close(*arguments):
        try:
            return admit(*arguments)
        finally:
            loop.drain(float("inf"))

    loop._quarantine.admit = admit_and_close
    play(loop, member(dispatcher))

    assert broker.released == ones
    assert (broker.steps_taken, loop.drained) == ([], True)
