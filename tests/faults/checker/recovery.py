"""I6 recovery and I10 truthful health."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import journal as steps
from .history import Fault, History, Run
from .rules import Rules, Violation


class Outage(NamedTuple):
    """A time without a broker."""

    name: str
    begin: float
    end: float


def outages(history: History) -> list[Outage]:
    """Broker faults that were healed."""
    found = []
    for on in history.of[steps.FAULT_ON]:
        end = next(
            (off.at for off in history.of[steps.FAULT_OFF]
             if off.text == on.text and off.at >= on.at), None,
        )
        if end is not None:
            found.append(Outage(on.text, on.at, end))
    return found


def recovers(history: History, rules: Rules) -> Iterator[Violation]:
    """I6."""
    yield from _take_over(history, rules)
    for outage in outages(history):
        first = next((run.start for run in history.runs if run.start >= outage.end), None)
        waited = None if first is None else _waited(history, rules, outage.end, first)
        if waited is None or waited > rules.recovery:
            took = "never" if waited is None else f"after {waited:.1f} s"
            yield Violation("I6", f"handling went on {took} when {outage.name} was over")
    for line in history.of[steps.DRAINED]:
        if line.number > rules.drain:
            yield Violation("I6", f"the rest took {line.number:.1f} s, not {rules.drain} s")


def _waited(history: History, rules: Rules, begin: float, end: float) -> float:
    """Seconds in which handling could have gone on."""
    return (_calm if rules.session else _served)(history, begin, end)


def _calm(history: History, begin: float, end: float) -> float:
    """The longest time with a broker in which nobody died: a group of sessions that waits for a
    dead member begins to wait anew with each further one, and with each start of its broker."""
    longest, since = 0.0, begin
    for away, back in _disturbances(history):
        if begin < away < end:
            longest = max(longest, away - since)
            since = max(since, back)
    return max(longest, end - since)


def _served(history: History, begin: float, end: float) -> float:
    """Seconds between two moments in which there was a broker."""
    away = sum(
        max(0.0, min(other.end, end) - max(other.begin, begin)) for other in outages(history)
    )
    return end - begin - away


def _take_over(history: History, rules: Rules) -> Iterator[Violation]:
    """What a killed member was running begins elsewhere in time."""
    for fault in history.faults:
        if fault.kind != steps.KILL:
            continue
        latest = _latest(history, rules, fault)
        for run in history.by_who[fault.who]:
            if run.end is not None:
                continue
            again = [r for r in history.by_work[run.work] if r.start > run.start]
            # Never again is a loss, and reported as that.
            if again and again[0].start > _with_heirs(history, rules, run, again, latest):
                took = again[0].start - fault.at
                yield Violation(
                    "I6", f"{run.work.id} came back {took:.1f} s after the kill of {fault.who}"
                )


def _with_heirs(
    history: History, rules: Rules, run: Run, again: list[Run], latest: float
) -> float:
    """Who takes it over in time, and is killed before it begins it, leaves it to be taken again."""
    began = {other.who for other in again}
    for who, at in history.taken[run.work.group, run.work.id]:
        kill = next((f for f in history.faults if f.kind == steps.KILL and f.who == who), None)
        if kill and who not in began and run.start < at <= latest:
            latest = max(latest, _latest(history, rules, kill))
    return latest


def _latest(history: History, rules: Rules, kill: Fault) -> float:
    """When what a killed member ran must have begun at a peer.

    A group that waits for a dead member takes all who wait with it for alive, and gives them a
    whole session from then on: also those who have died meanwhile. So does a broker that starts.
    """
    latest = kill.at + rules.take_over
    if not rules.session:
        return latest
    longer = rules.take_over + rules.session
    for begin, end in _disturbances(history):
        if begin <= latest and end >= kill.at - longer and begin != kill.at:
            latest = max(latest, max(kill.at, end) + longer)
    return latest


def _disturbances(history: History) -> list[tuple[float, float]]:
    """Deaths, which take no time, and outages."""
    deaths = [(fault.at, fault.at) for fault in history.faults if fault.kind == steps.KILL]
    return sorted([*deaths, *((outage.begin, outage.end) for outage in outages(history))])


def truthful(history: History, rules: Rules) -> Iterator[Violation]:
    """I10."""
    for outage in outages(history):
        for who, life in history.lives.items():
            ended = life.closed or life.killed
            if life.live and (ended is None or ended > outage.end + rules.recovery):
                yield from _truthful(history, rules, outage, who)


def _truthful(history: History, rules: Rules, outage: Outage, who: str) -> Iterator[Violation]:
    states = [line for line in history.of[steps.STATE] if line.who == who]
    before = [line for line in states if line.at <= outage.begin + rules.detection]
    lasted = outage.end - outage.begin > rules.detection
    if lasted and before and before[-1].text == "ok":
        yield Violation("I10", f"{who} calls itself ok during {outage.name}")
    limit = outage.end + rules.recovery + 1.0
    next_one = any(outage.end < other.begin < limit for other in outages(history))
    until = [line for line in states if line.at <= limit]
    if until and until[-1].text != "ok" and not next_one:
        yield Violation("I10", f"{who} is still {until[-1].text!r} after {outage.name}")
