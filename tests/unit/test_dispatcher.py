"""The worker loops: their cap, their end, and what they do when one thing has to run alone."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

import pytest

from eventbus._engine import dispatcher as module
from eventbus._engine.dispatcher import Dispatcher
from eventbus._engine.work import Attempt
from tests.unit.engine_fakes import delivery, member

variable: ContextVar[str] = ContextVar("variable", default="fresh")


class Runner:
    """Keeps what it runs; each attempt waits for the gate."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.began = []
        self.ended = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, attempt):
        with self._lock:
            self.began.append(attempt)
            self.now += 1
            self.most = max(self.most, self.now)
        assert self.gate.wait(20)
        with self._lock:
            self.now -= 1
            self.ended.append(attempt)


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
def make(runner):
    made = []

    def make(run=runner, cap=4, stopped=lambda: None, starving=lambda: None):
        made.append(
            Dispatcher(run, cap=cap, starving=starving, stopped=stopped, name="eventbus-test")
        )
        return made[-1]

    yield make
    runner.gate.set()
    for dispatcher in made:
        dispatcher.stop()


def wait_for(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def feed(dispatcher, number):
    """Queue attempts as a member does."""
    served = member(dispatcher)
    served.admit([delivery(n) for n in range(number)])
    dispatcher.start()
    return served


def settle_down(dispatcher, condition):
    """Look at it as the consumer thread does, until the condition is true."""

    def look():
        dispatcher.tick()
        return condition()

    wait_for(look)


def test_stuck_workers_get_company_up_to_the_cap_and_not_beyond(make, runner):
    dispatcher = make(cap=4)
    runner.gate.clear()
    feed(dispatcher, 10)
    settle_down(dispatcher, lambda: runner.now == 4)
    assert dispatcher.idle == 0
    assert not dispatcher.tick()  # There is nothing to be gained by looking again soon.
    runner.gate.set()
    wait_for(lambda: len(runner.ended) == 10)
    assert runner.most == 4


def test_quick_attempts_need_no_second_worker(make):
    threads = set()
    dispatcher = make(run=lambda attempt: threads.add(threading.get_ident()), cap=50)
    feed(dispatcher, 500)
    wait_for(lambda: dispatcher.taken == 500)
    assert len(threads) < 10


def test_each_attempt_runs_in_a_context_of_its_own(make):
    seen = []

    def run(attempt):
        seen.append(variable.get())
        variable.set("left behind")

    feed(make(run=run, cap=1), 3)
    wait_for(lambda: len(seen) == 3)
    assert seen == ["fresh"] * 3


def test_a_fault_of_ours_costs_no_worker_and_is_reported(make, caplog):
    done = []

    def run(attempt):
        done.append(attempt)
        if len(done) == 1:
            raise SystemError("cannot report the outcome")

    dispatcher = make(run=run, cap=1)
    feed(dispatcher, 3)
    wait_for(lambda: len(done) == 3)
    wait_for(lambda: not dispatcher.running)
    (record,) = caplog.records
    assert "You have found a bug in eventbus" in record.getMessage()
    assert record.exc_info[0] is SystemError


def test_what_was_taken_back_meanwhile_is_not_run(make, runner):
    dispatcher = make(cap=1)
    runner.gate.clear()
    served = feed(dispatcher, 3)
    wait_for(lambda: runner.now == 1)
    released, _ = served.take_back()
    assert len(released) == 2
    runner.gate.set()
    wait_for(lambda: dispatcher.taken == 3)
    assert len(runner.ended) == 1


def test_whoever_asks_is_told_whether_it_is_a_worker(make):
    answers = []
    dispatcher = make(run=lambda attempt: answers.append(dispatcher.in_worker()))
    feed(dispatcher, 1)
    wait_for(lambda: answers)
    assert answers == [True]
    assert not dispatcher.in_worker()


def test_when_stopped_nothing_begins_and_what_runs_goes_on(make, runner):
    told = []
    dispatcher = make(cap=1, stopped=lambda: told.append("stopped"))
    runner.gate.clear()
    feed(dispatcher, 3)
    wait_for(lambda: runner.now == 1)
    dispatcher.stop()
    runner.gate.set()
    wait_for(lambda: len(runner.ended) == 1)
    feed(dispatcher, 1)
    dispatcher.tick()
    assert not dispatcher.reserve()
    time.sleep(2 * module.SLICE)
    assert len(runner.began) == 1
    assert told == []  # It was asked for, so nobody needs to be told.


def test_a_refused_submit_tells_that_the_interpreter_exits(make, monkeypatch):
    class Refusing:
        def __init__(self, *arguments, **options):
            pass

        def submit(self, task):
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

        def shutdown(self, wait):
            pass

    monkeypatch.setattr(module, "ThreadPoolExecutor", Refusing)
    told = []
    dispatcher = make(stopped=lambda: told.append("stopped"))
    feed(dispatcher, 3)
    feed(dispatcher, 3)
    assert told == ["stopped"]
    assert len(dispatcher.ready) == 6


# -- alone -----------------------------------------------------------------------------------------


def test_while_it_is_held_nothing_begins_and_then_all_of_it(make, runner):
    dispatcher = make()
    dispatcher.hold()
    dispatcher.hold()
    feed(dispatcher, 3)
    dispatcher.resume()
    assert runner.began == []
    dispatcher.resume()
    wait_for(lambda: len(runner.ended) == 3)


def test_it_can_be_had_alone_only_when_nothing_runs(make, runner):
    dispatcher = make()
    runner.gate.clear()
    feed(dispatcher, 1)
    wait_for(lambda: runner.now == 1)
    dispatcher.hold()
    assert not dispatcher.reserve()
    runner.gate.set()
    wait_for(dispatcher.reserve)

    attempt = Attempt(delivery("alone"), member(dispatcher).bindings[0], 1)
    feed(dispatcher, 5)
    runner.gate.clear()
    dispatcher.run_alone(attempt, lambda: True)
    wait_for(lambda: runner.began[-1] is attempt)
    assert runner.now == 1
    assert not dispatcher.reserve()
    runner.gate.set()
    wait_for(lambda: runner.ended[-1] is attempt)
    wait_for(dispatcher.reserve)
    assert len(runner.began) == 2

    dispatcher.cancel_reservation()
    dispatcher.resume()
    wait_for(lambda: len(runner.ended) == 7)


def test_when_it_is_through_the_next_can_begin_at_once(make, runner):
    """Nobody has to look again and again whether it is."""
    free = []
    dispatcher = make(starving=lambda: free.append(dispatcher.reserve()))
    assert dispatcher.reserve()
    attempt = Attempt(delivery("alone"), member(dispatcher).bindings[0], 1)
    dispatcher.run_alone(attempt, lambda: True)
    wait_for(lambda: free == [True])
    assert runner.ended == [attempt]
