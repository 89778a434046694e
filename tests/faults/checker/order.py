"""I5: per key and process one at a time, and in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from .. import journal as steps
from .history import Fault, History, Published, Run, Work
from .rules import Rules, Violation

#: Seconds within which a member journals that it has handed events back.
NOTICED = 0.5

Lane = tuple[str, str, str]


def per_key(history: History, rules: Rules) -> Iterator[Violation]:
    """I5."""
    yield from _overlaps(history)
    yield from _gaps(history, rules)


def _overlaps(history: History) -> Iterator[Violation]:
    lanes: dict[tuple[str, str, str, str], list[Run]] = defaultdict(list)
    for run in history.runs:
        if run.key is not None:
            lanes[run.who, run.work.group, run.work.handler, run.key].append(run)
    for (who, _, _, key), runs in lanes.items():
        for before, after in pairwise(runs):
            if before.end is None or before.end > after.start:
                yield Violation("I5", f"two events of key {key} at once in {who}")


def _gaps(history: History, rules: Rules) -> Iterator[Violation]:
    """A later event of a key began although an earlier one was still to come."""
    settled = _settled(history)
    for (group, handler, _), events in _by_key(history).items():
        works = [Work(group, handler, event.id) for event in events]
        # Never settled is lost, and reported as that.
        times = [settled.get(work, 0.0) for work in works]
        for place, work in enumerate(works):
            for first in _first_in_each(history.by_work.get(work, ())):
                for n, time in enumerate(times[:place]):
                    if time > first.start and not _explained(
                        history, rules, first, works[n], events[n]
                    ):
                        yield _gap(first, events[place], events[n])


def _gap(run: Run, event: Published, earlier: Published) -> Violation:
    return Violation(
        "I5",
        f"key {event.key}: {event.seq} began in {run.who} before {earlier.seq} was through",
    )


def _by_key(history: History) -> dict[Lane, list[Published]]:
    """Confirmed events of each key in each handler that ever ran, in the order of publishing."""
    handlers = {(work.group, work.handler) for work in history.by_work}
    found: dict[Lane, list[Published]] = defaultdict(list)
    for event in history.published.values():
        if event.key is not None and event.outcome == steps.CONFIRMED:
            for group, handler in handlers:
                found[group, handler, event.key].append(event)
    for events in found.values():
        events.sort(key=lambda event: event.seq)
    return found


def _settled(history: History) -> dict[Work, float]:
    """When each work was first through: its first success, or its last failure if it is dead."""
    dead = {Work(line.group, line.handler, line.id) for line in history.of[steps.DEAD]}
    times: dict[Work, float] = {}
    for work, runs in history.by_work.items():
        ends = [run.end for run in runs if run.end is not None and run.ok]
        if not ends and work in dead:
            ends = [max((run.end for run in runs if run.end is not None), default=0.0)]
        if ends:
            times[work] = min(ends)
    return times


def _first_in_each(runs: list[Run] | tuple[()]) -> Iterator[Run]:
    seen = set()
    for run in runs:
        if run.who not in seen:
            seen.add(run.who)
            yield run


def _explained(
    history: History, rules: Rules, run: Run, other: Work, earlier: Published
) -> bool:
    """Whether the earlier event was with somebody else when `run` began."""
    following = next(r for r in history.by_work[other] if r.end is None or r.end > run.start)
    if following.who != run.who:
        return True
    since, until = earlier.at, following.start
    return any(
        fault.who != run.who and fault.at <= until and _over(history, rules, fault) >= since
        for fault in history.faults
    ) or any(
        who != run.who and since <= at <= until + NOTICED
        for who, at in history.hand_backs
    )


def _over(history: History, rules: Rules, fault: Fault) -> float:
    """When a fault has given back the last event; a stop does so until the member is closed."""
    if fault.kind == steps.KILL:
        return fault.at + rules.unaware
    if fault.kind != steps.STOP:
        return fault.at
    closed = history.life(fault.who).closed
    return fault.at if closed is None else closed
