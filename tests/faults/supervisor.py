"""Starts publishers and members, hurts them, and finds out what is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from eventbus import Event, EventBus

from . import journal as steps
from .brokers import FORGETS, Place
from .checker.history import Work
from .checker.report import Report, check
from .checker.rules import Rules
from .journal import Journal, now, read
from .leftovers import note_leftovers
from .probe import Probe
from .progress import POLL, Progress
from .publisher import publish
from .pulse import place, silence

ROOT = Path(__file__).parents[2]
#: Seconds after which a condition that should have come true will not: generous, for slow machines.
PATIENCE = 60.0


class Process:
    """A member or publisher; `who` is its name in the journal, never used for another."""

    def __init__(self, who: str, popen: subprocess.Popen[bytes]) -> None:
        self.who = who
        self.popen = popen

    def is_running(self) -> bool:
        return self.popen.poll() is None


class Supervisor:
    """One run in one place.

    Args:
        place: the transport's URL, and its broker.
        folder: for the journal and what processes write to stderr.
        rules: budgets of the invariants.
        sabotage: what is wrong in every process of this run (see `tests.faults.sabotage`).
    """

    def __init__(
        self, place: Place, folder: Path, rules: Rules | None = None, *, sabotage: str = ""
    ) -> None:
        self.place = place
        self.rules = rules or Rules()
        self.path = folder / "journal"
        self.journal = Journal(self.path, "supervisor")
        self._probe = Probe(folder, self.journal)
        self.progress = Progress(self.path)
        self.bus = EventBus(place.url, group="supervisor", environ={})
        self.folder = folder
        self._sabotage = ("--sabotage", sabotage) if sabotage else ()
        self._processes: list[Process] = []

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.popen.kill()
            process.popen.wait()
        self.bus.close()
        self._probe.close()
        self.journal.close()
        if error is not None:
            print(self.stderr())

    # -- processes ---------------------------------------------------------------------------

    def member(self, *options: object) -> Process:
        """Start a member; does not wait."""
        return self._start("member", f"m{len(self._processes) + 1}", options)

    def live_member(self, *options: object) -> Process:
        """Start a member and wait until its subscriptions are live."""
        member = self.member(*options)
        self.wait_until_live(member)
        return member

    def publisher(self, *options: object) -> Process:
        """Start a publisher, which ends when all is published; does not wait."""
        return self._start("publisher", f"p{len(self._processes) + 1}", options)

    def replayer(self, *options: object) -> Process:
        """Start to replay dead letters; does not wait."""
        return self._start("replayer", f"r{len(self._processes) + 1}", options)

    def publish(self, *events: Event) -> None:
        """Publish from here, which is never sabotaged."""
        publish(self.bus, self.journal, list(events))

    def _start(self, module: str, who: str, options: tuple[object, ...]) -> Process:
        with open(self.folder / f"{who}.err", "wb") as errors:
            popen = subprocess.Popen(
                [
                    sys.executable, "-m", f"tests.faults.{module}", self.place.url,
                    "--journal", str(self.path), "--who", who, *self._sabotage,
                    *map(str, options),
                ],
                cwd=ROOT, stdin=subprocess.DEVNULL, stderr=errors,
            )
        process = Process(who, popen)
        self._processes.append(process)
        return process

    def stderr(self) -> str:
        """What the processes, and the broker, had to complain of."""
        texts = [(path.stem, path.read_text()) for path in sorted(self.folder.glob("*.err"))]
        if self.place.broker is not None:
            texts.append(("broker", "\n".join(self.place.broker.complaints())))
        return "\n".join(f"-- {who}:\n{text}" for who, text in texts if text)

    @property
    def publishers(self) -> list[Process]:
        return [process for process in self._processes if process.who.startswith("p")]

    # -- faults ------------------------------------------------------------------------------

    def kill(self, process: Process) -> None:
        """SIGKILL; the journal says so before it happens, and how long it has stood still."""
        silent = silence(place(self.path, process.who))
        self.journal.note(steps.KILL, text=process.who, number=silent)
        process.popen.kill()
        process.popen.wait()

    def stop(self, *processes: Process, timeout: float = PATIENCE) -> None:
        """SIGTERM to all of them, and wait until they have ended in order."""
        for process in processes:
            self.terminate(process)
        for process in processes:
            code = process.popen.wait(timeout)
            self.journal.note(steps.EXIT, text=process.who, number=code)

    def terminate(self, process: Process) -> None:
        """SIGTERM; does not wait."""
        self.journal.note(steps.STOP, text=process.who)
        process.popen.send_signal(signal.SIGTERM)

    def pause(self, process: Process) -> None:
        """SIGSTOP: from here on its leases run out."""
        self.journal.note(steps.PAUSE, text=process.who)
        process.popen.send_signal(signal.SIGSTOP)

    def resume(self, process: Process) -> None:
        process.popen.send_signal(signal.SIGCONT)
        self.journal.note(steps.RESUME, text=process.who)

    def outage(self, name: str, begin: Callable[[], object], end: Callable[[], object]) -> None:
        """A fault of the broker: `begin`, some progress of time inside it, `end`."""
        self.journal.note(steps.FAULT_ON, text=name)
        begin()
        broker = self.place.broker
        forgotten = FORGETS.get(broker.name, 0.0) if broker and name == "kill" else 0.0
        self.journal.note(steps.STRUCK, text=name, number=forgotten)
        end()
        self.journal.note(steps.FAULT_OFF, text=name)

    # -- waiting -----------------------------------------------------------------------------

    def wait(
        self, what: str, condition: Callable[[], bool], timeout: float = PATIENCE
    ) -> None:
        """Wait for a condition over `progress`."""
        if not self.progress.reaches(condition, timeout):
            raise AssertionError(f"not within {timeout} s: {what}\n{self.stderr()}")

    def wait_until_live(self, *processes: Process) -> None:
        names = {process.who for process in processes}
        self.wait("members are live", lambda: names <= self.progress.live)

    def wait_for_publishers(self) -> None:
        """Until they have ended, in order or by a kill."""
        self.wait(
            "all is published", lambda: not any(p.is_running() for p in self.publishers)
        )

    def backlog(self) -> float:
        """Events that some subscription has not settled."""
        return sum(info.backlog or 0 for info in self.bus.subscriptions.list("*"))

    def drain(self, *, quiet: float | None = None, budget: float = PATIENCE) -> bool:
        """Wait until all that is due is settled, and nothing is left with the broker.

        Args:
            quiet: seconds without any step, with nothing left with the broker, after which what
                is missing is lost; by default as many as peers have to take over what the dead
                ran. Not every broker counts what members hold, and one of them may hold it for
                seconds before it begins.
            budget: seconds for all of it.
        """
        begin = moved = now()
        quiet = self.rules.take_over if quiet is None else quiet
        while True:
            if self.progress.update():
                moved = now()
            elif now() - moved > min(0.2, quiet) and not self.backlog():
                self._settle_the_dead()
            done = not self.progress.due and not self.backlog()
            given_up = now() - moved > quiet and not self.backlog()
            if done or given_up or now() - begin > budget:
                break
            time.sleep(POLL if self.progress.due else 0.02)
        self.journal.note(steps.DRAINED, number=now() - begin)
        return done

    def _settle_the_dead(self) -> None:
        for letter in self.bus.dead_letters.list("*"):
            self.progress.settle(
                Work(letter.group, letter.handler or "", letter.event_id or "")
            )

    # -- the end -----------------------------------------------------------------------------

    def finish(self) -> Report:
        """End all members in order, write down what is left, and check everything."""
        running = [process for process in self._processes if process.is_running()]
        # Before it is live, a member may not have its signal handlers yet.
        self.wait_until_live(*(process for process in running if process.who.startswith("m")))
        self.stop(*running)
        note_leftovers(self.bus, self.journal)
        return self.report()

    def report(self) -> Report:
        with suppress(FileNotFoundError):
            print(f"journal: {self.path} ({self.path.stat().st_size} bytes)")
        return check(read(self.path), self.rules)
