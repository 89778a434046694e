"""One connection to the file: opening, write transactions, and errors in words.

All connections run in autocommit with explicit `BEGIN IMMEDIATE`: a deferred transaction that
reads before it writes fails at once when another process has written meanwhile.
"""

from __future__ import annotations

import os
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Literal

from ..._lock import OwnedLock
from ...errors import TopologyError, TransportError, TransportUnavailable
from .checkpoint import Checkpointer
from .forking import Guard
from .schema import MIGRATIONS, check_version, migrate, version_of

#: Seconds a write transaction of the consumer or of maintenance waits for its turn.
WRITE_TIMEOUT = 10.0
#: Seconds between two tries for the file's write lock; SQLite's own back-off sleeps up to 100 ms.
BUSY_PAUSE = (0.0003, 0.003)
#: File systems on which SQLite's shared memory and locks do not work between machines.
NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs")
)

#: How the kernel writes blanks and backslashes in a mount point.
_BLANKS = re.compile(r"\\([0-7]{3})")

#: One writer at a time per file and process: cheaper and fairer than SQLite's busy loop.
_writers: dict[str, OwnedLock] = {}
os.register_at_fork(after_in_child=_writers.clear)


class Database:
    """A connection; used by one thread at a time.

    Args:
        path: absolute path of the file.
        synchronous: `FULL` where a commit must survive a power loss, `NORMAL` where losing it
            only repeats events.
    """

    def __init__(self, path: str, synchronous: Literal["FULL", "NORMAL"]) -> None:
        self.path = path
        self.writer = _writers.setdefault(path, OwnedLock())
        self._guard = Guard()
        self._checkpointer = Checkpointer(path)
        try:
            with translated(path), self._guard:
                _check_place(path)
                self.connection = self._guard.connection = sqlite3.connect(
                    path, timeout=0, isolation_level=None, check_same_thread=False
                )
                self._set_up(synchronous)
                self._identity = _identity(path)
        except BaseException:
            self.close()
            raise

    def _set_up(self, synchronous: str) -> None:
        deadline = monotonic() + WRITE_TIMEOUT
        mode = _patiently(deadline, lambda: self._one("PRAGMA journal_mode=WAL"))
        if mode != "wal":
            raise TopologyError(
                f"{self.path} cannot use write-ahead logging (journal_mode is {mode!r}): "
                "it needs a local file system"
            )
        self.connection.execute(f"PRAGMA synchronous={synchronous}")
        # Checkpoints are ours to run, one at a time (see `checkpoint`).
        self.connection.execute("PRAGMA wal_autocheckpoint=0")
        version = _patiently(deadline, lambda: version_of(self.connection))
        check_version(version, self.path)
        if version < len(MIGRATIONS):
            with self.write(WRITE_TIMEOUT):
                migrate(self.connection, self.path)

    def _one(self, statement: str) -> object:
        return self.connection.execute(statement).fetchone()[0]

    def is_current(self) -> bool:
        """Whether the path still names the file that is open here."""
        return _identity(self.path) == self._identity

    def data_version(self) -> int:
        """Changes when another connection has committed."""
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def use(self) -> Guard:
        """Around every use of the connection: no fork happens meanwhile."""
        return self._guard

    def write(self, timeout: float, size: int = 0) -> _Write:
        """A write transaction: commits at the end, rolls back on any error.

        Args:
            timeout: seconds to wait for the file's write lock.
            size: bytes about to be written, for the checkpointer.
        """
        return _Write(self, timeout, size)

    def begin(self, timeout: float) -> None:
        """Take this process's turn to write, and the file's."""
        deadline = monotonic() + timeout
        if self.writer.mine():
            raise TransportUnavailable(f"{self.path}: this thread is writing already")
        try:
            if not self.writer.acquire(timeout=max(0.001, timeout)):
                raise TransportUnavailable(f"{self.path} is locked by another thread")
            _patiently(deadline, lambda: self.connection.execute("BEGIN IMMEDIATE"))
        except BaseException:
            # What a signal handler raises may come right after either of them has succeeded.
            self._roll_back()
            if self.writer.mine():
                self.writer.release()
            raise

    def end(self, failed: bool, size: int) -> None:
        """Commit, or roll back, and let the next one write."""
        try:
            if failed:
                self._roll_back()
                return
            try:
                self._commit()
            except BaseException:
                self._roll_back()
                raise
            self._checkpointer.wrote(self.connection, size)
        finally:
            self.writer.release()

    def _commit(self) -> None:
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            if "full" in str(error) or "locked" in str(error):
                raise
            # An error while syncing leaves open what is on the disk.
            raise TransportUnavailable(f"{self.path}: {error}", outcome="unknown") from error

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error:
                return

    def close(self) -> None:
        self._guard.close()

    def __del__(self) -> None:
        # On Python 3.13 nobody else closes a connection that was only dropped.
        self.close()


