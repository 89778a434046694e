"""The processes of the demo: how they are started, watched and ended."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
#: Seconds a process may take until it says that it is ready: a cold start on a busy machine.
READY = 30.0


class Failed(Exception):
    """The demo cannot go on; the message is for people."""


class Child:
    """One process, which prints a line when it is ready. It shares our stderr."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._name = script
        # Its stdin is its lifeline. A session of its own: Ctrl-C is for the script to deal with.
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments], text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def ready(self, timeout: float) -> str:
        """Return its first line; raise `Failed` when it ends first or takes too long."""
        assert self._process.stdout is not None
        seen, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not seen:
            raise Failed(f"{self._name} was not ready within {timeout:g} s")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise Failed(self._death("before it was ready"))
        return line.strip()

    def check(self) -> None:
        """Raise `Failed` if it has ended by itself."""
        if self._process.poll() is not None:
            raise Failed(self._death("in the middle of the demo"))

    def kill(self) -> None:
        """End it with SIGKILL; it gets no chance to finish anything."""
        self.strike()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def strike(self) -> None:
        """Send the SIGKILL and wait for nothing: this is for a signal handler."""
        self._process.kill()

    def _death(self, when: str) -> str:
        return (
            f"{self._name} ended with exit code {self._process.returncode} {when};"
            " what it said stands above"
        )


class Stage:
    """All processes of one demo; none is left at the end, whatever happens."""

    def __init__(self, url: str, folder: Path, ready: float = READY) -> None:
        self.url = url
        self.mails = folder / "outbox"
        self.journals = {"mailer": folder / "mailer.journal", "audit": folder / "audit.journal"}
        self.mails.mkdir()
        self._ready = ready
        self._children: dict[str, Child] = {}
        #: The signal that ended the demo before its time.
        self.signal: int | None = None

    def end_on(self, *numbers: int) -> None:
        """From now on, these signals kill all processes; who waits for one is told by `Failed`."""
        for number in numbers:
            signal.signal(number, self._strike)

    def _strike(self, number: int, _: object) -> None:
        # Nothing is raised here: it would come out of any line, also one that holds a lock.
        self.signal = number
        for child in [*self._children.values()]:
            child.strike()

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children.values():
            child.kill()

    def start_groups(self) -> None:
        """Start one process of each consumer group."""
        self._start("audit.py", str(self.journals["audit"]))
        self._start_mailer()

    def start_app(self) -> int:
        """Start the web application and return its port."""
        return int(self._start("app.py"))

    def kill_and_restart_mailer(self) -> None:
        self._children.pop("mailer.py").kill()
        self._start_mailer()

    def wait(self, seconds: float) -> None:
        """Sleep, and raise `Failed` if one of the processes has ended meanwhile."""
        time.sleep(seconds)
        self.check()

    def check(self) -> None:
        """Raise `Failed` if one of the processes has ended, or a signal wants them to."""
        if self.signal is not None:
            raise Failed(f"ended by signal {self.signal}")
        for child in self._children.values():
            child.check()

    def _start_mailer(self) -> None:
        self._start("mailer.py", str(self.mails), str(self.journals["mailer"]))

    def _start(self, script: str, *arguments: str) -> str:
        child = self._children[script] = Child(script, self.url, *arguments)
        line = child.ready(self._ready)
        self.check()
        return line
