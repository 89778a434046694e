"""Members that were cancelled, and keep their share of the broker's events for a little longer.

A broker that keeps the order of keys across processes gives all of a share to a peer at once: also
what still runs here, and what comes behind it.
"""

from __future__ import annotations

from time import monotonic

from .member import Member


class Leaving:
    """Used by the consumer thread alone.

    Args:
        grace: seconds that running handlers get before peers take over.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._until: dict[Member, float] = {}

    def __contains__(self, member: Member) -> bool:
        return member in self._until

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, member: Member) -> None:
        self._until[member] = monotonic() + self._grace

    def take(self) -> list[Member]:
        """Those that have nothing left to wait for, or have waited for long enough."""
        now = monotonic()
        found = [
            member for member, until in self._until.items()
            if now >= until or not (member.in_flight or member.finished)
        ]
        for member in found:
            del self._until[member]
        return found

    def clear(self) -> None:
        """The session is gone, and the shares with it."""
        self._until.clear()
