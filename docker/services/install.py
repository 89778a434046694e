"""Get the programs that are missing: Debian packages."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import ServerError
from .places import cache_folder
from .process import as_user

#: Seconds that one installation may take, and how long it waits for another one to end.
INSTALL_TIMEOUT = 900
LOCK_TIMEOUT = 300

_one_at_a_time = threading.Lock()


def find(program: str, folders: Iterable[Path | str] = ()) -> Path | None:
    """Where a program is: on PATH, in the system's folders, else in one of those given."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    for place in (path, *map(str, folders)):
        if found := shutil.which(program, path=place):
            return Path(found)
    return None


def apt(server: str, package: str, why: str) -> None:
    """Install one Debian package.

    Raises:
        ServerError: with the reason and what to do instead.
    """
    with _one_at_a_time:
        apt_get = find("apt-get")
        if apt_get is None:
            raise ServerError(f"{server}: {why}, and there is no apt-get here; {_else(package)}")
        print(f"{server}: installing Debian's {package}", flush=True)
        base = [*_as_root(server, package), str(apt_get), "-y", "-q"]
        base += ["-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT}"]
        install = [*base, "--no-install-recommends", "install", package]
        # A machine whose package lists are missing or old needs new ones first.
        failed = run(install) and (run([*base, "update"]) or run(install))
        if failed:
            raise ServerError(
                f"{server}: apt-get install {package} failed; {_else(package)}{failed}"
            )


def run(argv: Sequence[str | Path], *, text: str = "", user: str | None = None) -> str:
    """The end of what a failed command has printed; empty if it did not fail.

    Args:
        text: its standard input.
        user: whom to run it as, for a caller who is root.
    """
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd="/",
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=INSTALL_TIMEOUT,
            check=False,
            **as_user(user),
        )
    except subprocess.TimeoutExpired:
        return f"\n    {argv[0]} took longer than {INSTALL_TIMEOUT} s"
    lines = done.stdout.splitlines()[-8:] or [f"{argv[0]} ended with {done.returncode}"]
    return "".join(f"\n    {line}" for line in lines) if done.returncode else ""


class Download:
    """A folder in the cache that is either complete or not there.

    Used as a context manager by whoever fills it; other programs wait meanwhile.
    """

    def __init__(self, name: str) -> None:
        self.folder = cache_folder() / name
        self.draft = self.folder.with_name(f"{name}.part")

    def __enter__(self) -> Download:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self.folder.with_name(f"{self.folder.name}.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        shutil.rmtree(self.draft, ignore_errors=True)
        self.draft.mkdir()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and not self.folder.exists():
            self.draft.rename(self.folder)
        shutil.rmtree(self.draft, ignore_errors=True)
        self._lock.close()


def _as_root(server: str, package: str) -> list[str]:
    if os.geteuid() == 0:
        return []
    sudo = find("sudo")
    if sudo is None or run([sudo, "-n", "true"]):
        raise ServerError(
            f"{server}: installing {package} needs root, or sudo without a password;"
            f" {_else(package)}"
        )
    return [str(sudo), "-n"]


def _else(package: str) -> str:
    return f"install {package} yourself, start a Docker engine, or set its environment variable"
