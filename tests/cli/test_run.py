"""`eventbus run`: a process that handles events, drains on signals and reloads code."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap

import pytest

from eventbus import EventBus
from tests.conformance.target import wait_for


@pytest.fixture
def slow(tmp_path, url):
    """Writes an application whose handler waits for a file before it finishes."""

    def slow(version: str = "one") -> str:
        # Replaced in one step, so that nobody imports half of it.
        (tmp_path / "slow.new").write_text(textwrap.dedent(
            f"""\
            import pathlib, time
            from eventbus import EventBus
            bus = EventBus({url!r}, group="mailer")
            @bus.on("a.b")
            def handle(event):
                print("begin {version}", event.payload, flush=True)
                while not pathlib.Path("go").exists():
                    time.sleep(0.01)
                print("end {version}", event.payload, flush=True)
            """
        ))
        os.replace(tmp_path / "slow.new", tmp_path / "slow.py")
        return "slow:bus"

    with EventBus(url, group="mailer", environ={}) as bus:
        bus.subscribe("a.b", print).cancel()
    return slow


def lines(process, number: int) -> list[str]:
    return [process.stdout.readline().strip() for _ in range(number)]


def until(process, wanted: str) -> list[str]:
    """The lines of stderr up to the one that has these words."""
    log = [process.stderr.readline()]
    while wanted not in log[-1]:
        assert log[-1], f"it ended before {wanted!r} came"
        log.append(process.stderr.readline())
    return log


def test_handles_events(spawn, shop, call, bus):
    assert call("declare", shop).code == 0
    bus.publish("user.created", 1)
    process = spawn("run", shop)
    assert lines(process, 1) == ["welcome 1"]
    bus.publish("order.paid", 2)
    assert lines(process, 1) == ["charge 2"]
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "handling events as group mailer" in err and "Traceback" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_drains_first(spawn, slow, bus, tmp_path, number, code):
    bus.publish("a.b", 1)
    process = spawn("run", slow(), "--log-level", "error")
    assert lines(process, 1) == ["begin one 1"]
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "end one 1\n", "")
    assert bus.subscriptions.list()[0].backlog == 0


def test_logs_are_harmless(spawn, bus, url, tmp_path):
    bus.publish("a.b", 1)
    (tmp_path / "nasty.py").write_text(
        "from eventbus import EventBus, RetryPolicy\n"
        f"bus = EventBus({url!r}, group='nasty', retry=RetryPolicy(max_attempts=1))\n"
        "@bus.on('a.b', start_from='earliest')\n"
        "def handle(event):\n"
        "    print('begin', flush=True)\n"
        "    raise RuntimeError('\\x1b[31m')\n"
    )
    process = spawn("run", "nasty:bus")
    assert lines(process, 1) == ["begin"]
    wait_for(lambda: bus.dead_letters.list("nasty"))
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert r"\x1b[31m" in err and "\x1b" not in err


def test_reload_lets_the_old_code_finish_before_the_new_begins(spawn, slow, bus, tmp_path):
    bus.publish("a.b", 1)
    process = spawn("run", slow(), "--reload")
    assert lines(process, 1) == ["begin one 1"]
    slow("two")
    log = until(process, "stopping on SIGTERM")
    assert "eventbus: slow.py changed, restarting\n" in log
    bus.publish("a.b", 2)
    (tmp_path / "go").touch()
    assert lines(process, 3) == ["end one 1", "begin two 2", "end two 2"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_reload_survives_broken_code(spawn, slow, bus, tmp_path):
    (tmp_path / "go").touch()
    (tmp_path / "slow.py").write_text("this is no Python")
    process = spawn("run", "slow:bus", "--reload", "--log-level", "error")
    assert "importing 'slow' failed: SyntaxError" in process.stderr.readline()
    assert "ended with 2; waiting for a change" in process.stderr.readline()
    bus.publish("a.b", 1)
    slow("two")
    assert lines(process, 2) == ["begin two 1", "end two 1"]
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_reloaded_process_does_not_outlive_its_supervisor(spawn, bus, url, tmp_path):
    (tmp_path / "go.py").write_text(
        "import os\nfrom eventbus import EventBus\n"
        f"bus = EventBus({url!r}, group='go')\n"
        "print(os.getpid(), flush=True)\n"
    )
    process = spawn("run", "go:bus", "--reload")
    (pid,) = map(int, lines(process, 1))
    process.kill()
    wait_for(lambda: not _alive(pid))


def test_a_second_ctrl_c_ends_a_reloaded_process_that_does_not_drain(spawn, slow, bus):
    bus.publish("a.b", 1)
    process = spawn("run", slow(), "--reload")
    assert lines(process, 1) == ["begin one 1"]
    process.send_signal(signal.SIGINT)
    until(process, "stopping on SIGTERM")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
