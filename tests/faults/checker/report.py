"""All invariants over one journal, and the figures of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .. import journal as steps
from ..journal import Step
from . import delivery, duplicates, manners, order, recovery
from .history import History
from .rules import Rules, Violation

Invariant = Callable[[History, Rules], Iterator[Violation]]

#: So many violations are printed; the journal has the rest.
SHOWN = 20
#: Seconds that are none.
EPSILON = 0.001

INVARIANTS: dict[str, Invariant] = {
    "I1": delivery.no_loss, "I2": delivery.no_inventions, "I3": delivery.integrity,
    "I4": duplicates.bounded, "I5": order.per_key, "I6": recovery.recovers,
    "I7": manners.no_hangs, "I8": manners.resources, "I9": manners.logs,
    "I10": recovery.truthful,
}


class Report(NamedTuple):
    """What a run has shown."""

    violations: list[Violation]
    events: int
    kills: int
    lost: int
    invented: int
    duplicates: int
    bound: int
    interrupted: int
    stalled: int
    seconds: float

    @property
    def broken(self) -> set[str]:
        """Names of the invariants that do not hold."""
        return {violation.invariant for violation in self.violations}

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {getattr(self, name)}" for name in self._fields[1:-1])
        shown = [str(violation) for violation in self.violations[:SHOWN]]
        if len(self.violations) > SHOWN:
            shown.append(f"… {len(self.violations) - SHOWN} more")
        return "\n  ".join([f"{figures}, {self.seconds:.1f} s", *shown])


def check(lines: Iterable[Step], rules: Rules | None = None) -> Report:
    """Hold a journal against every invariant."""
    rules = rules or Rules()
    history = History(lines)
    violations = [
        violation for holds in INVARIANTS.values() for violation in holds(history, rules)
    ]
    bounds = duplicates.bounds(history, rules)
    begin, end = (history.lines[0].at, history.lines[-1].at) if history.lines else (0.0, 0.0)
    return Report(
        violations,
        events=len(history.published),
        kills=len(history.of[steps.KILL]),
        lost=len(delivery.lost(history)),
        invented=len(delivery.invented(history)),
        duplicates=len(duplicates.repetitions(history)),
        bound=sum(bound.allowed for bound in bounds),
        interrupted=sum(bound.running for bound in bounds),
        stalled=sum(bound.window > rules.settle_window + EPSILON for bound in bounds),
        seconds=end - begin,
    )
