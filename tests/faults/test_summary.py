"""The table of all storms."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import summary
from .checker.report import Report
from .checker.rules import Violation


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "RESULTS", tmp_path / "storms.json")
    monkeypatch.setattr(summary, "TABLE", tmp_path / "storms.inc")


def report(lost: int = 0) -> Report:
    violations = [Violation("I1", "lost")] * lost
    return Report(violations, 100, 3, lost, 0, 5, 9, 2, 0, 1.5)


def test_the_latest_storm_takes_the_place_of_the_one_before() -> None:
    summary.record("redis", "redis 7", "{kills} killed", [(1, report(lost=1))])
    summary.record("memory", "in the process", "left", [(7, report()), (8, report())])
    summary.record("redis", "redis 8", "{kills} killed", [(2, report())])

    memory, redis = summary.read().values()
    assert (memory.transport, memory.events, memory.duplicates, memory.seeds) == (
        "memory", 200, 10, [7, 8],
    )
    assert (redis.broker, redis.faults, redis.lost, redis.violations) == (
        "redis 8", "3 killed", 0, 0,
    )
    assert "redis 7" not in summary.TABLE.read_text()


def test_what_was_lost_is_in_the_table() -> None:
    summary.record("nats", "nats 2", "{kills} killed", [(1, report(lost=2))])

    row = summary.TABLE.read_text().partition(":doc:`nats`")[2].splitlines()
    assert [line.strip(" -") for line in row[4:10]] == ["100", "**2**", "**0**", "5", "9", "2"]
