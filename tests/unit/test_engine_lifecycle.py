"""Interpreter exit and fork, step by step; tests/lifecycle has them with real processes."""

from __future__ import annotations

import concurrent.futures.thread as futures_thread
import threading
import weakref
from types import SimpleNamespace

import pytest

from eventbus._engine import lifecycle


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    """No bus of another test takes part, and none of these outlives its test."""
    monkeypatch.setattr(lifecycle, "_engines", weakref.WeakSet())
    monkeypatch.setattr(lifecycle, "_owners", weakref.WeakSet())
    monkeypatch.setattr(lifecycle, "_abandoned", [])


class Engine:
    """Notes what is asked of it, in order, together with the other engines."""

    def __init__(self, calls, name, error=None, running=()):
        self._calls = calls
        self._name = name
        self._error = error
        self.dispatcher = SimpleNamespace(running=dict.fromkeys(running))
        self.config = SimpleNamespace(publish_timeout=5.0)
        self.soon = SimpleNamespace(flush=lambda timeout: calls.append(f"flush {name} {timeout}"))
        self.transport = SimpleNamespace(forget=lambda: calls.append(f"forget {name}"))

    def finish_handling(self):
        self._calls.append(f"finish {self._name}")
        if self._error is not None:
            raise self._error


class Owner:
    def __init__(self):
        self.forked = 0

    def _after_fork(self):
        self.forked += 1


def register(*engines):
    owner = Owner()
    for engine in engines:
        lifecycle.register(owner, engine)
    return owner


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), SystemExit(3)])
def test_an_engine_that_fails_at_exit_keeps_no_other_from_finishing(error):
    calls = []
    engines = [Engine(calls, name, error) for name in "abc"]
    owner = register(*engines)
    lifecycle._stop_handling()
    assert sorted(calls) == ["finish a", "finish b", "finish c"]
    assert owner.forked == 0


def test_at_the_very_end_publish_soon_is_flushed_for_as_long_as_a_publish_may_take():
    calls = []
    engine = Engine(calls, "a")
    owner = register(engine)
    lifecycle._finish()
    assert calls == ["finish a", "flush a 5.0"]
    del owner


def test_an_engine_that_was_closed_is_left_alone():
    calls = []
    engine = Engine(calls, "a")
    owner = register(engine)
    lifecycle.unregister(engine)
    lifecycle.unregister(engine)
    lifecycle._stop_handling()
    lifecycle._finish()
    assert calls == []
    del owner


def test_a_bus_that_nobody_holds_any_more_is_not_kept_for_the_exit():
    calls = []
    owner = register(Engine(calls, "a"))
    del owner
    lifecycle._stop_handling()
    lifecycle._after_fork_in_child()
    assert calls == []


def test_a_forked_child_makes_new_engines_and_never_touches_its_parents():
    calls = []
    engine = Engine(calls, "a")
    owner = register(engine)
    lifecycle._after_fork_in_child()
    assert owner.forked == 1

    lifecycle.abandon(engine)
    lifecycle._stop_handling()
    lifecycle._finish()
    assert calls == ["forget a"]
    # Kept: collecting it would close the parent's connections.
    assert lifecycle._abandoned == [engine]


# -- workers that do not end -----------------------------------------------------------------------


@pytest.fixture
def worker():
    """Makes threads that wait, and lets them go in the end."""
    gate, threads = threading.Event(), []

    def make(daemon):
        thread = threading.Thread(target=gate.wait, args=(20,), daemon=daemon)
        thread.start()
        threads.append(thread)
        return thread

    yield make
    gate.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def queues(monkeypatch):
    """The threads that Python joins at exit."""
    threads = {}
    monkeypatch.setattr(futures_thread, "_threads_queues", threads)
    return threads


def test_python_does_not_wait_for_a_worker_whose_handler_does_not_end(worker, queues):
    stuck, idle, foreign = worker(True), worker(True), worker(False)
    queues.update(dict.fromkeys((stuck, idle, foreign)))
    engine = Engine([], "a", running=[stuck.ident, foreign.ident])
    owner = register(engine)
    lifecycle._stop_handling()
    # Only daemons can be left behind: Python joins the others all the same.
    assert set(queues) == {idle, foreign}
    del owner


def test_a_python_without_that_private_name_is_no_trouble(worker, monkeypatch):
    monkeypatch.delattr(futures_thread, "_threads_queues")
    engine = Engine([], "a", running=[worker(True).ident])
    owner = register(engine)
    lifecycle._stop_handling()
    del owner
