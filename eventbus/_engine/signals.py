"""`run`: block until a signal asks to stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import BusClosedError

if TYPE_CHECKING:
    from ..bus import EventBus

logger = logging.getLogger("eventbus")

#: Seconds between two looks at the flag. A signal handler may touch no lock, so it cannot wake us.
POLL = 0.1


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

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number


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
    """Start the bus, wait for SIGTERM, SIGINT or `close`, and close it."""
    signals = _Signals()
    signals.install()
    closing = bus._engine.closing
    starter = _Starter(bus)
    try:
        starter.start()
        while signals.received is None and starter.error is None and not closing.wait(POLL):
            pass
        if signals.received is not None:
            logger.info("stopping on %s", signal.Signals(signals.received).name)
        bus.close()
        starter.join(timeout=1.0)
    finally:
        signals.restore()
    if starter.error is not None and not isinstance(starter.error, BusClosedError):
        raise starter.error
