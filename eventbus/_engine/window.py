"""How many events to hold ready for the workers: enough to keep them busy, no more.

What one member holds, its peers cannot have. So the window starts at what the workers can begin
at once, doubles while they run dry between two fetches, and shrinks while events wait.
"""

from __future__ import annotations

#: Seconds an event may wait for a worker before the window is thought too large.
PATIENCE = 0.5


class Window:
    """The number of fetched events that may wait for a worker. Used by one thread."""

    def __init__(self, maximum: int, concurrency: int) -> None:
        self._maximum = maximum
        self._size = min(maximum, max(1, concurrency))
        self._dry = False

    @property
    def size(self) -> int:
        return self._size

    def room(self, unstarted: int, idle_workers: int) -> int:
        """How many more to fetch; zero while so few would not be worth a round trip."""
        size = min(self._maximum, max(self._size, idle_workers))
        room = size - unstarted
        if unstarted > idle_workers and room < size // 2:
            return 0
        self._dry = unstarted <= size // 8
        return max(0, room)

    def fetched(self, count: int, asked: int) -> None:
        """A fetch that found the workers dry and came back full calls for a larger window."""
        if self._dry and count >= asked and asked >= self._size:
            self._size = min(self._maximum, self._size * 2)

    def waited(self, seconds: float) -> None:
        """Tell for how long the oldest event has waited for a worker."""
        if seconds > PATIENCE:
            self._size = max(1, self._size // 2)
