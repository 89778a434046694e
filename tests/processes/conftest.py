"""Members as real processes on one SQLite file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.journal import rows

MEMBER = Path(__file__).with_name("member.py")


class Step(NamedTuple):
    """One line of the journal."""

    step: str
    payload: int
    pid: int
    at: float
    type: str


class Killed(NamedTuple):
    """A member that was killed, and when."""

    pid: int
    at: float


class Crew:
    """Starts members and reads what they journal."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'events.db'}"
        self._journal = folder / "journal"
        self._processes: list[subprocess.Popen[str]] = []
        self.killed: list[Killed] = []

    def member(self, *options: str) -> subprocess.Popen[str]:
        """Start a member and wait until its subscription is live."""
        process = subprocess.Popen(
            [sys.executable, str(MEMBER), self.url, "--journal", str(self._journal), *options],
            stdout=subprocess.PIPE, text=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a member. The clock of the journal is the same in all processes."""
        self.killed.append(Killed(process.pid, time.monotonic()))
        process.kill()
        process.wait()

    def repeated(self) -> dict[int, list[Step]]:
        """By member, the last thing it did with each event that another member began after it."""
        last: dict[int, dict[int, Step]] = {}
        owner: dict[int, int] = {}
        found: dict[int, list[Step]] = {}
        for step in sorted(self.journal("start") + self.journal("ok"), key=lambda s: s.at):
            before = owner.get(step.payload)
            if step.step == "start":
                if before is not None:
                    found.setdefault(before, []).append(last[before][step.payload])
                owner[step.payload] = step.pid
            last.setdefault(step.pid, {})[step.payload] = step
        return found

    def journal(self, step: str) -> list[Step]:
        steps = (
            Step(r[0], int(r[1]), int(r[2]), float(r[3]), r[4]) for r in rows(self._journal)
        )
        return [one for one in steps if one.step == step]

    def wait(self, what: str, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            time.sleep(0.005)

    def wait_for_progress(self, published: int) -> None:
        """Until one more event is handled, or, by members that are quick, all that there are."""
        wanted = min(len(self.journal("ok")) + 1, published)
        self.wait("some progress", lambda: len(self.journal("ok")) >= wanted)

    def wait_for_handled(self, number: int) -> None:
        """Wait until each of the first `number` events was handled at least once."""
        wanted = set(range(number))
        self.wait(
            f"{number} handled", lambda: wanted <= {step.payload for step in self.journal("ok")}
        )

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(tmp_path)
    yield crew
    crew.stop()
