"""One server as a plain process: start it, hurt it, stop it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from .certificates import Certificates
from .errors import ServerError
from .places import HOST, free_port
from .process import Command, Process, wait_gone

#: How servers mark what is worth reading in a log.
COMPLAINT = re.compile(r"\b(WARN|WARNING|WRN|ERROR|ERR|FATAL|FTL|PANIC)\b|\[(warning|error)\]")


class Server:
    """A server with a folder and a port of its own. Any program can take control of it by folder.

    `start` again after `stop` or `kill` finds the same data at the same address. Used as a context
    manager, it runs inside the block and leaves nothing behind.

    Args:
        folder: belongs to this server alone; made where it is missing.
        password: what clients must give; `None` for the server's usual way here.
        options: further settings, in the words of the server's own configuration.
        tls: let clients in over TLS only, with these certificates.
    """

    name: ClassVar[str]
    #: The environment variable that holds the address of a server of this kind.
    variable: ClassVar[str]
    #: Where servers of this kind usually listen.
    usual_port: ClassVar[int]
    #: The ports it listens on, by purpose.
    port_names: ClassVar[tuple[str, ...]] = ("main",)
    start_timeout: ClassVar[float] = 60.0
    stop_timeout: ClassVar[float] = 30.0
    stop_signal: ClassVar[int] = signal.SIGTERM
    #: What the log says when a start failed for a reason that passes by itself.
    passing: ClassVar[str] = r"(?!)"

    def __init__(
        self,
        folder: Path | str,
        *,
        password: str | None = None,
        options: dict[str, str] | None = None,
        tls: Certificates | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.password = password
        self.options = dict(options or {})
        self.tls = tls
        self.log = self.folder / "log"
        self.data = self.folder / "data"
        self._state_file = self.folder / "state.json"

    # What each server says of itself.

    @property
    def url(self) -> str:
        """What a client connects to, with the credentials of an ordinary user."""
        raise NotImplementedError

    def install(self) -> None:
        """Make sure that the server's program is there, or raise `ServerError`."""
        raise NotImplementedError

    def version(self) -> str:
        """The version of the program that would be started."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write what the server reads when it starts; called before each start."""

    def command(self) -> Command:
        raise NotImplementedError

    def ping(self) -> None:
        """One real operation of a client; raises `OSError` or `ServerError` where it fails."""
        raise NotImplementedError

    def erase(self) -> None:
        """Remove all data of a server that does not run."""
        shutil.rmtree(self.data, ignore_errors=True)

    # What a user of the handle does with it.

    def start(self) -> None:
        """Return when it answers; at once if it does already.

        Raises:
            ServerError: with the reason and the end of the log.
        """
        with self._locked():
            deadline = time.monotonic() + self.start_timeout
            if self.running:
                self.resume()
                self._wait_ready(deadline)
                return
            self.install()
            # Downloads may take minutes; the time to start is counted without them.
            deadline = time.monotonic() + self.start_timeout
            self._launch()
            self._wait_ready(deadline)

    def stop(self) -> None:
        """End it as its manual says; SIGKILL follows after `stop_timeout` seconds."""
        if (process := self.process) is None:
            return
        tree = process.tree()
        process.send_group(self.stop_signal)
        self.resume()
        if not wait_gone(tree, self.stop_timeout):
            self.kill()

    def kill(self) -> None:
        """SIGKILL it and everything it has started; return when all of it is gone."""
        if (process := self.process) is None:
            return
        if not wait_gone(process.kill(), self.stop_timeout):
            raise ServerError(f"{self.name}: process {process.pid} survives SIGKILL")

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        if (process := self.process) is not None:
            process.freeze()

    def resume(self) -> None:
        """End a pause."""
        if (process := self.process) is not None:
            process.thaw()

    def wipe(self) -> None:
        """Lose all data; a server that ran runs again, empty, at the same address."""
        ran = self.running
        self.kill()
        self.erase()
        if ran:
            self.start()

    def remove(self) -> None:
        """Kill it and delete its folder."""
        self.kill()
        self.erase()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether its process exists, ready or not, paused or not."""
        return self.process is not None

    def is_ready(self) -> bool:
        """Whether one real operation succeeds now; takes a few seconds at most."""
        return self.process is not None and self._trouble() is None

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {HOST}:{self.port}>"

    # Its state, kept in a file for the next program.

    @property
    def port(self) -> int:
        return self.port_of("main")

    def port_of(self, purpose: str) -> int:
        """The port for that purpose; chosen once, the same for ever."""
        if "ports" not in self._state():
            self._choose_ports()
        return self._state()["ports"][purpose]

    def _choose_ports(self) -> None:
        with self._locked("ports.lock"):
            if "ports" not in self._state():
                self._save(ports={name: free_port() for name in self.port_names})

    @property
    def process(self) -> Process | None:
        """The running process, if it is running."""
        process = Process(*self._state().get("process", (0, "")))
        return process if process.alive else None

    def _state(self) -> dict[str, Any]:
        try:
            return json.loads(self._state_file.read_text())
        except FileNotFoundError:
            return {}

    def _save(self, **changes: Any) -> None:
        draft = self._state_file.with_suffix(".new")
        draft.write_text(json.dumps({**self._state(), **changes}))
        draft.replace(self._state_file)

    @contextlib.contextmanager
    def _locked(self, name: str = "lock") -> Iterator[None]:
        """Two programs that start the same server at once must not get two of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # Starting.

    def _launch(self) -> None:
        self.prepare()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._save(process=Process.spawn(self.command(), self.folder, self.log))

    def _wait_ready(self, deadline: float) -> None:
        pause = 0.01
        while (trouble := self._trouble()) is not None:
            if not self.running:
                if not re.search(self.passing, self._log_text()):
                    raise ServerError(f"{self.name} has ended instead of starting{self._tail()}")
                self._launch()
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(
                    f"{self.name} did not answer within {self.start_timeout:g} s:"
                    f" {trouble}{self._tail()}"
                )
            time.sleep(pause)
            pause = min(2 * pause, 0.1)

    def _trouble(self) -> Exception | None:
        try:
            self.ping()
        except (OSError, ServerError) as error:
            return error
        return None

    def _log_text(self) -> str:
        """What the latest start has written to the log."""
        with self.log.open("rb") as log:
            log.seek(getattr(self, "_log_start", 0))
            return log.read().decode(errors="replace")

    def complaints(self, number: int = 20) -> list[str]:
        """The latest lines of errors and warnings of the latest start."""
        text = self._log_text() if self.log.exists() else ""
        return [line for line in text.splitlines() if COMPLAINT.search(line)][-number:]

    def _tail(self) -> str:
        lines = self._log_text().splitlines()[-12:] if self.log.exists() else []
        return "".join(f"\n    {line}" for line in [f"; its log, {self.log}, ends with:", *lines])


def private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, as it may hold a password."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return path
