"""A run in one process, whose broker dies with it: a handler leaves and comes back under load.

Nothing can be killed there that would not take the broker with it. What is left to promise is what
happens while the process lives, and at its orderly end.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from random import Random

from eventbus import EventBus, RetryPolicy, Subscription

from . import journal as steps
from .checker.report import Report, check
from .journal import Journal, read
from .leftovers import note_leftovers
from .load import stream
from .member import journalled
from .progress import Progress
from .publisher import publish

GROUP, PATTERN, HANDLER = "workers", "job.*", "handle"
PUBLISHERS, BATCH = 2, 50
#: Seconds for all of it, after which something hangs.
PATIENCE = 300.0


class _Member:
    """The bus of this process, and its one handler."""

    def __init__(self, journal: Journal) -> None:
        self.bus = EventBus(
            "memory://", group=GROUP, environ={}, max_concurrent_handlers=4,
            retry=RetryPolicy(max_attempts=3, initial=0.02, maximum=0.1),
        )
        self._handle = journalled(journal, GROUP, HANDLER, count(1))
        self._subscription = self._come()
        journal.note(steps.LIVE, group=GROUP, pattern=PATTERN, handler=HANDLER)

    def _come(self) -> Subscription:
        return self.bus.subscribe(PATTERN, self._handle, name=HANDLER)

    def leave_and_come(self) -> None:
        """What runs goes on; what has not begun goes back."""
        self._subscription.cancel()
        self._subscription = self._come()


def alone(folder: Path, *, seed: int, events: int = 12_000, leaves: int = 30) -> Report:
    """Publish `events` from two threads, while the handler leaves `leaves` times."""
    chance = Random(seed)
    path = folder / "journal"
    journal, progress = Journal(path, "alone"), Progress(path)
    journal.note(steps.SPAWNED)
    member = _Member(journal)
    with _publishing(member.bus, journal, events, chance):
        for mark in sorted(chance.randrange(events * 19 // 20) for _ in range(leaves)):
            _wait_for(progress, mark)
            member.leave_and_come()
    member.bus.join(PATIENCE)
    note_leftovers(member.bus, journal)
    journal.note(steps.CLOSING, number=member.bus.config.close_timeout)
    member.bus.close()
    journal.note(steps.CLOSED)
    journal.close()
    return check(read(path))


def _wait_for(progress: Progress, mark: int) -> None:
    if not progress.reaches(lambda: len(progress.settled) >= mark, PATIENCE):
        raise AssertionError(f"{len(progress.settled)} events are handled, {mark} were expected")


@contextmanager
def _publishing(
    bus: EventBus, journal: Journal, events: int, chance: Random
) -> Iterator[None]:
    def send(name: str, seed: int) -> None:
        rest = iter(
            stream(
                events // PUBLISHERS, seed=seed, prefix=name, seconds=0.002, failing=0.01,
                rejected=0.005,
            )
        )
        while batch := list(islice(rest, BATCH)):
            publish(bus, journal, batch)

    with ThreadPoolExecutor(PUBLISHERS) as pool:
        running = [
            pool.submit(send, f"p{n}", chance.randrange(1 << 30)) for n in range(PUBLISHERS)
        ]
        yield
        for one in running:
            one.result(PATIENCE)
