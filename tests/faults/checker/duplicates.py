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
    repeated, _ = _attributed(history, rules)
    found = []
    for fault in history.faults:
        if fault.kind in EXPLAINING:
            hit = [run for run in history.runs if fault.hits(run.who)]
            runs = [run for run in hit if run.start <= _until(fault, rules)]
            # A killed member's late lines came between the supervisor's line and its death.
            late = [run for run in history.by_who[fault.who] if run.start > fault.at]
            runs += late if fault.kind == steps.KILL else []
            window = _window(history, fault, rules)
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


def _window(history: History, fault: Fault, rules: Rules) -> float:
    """How far before a fault there were the seconds in which successes are settled."""
    edge, left = fault.at, rules.settle_window
    for since, until in _gaps(history, fault):
        until = min(until, edge)
        if since >= edge:
            continue
        if edge - until >= left:
            break
        left -= edge - until
        edge = since
    return fault.at - edge + left


def _gaps(history: History, fault: Fault) -> list[tuple[float, float]]:
    """When nothing could be settled, the latest first: the machine or the member's process stood
    still, or it had no broker, from the fault on of which it came to know."""
    who = fault.who
    # The line of a stall is written when it is over.
    gaps = [
        (stall.at - stall.number, stall.at) for stall in history.of[steps.STALL]
        if stall.who == who or stall.who not in history.lives
    ]
    if fault.silent:
        gaps.append((fault.at - fault.silent, fault.at))
    since: float | None = None
    for line in history.of[steps.STATE]:
        if line.who == who and line.text != "ok" and since is None:
            begun = [step.at for step in history.of[steps.FAULT_ON] if step.at <= line.at]
            since = begun[-1] if begun else line.at
        elif line.who == who and line.text == "ok" and since is not None:
            gaps.append((since, line.at))
            since = None
    if since is not None:
        gaps.append((since, float("inf")))
    return sorted(gaps, key=lambda gap: gap[1], reverse=True)


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


def _attributed(
    history: History, rules: Rules
) -> tuple[dict[Fault, list[Run]], list[tuple[Run, Run]]]:
    explained: dict[Fault, list[Run]] = defaultdict(list)
    unexplained = []
    faults = [
        (fault, fault.at - _window(history, fault, rules))
        for fault in history.faults if fault.kind in EXPLAINING
    ]
    for before, after in repetitions(history):
        found = [pair for pair in faults if _explains(pair[0], before, after, rules)]
        # Rather one that met the run, than one that came long after it.
        met = [fault for fault, edge in found if before.end is None or before.end >= edge]
        if found:
            explained[met[0] if met else found[0][0]].append(after)
        else:
            unexplained.append((before, after))
    return explained, unexplained


def _until(fault: Fault, rules: Rules) -> float:
    """The last moment at which what began is hit by a fault."""
    return fault.struck if rules.leases else max(fault.struck, fault.over + rules.reconnect)


def _explains(fault: Fault, before: Run, after: Run, rules: Rules) -> bool:
    if not fault.hits(before.who) or fault.at > after.start:
        return False
    # The dead run nothing: whatever they did, they did before.
    return fault.kind == steps.KILL or _until(fault, rules) >= before.start


def bounded(history: History, rules: Rules) -> Iterator[Violation]:
    """I4."""
    _, unexplained = _attributed(history, rules)
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
