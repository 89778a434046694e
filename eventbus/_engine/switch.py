"""An event without a lock."""

from __future__ import annotations

from collections import deque
from threading import TIMEOUT_MAX, Event, Lock


class Switch(Event):
    """A `threading.Event` that may be set from anywhere.

    An `Event` holds a plain lock for moments. A signal handler or a finalizer that sets it while
    the thread it interrupts is in such a moment waits for ever. Here each waiter parks on a lock
    of its own, and everything else is a single operation on a deque.
    """

    def __init__(self) -> None:
        self._flag = False
        self._parked: deque[Lock] = deque()

    def __repr__(self) -> str:
        return f"<Switch: {'set' if self._flag else 'unset'}>"

    def is_set(self) -> bool:
        return self._flag

    def set(self) -> None:
        self._flag = True
        while self._parked:
            try:
                self._parked.pop().release()
            except IndexError:  # Somebody else has just woken the last one.
                return

    def clear(self) -> None:
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for up to `timeout` seconds; tell whether it was."""
        if self._flag:
            return True
        parking = Lock()
        parking.acquire()
        self._parked.append(parking)
        try:
            # Whoever set it before it could see us parked does not wake us.
            woken = self.is_set() or parking.acquire(timeout=_bounded(timeout))
            return woken or self.is_set()
        finally:
            self._forget(parking)

    def _forget(self, parking: Lock) -> None:
        try:
            self._parked.remove(parking)
        except ValueError:
            return


def _bounded(timeout: float | None) -> float:
    return -1 if timeout is None else min(max(0.0, timeout), TIMEOUT_MAX)
