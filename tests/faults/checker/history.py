"""A journal, put in order: what was published, which handlers ran, which faults there were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .. import journal as steps
from ..journal import Step

#: Faults of one member; those of the broker (`fault-on`) are everybody's.
OWN_FAULTS = (steps.KILL, steps.PAUSE, steps.STOP)


class Work(NamedTuple):
    """One handler's duty towards one event."""

    group: str
    handler: str
    id: str


class Duty(NamedTuple):
    """A handler of a durable subscription."""

    group: str
    pattern: str
    handler: str


class Published(msgspec.Struct):
    """An event as its publisher saw it; without an `outcome` if it did not live so long."""

    id: str
    type: str
    key: str | None
    seq: int
    digest: str
    who: str
    at: float
    outcome: str = ""
    done: float = 0.0


class Run(msgspec.Struct, eq=False):
    """One call of a handler; `end` is `None` if it never came back."""

    work: Work
    who: str
    key: str | None
    seq: int
    attempt: int
    digest: str
    start: float
    end: float | None = None
    ok: bool = False


class Fault(NamedTuple):
    """Something the supervisor did, to one member or (`who` is empty) to the broker."""

    kind: str
    who: str
    at: float
    text: str = ""
    #: When it had happened: a broker's many processes do not end at one moment. Later by what it
    #: then has forgotten of what it had handed out.
    struck: float = 0.0
    #: Of the broker: when it served again.
    over: float = 0.0
    #: Of a killed member: seconds for which its process had stood still by then.
    silent: float = 0.0

    def hits(self, who: str) -> bool:
        return self.who in ("", who)


class Life(msgspec.Struct):
    """One process."""

    who: str
    closing: Step | None = None
    closed: float | None = None
    killed: float | None = None
    exit: int | None = None
    live: bool = False


class History:
    """Everything the invariants are about."""

    def __init__(self, lines: Iterable[Step]) -> None:
        self.lines = sorted(lines, key=lambda step: step.at)
        self.published: dict[str, Published] = {}
        self.runs: list[Run] = []
        self.by_work: dict[Work, list[Run]] = defaultdict(list)
        self.by_who: dict[str, list[Run]] = defaultdict(list)
        self.faults: list[Fault] = []
        self.births: dict[Duty, float] = {}
        self.lives: dict[str, Life] = {}
        #: Who gave events back that no handler had begun (with a suspect, it wants no others).
        self.hand_backs: list[tuple[str, float]] = []
        #: By group and event: who took it from one that had vanished, and when.
        self.taken: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
        self.of: dict[str, list[Step]] = defaultdict(list)
        self._open: dict[tuple[str, int], Run] = {}
        self._released: dict[str, float] = {}
        for line in self.lines:
            self._take(line)

    def _take(self, line: Step) -> None:
        self.of[line.step].append(line)
        if line.step == steps.ATTEMPTED:
            self.published[line.id] = Published(
                line.id, line.type, line.key, line.seq, line.digest, line.who, line.at
            )
        elif line.step in (steps.CONFIRMED, steps.FAILED, steps.UNKNOWN):
            self.published[line.id].outcome = line.step
            self.published[line.id].done = line.at
        elif line.step == steps.START:
            self._begin(line)
        elif line.step == steps.TAKEN:
            self.taken[line.group, line.id].append((line.who, line.at))
        elif line.step in (steps.END, steps.FAIL):
            run = self._open.pop((line.who, line.run))
            run.end, run.ok = line.at, line.step == steps.END
        else:
            self._take_life(line)

    def _begin(self, line: Step) -> None:
        run = Run(
            Work(line.group, line.handler, line.id), line.who, line.key, line.seq,
            line.attempt, line.digest, line.at,
        )
        self._open[line.who, line.run] = run
        self.runs.append(run)
        self.by_work[run.work].append(run)
        self.by_who[run.who].append(run)

    def _take_life(self, line: Step) -> None:
        if line.step in (*OWN_FAULTS, steps.FAULT_ON):
            # `text` of a member's fault is the member; the line itself is the supervisor's.
            who = "" if line.step == steps.FAULT_ON else line.text
            silent = line.number if line.step == steps.KILL else 0.0
            self.faults.append(
                Fault(line.step, who, line.at, line.text, line.at, line.at, silent)
            )
            if line.step == steps.KILL:
                self.life(who).killed = line.at
        elif line.step in (steps.STRUCK, steps.FAULT_OFF):
            begun = max(n for n, f in enumerate(self.faults) if f.kind == steps.FAULT_ON)
            moment = "struck" if line.step == steps.STRUCK else "over"
            self.faults[begun] = self.faults[begun]._replace(**{moment: line.at + line.number})
        elif line.step == steps.SPAWNED:
            self.life(line.who)
        elif line.step == steps.STATE:
            released = line.more.get("released", 0.0)
            if released > self._released.get(line.who, 0.0):
                self._released[line.who] = released
                self.hand_backs.append((line.who, line.at))
        elif line.step == steps.LIVE:
            duty = Duty(line.group, line.pattern, line.handler)
            self.births.setdefault(duty, line.at)
            self.life(line.who).live = True
        elif line.step == steps.CLOSING:
            self.life(line.who).closing = line
        elif line.step == steps.CLOSED:
            self.life(line.who).closed = line.at
        elif line.step == steps.EXIT:
            self.life(line.text).exit = int(line.number)

    def life(self, who: str) -> Life:
        return self.lives.setdefault(who, Life(who))

    def duties(self) -> Iterable[tuple[Work, Published]]:
        """Each handler's duty towards each confirmed event that came after its birth."""
        for event in self.published.values():
            if event.outcome != steps.CONFIRMED:
                continue
            for duty, born in self.births.items():
                if born <= event.at and covers(duty.pattern, event.type):
                    yield Work(duty.group, duty.handler, event.id), event


def covers(pattern: str, type: str) -> bool:
    """Whether a pattern is for a type; written here anew, to owe nothing to what is tested."""
    if pattern in ("*", "**"):
        return True
    return _match(pattern.split("."), type.split("."))


def _match(pattern: list[str], type: list[str]) -> bool:
    if not pattern:
        return not type
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        return any(_match(rest, type[n:]) for n in range(len(type) + 1))
    return bool(type) and first in ("*", type[0]) and _match(rest, type[1:])
