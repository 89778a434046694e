"""Runs attempts in one `ThreadPoolExecutor`, never more than its cap at a time.

A submit per event would cost more than most handlers. So the executor runs *worker loops*, each
of which takes attempts from one queue for a slice of time and is then submitted again. Nothing
else ever sits in the executor: at interpreter exit Python runs an executor's backlog to its end,
and a refused submit is how a loop learns of the exit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from functools import partial
from threading import Lock, get_ident
from time import monotonic, perf_counter
from typing import Protocol

import msgspec

from .ready import Ready
from .work import Attempt

logger = logging.getLogger("eventbus.dispatcher")

#: Seconds after which a loop ends or is submitted again: how late it may notice the exit.
SLICE = 0.1
#: Handlers that take longer than this, in seconds, are worth another thread while events wait.
SLOW = 0.001
#: Weights of a handler that took longer, or shorter, than the running mean of durations. A fast
#: handler that merely waited for the interpreter lock must not look slow.
LONGER, SHORTER = 0.05, 0.5
#: Seconds without any attempt beginning after which the workers are thought stuck: longer than
#: the interpreter lock's switch interval.
STALL = 0.006


class Runner(Protocol):
    """Calls the handler of an attempt and reports the outcome; never raises."""

    def __call__(self, attempt: Attempt) -> None: ...


class Running(msgspec.Struct, gc=False, eq=False):
    """What one worker is doing."""

    attempt: Attempt
    since: float
    warned: bool = False
    reported: bool = False


class Dispatcher:
    """The workers of one bus.

    Args:
        run: called in a worker for each attempt, in a fresh context.
        cap: the largest number of attempts that run at the same time.
        starving: called by a worker that finds nothing to do.
        stopped: called once, when the executor refuses work because the interpreter exits.
        name: prefix of the threads' names.
    """

    def __init__(
        self, run: Runner, *, cap: int, starving: Callable[[], None],
        stopped: Callable[[], None], name: str,
    ) -> None:
        self.ready = Ready()
        self.running: dict[int, Running] = {}
        self.cap = cap
        self._run = run
        self._starving = starving
        self._on_stop = stopped
        self._name = name
        self._executor: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._active = 0
        self._holds = 0
        self._stopping = False
        self._forked = False
        self._mean = 0.0
        self.taken = 0
        self._taken_at_tick = 0
        self._progress_at = 0.0

    # -- threads that feed it --------------------------------------------------------------

    @property
    def idle(self) -> int:
        """How many attempts could begin at once."""
        return max(0, self.cap - len(self.running))

    def in_worker(self) -> bool:
        """Whether the calling thread is running a handler of this bus."""
        return get_ident() in self.running

    def start(self) -> None:
        """Make sure that a worker looks at the queue."""
        if self._active == 0 and self.ready:
            self._grow(1)

    def tick(self) -> bool:
        """Add workers when all of them are stuck in handlers; `True` while that may be needed."""
        waiting = len(self.ready)
        if not waiting or self._active >= self.cap:
            return False
        if self.taken != self._taken_at_tick:
            self._taken_at_tick, self._progress_at = self.taken, monotonic()
        elif monotonic() - self._progress_at > STALL:
            self._progress_at = monotonic()
            self._grow(min(waiting, max(1, self._active)))
        return self._active < self.cap

    def hold(self) -> None:
        """Let no further attempt begin until `resume`, but for those that run alone."""
        with self._lock:
            self._holds += 1

    def resume(self) -> None:
        """Take one `hold` back."""
        with self._lock:
            self._holds -= 1
        self.start()

    def reserve(self) -> bool:
        """Make sure that nothing runs and nothing will; `False` while something does."""
        with self._lock:
            if self._active or self._stopping:
                return False
            self._active = 1
            return True

    def cancel_reservation(self) -> None:
        with self._lock:
            self._active = 0

    def run_alone(self, attempt: Attempt, prepare: Callable[[], bool]) -> None:
        """Run an attempt after `reserve`, if `prepare`, called just before it, says so."""
        self.taken += 1
        self._submit(partial(self._alone, attempt, prepare))

    def stop(self) -> None:
        """Let no further attempt begin; those that run go on. Does not wait."""
        self._stopping = True
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def abandon(self) -> None:
        """In a forked child: nobody works there."""
        self._forked = True

    # -- worker loops ----------------------------------------------------------------------

    def _grow(self, count: int) -> None:
        for _ in range(count):
            with self._lock:
                if self._stopping or self._holds or self._active >= self.cap:
                    return
                self._active += 1
            self._submit(self._loop)

    def _submit(self, task: Callable[[], None]) -> None:
        try:
            with self._lock:
                if self._executor is None and not self._stopping:
                    self._executor = ThreadPoolExecutor(self.cap, thread_name_prefix=self._name)
                executor = self._executor
            if executor is None:
                raise RuntimeError("the dispatcher is stopped")
            executor.submit(task)
        except RuntimeError:
            self._refused()

    def _refused(self) -> None:
        """The interpreter exits (or `stop` was called): what has not begun goes to a peer."""
        with self._lock:
            self._active -= 1
            first, self._stopping = not self._stopping, True
        if first:
            self._on_stop()

    def _loop(self) -> None:
        now = perf_counter()
        end = now + SLICE
        useful = False
        while now < end and not self._stopping and not self._holds:
            attempt = self.ready.get()
            if attempt is None:
                attempt = self._await(end - now)
                now = perf_counter()
                if attempt is None:
                    continue
            useful = True
            now = self._take(attempt, now)
        if useful and not self._stopping and not self._holds:
            self._submit(self._loop)
        else:
            self._leave()

    def _alone(self, attempt: Attempt, prepare: Callable[[], bool]) -> None:
        try:
            if prepare():
                self._work(attempt, perf_counter())
        finally:
            self._leave()
            # The next one that is to run alone waits for this.
            self._starving()

    def _leave(self) -> None:
        with self._lock:
            self._active -= 1
        # Something may have come between the last look at the queue and this line.
        if not self._stopping and self.ready:
            self._grow(1)

    def _await(self, seconds: float) -> Attempt | None:
        self._starving()
        self.ready.park(seconds)
        return self.ready.get()

    def _take(self, attempt: Attempt, now: float) -> float:
        """Run an attempt, unless it was taken back; return the time when that is done."""
        self.taken += 1
        if self._mean > SLOW and self._active < self.cap and self.ready:
            self._grow(1)
        if attempt.binding.member.unstarted.pop(attempt, None) is None:
            return now
        return self._work(attempt, now)

    def _work(self, attempt: Attempt, since: float) -> float:
        ident = get_ident()
        self.running[ident] = Running(attempt, since)
        try:
            Context().run(self._run, attempt)
        except BaseException:
            # The runner catches everything that a handler raises: this is a fault of ours.
            logger.exception(
                "Unhandled error while reporting an outcome. You have found a bug in eventbus; "
                "please report it. The event stays unsettled and will be delivered again."
            )
        finally:
            del self.running[ident]
        if self._forked:
            # The handler has called `fork` and comes back in the child, where this loop, its queue
            # and its executor are copies: there is nothing to go back to.
            os._exit(0)
        now = perf_counter()
        surplus = now - since - self._mean
        self._mean += (LONGER if surplus > 0 else SHORTER) * surplus
        return now
