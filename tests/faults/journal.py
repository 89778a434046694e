"""The journal: what every process of a run did, one line per step.

A line is one `os.write` to a descriptor opened with `O_APPEND`: lines of several processes never
mix, and what was written survives the writer's SIGKILL, for it is in the page cache by then. One
that begins at the end of a page may be torn by a SIGKILL that comes in between: the step was not
taken then. So each begins with a line end of its own.
Times are of a clock that all processes of a host share and nobody can set.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

#: What publishers write.
ATTEMPTED, CONFIRMED, FAILED, UNKNOWN = "attempted", "confirmed", "failed", "unknown"
#: What handlers write: a run begins, and ends well or with an exception.
START, END, FAIL = "start", "end", "fail"
#: A member has what another one held when it vanished.
TAKEN = "taken"
#: What members write about themselves.
SPAWNED, LIVE, CLOSING, CLOSED = "spawned", "live", "closing", "closed"
STATE, RESOURCES, LOG = "state", "resources", "log"
#: What the supervisor writes: faults, and what it finds at the end. Whoever is killed had stood
#: still for `number` seconds.
KILL, STOP, PAUSE, RESUME, EXIT = "kill", "stop", "pause", "resume", "exit"
#: A fault of the broker is about to begin, has begun (and `number` seconds are forgotten), is over.
FAULT_ON, STRUCK, FAULT_OFF = "fault-on", "struck", "fault-off"
#: The machine stood still for the last `number` seconds, says the probe; a member, says it itself.
STALL = "stall"
DEAD, BACKLOG, DRAINED = "dead", "backlog", "drained"


class Step(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line.

    Attributes:
        step: one of the names above.
        at: seconds of the shared clock.
        who: the process: a name that is never used again, unlike its pid.
        pid: its process id.
        id: of the event.
        type: of the event.
        key: of the event.
        seq: the event's place among those of its key, from 1; 0 without a key.
        digest: hash of everything in the event that must arrive as it was sent.
        attempt: as the handler saw it; of a dead letter, how many there were.
        group: consumer group.
        pattern: of the subscription.
        handler: name of the handler.
        run: number of the handler's run in its process: pairs a start with its end.
        text: reason of a dead letter, name of a fault, a log line, a state.
        number: backlog, exit code, whatever the step counts.
        more: further numbers by name (`resources`, `state`).
    """

    step: str
    at: float
    who: str = ""
    pid: int = 0
    id: str = ""
    type: str = ""
    key: str | None = None
    seq: int = 0
    digest: str = ""
    attempt: int = 0
    group: str = ""
    pattern: str = ""
    handler: str = ""
    run: int = 0
    text: str = ""
    number: float = 0
    more: dict[str, float] = {}


_decoder = msgspec.json.Decoder(Step)


def now() -> float:
    """Seconds on the clock of the journal."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Journal:
    """The writing side; safe to use from any thread."""

    def __init__(self, path: Path | str, who: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._who = who
        self._pid = os.getpid()

    def note(self, step: str, **fields: Any) -> Step:
        """Append one line."""
        line = Step(**{"step": step, "at": now(), "who": self._who, "pid": self._pid, **fields})
        os.write(self._file, b"\n%b\n" % msgspec.json.encode(line))
        return line

    def close(self) -> None:
        os.close(self._file)


class Reader:
    """The reading side: what was added since the last look."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._offset = 0

    def more(self) -> list[Step]:
        """Lines that are complete and new."""
        if not self._path.exists():
            return []
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = (_decoded(line) for line in whole.splitlines() if line)
        return [line for line in lines if line is not None]


def _decoded(line: bytes) -> Step | None:
    """A step, or nothing if it was torn; whatever else is wrong with it is raised."""
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return None


def read(path: Path | str) -> list[Step]:
    """The whole journal."""
    return Reader(path).more()
