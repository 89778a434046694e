"""The breaker: what pauses a subscription, what it may still try, and what ends the pause."""

from __future__ import annotations

import pytest

from eventbus import Event, Reject, RetryPolicy, SerializationError
from eventbus._engine import breaker
from eventbus._engine.breaker import PROBE_INTERVAL, Breaker
from eventbus._engine.failures import describe, undecodable
from eventbus._engine.work import Attempt
from tests.unit.engine_fakes import Clock, InlineDispatcher, delivery, member

LIMIT = 3
MANY = 1_000_000


@pytest.fixture
def clock(monkeypatch):
    return Clock().install(monkeypatch, breaker)


@pytest.fixture
def served(clock):
    made = member(InlineDispatcher(), retry=RetryPolicy(max_attempts=1, pause_after=LIMIT))
    made.state = "running"
    return made


def bury(served, number=1):
    attempt = Attempt(delivery(), served.bindings[0], 1)
    for _ in range(number):
        Breaker.dead_letter(served, describe(attempt, Event("a.b"), Reject("no")))


def test_so_many_dead_letters_in_a_row_pause_it_and_say_so_once(served, caplog):
    bury(served, LIMIT - 1)
    assert (served.state, Breaker.may_fetch(served) > MANY) == ("running", True)
    bury(served)
    assert (served.state, Breaker.may_fetch(served)) == ("paused", 0)
    assert served.must_hand_back
    bury(served, 5)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "eventbus.breaker"]
    assert "is paused: 3 dead letters in a row, the last one from h" in line


def test_a_success_in_between_begins_the_count_afresh(served):
    for _ in range(5):
        bury(served, LIMIT - 1)
        Breaker.success(served)
    assert served.state == "running"


def test_undecodable_bytes_say_nothing_about_the_handler(served):
    attempt = Attempt(delivery(data=b"?"), served.bindings[0], 1)
    for _ in range(LIMIT + 1):
        Breaker.dead_letter(served, undecodable(attempt, SerializationError("not an event")))
    assert (served.state, served.streak) == ("running", 0)


def test_while_paused_one_event_is_tried_per_interval(served, clock):
    bury(served, LIMIT)
    clock.sleep(PROBE_INTERVAL - 0.1)
    assert Breaker.may_fetch(served) == 0
    clock.sleep(0.1)
    assert [Breaker.may_fetch(served) for _ in range(3)] == [1, 0, 0]
    clock.sleep(PROBE_INTERVAL)
    probe = delivery()
    served.hold(probe)
    assert Breaker.may_fetch(served) == 0
    served.forget(probe)
    assert Breaker.may_fetch(served) == 1


def test_a_probe_that_fails_keeps_it_paused_for_another_interval(served, clock):
    bury(served, LIMIT)
    clock.sleep(PROBE_INTERVAL)
    assert Breaker.may_fetch(served) == 1
    clock.sleep(1.0)
    bury(served)
    clock.sleep(PROBE_INTERVAL - 0.1)
    assert (served.state, Breaker.may_fetch(served)) == ("paused", 0)


def test_a_probe_that_succeeds_ends_the_pause(served, clock, caplog):
    bury(served, LIMIT)
    clock.sleep(PROBE_INTERVAL)
    assert Breaker.may_fetch(served) == 1
    Breaker.success(served)
    assert (served.state, served.streak) == ("running", 0)
    assert Breaker.may_fetch(served) > MANY
    assert "runs again: a handler has succeeded" in caplog.text
    bury(served, LIMIT - 1)
    assert served.state == "running"


def test_a_subscription_that_is_disconnected_is_not_paused_by_late_outcomes(served):
    served.state = "connecting"
    bury(served, LIMIT)
    assert (served.state, served.must_hand_back) == ("connecting", False)
