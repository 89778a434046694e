"""Watches handlers that take long. Threads cannot be stopped, so it reports and lets go."""

from __future__ import annotations

import logging
import sys
import traceback
from time import perf_counter

from ..transports.base import Delivery
from .dispatcher import Dispatcher, Running

logger = logging.getLogger("eventbus.watchdog")


class Watchdog:
    """Looks at the dispatcher's running attempts. Used by one consumer thread.

    Args:
        dispatcher: whose workers to watch.
        timeout: seconds after which a handler is reported with its stack, once; from twice that
            its event's lease is not renewed any more, so that a peer can have it.
    """

    def __init__(self, dispatcher: Dispatcher, timeout: float | None) -> None:
        self._dispatcher = dispatcher
        self._timeout = timeout
        self._taken = -1

    def check(self) -> None:
        """Report each handler that has just passed the timeout."""
        if self._timeout is None:
            return
        now = perf_counter()
        for ident, running in list(self._dispatcher.running.items()):
            if not running.warned and now - running.since > self._timeout:
                running.warned = True
                self._report(ident, running, now - running.since)

    def worth_renewing(self, held: list[Delivery]) -> list[Delivery]:
        """Leave out the deliveries whose handler has run for twice the timeout."""
        if self._timeout is None:
            return held
        limit = perf_counter() - 2 * self._timeout
        hopeless = {
            running.attempt.delivery
            for running in list(self._dispatcher.running.values())
            if running.since < limit
        }
        return [delivery for delivery in held if delivery not in hopeless]

    def progressing(self) -> bool:
        """Whether any attempt has begun since the last call, or could begin now."""
        before, self._taken = self._taken, self._dispatcher.taken
        return before != self._taken or self._dispatcher.idle > 0

    def _report(self, ident: int, running: Running, seconds: float) -> None:
        logger.warning(
            "handler %s has been running for %.1f s (handler_timeout is %.1f s); it is here:\n%s",
            running.attempt.binding.name, seconds, self._timeout, stack_of(ident),
        )


def stack_of(ident: int) -> str:
    """The stack of a thread, as text."""
    frame = sys._current_frames().get(ident)
    return "".join(traceback.format_stack(frame)) if frame else "(the thread has ended)"
