"""Processes are known by more than their pid, and end with all their children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from services.process import Command, Process, wait_gone

from tests.conformance.target import wait_for
from tests.servers import Redis

#: Starts a child in a session of its own, as PostgreSQL does, and waits.
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""

#: Its first thread ends, another one does not: as every process of several threads may look for a
#: moment when it is killed.
HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def parent(tmp_path: Path):
    """A process with one child."""
    log = tmp_path / "log"
    process = Process.spawn(Command([sys.executable, "-c", PARENT]), tmp_path, log)
    # While a child is being started, its parent cannot be stopped.
    wait_for(lambda: "ready" in log.read_text())
    yield process
    process.kill()


def test_killing_reaches_children_of_other_sessions(parent: Process) -> None:
    killed = parent.kill()
    assert len(killed) == 2
    assert wait_gone(killed, 5)
    assert parent.tree() == []


def test_freezing_stops_all_of_them_and_thawing_lets_them_go_on(parent: Process) -> None:
    frozen = parent.freeze()
    wait_for(lambda: [state(process) for process in frozen] == ["T", "T"])
    parent.thaw()
    wait_for(lambda: "T" not in [state(process) for process in frozen])


def test_a_reused_pid_is_another_process(parent: Process) -> None:
    impostor = Process(parent.pid, "before that")
    assert not impostor.alive
    assert impostor.tree() == []
    impostor.send(signal.SIGKILL)
    impostor.send_group(signal.SIGKILL)
    impostor.kill()
    assert parent.alive


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    wait_for(lambda: state(Process(child.pid, "")) == "Z")
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert not Process(child.pid, f"{boot}/{started}").alive
    child.wait()


def test_one_whose_threads_are_still_ending_is(tmp_path: Path) -> None:
    """Its files and ports are still its own."""
    process = Process.spawn(Command([sys.executable, "-c", HEADLESS]), tmp_path, tmp_path / "log")
    wait_for(lambda: state(process) == "Z")
    assert process.alive
    process.kill()
    assert wait_gone([process], 5)


@pytest.mark.redis
def test_a_server_whose_pid_was_given_away_is_not_running(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        real = server.process
        server._save(process=Process(os.getpid(), "long ago"))
        assert not server.running
        server.kill()
        server.stop()
        server._save(process=real)


def state(process: Process) -> str:
    """R, S, T for stopped, Z for ended but not reaped."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
