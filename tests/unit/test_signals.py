"""`run`: what ends it, and that it leaves the process's signal handlers as they were."""

from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace

import pytest

from eventbus import BusClosedError, TopologyError
from eventbus._engine.signals import run_until_signal


class Bus:
    """A bus that does what it is told when it is started and closed."""

    def __init__(self, on_start=lambda: None, on_close=lambda: None):
        self._engine = SimpleNamespace(ending=threading.Event())
        self._on_start = on_start
        self._on_close = on_close
        self.calls = []

    def start(self, timeout):
        self.calls.append(("start", timeout))
        self._on_start()

    def close(self):
        self.calls.append("close")
        self._engine.ending.set()
        self._on_close()


@pytest.fixture(autouse=True)
def handlers():
    """The handlers a test finds are those it has to leave behind."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def send(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_closes_the_bus_and_returns(number, caplog):
    bus = Bus(on_start=send(number))
    with caplog.at_level("INFO", "eventbus"):
        run_until_signal(bus)
    # Without a timeout: a service waits for its broker for as long as it takes.
    assert bus.calls == [("start", None), "close"]
    assert caplog.messages == [f"stopping on {number.name}"]


def test_a_signal_is_noticed_while_the_bus_is_still_starting():
    stopped = threading.Event()

    def start():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(20)

    bus = Bus(on_start=start, on_close=stopped.set)
    run_until_signal(bus)
    assert bus.calls[-1] == "close"


def test_a_second_signal_ends_the_process_at_once(monkeypatch):
    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)
    run_until_signal(Bus(on_start=send(signal.SIGTERM), on_close=lambda: signal.raise_signal(2)))
    assert exits == [128 + signal.SIGINT]


def test_close_from_another_thread_ends_it():
    bus = Bus(on_start=lambda: bus._engine.ending.set())
    run_until_signal(bus)
    assert bus.calls == [("start", None), "close"]


def test_outside_the_main_thread_it_catches_no_signal():
    during = []
    bus = Bus(on_start=lambda: (
        during.append(signal.getsignal(signal.SIGTERM)), bus._engine.ending.set(),
    ))
    thread = threading.Thread(target=run_until_signal, args=(bus,))
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert during == [signal.getsignal(signal.SIGTERM)]
    assert bus.calls[-1] == "close"


def _raise(error):
    raise error


def test_what_makes_starting_impossible_is_raised_after_closing():
    bus = Bus(on_start=lambda: _raise(TopologyError("no such thing")))
    with pytest.raises(TopologyError, match="no such thing"):
        run_until_signal(bus)
    assert bus.calls[-1] == "close"


def test_a_bus_closed_while_it_starts_is_no_error():
    def start():
        bus._engine.ending.set()
        raise BusClosedError("the bus is closed")

    bus = Bus(on_start=start)
    run_until_signal(bus)


def test_an_error_while_closing_is_raised_and_the_handlers_are_put_back():
    bus = Bus(on_start=send(signal.SIGTERM), on_close=lambda: _raise(RuntimeError("cannot close")))
    with pytest.raises(RuntimeError, match="cannot close"):
        run_until_signal(bus)
