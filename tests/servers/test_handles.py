"""What the fault tests do to a server of their own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.conformance.target import wait_for
from tests.servers import Server
from tests.servers.clients import CLIENTS


def write(server: Server, value: str) -> None:
    CLIENTS[server.name].write(server, value)


def read(server: Server) -> str | None:
    return CLIENTS[server.name].read(server)


def test_it_answers_its_usual_client(running: Server) -> None:
    running.wipe()
    write(running, "v")
    assert running.is_ready()
    assert read(running) == "v"


def test_what_was_written_survives_a_kill(running: Server) -> None:
    running.wipe()
    write(running, "kept")
    killed = running.process.tree()

    running.kill()
    assert not running.running
    assert not any(process.alive for process in killed)
    running.start()

    assert read(running) == "kept"


def test_what_was_written_survives_a_restart_at_the_same_address(running: Server) -> None:
    running.wipe()
    write(running, "kept")
    url, before = running.url, running.process

    running.restart()

    assert (running.url, running.process != before) == (url, True)
    assert read(running) == "kept"


def test_a_paused_server_takes_connections_and_does_not_answer(running: Server) -> None:
    running.pause()
    try:
        socket.create_connection(("127.0.0.1", running.port), 5).close()
        assert running.running
        assert not running.is_ready()
    finally:
        running.resume()

    wait_for(running.is_ready)


def test_a_paused_server_can_be_stopped(running: Server) -> None:
    process = running.process
    running.pause()
    running.stop()
    assert not process.alive


def test_a_paused_server_can_be_killed(running: Server) -> None:
    process = running.process
    running.pause()
    running.kill()
    assert not process.alive


def test_nothing_is_left_after_wiping(running: Server) -> None:
    url = running.url
    running.wipe()
    write(running, "lost")

    running.wipe()

    assert running.is_ready()
    assert running.url == url
    assert read(running) is None


def test_wiping_a_stopped_server_leaves_it_stopped_and_empty(running: Server) -> None:
    running.wipe()
    write(running, "lost")
    running.stop()

    running.wipe()

    assert not running.running
    running.start()
    assert read(running) is None


def test_stopping_leaves_no_process(running: Server) -> None:
    tree = running.process.tree()

    running.stop()

    assert not running.is_ready()
    assert [process for process in tree if process.alive] == []
    assert processes_that_mention(running.folder) == []


def test_starting_a_running_server_changes_nothing(running: Server) -> None:
    before = running.process
    running.start()
    assert running.process == before


def test_another_program_finds_the_server_by_its_folder(running: Server) -> None:
    same = type(running)(running.folder)
    assert (same.url, same.process, same.is_ready()) == (running.url, running.process, True)
    same.kill()
    assert not running.running


def processes_that_mention(folder: Path) -> list[str]:
    """Command lines with that folder in them; servers name theirs."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in words:
            found.append(words)
    return found
