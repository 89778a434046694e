"""Handlers that take long: reported once with their stack, then let go."""

from __future__ import annotations

import logging
import threading

import pytest

from eventbus._engine import consumer, watchdog
from eventbus._engine.dispatcher import Running
from eventbus._engine.watchdog import Watchdog, stack_of
from tests.unit.engine_fakes import (
    Clock,
    InlineDispatcher,
    ScriptedBroker,
    begin,
    delivery,
    loop_of,
    member,
    play,
)

TIMEOUT = 10.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(watchdog, "perf_counter", clock)
    return clock.install(monkeypatch, consumer)


@pytest.fixture
def dispatcher():
    return InlineDispatcher()


@pytest.fixture
def stuck_thread():
    """A thread that stands in a function of a telling name."""
    gate, reached = threading.Event(), threading.Event()

    def waiting_for_the_mail_server():
        reached.set()
        gate.wait(20)

    thread = threading.Thread(target=waiting_for_the_mail_server, daemon=True)
    thread.start()
    assert reached.wait(5)
    yield thread
    gate.set()
    thread.join()


def run(dispatcher, clock, *deliveries, ident=1):
    """Begin attempts as workers do, each in a thread of another number."""
    dispatcher.busy = True
    member(dispatcher, name="mailer.send").admit(deliveries)
    for number, _ in enumerate(deliveries):
        dispatcher.running[ident + number] = Running(begin(dispatcher), clock.now)


def test_a_slow_handler_is_reported_once_with_its_stack(clock, dispatcher, stuck_thread, caplog):
    run(dispatcher, clock, delivery(), ident=stuck_thread.ident)
    watched = Watchdog(dispatcher, TIMEOUT)

    clock.sleep(TIMEOUT)
    watched.check()
    assert caplog.records == []

    clock.sleep(0.5)
    for _ in range(3):
        watched.check()
        clock.sleep(TIMEOUT)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("eventbus.watchdog", logging.WARNING)
    message = record.getMessage()
    assert "handler mailer.send has been running for 10.5 s" in message
    assert "handler_timeout is 10.0 s" in message
    assert "in waiting_for_the_mail_server" in message


def test_the_next_slow_handler_of_the_same_thread_is_reported_too(clock, dispatcher, caplog):
    watched = Watchdog(dispatcher, TIMEOUT)
    for _ in range(2):
        run(dispatcher, clock, delivery())
        clock.sleep(TIMEOUT + 1)
        watched.check()
    assert len(caplog.records) == 2


def test_without_a_timeout_nothing_is_reported_and_everything_renewed(clock, dispatcher, caplog):
    one = delivery()
    run(dispatcher, clock, one)
    clock.sleep(1e6)
    watched = Watchdog(dispatcher, None)
    watched.check()
    assert watched.worth_renewing([one]) == [one]
    assert caplog.records == []


def test_from_twice_the_timeout_a_lease_is_not_worth_renewing(clock, dispatcher):
    early, waiting = delivery(1), delivery(2)
    run(dispatcher, clock, early)
    clock.sleep(TIMEOUT)
    late = delivery(3)
    run(dispatcher, clock, late, ident=2)
    watched, held = Watchdog(dispatcher, TIMEOUT), [early, waiting, late]

    clock.sleep(TIMEOUT)
    assert watched.worth_renewing(held) == held
    clock.sleep(0.1)
    assert watched.worth_renewing(held) == [waiting, late]
    clock.sleep(TIMEOUT)
    assert watched.worth_renewing(held) == [waiting]


def test_the_stack_of_a_thread_that_has_ended_says_so():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert stack_of(-1) == "(the thread has ended)"


def test_workers_progress_while_attempts_begin_or_could(clock, dispatcher):
    watched = Watchdog(dispatcher, TIMEOUT)
    dispatcher.idle = 0
    assert watched.progressing()
    assert not watched.progressing()
    dispatcher.taken += 1
    assert watched.progressing()
    assert not watched.progressing()
    dispatcher.idle = 1
    assert watched.progressing()


def test_the_consumer_thread_reports_and_lets_go(clock, dispatcher, caplog):
    """The timeout is 2.25 s; a lease of 3 s is renewed each second."""
    slow, renewed = delivery(), []

    def start_it():
        dispatcher.running[1] = Running(begin(dispatcher), clock.now)

    dispatcher.busy = True
    broker = ScriptedBroker(
        [slow], start_it, *[lambda: clock.sleep(broker.timeouts[-1])] * 400
    )
    begun = clock.now
    broker.on_keep = lambda: renewed.append((clock.now - begun, broker.sessions[0].kept[-1]))
    loop = loop_of(broker, dispatcher, lease=3.0, handler_timeout=2.25)
    broker.on_end = lambda: loop.drain(clock.now)
    play(loop, member(dispatcher, name="mailer.send"))

    assert {round(at): kept for at, kept in renewed} == {
        1: [slow], 2: [slow], 3: [slow], 4: [slow], 5: [], 6: [], 7: [],
    }
    (report,) = [r for r in caplog.records if r.name == "eventbus.watchdog"]
    assert "handler mailer.send has been running for 2." in report.getMessage()
