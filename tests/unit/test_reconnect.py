"""Reconnecting: when the next attempt comes, and what the log says, without waiting for it."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from eventbus import AuthenticationError, ConfigurationError, TopologyError, TransportUnavailable
from eventbus._engine import reconnect
from eventbus._engine.reconnect import HEALTHY, Reconnect, until_available
from tests.unit.engine_fakes import Clock

AWAY = TransportUnavailable("the broker is away")
WRONG = [AuthenticationError("bad password"), TopologyError("no such"), ConfigurationError("no")]


class Stop(threading.Event):
    """Notes each pause and lets it pass at once."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock
        self.pauses = []

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        self._clock.sleep(timeout)
        return self.is_set()


class Sessions:
    """Lives as long as it is told to, then fails; returns when all were played."""

    def __init__(self, clock, *plan):
        self._clock = clock
        self._plan = list(plan)
        self.begun = []

    def __call__(self):
        self.begun.append(self._clock.now)
        if self._plan:
            seconds, error = self._plan.pop(0)
            self._clock.sleep(seconds)
            raise error


@pytest.fixture
def clock(monkeypatch):
    return Clock().install(monkeypatch, reconnect)


@pytest.fixture
def stop(clock):
    return Stop(clock)


def pauses_of(clock, stop, *plan):
    """The pauses between sessions that live for so many seconds and then fail."""
    sessions, failures = Sessions(clock, *plan), []
    again = Reconnect("consumer", stop, failures.append)
    again.run(sessions)
    assert failures == [error for _, error in plan]
    assert again.attempts == len(sessions.begun) == len(plan) + 1
    return stop.pauses


def bounds(monkeypatch, choose):
    """Decide what is drawn from each range of the jitter."""
    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return choose(low, high)

    monkeypatch.setattr("tenacity.wait.random.uniform", uniform)
    return drawn


# -- when ------------------------------------------------------------------------------------------


def test_pauses_double_up_to_thirty_seconds_and_are_drawn_from_their_whole_range(
    monkeypatch, clock, stop
):
    drawn = bounds(monkeypatch, lambda low, high: high)
    pauses = pauses_of(clock, stop, *[(0.0, AWAY)] * 9)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert {low for low, _ in drawn} == {0.5}


def test_no_pause_is_shorter_than_half_a_second_or_longer_than_thirty(clock, stop):
    pauses = pauses_of(clock, stop, *[(0.0, AWAY)] * 200)
    assert min(pauses) >= 0.5
    assert max(pauses) <= 30.0
    # Many clients that lost one broker do not come back in lockstep, not even at the cap.
    assert len(set(pauses[10:])) > 150


def test_after_a_healthy_session_the_first_attempt_is_immediate_and_the_count_fresh(
    monkeypatch, clock, stop
):
    bounds(monkeypatch, lambda low, high: high)
    pauses = pauses_of(
        clock, stop, (0.0, AWAY), (0.0, AWAY), (HEALTHY, AWAY), (0.0, AWAY), (0.0, AWAY)
    )
    assert pauses == [1.0, 2.0, 0.0, 1.0, 2.0]


def test_a_session_that_dies_soon_does_not_count_as_healthy(monkeypatch, clock, stop):
    bounds(monkeypatch, lambda low, high: high)
    assert pauses_of(clock, stop, *[(HEALTHY - 0.1, AWAY)] * 3) == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)
def test_what_a_person_has_to_change_is_tried_each_thirty_seconds(clock, stop, error):
    assert pauses_of(clock, stop, *[(0.0, error)] * 4) == [30.0] * 4


def test_it_ends_with_a_session_that_ends_by_itself(clock, stop):
    assert pauses_of(clock, stop) == []


def test_no_further_attempt_is_made_once_it_is_stopped(clock, stop):
    sessions = Sessions(clock, *[(0.0, AWAY)] * 100)

    def stop_at_the_third(error):
        if len(sessions.begun) == 3:
            stop.set()

    Reconnect("consumer", stop, stop_at_the_third).run(sessions)
    assert len(sessions.begun) == 3


def test_stopping_ends_a_pause_at_once():
    stop, failed = threading.Event(), threading.Event()

    def session():
        raise TopologyError("no such thing")  # Half a minute's pause.

    thread = threading.Thread(
        target=Reconnect("consumer", stop, lambda error: failed.set()).run, args=(session,)
    )
    thread.start()
    assert failed.wait(5)
    begun = time.monotonic()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - begun < 5


def test_what_is_no_exception_is_not_retried(clock, stop):
    sessions = Sessions(clock, (0.0, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        Reconnect("consumer", stop, lambda error: None).run(sessions)
    assert stop.pauses == []


# -- what the log says -----------------------------------------------------------------------------


def test_the_first_failure_is_a_warning_and_those_after_it_are_information(clock, stop, caplog):
    with caplog.at_level(logging.INFO, "eventbus.transport"):
        pauses_of(clock, stop, *[(0.0, AWAY)] * 3, (HEALTHY, AWAY), (0.0, AWAY), (0.0, AWAY))
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO", "INFO", "WARNING", "WARNING", "INFO"]
    assert caplog.messages[0].startswith("consumer: the broker is away; trying again in ")


@pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)
def test_a_permanent_error_is_logged_once_a_minute(clock, stop, caplog, error):
    pauses_of(clock, stop, *[(0.0, error)] * 9)
    # Nine failures, half a minute apart: at 0, 60, 120, 180 and 240 s.
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 5
    assert set(caplog.messages) == {f"consumer: {error} (tried again every 30 s)"}


def test_an_unexpected_error_is_reported_as_a_bug_with_its_traceback(clock, stop, caplog):
    pauses_of(clock, stop, (0.0, ZeroDivisionError("oops")))
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "You have found a bug in eventbus" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


# -- until it is available -------------------------------------------------------------------------


class Operation:
    """Fails as planned, then succeeds."""

    def __init__(self, *errors):
        self._errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)


@pytest.fixture
def tenacity_clock(clock, monkeypatch):
    """Tenacity measures the whole time on its own."""
    monkeypatch.setattr("tenacity.time.monotonic", clock)
    return clock


def test_an_operation_is_tried_until_the_broker_answers(tenacity_clock, stop):
    operation = Operation(*[AWAY] * 20)
    until_available(operation, timeout=None, stop=stop)
    assert operation.calls == 21
    assert all(0.5 <= pause <= 30.0 for pause in stop.pauses)


def test_after_its_timeout_the_last_error_is_raised(tenacity_clock, stop):
    begun = tenacity_clock.now
    with pytest.raises(TransportUnavailable, match="the broker is away"):
        until_available(Operation(*[AWAY] * 100), timeout=10.0, stop=stop)
    # It neither gives up before its time nor oversleeps it.
    assert tenacity_clock.now - begun == pytest.approx(10.0)


@pytest.mark.parametrize("error", [*WRONG, ValueError("x")], ids=lambda error: type(error).__name__)
def test_what_no_waiting_mends_is_raised_at_once(tenacity_clock, stop, error):
    operation = Operation(error)
    with pytest.raises(type(error)):
        until_available(operation, timeout=10.0, stop=stop)
    assert (operation.calls, stop.pauses) == (1, [])


def test_closing_ends_the_attempts(tenacity_clock, stop):
    operation = Operation(*[AWAY] * 100)

    def close_meanwhile():
        if operation.calls == 2:
            stop.set()
        operation()

    with pytest.raises(TransportUnavailable):
        until_available(close_meanwhile, timeout=None, stop=stop)
    assert operation.calls == 3