class _Write:
    # With slots, for it is on the path of each single publish.
    __slots__ = ("_database", "_guard", "_size", "_timeout")

    def __init__(self, database: Database, timeout: float, size: int) -> None:
        self._database = database
        self._timeout = timeout
        self._size = size
        self._guard = database.use()

    def __enter__(self) -> sqlite3.Connection:
        # First `use`, then the writer's lock: whoever has the latter can always go on.
        self._guard.__enter__()
        try:
            self._database.begin(self._timeout)
        except BaseException as error:
            self._guard.__exit__()
            raise _translated(self._database.path, error) from error
        return self._database.connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        try:
            self._database.end(error is not None, self._size)
        except BaseException as failure:
            raise _translated(self._database.path, failure) from failure
        finally:
            self._guard.__exit__()
        if isinstance(error, (sqlite3.Error, OSError)):
            raise _translate(self._database.path, error) from error


def _translated(path: str, error: BaseException) -> BaseException:
    """The error to raise in place of this one."""
    return _translate(path, error) if isinstance(error, (sqlite3.Error, OSError)) else error


def _patiently(deadline: float, operation):  # type: ignore[no-untyped-def]
    while True:
        try:
            return operation()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() >= deadline:
                raise
        sleep(random.uniform(*BUSY_PAUSE))


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn sqlite3's errors into ours, naming the file and what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _translate(path, error) from error


def _translate(path: str, error: Exception) -> TransportError:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return TopologyError(f"{path} is not an SQLite database ({text}): use another path")
    if "readonly" in text or isinstance(error, PermissionError):
        return TopologyError(
            f"{path} is read-only for this process: make the file and its directory writable"
        )
    if "full" in text:
        return TransportUnavailable(f"the disk that holds {path} is full: free some space")
    if "unable to open" in text:
        return TopologyError(f"{path} cannot be opened: {text}")
    if "no such table" in text:
        return TransportUnavailable(f"{path} was replaced while in use: {text}")
    if "locked" in text:
        return TransportUnavailable(f"{path} is locked by another process")
    return TransportUnavailable(f"{path}: {text}")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _check_place(path: str) -> None:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise TopologyError(f"the directory of {path} does not exist: create it")
    kind = _file_system(directory)
    if kind in NETWORK:
        raise TopologyError(
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold: "
            "use a local path, or a server transport"
        )
    if not os.path.exists(path):
        # Events may hold personal data: the owner's alone.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _file_system(directory: str) -> str:
    """The type of the file system, where the platform tells."""
    place = os.path.realpath(directory)
    best = ("", "")
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                _, point, kind = line.split(" ", 3)[:3]
                point = _BLANKS.sub(lambda code: chr(int(code[1], 8)), point)
                inside = point == "/" or place == point or place.startswith(point + "/")
                if inside and len(point) >= len(best[0]):
                    best = (point, kind)
    except OSError:
        return ""
    return best[1]
