"""The sign-up demo when things go wrong, and when there is next to nothing to do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "signup"


@pytest.fixture
def modules(monkeypatch):
    """Make the demo's own modules importable, as they are when it is run as a script."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def demo(tmp_path):
    """Start the demo; what it leaves behind would be in `tmp_path`."""

    def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(FOLDER / "run.py"), *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), **environ},
        )

    return start


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    # All processes of the demo share its stderr: this returns when the last of them is gone.
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_one_sign_up_is_enough(demo):
    status, out, err = finish(demo("--signups", "1"))
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[:3] for row in rows if row[0] in ("mailer", "audit")] == [
        ["mailer", "1", "1"], ["audit", "1", "1"],
    ]
    assert "1 mails in the outbox for 1 users" in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_script(demo, tmp_path, number):
    process = demo("--signups", "4000")
    assert "mailer killed" in process.stdout.readline()
    process.send_signal(number)
    status, _, err = finish(process)
    assert (status, err) == (-9 if number == signal.SIGKILL else 128 + number, "")
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "hint"), [("memory:", "several processes"), ("carrier-pigeon:", "unknown scheme")]
)
def test_a_url_that_cannot_work_is_refused_at_once(demo, url, hint):
    status, out, err = finish(demo("--url", url))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert hint in err


def test_a_process_that_dies_at_its_start_is_reported_with_what_it_said(demo):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = finish(demo(PORT=str(taken.getsockname()[1])))
    assert status == 1
    assert "in use" in err
    assert err.splitlines()[-1].startswith("error: app.py ended with exit code 1 before it was")


def test_a_process_that_never_gets_ready_is_not_waited_for_any_longer(modules, tmp_path):
    from stage import Child, Failed

    script = tmp_path / "sleeper.py"
    script.write_text("import time; time.sleep(60)")
    child = Child(str(script))
    try:
        with pytest.raises(Failed, match=r"not ready within 0\.1 s"):
            child.ready(0.1)
    finally:
        child.kill()


def test_a_process_that_ends_during_the_demo_is_noticed(modules, tmp_path):
    from stage import Child, Failed

    script = tmp_path / "brief.py"
    script.write_text("print('ready', flush=True); input(); exit(3)")
    child = Child(str(script))
    try:
        assert child.ready(30) == "ready"
        child.check()
        child._process.communicate("\n", timeout=30)
        with pytest.raises(Failed, match="exit code 3"):
            child.check()
    finally:
        child.kill()


def test_a_signal_that_interrupted_no_wait_ends_the_demo_all_the_same(modules, tmp_path):
    from concurrent.futures import Future

    from run import result
    from stage import Failed, Stage

    stage = Stage("sqlite:///unused.db", tmp_path)
    stage.signal = signal.SIGTERM
    with pytest.raises(Failed, match="signal 15"):
        result(Future(), stage)


def test_a_line_that_is_still_being_written_is_not_read(modules, tmp_path):
    import journal

    path = tmp_path / "journal"
    assert journal.read(path) == []
    path.write_text('["a", 0.5]\n["b", 0.')
    assert journal.read(path) == [journal.Entry("a", 0.5)]
    with path.open("a") as file:
        file.write("25]\n")
    assert journal.read(path) == [journal.Entry("a", 0.5), journal.Entry("b", 0.25)]


@pytest.mark.parametrize(
    ("values", "median", "high"),
    [([], 0.0, 0.0), ([7.0], 7.0, 7.0), ([9.0, 1.0], 1.0, 9.0),
     ([float(n) for n in range(100, 0, -1)], 50.0, 99.0)],
)
def test_percentiles_of_few_values(modules, values, median, high):
    from report import percentile

    assert (percentile(values, 50), percentile(values, 99)) == (median, high)


def test_the_table_counts_what_is_missing_and_nothing_that_is_foreign(modules, tmp_path, capsys):
    from report import table

    path = tmp_path / "journal"
    path.write_text('["a", 0.5]\n["a", 0.7]\n["foreign", 0.1]\n')
    assert table({"mailer": path}, {"a", "b"}) == 1
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["mailer", "2", "1", "1", "1", "500.0", "500.0"]
