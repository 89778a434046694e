"""Processes that outlive whoever started them, known by pid and start time."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

#: Seconds between two looks at a process that is expected to end.
GLANCE = 0.005


class _Child(subprocess.Popen[bytes]):
    """A child that may outlive us, which is no mistake to warn of."""

    def __del__(self, *_: object) -> None:
        return


# Our own children must be reaped, or they stay as zombies for as long as we live.
_children: dict[int, _Child] = {}


class Command(NamedTuple):
    """What to run."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = {}
    #: Whom to run it as, for a caller who is root; `None` for the caller.
    user: str | None = None
    #: Its working directory; `None` for the server's folder.
    folder: Path | None = None


class Process(NamedTuple):
    """A process that may have been started by another program, long ago.

    The start time tells it from a later process that was given the same pid.
    """

    pid: int
    started: str

    @classmethod
    def spawn(cls, command: Command, folder: Path, log: Path) -> Process:
        """Start it in a session of its own; what it prints is appended to `log`."""
        with log.open("ab") as output:
            child = _Child(
                [str(word) for word in command.argv],
                cwd=command.folder or folder,
                env={**os.environ, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(command.user),
            )
        _children[child.pid] = child
        return cls(child.pid, _started(child.pid) or "")

    @property
    def alive(self) -> bool:
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        return bool(self.started) and _started(self.pid) == self.started

    def tree(self) -> list[Process]:
        """The process and all it has started, as far as they are alive."""
        if not self.alive:
            return []
        parents = _parents()
        found = [self.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        known = [Process(pid, _started(pid) or "") for pid in found]
        return [process for process in known if process.started]

    def send(self, number: int) -> None:
        """Signal this one process; nothing happens if it is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def send_group(self, number: int) -> None:
        """Signal the process and those of its children that have stayed in its group."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def freeze(self) -> list[Process]:
        """Stop the whole tree, children of sessions of their own included; return it."""
        frozen: list[Process] = []
        # A process that is not stopped yet may fork: look again until nobody is new.
        while new := [process for process in self.tree() if process not in frozen]:
            for process in new:
                process.send(signal.SIGSTOP)
            frozen += new
        return frozen

    def thaw(self) -> None:
        for process in reversed(self.tree()):
            process.send(signal.SIGCONT)

    def kill(self) -> list[Process]:
        """SIGKILL the whole tree at one moment; return what was killed."""
        killed = self.freeze()
        for process in killed:
            process.send(signal.SIGKILL)
        return killed


def wait_gone(processes: Sequence[Process], timeout: float) -> bool:
    """Whether all of them have ended within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while any(process.alive for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(GLANCE)
    return True


def as_user(user: str | None) -> dict[str, Any]:
    """What `subprocess` takes to run something as another user, with that user's group alone."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _stat(pid: int) -> list[str]:
    """The fields after the name: state, parent, …; empty for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _started(pid: int) -> str | None:
    """When it was started, in a form that no other process with its pid ever has."""
    if not _PROC.exists():
        started, _, state = (_ps("lstart,stat", "-p", str(pid)) or "").rpartition(" ")
        return None if state.startswith("Z") else started.strip() or None
    fields = _stat(pid)
    if not fields or (fields[0] in "ZX" and int(fields[17]) < 2):
        return None
    # Of a zombie other threads may still be ending, and what it had open is not closed before.
    return f"{_boot()}/{fields[19]}"


def _boot() -> str:
    return _BOOT.read_text().strip() if _BOOT.exists() else ""


def _parents() -> dict[int, int]:
    """The parent of each process there is."""
    if not _PROC.exists():
        rows = (_ps("pid,ppid", "-A") or "").splitlines()
        return {int(pid): int(parent) for pid, parent in map(str.split, rows)}
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return {pid: int(fields[1]) for pid in pids if (fields := _stat(pid))}


def _ps(columns: str, *which: str) -> str | None:
    """What `ps` says, for systems without /proc."""
    wanted = [word for column in columns.split(",") for word in ("-o", f"{column}=")]
    done = subprocess.run(["ps", *which, *wanted], capture_output=True, text=True, check=False)
    text = done.stdout.strip()
    return text or None


_PROC = Path("/proc/self/stat")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
