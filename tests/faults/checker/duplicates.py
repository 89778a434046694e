"""I4: what runs again is explained by a fault, and is no more than that fault explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .. import journal as steps
from .history import Fault, History, Run
from .rules import Rules, Violation

#: A graceful stop explains no repetition.
EXPLAINING = (steps.KILL, steps.PAUSE, steps.FAULT_ON)


class Bound(NamedTuple):
    """Of one fault: how often handlers ran again because of it, and how often they may."""

    fault: Fault
    repeated: int
    running: int
    completed: int
    #: Seconds that count as "just completed": longer than usual if the machine stood still.
    window: float

    @property
    def allowed(self) -> int:
        return self.running + self.completed


def bounds(history: History, rules: Rules) -> list[Bound]:
    """One for each fault that explains repetitions."""
    repeated, _ = _attributed(history)
    found = []
    for fault in history.faults:
        if fault.kind in EXPLAINING:
            hit = [run for run in history.runs if fault.hits(run.who)]
            runs = [run for run in hit if run.start <= fault.struck]
            # A killed member's late lines came between the supervisor's line and its death.
            late = [run for run in history.by_who[fault.who] if run.start > fault.at]
            runs += late if fault.kind == steps.KILL else []
            window = _window(history, fault.at, rules.settle_window)
            found.append(_bound(fault, runs, len(repeated[fault]), window))
    return found


def _bound(fault: Fault, runs: list[Run], repeated: int, window: float) -> Bound:
    if fault.kind == steps.KILL:
        running = sum(run.end is None for run in runs)
    else:
        running = sum(run.end is None or run.end > fault.at for run in runs)
    completed = sum(
        run.end is not None and fault.at - window <= run.end
        and (fault.kind == steps.KILL or run.end <= fault.at)
        for run in runs
    )
    return Bound(fault, repeated, running, completed, window)


def _window(history: History, at: float, seconds: float) -> float:
    """How far before `at` the machine had `seconds` of work to go."""
    edge, left = at, seconds
    for stall in reversed(history.of[steps.STALL]):
        # The line is written when the stall is over.
        since, until = stall.at - stall.number, min(stall.at, edge)
        if since >= edge:
            continue
        if edge - until >= left:
            break
        left -= edge - until
        edge = since
    return at - edge + left


def repetitions(history: History) -> list[tuple[Run, Run]]:
    """Pairs of successive runs of the same work, but for retries after a failure."""
    return [
        (before, after)
        for runs in history.by_work.values()
        for before, after in pairwise(runs)
        if not _is_retry(before, after)
    ]


def _is_retry(before: Run, after: Run) -> bool:
    return before.end is not None and not before.ok and before.end <= after.start


def _attributed(history: History) -> tuple[dict[Fault, list[Run]], list[tuple[Run, Run]]]:
    explained: dict[Fault, list[Run]] = defaultdict(list)
    unexplained = []
    faults = [fault for fault in history.faults if fault.kind in EXPLAINING]
    for before, after in repetitions(history):
        fault = next((f for f in faults if _explains(f, before, after)), None)
        if fault is None:
            unexplained.append((before, after))
        else:
            explained[fault].append(after)
    return explained, unexplained


def _explains(fault: Fault, before: Run, after: Run) -> bool:
    if not fault.hits(before.who) or fault.at > after.start:
        return False
    # The dead run nothing: whatever they did, they did before.
    return fault.kind == steps.KILL or fault.struck >= before.start


def bounded(history: History, rules: Rules) -> Iterator[Violation]:
    """I4."""
    _, unexplained = _attributed(history)
    for before, after in unexplained:
        yield Violation(
            "I4",
            f"{after.work.id} ran in {before.who} and again in {after.who}, "
            "and no fault explains that",
        )
    for bound in bounds(history, rules):
        if bound.repeated > bound.allowed:
            yield Violation(
                "I4",
                f"{bound.fault.kind} of {bound.fault.who or 'the broker'}: {bound.repeated} runs "
                f"repeated, but {bound.running} were running and {bound.completed} had completed "
                f"within {bound.window:.3f} s",
            )
