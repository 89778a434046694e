"""What a run still has to do, kept up to date while the journal grows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from . import journal as steps
from .checker.history import Duty, Work, covers
from .journal import Reader, Step, now

#: Seconds between two looks at the journal.
POLL = 0.003


class Progress:
    """Counts of the steps so far, and the work that is due and not settled."""

    def __init__(self, journal: Path) -> None:
        self._reader = Reader(journal)
        self._duties: set[Duty] = set()
        self._coming: dict[str, list[Work]] = {}
        self.counts: Counter[str] = Counter()
        #: Handler runs that ended well, by member.
        self.ended: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        #: Events in the hands of each member, as its `health` says.
        self.held: Counter[str] = Counter()
        self.closing: set[str] = set()
        self.closed: set[str] = set()
        self.live: set[str] = set()
        self.settled: set[Work] = set()
        self.due: set[Work] = set()

    def update(self) -> bool:
        """Read on; `True` if there was anything new."""
        lines = self._reader.more()
        for line in lines:
            self.counts[line.step] += 1
            self._take(line)
        return bool(lines)

    def reaches(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Read on until the condition holds; `False` when the seconds are over first."""
        deadline = now() + timeout
        self.update()
        while not condition():
            if now() >= deadline:
                return False
            time.sleep(POLL)
            self.update()
        return True

    def _take(self, line: Step) -> None:
        if line.step == steps.ATTEMPTED:
            self._coming[line.id] = [
                Work(duty.group, duty.handler, line.id)
                for duty in self._duties if covers(duty.pattern, line.type)
            ]
        elif line.step == steps.CONFIRMED:
            self.due.update(set(self._coming.pop(line.id)) - self.settled)
        elif line.step == steps.START:
            self.running[line.who] += 1
        elif line.step in (steps.END, steps.FAIL):
            self.running[line.who] -= 1
            if line.step == steps.END:
                self.ended[line.who] += 1
                self.settle(Work(line.group, line.handler, line.id))
            else:
                self.failed[line.who] += 1
        else:
            self._take_life(line)

    def _take_life(self, line: Step) -> None:
        if line.step == steps.LIVE:
            if not line.number:
                # The last of its handlers.
                self.live.add(line.who)
            self._duties.add(Duty(line.group, line.pattern, line.handler))
        elif line.step == steps.STATE:
            self.held[line.who] = int(line.number)
        elif line.step == steps.CLOSING:
            self.closing.add(line.who)
        elif line.step == steps.CLOSED:
            self.closed.add(line.who)

    def settle(self, work: Work) -> None:
        self.settled.add(work)
        self.due.discard(work)
