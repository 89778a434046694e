"""When the write-ahead log is emptied, and that two connections never do it at once."""

from __future__ import annotations

import fcntl
import os

import pytest

from eventbus.transports.sqlite import checkpoint
from eventbus.transports.sqlite.checkpoint import FORCE, INTERVAL, OVERHEAD, Checkpointer
from eventbus.transports.sqlite.database import Database


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "events.db")


@pytest.fixture
def database(path, leak_free):
    made = Database(path, "NORMAL")
    made.connection.execute("CREATE TABLE blob (data BLOB)")
    yield made
    made.close()


def write(database, size):
    with database.write(5.0, size) as connection:
        connection.execute("INSERT INTO blob VALUES (zeroblob(?))", (size,))


class Connection:
    """Notes the statements; the log has so many pages."""

    def __init__(self, pages=1):
        self.statements = []
        self._pages = pages

    def execute(self, statement):
        self.statements.append(statement)
        return self

    def fetchone(self):
        return 0, self._pages, self._pages


PASSIVE, RESTART = "PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(RESTART)"


def test_the_log_moves_into_the_file_once_enough_was_written(database, path):
    for _ in range(3):
        write(database, INTERVAL // 4)
    small = os.path.getsize(path)
    assert small < INTERVAL // 4  # All of it is in the log still.

    write(database, INTERVAL // 4)
    assert os.path.getsize(path) > INTERVAL // 2


def test_the_log_does_not_grow_without_end(database, path):
    for _ in range(20):
        write(database, INTERVAL // 2)
    assert os.path.getsize(path + "-wal") < 4 * INTERVAL


def test_small_transactions_count_with_the_pages_they_touch(path):
    checkpointer, connection = Checkpointer(path), Connection()
    for _ in range(INTERVAL // OVERHEAD - 1):
        checkpointer.wrote(connection, 0)
    assert connection.statements == []
    checkpointer.wrote(connection, 0)
    assert connection.statements == [PASSIVE]
    checkpointer.wrote(connection, 0)
    assert connection.statements == [PASSIVE]


def test_a_log_that_became_long_makes_writers_wait_until_it_is_empty(path):
    connection = Connection(pages=FORCE + 1)
    Checkpointer(path).wrote(connection, INTERVAL)
    assert connection.statements == [PASSIVE, RESTART]

    connection = Connection(pages=FORCE)
    Checkpointer(path).wrote(connection, INTERVAL)
    assert connection.statements == [PASSIVE]


def test_while_another_process_checkpoints_the_turn_is_passed_over(path, leak_free):
    checkpointer, connection = Checkpointer(path), Connection()
    other = os.open(path + "-eventbus-lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(other, fcntl.LOCK_EX)
    checkpointer.wrote(connection, INTERVAL)
    assert connection.statements == []

    os.close(other)
    checkpointer.wrote(connection, INTERVAL - OVERHEAD - 1)
    assert connection.statements == []
    checkpointer.wrote(connection, 0)
    assert connection.statements == [PASSIVE]


def test_the_lock_is_held_during_the_checkpoint_and_free_after_it(path, leak_free):
    held = []

    class Probing(Connection):
        def execute(self, statement):
            held.append(is_locked(path))
            return super().execute(statement)

    Checkpointer(path).wrote(Probing(), INTERVAL)
    assert held == [True]
    assert not is_locked(path)


def is_locked(path):
    descriptor = os.open(path + "-eventbus-lock", os.O_RDWR)
    try:
        # Not even a shared lock: two that share one would checkpoint at once.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_reader_does_not_make_a_write_fail(database, path):
    write(database, 1)
    reader = Database(path, "NORMAL")
    reader.connection.execute("BEGIN")
    reader.connection.execute("SELECT count(*) FROM blob").fetchone()
    for _ in range(4):
        write(database, INTERVAL)
    reader.connection.execute("ROLLBACK")
    assert reader.connection.execute("SELECT count(*) FROM blob").fetchone() == (5,)
    reader.close()


def test_a_platform_without_file_locks_checkpoints_all_the_same(path, monkeypatch):
    monkeypatch.setattr(checkpoint, "fcntl", None)
    connection = Connection()
    Checkpointer(path).wrote(connection, INTERVAL)
    assert connection.statements == [PASSIVE]


def test_the_lock_file_is_the_owners_alone(path):
    Checkpointer(path).wrote(Connection(), INTERVAL)
    assert os.stat(path + "-eventbus-lock").st_mode & 0o777 == 0o600
