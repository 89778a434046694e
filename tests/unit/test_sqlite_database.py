"""One connection to the file: transactions, waiting for the lock, and errors in words."""

from __future__ import annotations

import io
import sqlite3
import threading
import time

import pytest

from eventbus import TopologyError, TransportUnavailable
from eventbus.transports.sqlite import database as module
from eventbus.transports.sqlite.database import Database


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "events.db")


@pytest.fixture
def database(path, leak_free):
    made = Database(path, "FULL")
    made.connection.execute("CREATE TABLE note (text)")
    yield made
    made.close()


class Failing:
    """A connection whose statements of one kind fail."""

    def __init__(self, connection, statement, error):
        self._connection = connection
        self._statement = statement
        self._error = error

    def execute(self, statement, *values):
        if statement == self._statement:
            raise self._error
        return self._connection.execute(statement, *values)

    def __getattr__(self, name):
        return getattr(self._connection, name)


def notes(path):
    connection = sqlite3.connect(path)
    try:
        return [text for (text,) in connection.execute("SELECT text FROM note")]
    finally:
        connection.close()


def write(database, text, timeout=5.0):
    with database.write(timeout) as connection:
        connection.execute("INSERT INTO note VALUES (?)", (text,))


# -- transactions ----------------------------------------------------------------------------------


