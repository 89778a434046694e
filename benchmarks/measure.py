"""What all measures share: turns, medians and one line of the table."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROUNDS = 5


class Figure(NamedTuple):
    """One line of the table.

    Attributes:
        name: what was measured; a ratio has a "/" in it.
        ours: our figure, with its unit.
        floor: the raw figure of the same run, or "-".
        value: the number that is compared with the target.
        target: such as ">= 0.45".
    """

    name: str
    ours: str
    floor: str
    value: float
    target: str

    @property
    def ok(self) -> bool:
        relation, bound = self.target.split()
        return self.value >= float(bound) if relation == ">=" else self.value <= float(bound)


def in_turns(
    ours: Callable[[], float], floor: Callable[[], float]
) -> tuple[float, float, float]:
    """Medians of both and of the ratio ours/floor, pair by pair; one warm-up is not counted."""
    ours(), floor()
    pairs = [(floor(), ours()) for _ in range(ROUNDS)]
    return (
        statistics.median(o for _, o in pairs), statistics.median(f for f, _ in pairs),
        statistics.median(o / f for f, o in pairs),
    )


def rated(
    name: str, ours: Callable[[], float], floor: Callable[[], float], target: float
) -> Figure:
    """The line of two rates, of which ours shall be at least `target` times the floor's."""
    mine, raw, ratio = in_turns(ours, floor)
    return Figure(name, rate(mine), rate(raw), ratio, f">= {target}")


def delayed(name: str, ours: Callable[[], float], floor: Callable[[], float]) -> Figure:
    """The line of two delays in microseconds."""
    mine, raw, ratio = in_turns(ours, floor)
    return Figure(name, f"{mine:.0f} us", f"{raw:.0f} us", ratio, "<= 1.5")


@contextmanager
def scratch() -> Iterator[str]:
    """A path for a database that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="eventbus-bench-", dir=_disk()) as folder:
        yield str(Path(folder) / "events.db")


def _disk() -> str | None:
    """/tmp may be in memory, where a durable commit costs nothing; /var/tmp is not."""
    if "TMPDIR" in os.environ or not os.path.isdir("/var/tmp"):
        return None
    return "/var/tmp"


def payload(number: int) -> dict[str, Any]:
    return {"id": number, "email": "somebody@example.com", "plan": "free", "tags": ["a", "b"]}


def rate(number: float) -> str:
    return f"{number:,.0f}/s"
