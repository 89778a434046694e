"""`run`: block until a signal asks to stop. And what a signal handler may not do."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Collection
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import BusClosedError

if TYPE_CHECKING:
    from ..bus import EventBus

logger = logging.getLogger("eventbus")

#: Seconds between two looks at the flag. A signal handler may touch no lock, so it cannot wake us.
POLL = 0.1


def is_within(parts: Collection[object], frame: FrameType | None) -> bool:
    """Whether a frame, or one that it was called from, is a method of one of these.

    A signal handler runs on top of the frame it cut in upon. That one may hold a lock, and does
    not go on before the handler returns.
    """
    wanted = {id(part) for part in parts}
    while frame is not None:
        ours = str(frame.f_globals.get("__name__", "")).startswith("eventbus.")
        if ours and id(frame.f_locals.get("self")) in wanted:
            return True
        frame = frame.f_back
    return False


class _Signals:
    """Remembers signals in plain attributes; a second one ends the process at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._on_signal)
        _installed.append(self)

    def restore(self) -> None:
        if self in _installed:
            _installed.remove(self)
        while self._before:
            number, handler = self._before.popitem()
            # `None` stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number


#: At most one: `run` in the main thread.
_installed: list[_Signals] = []


def _after_fork_in_child() -> None:
    """A child that a handler of events forked is not the service: a signal ends it as usual."""
    for signals in list(_installed):
        signals.restore()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Starter(threading.Thread):
    """Starts the bus in a thread, so that a signal is noticed while the broker is away."""

    def __init__(self, bus: EventBus) -> None:
        super().__init__(name="eventbus-start", daemon=True)
        self._bus = bus
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._bus.start(timeout=None)
        except Exception as error:
            self.error = error


def run_until_signal(bus: EventBus) -> None:
    """Start the bus, wait for SIGTERM, SIGINT, `close` or the interpreter's exit; close it."""
    signals = _Signals()
    signals.install()
    ending = bus._engine.ending
    starter = _Starter(bus)
    try:
        starter.start()
        while signals.received is None and starter.error is None and not ending.wait(POLL):
            pass
        if signals.received is not None:
            logger.info("stopping on %s", signal.Signals(signals.received).name)
        bus.close()
        starter.join(timeout=1.0)
    finally:
        signals.restore()
    if starter.error is not None and not isinstance(starter.error, BusClosedError):
        raise starter.error
