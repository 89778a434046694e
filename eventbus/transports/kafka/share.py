"""One partition in this member's hands, from the moment it is assigned until it is taken away.

What is committed is the lowest offset that was delivered and is not settled. Offsets have gaps, so
nothing is ever counted up.
"""

from __future__ import annotations

from heapq import heappush

from ..base import Delivery
from .notes import Note, Skips, pack, ranges

#: Offsets above the committed one that may have been in a vanished member's hands.
WINDOW = 200


class Share:
    """Tracks the offsets of one partition. Used by the consumer thread alone."""

    def __init__(self, topic: str, partition: int, start: int, note: Note, skips: Skips) -> None:
        self.topic = topic
        self.partition = partition
        #: Where to go on reading, and below which all was delivered or skipped.
        self.next = start
        self.note = note
        self._skips = skips
        self._skipping = skips.end > start
        #: Delivered and not settled, in the order of offsets.
        self.pending: dict[int, None] = {}
        #: Given back, to be delivered again: (offset, delivery).
        self.returned: list[tuple[int, Delivery]] = []
        self.inbox = False
        #: It is ours; outcomes of a share that is not are refused.
        self.alive = True
        #: Something changed since the last commit.
        self.dirty = True
        self.suspects = start + WINDOW if note.deaths else 0
        #: What was written down while a commit had no answer.
        self.kept: tuple[int, str] | None = None

    @property
    def lowest(self) -> int:
        """Everything below is settled."""
        return next(iter(self.pending), self.next)

    def takes(self, offset: int) -> bool:
        """Whether an event is to be delivered; what a predecessor has settled is not."""
        if offset < self.next:
            return False
        self.next = offset + 1
        if self._skipping:
            if offset in self._skips:
                self.dirty = True
                return False
            self._skipping = offset < self._skips.end
        self.pending[offset] = None
        return True

    def reached(self, end: int) -> None:
        """Nothing comes before that offset: what transactions and compaction leave is no event."""
        if end > self.next:
            self.next = end
            self.dirty = True

    def suspect(self, delivery: Delivery, offset: int) -> None:
        """Say what is known of an offset that may have killed its member."""
        if offset < self.suspects:
            delivery.deaths += self.note.deaths
            delivery.started = offset == self.note.started

    def give_back(self, offset: int, delivery: Delivery) -> None:
        """Deliver it again, before all that come after it."""
        if offset in self.pending:
            heappush(self.returned, (offset, delivery))

    def settled(self, offset: int) -> None:
        self.pending.pop(offset, None)
        self.dirty = True
        if offset == self.note.started:
            self.note.started = None

    def position(self, clean: bool) -> tuple[int, str]:
        """What to commit: offset and metadata."""
        note = self.note
        note.clean = clean
        lowest = self.lowest
        if self._skipping and self._skips.end > self.next:
            # What we have seen is not all that is known to be done.
            unfinished = list(self.pending)
            unfinished += [n for n in range(self.next, self._skips.end) if n not in self._skips]
            note.done = ranges(lowest, self._skips.end, unfinished)
        else:
            note.done = ranges(lowest, self.next, self.pending)
        return lowest, pack(note)
