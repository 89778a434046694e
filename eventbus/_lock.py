"""A lock that survives what a signal handler raises."""

from __future__ import annotations

from threading import RLock
from typing import Any


class OwnedLock:
    """A lock that knows its owner; not re-entrant.

    When a KeyboardInterrupt comes right after a timed `acquire`, nobody has noted yet that the lock
    was got: an ordinary one stays taken for ever. So, with this one::

        if not lock.mine():
            try:
                if lock.acquire(timeout): ...
            finally:
                if lock.mine():
                    lock.release()
    """

    __slots__ = ("acquire", "mine", "release")

    def __init__(self) -> None:
        lock: Any = RLock()
        # The C functions themselves: no other signal handler runs before they begin.
        self.acquire = lock.acquire
        self.mine = lock._is_owned
        self.release = lock.release
