"""Which transactions a moment in the life of the cluster has seen, and how far a reader came.

Commits do not come in the order of any number that a row could carry. So a reader does not
remember a number but a snapshot: what it saw is settled for ever, and a transaction that was open
then is looked for by its own number later, however late it commits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

#: Below and above every transaction and every event.
LOWEST, HIGHEST = -(2**62), 2**62


class Place(NamedTuple):
    """Of an event: its transaction, and its number. Events are read in this order."""

    xid: int
    id: int


START = Place(LOWEST, 0)


class Snapshot(NamedTuple):
    """Sees each transaction below `xmax` but for those that were `open`."""

    xmax: int
    open: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """What `pg_current_snapshot()` says: `xmin:xmax:open,open`."""
        _, xmax, rest = text.split(":")
        return cls(int(xmax), tuple(sorted(map(int, rest.split(",")))) if rest else ())

    def sees(self, xid: int) -> bool:
        return xid < self.xmax and xid not in self.open


#: Has seen nothing: everything is still to come.
NOTHING = Snapshot(LOWEST)


class Cursor(NamedTuple):
    """How far a subscription has been claimed.

    Everything that `seen` sees is claimed. Between it and `target` claiming goes on, in the order
    of places, and has come to `place`. Both ends stand still, so no late commit can fall between.
    """

    seen: Snapshot
    target: Snapshot | None = None
    place: Place = START

    def towards(self, target: Snapshot) -> Cursor:
        """Begin a new window that ends with what `target` sees."""
        return Cursor(self.seen, target)

    def at(self, place: Place) -> Cursor:
        """The window up to and with this place is claimed."""
        return self._replace(place=place)

    def finished(self) -> Cursor:
        """The whole window is claimed."""
        assert self.target is not None
        return Cursor(self.target)

    def late(self) -> list[int]:
        """Transactions that were open when the window began, and are over at its end."""
        assert self.target is not None
        since = self.place.xid
        return [x for x in self.seen.open if x >= since and self.target.sees(x)]

    def fresh_after(self) -> Place:
        """Where to go on among the transactions that came after `seen`."""
        return max(Place(self.seen.xmax, 0), self.place)

    def claimed(self, place: Place) -> bool:
        if self.seen.sees(place.xid):
            return True
        within = self.target is not None and self.target.sees(place.xid)
        return within and place <= self.place


def shifted(snapshot: Snapshot, by: int) -> Snapshot:
    """The same snapshot where all transactions were renumbered."""
    if snapshot.xmax <= LOWEST:
        return snapshot
    return Snapshot(snapshot.xmax - by, tuple(x - by for x in snapshot.open))


def lowest(places: Iterable[Place]) -> Place | None:
    return min(places, default=None)
