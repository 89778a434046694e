"""Whether the process behind a lease still lives: a wrong yes delays, a wrong no repeats."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from eventbus.transports.sqlite import owners
from eventbus.transports.sqlite.database import Database
from eventbus.transports.sqlite.owners import Owner, dead_owners, start_time

#: Beyond the largest pid of any Linux.
NOBODY = 2**22 + 1


@pytest.fixture
def connection(tmp_path):
    database = Database(str(tmp_path / "events.db"), "NORMAL")
    yield database.connection
    database.close()


@pytest.fixture
def here(monkeypatch):
    """A host that tells its boot, its pid namespace and its name."""
    monkeypatch.setattr(owners, "host", lambda: "boot-2/pid:[1]-node")
    return "boot-2/pid:[1]-node"


def add(connection, id, host, pid, started):
    connection.execute("INSERT INTO eventbus_owner VALUES (?, ?, ?, ?)", (id, host, pid, started))


def test_this_process_is_alive_to_the_others_and_never_asks_about_itself(connection):
    me = Owner()
    me.register(connection)
    assert dead_owners(connection, "somebody else") == []
    assert dead_owners(connection, me.id) == []


def test_registering_again_after_a_reconnect_is_no_second_owner(connection):
    me = Owner()
    me.register(connection)
    me.register(connection)
    assert len(connection.execute("SELECT * FROM eventbus_owner").fetchall()) == 1


def test_a_process_that_is_gone_is_dead(connection, here):
    add(connection, "gone", here, NOBODY, "123")
    assert dead_owners(connection, "me") == ["gone"]


def test_a_pid_that_is_used_again_does_not_keep_the_dead_alive(connection, here):
    started = start_time(os.getpid())
    add(connection, "this", here, os.getpid(), started)
    add(connection, "before", here, os.getpid(), str(int(started) - 1))
    assert dead_owners(connection, "me") == ["before"]


def test_after_a_reboot_all_former_processes_are_dead(connection, here):
    add(connection, "before", "boot-1/pid:[1]-node", os.getpid(), start_time(os.getpid()))
    assert dead_owners(connection, "me") == ["before"]


@pytest.mark.parametrize(
    "elsewhere",
    ["boot-2/pid:[2]-node", "boot-2/pid:[1]-other", "boot-9/pid:[1]-other", ""],
    ids=["container", "name", "machine", "unknown"],
)
def test_nobody_else_can_tell_about_the_processes_of_another_host(connection, here, elsewhere):
    add(connection, "elsewhere", elsewhere, NOBODY, "123")
    assert dead_owners(connection, "me") == []


def test_an_owner_that_could_not_tell_when_it_began_is_left_to_its_lease(connection, here):
    add(connection, "silent", here, NOBODY, "")
    assert dead_owners(connection, "me") == []


def test_where_the_platform_does_not_tell_leases_decide(connection, monkeypatch):
    monkeypatch.setattr(owners, "host", lambda: "")
    add(connection, "somebody", "", NOBODY, "123")
    assert dead_owners(connection, "me") == []


def test_without_proc_there_is_no_host_and_no_start_time(monkeypatch):
    def no_such_file(*arguments, **options):
        raise FileNotFoundError("/proc")

    monkeypatch.setattr(owners, "open", no_such_file, raising=False)
    assert owners.host.__wrapped__() == ""
    assert start_time(os.getpid()) is None


def test_a_process_that_has_ended_but_was_not_waited_for_is_dead():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert start_time(process.pid) is not None
        process.kill()
        deadline = time.monotonic() + 10
        while start_time(process.pid) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert os.path.exists(f"/proc/{process.pid}")  # A zombie.
    finally:
        process.communicate()


def test_a_command_name_full_of_blanks_and_brackets_does_not_confuse(tmp_path):
    program = tmp_path / ") R 1 ("
    program.symlink_to(sys.executable)
    process = subprocess.Popen(
        [str(program), "-S", "-c", "print(1, flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    try:
        process.stdout.readline()
        started, mine = start_time(process.pid), start_time(os.getpid())
        assert int(started) >= int(mine)
    finally:
        process.communicate(b"\n")


def test_the_lease_clock_runs_forward_and_is_the_same_for_all_processes():
    before = owners.lease_clock()
    code = "from eventbus.transports.sqlite.owners import lease_clock; print(lease_clock())"
    elsewhere = float(subprocess.check_output([sys.executable, "-c", code]))
    assert before < elsewhere < owners.lease_clock()
