"""`eventbus run --reload`: a supervisor that restarts its one child when code changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Set
from pathlib import Path
from threading import Thread
from time import sleep
from types import FrameType

import click

from .application import INTERRUPTED
from .interrupts import ENDINGS
from .output import note

#: Tells the child whose child it is.
SUPERVISOR = "_EVENTBUS_SUPERVISOR"
#: Milliseconds between two looks at signals and at the child while no file changes.
LOOK = 200
#: Milliseconds of quiet after a change: editors and checkouts write several files.
QUIET = 200
#: Seconds between two looks at a child that drains.
POLL = 0.05


class Stop:
    """Counts the signals that ask to stop; the first drains, the second forces."""

    def __init__(self) -> None:
        self.count = 0
        self.number = 0
        self._before = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, *ENDINGS)
        }

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.number = self.number or number

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Child:
    """The process that handles events."""

    def __init__(self, app: str, log_level: str, debug: bool) -> None:
        self._command = [
            sys.executable, "-m", "eventbus", "run", app, "--log-level", log_level,
            *(["--debug"] if debug else []),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # In a session of its own a Ctrl-C reaches the supervisor alone: a child that got that and
        # our SIGTERM would take the second as an order to end at once.
        self._process = subprocess.Popen(
            self._command, start_new_session=True,
            env={**os.environ, SUPERVISOR: str(os.getpid())},
        )

    def report_end(self) -> None:
        """Say once that it has ended by itself; a change starts it again."""
        if self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            self._process = None
            note(f"eventbus: the process ended with {code}; waiting for a change")

    def drain(self, stop: Stop) -> None:
        """Let running handlers finish, as long as the bus's own timeout lets them."""
        if self._process is None:
            return
        self._process.terminate()
        while self._process.poll() is None:
            if stop.count > 1:
                self._process.kill()
            sleep(POLL)


def supervise(app: str, log_level: str, *, debug: bool) -> int:
    """Run the application until a signal, anew after each change; returns the exit code."""
    watch = _watcher()
    stop = Stop()
    child = Child(app, log_level, debug)
    # The first turn comes when the watcher is live, so that no change is missed.
    started = False
    try:
        for changes in watch:
            if stop.count:
                break
            if changes or not started:
                _announce(changes)
                child.drain(stop)
                child.start()
                started = True
            child.report_end()
    finally:
        child.drain(stop)
        stop.restore()
    return INTERRUPTED if stop.number == signal.SIGINT else 0


def _watcher() -> Iterable[Set[tuple[object, str]]]:
    try:
        from watchfiles import PythonFilter, watch
    except ModuleNotFoundError as error:
        raise click.UsageError(
            "--reload needs watchfiles, run: pip install 'eventbus[cli]'"
        ) from error
    return watch(
        Path.cwd(), watch_filter=PythonFilter(), debounce=QUIET, rust_timeout=LOOK,
        yield_on_timeout=True,
    )


def _announce(changes: Set[tuple[object, str]]) -> None:
    if changes:
        names = sorted(os.path.relpath(path) for _, path in changes)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        note(f"eventbus: {names[0]}{more} changed, restarting")


def end_with_supervisor() -> None:
    """In a supervised child: end as on SIGTERM once the supervisor is gone, however it went."""
    supervisor = os.environ.pop(SUPERVISOR, "")
    if supervisor:
        Thread(target=_watch, args=(int(supervisor),), name="supervisor", daemon=True).start()


def _watch(supervisor: int) -> None:
    while os.getppid() == supervisor:
        sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
