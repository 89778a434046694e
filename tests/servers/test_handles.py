"""What the fault tests do to a server of their own."""

from __future__ import annotations

import socket

from tests.conformance import rabbitmq
from tests.conformance.target import wait_for
from tests.servers import RabbitMQ, Server
from tests.servers.clients import read, write
from tests.servers.look import processes_that_mention


def test_it_answers_its_usual_client(running: Server) -> None:
    assert running.is_ready()
    write(running, "answered", "v")
    assert read(running, "answered") == "v"


def test_a_paused_server_takes_connections_and_does_not_answer(running: Server) -> None:
    running.pause()
    try:
        socket.create_connection(("127.0.0.1", running.port), 5).close()
        assert running.running
        assert not running.is_ready()
    finally:
        running.resume()

    wait_for(running.is_ready)


def test_starting_a_running_server_changes_nothing(running: Server) -> None:
    before = running.process
    running.start()
    assert running.process == before


def test_what_was_written_survives_a_kill(running: Server) -> None:
    write(running, "before_kill", "kept")
    if isinstance(running, RabbitMQ):
        # It keeps what it has confirmed in a queue; that there is such a queue, a little later.
        rabbitmq.control(running, "eval", "mnesia:sync_log().")
    killed = running.process.tree()

    running.kill()
    assert not running.running
    assert not any(process.alive for process in killed)
    running.start()

    # RabbitMQ answers some time before it has found all its queues again.
    wait_for(lambda: read(running, "before_kill") == "kept")


def test_stopping_leaves_no_process_and_keeps_what_was_written(running: Server) -> None:
    write(running, "before_stop", "kept")
    url, tree = running.url, running.process.tree()

    assert processes_that_mention(running.folder, running.data) != []

    running.stop()

    assert not running.running
    assert not running.is_ready()
    assert [process for process in tree if process.alive] == []
    assert processes_that_mention(running.folder, running.data) == []
    running.start()
    assert running.url == url
    wait_for(lambda: read(running, "before_stop") == "kept")


def test_a_wiped_server_runs_empty_at_the_same_address(running: Server) -> None:
    write(running, "before_wipe", "lost")
    url = running.url

    running.wipe()

    assert (running.url, running.is_ready()) == (url, True)
    assert read(running, "before_wipe") is None


def test_another_program_finds_the_server_by_its_folder(running: Server) -> None:
    same = type(running)(running.folder)
    assert (same.url, same.process, same.is_ready()) == (running.url, running.process, True)
    same.kill()
    assert not running.running


def test_it_repeats_what_its_log_complains_of(quick: Server) -> None:
    with quick.log.open("a") as log:
        log.write("12:00 INFO: all is well\n12:01 ERROR: it broke\n    at its stack\n")
    assert quick.complaints(1) == ["12:01 ERROR: it broke"]


def test_wiping_a_stopped_server_leaves_it_stopped_and_empty(quick: Server) -> None:
    write(quick, "before_empty", "lost")
    quick.stop()

    quick.wipe()

    assert not quick.running
    quick.start()
    assert read(quick, "before_empty") is None


def test_restarting_makes_a_new_process(quick: Server) -> None:
    before = quick.process
    quick.restart()
    assert quick.is_ready()
    assert quick.process != before


def test_a_paused_server_can_be_stopped(quick: Server) -> None:
    process = quick.process
    quick.pause()
    quick.stop()
    assert not process.alive


def test_a_paused_server_can_be_killed(quick: Server) -> None:
    process = quick.process
    quick.pause()
    quick.kill()
    assert not process.alive


def test_verbs_on_a_stopped_server_do_nothing(quick: Server) -> None:
    quick.stop()
    quick.stop()
    quick.kill()
    quick.pause()
    quick.resume()
    assert not quick.running
