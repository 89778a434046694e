"""The processes of the demo: how they are started, watched and ended."""

from __future__ import annotations

import select
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
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

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
        for child in self._children.values():
            child.check()

    def _start_mailer(self) -> None:
        self._start("mailer.py", str(self.mails), str(self.journals["mailer"]))

    def _start(self, script: str, *arguments: str) -> str:
        child = self._children[script] = Child(script, self.url, *arguments)
        return child.ready(self._ready)
