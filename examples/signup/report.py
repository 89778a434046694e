"""The table at the end of the demo: per group, what became of the published events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import journal

HEAD = ("group", "published", "handled", "duplicates", "lost", "p50 ms", "p99 ms")


def table(journals: dict[str, Path], published: set[str]) -> int:
    """Print it and return how many events were lost, over all groups."""
    _print_row(HEAD)
    return sum(_group(name, path, published) for name, path in journals.items())


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent do not exceed; 0 without any values."""
    if not values:
        return 0.0
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(0, rank - 1)]


def _group(name: str, path: Path, published: set[str]) -> int:
    # A broker that others use too may hold events of an earlier demo: they are not counted.
    entries = [entry for entry in journal.read(path) if entry.event_id in published]
    first: dict[str, float] = {}
    for entry in entries:
        first.setdefault(entry.event_id, 1000 * entry.latency)
    lost = len(published) - len(first)
    waits = list(first.values())
    times = (f"{percentile(waits, 50):.1f}", f"{percentile(waits, 99):.1f}")
    _print_row((name, len(published), len(first), len(entries) - len(first), lost, *times))
    return lost


def _print_row(cells: Sequence[object]) -> None:
    print(" ".join(f"{cell:>10}" for cell in cells))
