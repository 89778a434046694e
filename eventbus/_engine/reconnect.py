"""Reconnecting: tenacity drives it, `close` interrupts it.

500 ms to 30 s with full jitter (tenacity's `wait_random_exponential`; at the cap too, so that
many clients do not come back in lockstep). After a healthy session the first attempt is
immediate and the count starts afresh; a session that dies at once does not count as healthy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

from ..errors import AuthenticationError, ConfigurationError, TopologyError, TransportError

if TYPE_CHECKING:
    from tenacity import RetryCallState

logger = logging.getLogger("eventbus.transport")

#: Seconds of the shortest and the longest pause between two attempts.
SHORTEST, LONGEST = 0.5, 30.0
#: A session that lived for so many seconds was healthy: its end is news, not more of the same.
#: Longer, and a server that restarts twice would be waited for as if it had been away all the time.
HEALTHY = 1.0
#: Seconds between attempts while a person has to change something first.
PERMANENT = 30.0
#: Seconds between two ERROR lines about the same permanent trouble.
REPEAT_ERROR = 60.0

PERMANENT_ERRORS = (AuthenticationError, TopologyError, ConfigurationError)


class _Stopped(BaseException):
    """Leaves tenacity's loop; it would make one more attempt after an interrupted sleep."""


class Reconnect:
    """Runs sessions until one ends by itself or `stop` is set.

    Args:
        name: what is connected, for the log.
        stop: ends the pause between two attempts, and the loop.
        failed: called with each error, before the pause.
    """

    def __init__(self, name: str, stop: Event, failed: Callable[[Exception], None]) -> None:
        self._name = name
        self._stop = stop
        self._failed = failed
        self._began = 0.0
        self._failures = 0
        self._reported = float("-inf")
        self.attempts = 0

    def run(self, session: Callable[[], None]) -> None:
        """Call `session` again and again until it returns."""
        from tenacity import Retrying, retry_if_exception_type
        from tenacity.nap import sleep_using_event
        from tenacity.wait import wait_random_exponential

        self._wait = wait_random_exponential(multiplier=2 * SHORTEST, min=SHORTEST, max=LONGEST)
        retrying = Retrying(
            wait=self._pause,
            sleep=sleep_using_event(self._stop),
            retry=retry_if_exception_type(Exception),
            before_sleep=self._report,
        )
        try:
            retrying(self._attempt, session)
        except _Stopped:
            return

    def _attempt(self, session: Callable[[], None]) -> None:
        if self._stop.is_set():
            raise _Stopped
        self.attempts += 1
        self._began = monotonic()
        session()

    def _pause(self, state: RetryCallState) -> float:
        if monotonic() - self._began >= HEALTHY:
            self._failures = 0
            return 0.0
        self._failures += 1
        if isinstance(_error(state), PERMANENT_ERRORS):
            return PERMANENT
        state.attempt_number = self._failures
        return float(self._wait(state))

    def _report(self, state: RetryCallState) -> None:
        error = _error(state)
        self._failed(error)
        pause = state.next_action.sleep if state.next_action else 0.0
        if isinstance(error, PERMANENT_ERRORS):
            self._report_permanent(error)
        elif isinstance(error, TransportError):
            level = logging.WARNING if self._failures <= 1 else logging.INFO
            logger.log(level, "%s: %s; trying again in %.1f s", self._name, error, pause)
        else:
            logger.error(
                "%s: unexpected error; trying again in %.1f s. You have found a bug in eventbus; "
                "please report it. Unsettled events will be delivered again.",
                self._name, pause, exc_info=error,
            )

    def _report_permanent(self, error: Exception) -> None:
        if monotonic() - self._reported >= REPEAT_ERROR:
            self._reported = monotonic()
            logger.error("%s: %s (tried again every %.0f s)", self._name, error, PERMANENT)


def _error(state: RetryCallState) -> Exception:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Exception)
    return error


def until_available(
    operation: Callable[[], None], *, timeout: float | None, stop: Event
) -> None:
    """Call `operation` until the broker answers.

    Raises:
        TransportUnavailable: it did not within `timeout` seconds (`None`: for ever).
        TransportError, ConfigurationError: at once, for what no waiting mends.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_delay, stop_never
    from tenacity.nap import sleep_using_event
    from tenacity.stop import stop_when_event_set
    from tenacity.wait import wait_random_exponential

    limit = stop_never if timeout is None else stop_after_delay(timeout)
    deadline = None if timeout is None else monotonic() + timeout

    def pause(state: RetryCallState) -> float:
        seconds = float(backoff(state))
        return seconds if deadline is None else max(0.0, min(seconds, deadline - monotonic()))

    backoff = wait_random_exponential(multiplier=2 * SHORTEST, min=SHORTEST, max=LONGEST)
    Retrying(
        wait=pause,
        sleep=sleep_using_event(stop),
        stop=limit | stop_when_event_set(stop),
        retry=retry_if_exception(_passes),
        reraise=True,
    )(operation)


def _passes(error: BaseException) -> bool:
    return isinstance(error, TransportError) and not isinstance(error, PERMANENT_ERRORS)
