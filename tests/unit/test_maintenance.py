"""When cleaning up is due, and what its failures do: nothing."""

from __future__ import annotations

import threading

import pytest

from eventbus import TransportUnavailable
from eventbus._engine import maintenance as module
from eventbus._engine.maintenance import HURRY, INTERVAL, Maintenance
from tests.unit.engine_fakes import Clock


class Broker:
    def __init__(self):
        self.cleaned = 0
        self.more = False
        self.error = None
        self.before = lambda: None

    def maintain(self):
        self.before()
        self.cleaned += 1
        if self.error is not None:
            raise self.error
        return self.more


@pytest.fixture
def clock(monkeypatch):
    return Clock().install(monkeypatch, module)


@pytest.fixture
def broker():
    return Broker()


def test_it_begins_after_a_while_and_then_keeps_its_interval(clock, broker):
    maintenance = Maintenance(broker)
    for _ in range(3):
        maintenance.run_if_due()
        clock.sleep(INTERVAL)
    assert broker.cleaned == 2


def test_what_is_left_over_is_cleaned_soon(clock, broker):
    maintenance = Maintenance(broker)
    broker.more = True
    clock.sleep(INTERVAL)
    maintenance.run_if_due()
    clock.sleep(HURRY)
    maintenance.run_if_due()
    assert broker.cleaned == 2


def test_a_failure_waits_for_the_next_time_and_disturbs_nobody(clock, broker, caplog):
    caplog.set_level("INFO", logger="eventbus.transport")
    maintenance = Maintenance(broker)
    broker.error = TransportUnavailable("away")
    clock.sleep(INTERVAL)
    maintenance.run_if_due()
    maintenance.run_if_due()
    assert broker.cleaned == 1
    assert "tried again later: away" in caplog.text


def test_while_one_thread_cleans_the_others_go_on(clock, broker):
    maintenance = Maintenance(broker)
    entered, leave = threading.Event(), threading.Event()

    def stay():
        entered.set()
        leave.wait(10)

    broker.before = stay
    clock.sleep(INTERVAL)
    thread = threading.Thread(target=maintenance.run_if_due)
    thread.start()
    assert entered.wait(10)
    clock.sleep(INTERVAL)
    maintenance.run_if_due()
    leave.set()
    thread.join(10)
    assert broker.cleaned == 1
