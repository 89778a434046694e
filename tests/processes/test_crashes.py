"""Events that kill their process: buried after three deaths, and nothing else with them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from eventbus import EventBus
from tests.processes.journal import rows

POISONED = Path(__file__).with_name("poisoned.py")
EVENTS = 300


#: Measuring writes its file in the thread that ends the process; two at once crash.
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


class Supervisor:
    """Starts the member again whenever it dies, as an orchestrator does."""

    def __init__(self, folder: Path, *poison: int, second: bool = False) -> None:
        self.url = f"sqlite:///{folder / 'events.db'}"
        self.journal_path = folder / "journal"
        self.deaths = 0
        self._arguments = [
            sys.executable, str(POISONED), self.url, str(self.journal_path),
            ",".join(map(str, poison)), "second" if second else "one",
        ]

    def bus(self) -> EventBus:
        return EventBus(self.url, group="workers", environ={})

    def run_until_settled(self, bus: EventBus, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        process = self._start()
        try:
            while any(info.backlog for info in bus.subscriptions.list()) or self._parked(bus):
                assert time.monotonic() < deadline, f"not settled within {timeout} s"
                if process.poll() is not None:
                    assert process.returncode == 1
                    self.deaths += 1
                    process = self._start()
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._arguments, env=UNMEASURED)

    def _parked(self, bus: EventBus) -> int:
        with bus._engine.transport._database() as database:
            row = database.connection.execute("SELECT count(*) FROM eventbus_inbox").fetchone()
        return int(row[0])

    def journal(self) -> list[list[str]]:
        return rows(self.journal_path)


@pytest.mark.slow
@pytest.mark.parametrize("second", [False, True], ids=["one handler", "two handlers"])
def test_only_the_event_that_kills_is_buried(tmp_path: Path, second: bool) -> None:
    poison = 7
    supervisor = Supervisor(tmp_path, poison, second=second)
    bus = supervisor.bus()
    bus.on("job", lambda event: None, name="handle")
    bus.declare()
    bus.publish_many(("job", number) for number in range(EVENTS))

    supervisor.run_until_settled(bus)

    (letter,) = bus.dead_letters.list()
    assert letter.event is not None
    assert (letter.reason, letter.handler, letter.event.payload) == ("crashed", "handle", poison)
    assert "died 3 times" in letter.error
    assert supervisor.deaths == 3
    steps = supervisor.journal()
    done = Counter((step[1], step[3]) for step in steps if step[0] == "ok")
    names = ["handle", "other"] if second else ["handle"]
    wanted = {(str(n), name) for n in range(EVENTS) for name in names} - {(str(poison), "handle")}
    assert set(done) == wanted
    bus.close()


@pytest.mark.slow
def test_two_killers_are_both_buried(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, 3, 5)
    bus = supervisor.bus()
    bus.on("job", lambda event: None, name="handle")
    bus.declare()
    bus.publish_many(("job", number) for number in range(20))

    supervisor.run_until_settled(bus)

    assert sorted(x.event.payload for x in bus.dead_letters.list() if x.event) == [3, 5]
    assert {step[1] for step in supervisor.journal() if step[0] == "ok"} == {
        str(number) for number in range(20) if number not in (3, 5)
    }
    bus.close()


@pytest.mark.slow
def test_a_killer_alone_behind_the_mark_runs_with_nothing_else(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, 0)
    bus = supervisor.bus()
    bus.on("job", lambda event: None, name="handle")
    bus.declare()
    bus.publish_many(("job", number) for number in range(EVENTS))

    supervisor.run_until_settled(bus)

    # Between the last start of the killer and its process's death nothing else was running.
    steps = supervisor.journal()
    last = max(i for i, step in enumerate(steps) if step[:2] == ["start", "0"])
    pid = steps[last][2]
    begun = {step[1] for step in steps[:last] if step[0] == "start" and step[2] == pid}
    ended = {step[1] for step in steps[:last] if step[0] == "ok" and step[2] == pid}
    assert begun == ended
    assert not [step for step in steps[last + 1 :] if step[2] == pid]
    bus.close()
