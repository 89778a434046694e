"""Journals made by hand, for tests of the checker."""

from __future__ import annotations

from typing import Any

from . import journal as steps
from .checker.report import check
from .checker.rules import Rules
from .journal import Step


class Story:
    """Writes a journal line by line, a hundredth of a second apart unless told otherwise."""

    def __init__(self) -> None:
        self.lines: list[Step] = []
        self.time = 0.0
        self._runs = 0
        for who in ("m1", "m2"):
            self.add(steps.SPAWNED, who=who)
            self.add(steps.LIVE, who=who, group="g", pattern="job.*", handler="h")

    def add(self, step: str, *, after: float = 0.01, **fields: Any) -> None:
        self.time += after
        self.lines.append(Step(step=step, at=self.time, **fields))

    def publish(self, id: str, outcome: str = steps.CONFIRMED, **fields: Any) -> None:
        fields = {"type": "job.a", "digest": "d-" + id, **fields}
        self.add(steps.ATTEMPTED, who="p", id=id, **fields)
        if outcome:
            self.add(outcome, who="p", id=id)

    def start(self, id: str, who: str = "m1", **fields: Any) -> int:
        self._runs += 1
        fields = {"attempt": 1, "digest": "d-" + id, **fields}
        self.add(steps.START, who=who, id=id, group="g", handler="h", run=self._runs, **fields)
        return self._runs

    def end(self, run: int, who: str = "m1", step: str = steps.END, after: float = 0.01) -> None:
        start = next(line for line in self.lines if line.step == "start" and line.run == run)
        self.add(
            step, who=who, id=start.id, group="g", handler="h", run=run, key=start.key,
            seq=start.seq, after=after,
        )

    def handle(self, id: str, who: str = "m1", **fields: Any) -> None:
        self.end(self.start(id, who, **fields), who)

    def bury(self, id: str, reason: str = "failed", **fields: Any) -> None:
        fields = {"digest": "d-" + id, "handler": "h", **fields}
        self.add(steps.DEAD, id=id, group="g", text=reason, **fields)

    def fault(self, step: str, who: str, **fields: Any) -> None:
        self.add(step, text=who, **fields)

    def broken(self, **rules: Any) -> set[str]:
        return check(self.lines, Rules(**rules)).broken