def test_what_was_written_is_there_for_all_when_the_block_ends(database, path):
    with database.write(5.0) as connection:
        connection.execute("INSERT INTO note VALUES ('one')")
        assert notes(path) == []
    assert notes(path) == ["one"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_any_error_takes_everything_back_and_frees_the_file(database, path, error):
    with pytest.raises(error):
        with database.write(5.0) as connection:
            connection.execute("INSERT INTO note VALUES ('one')")
            raise error
    write(database, "two", timeout=0.0)
    assert notes(path) == ["two"]


def test_a_commit_that_failed_for_want_of_space_was_not_stored(database, path):
    real = database.connection
    database.connection = Failing(
        real, "COMMIT", sqlite3.OperationalError("database or disk is full")
    )
    with pytest.raises(TransportUnavailable, match="is full: free some space") as caught:
        write(database, "one")
    database.connection = real
    assert caught.value.outcome == "failed"
    write(database, "two")
    assert notes(path) == ["two"]


def test_after_an_error_while_syncing_nobody_knows_what_is_on_the_disk(database):
    real = database.connection
    database.connection = Failing(real, "COMMIT", sqlite3.OperationalError("disk I/O error"))
    with pytest.raises(TransportUnavailable, match=r"events\.db: disk I/O error") as caught:
        write(database, "one")
    database.connection = real
    assert caught.value.outcome == "unknown"


def test_a_rollback_that_fails_does_not_hide_why(database):
    real = database.connection
    database.connection = Failing(real, "ROLLBACK", sqlite3.OperationalError("no rollback"))
    with pytest.raises(ZeroDivisionError):
        with database.write(5.0):
            1 / 0
    real.execute("ROLLBACK")
    database.connection = real
    assert database.writer.acquire(timeout=0)
    database.writer.release()


def test_a_connection_that_cannot_be_closed_is_left(path):
    database = Database(path, "FULL")
    real = database.connection

    class Broken:
        def close(self):
            raise sqlite3.OperationalError("unable to close due to unfinalized statements")

    database.connection = Broken()
    database.close()
    real.close()


# -- waiting ---------------------------------------------------------------------------------------


@pytest.fixture
def other(path, database):
    """A connection as another process has it."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield connection
    connection.close()


def test_a_write_waits_for_another_process_but_not_longer_than_told(database, other):
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(TransportUnavailable, match="locked by another process") as caught:
        write(database, "one", timeout=0.1)
    assert 0.1 <= time.monotonic() - begun < 5.0
    assert caught.value.outcome == "failed"


def test_a_write_goes_on_when_the_other_process_is_done(database, other, path):
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.1, other.execute, ("ROLLBACK",))
    timer.start()
    write(database, "one", timeout=20.0)
    timer.join()
    assert notes(path) == ["one"]


def test_threads_of_one_process_take_turns(database, path):
    second = Database(path, "NORMAL")
    with database.write(5.0):
        with pytest.raises(TransportUnavailable, match="writing already"):
            write(second, "two", timeout=0.05)
    write(second, "two")
    second.close()
    assert notes(path) == ["two"]


def test_only_another_connections_commit_changes_the_data_version(database, path):
    before = database.data_version()
    write(database, "mine")
    assert database.data_version() == before
    second = Database(path, "NORMAL")
    write(second, "theirs")
    second.close()
    assert database.data_version() != before


# -- opening ---------------------------------------------------------------------------------------


def test_a_file_system_without_shared_memory_is_refused(path, monkeypatch, leak_free):
    monkeypatch.setattr(Database, "_one", lambda self, statement: "delete")
    with pytest.raises(TopologyError, match=r"journal_mode is 'delete'.*local file system"):
        Database(path, "FULL")


@pytest.mark.parametrize(("level", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_a_commit_survives_what_its_connection_is_for(path, level, number):
    database = Database(path, level)
    assert database.connection.execute("PRAGMA synchronous").fetchone() == (number,)
    assert database.connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    database.close()


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/local tmpfs rw 0 0
server:/homes /homes-old cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [("/", "ext4"), ("/var/lib", "ext4"), ("/home", "nfs4"), ("/home/me", "nfs4"),
     ("/home/me/local", "tmpfs"), ("/home/me/local/deep", "tmpfs"), ("/home2", "ext4"),
     ("/homes-old/x", "cifs")],
)
def test_the_innermost_mount_tells_the_file_system(monkeypatch, directory, kind):
    monkeypatch.setattr(module, "open", lambda *a, **k: io.StringIO(MOUNTS), raising=False)
    monkeypatch.setattr(module.os.path, "realpath", lambda path: path)
    assert module._file_system(directory) == kind


def test_a_platform_that_does_not_tell_refuses_nothing(monkeypatch, path):
    def no_such_file(*arguments, **options):
        raise FileNotFoundError("/proc/self/mounts")

    monkeypatch.setattr(module, "open", no_such_file, raising=False)
    assert module._file_system("/") == ""
    Database(path, "FULL").close()


# -- errors in words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (sqlite3.DatabaseError("file is not a database"), TopologyError, "use another path"),
        (sqlite3.DatabaseError("database disk image is malformed"), TopologyError, "malformed"),
        (sqlite3.OperationalError("attempt to write a readonly database"), TopologyError,
         "make the file and its directory writable"),
        (PermissionError(13, "Permission denied"), TopologyError, "writable"),
        (sqlite3.OperationalError("unable to open database file"), TopologyError,
         "cannot be opened"),
        (sqlite3.OperationalError("database or disk is full"), TransportUnavailable,
         "free some space"),
        (sqlite3.OperationalError("no such table: eventbus_log"), TransportUnavailable,
         "was replaced while in use"),
        (sqlite3.OperationalError("database is locked"), TransportUnavailable,
         "locked by another process"),
        (sqlite3.OperationalError("something new"), TransportUnavailable, "something new"),
        (OSError(24, "Too many open files"), TransportUnavailable, "Too many open files"),
    ],
)
def test_an_error_names_the_file_and_what_to_do(error, kind, message):
    with pytest.raises(kind, match=message) as caught:
        with module.translated("/data/events.db"):
            raise error
    assert "/data/events.db" in str(caught.value)
    assert caught.value.__cause__ is error
    assert caught.value.outcome == "failed"


def test_what_is_no_error_of_the_file_passes_as_it_is():
    with pytest.raises(ZeroDivisionError):
        with module.translated("/data/events.db"):
            1 / 0
