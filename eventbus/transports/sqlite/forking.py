"""Nobody forks while a thread is inside SQLite.

A child has its parent's locks as they were at that moment, and nobody who would let go of them:
those of SQLite itself, one of which its every allocation takes, and its notes on file locks, by
which the child would hold its parent's lock for one of its own process for ever.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from threading import RLock
from time import monotonic, sleep
from weakref import ref

#: Seconds that a fork waits for those who are inside, and they for a fork.
WAIT = 5.0
#: Seconds between two looks whether the fork is over.
PAUSE = 0.0003


class Guard:
    """Around every use of one connection, from opening it to closing it; re-entrant."""

    __slots__ = ("__weakref__", "_acquire", "_mine", "connection", "release")

    def __init__(self) -> None:
        lock = RLock()
        self._acquire = lock.acquire
        self._mine = lock._is_owned  # type: ignore[attr-defined]
        self.release = lock.release
        self.connection: sqlite3.Connection | None = None
        _fork.add(self)

    def __enter__(self) -> None:
        nested = self._mine()
        if _fork.wanted and not nested:
            _fork.wait()
        try:
            self._acquire()
        except BaseException:
            # What a signal handler raises may come right after it was got.
            if not nested and self._mine():
                self.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.release()

    def hold(self, seconds: float) -> bool:
        """Take it for a fork, or to close."""
        return self._acquire(timeout=seconds)

    def close(self) -> None:
        """Close the connection, once nobody is inside or that has lasted too long."""
        held = self.hold(WAIT)
        try:
            if self.connection is not None:
                with suppress(sqlite3.Error):
                    self.connection.close()
        finally:
            if held:
                self.release()


class _Fork:
    def __init__(self) -> None:
        # Locks are not fair: without it a busy thread would take its own again and again. Who
        # opens another connection meanwhile waits for it, too.
        self.wanted = False
        self._guards: dict[int, ref[Guard]] = {}
        self._held: list[Guard] = []

    def add(self, guard: Guard) -> None:
        key, guards = id(guard), self._guards
        guards[key] = ref(guard, lambda _: guards.pop(key, None))

    def wait(self) -> None:
        deadline = monotonic() + WAIT
        while self.wanted and monotonic() < deadline:
            sleep(PAUSE)

    def before(self) -> None:
        self.wanted = True
        deadline = monotonic() + WAIT
        for one in list(self._guards.values()):
            guard = one()
            if guard is not None and guard.hold(max(0.0, deadline - monotonic())):
                self._held.append(guard)

    def after_in_parent(self) -> None:
        while self._held:
            self._held.pop().release()
        self.wanted = False

    def after_in_child(self) -> None:
        # Not left to the child's end: SQLite's notes on a file are one for the whole process. A
        # connection that the child opens would count on the locks in there, which it has not got,
        # and the last process of all others would take the log away from under it.
        while self._held:
            guard = self._held.pop()
            guard.close()
            guard.release()
        # The guards of whoever was inside for too long are nobody's any more.
        self._guards = {}
        self.wanted = False


_fork = _Fork()
os.register_at_fork(
    before=_fork.before, after_in_parent=_fork.after_in_parent,
    after_in_child=_fork.after_in_child,
)
