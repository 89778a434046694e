"""The pulse of a process, seen from another one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from tests.conformance.target import wait_for

from . import journal as steps
from .journal import Journal, read
from .pulse import USUAL, Pulse, place, silence

LIVES = """
import sys, time
from tests.faults.journal import Journal
from tests.faults.pulse import Pulse, place
Pulse(place(sys.argv[1], "m1"), Journal(sys.argv[1], "m1"))
time.sleep(60)
"""
ROOT = Path(__file__).parents[2]


def beats(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def process(journal: Path):
    child = subprocess.Popen([sys.executable, "-c", LIVES, str(journal)], cwd=ROOT)
    wait_for(lambda: any(beats(place(journal, "m1"))), what="its first beat")
    yield child
    child.kill()
    child.wait()


def test_a_process_that_stands_still_is_silent(process, journal):
    wait_for(lambda: silence(place(journal, "m1")) == 0.0)
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: silence(place(journal, "m1")) > 0.2)
    process.kill()
    process.wait()
    assert silence(place(journal, "m1")) > 0.2


def test_one_that_goes_on_says_how_long_it_had_stood_still(process, journal):
    wait_for(lambda: silence(place(journal, "m1")) == 0.0)
    process.send_signal(signal.SIGSTOP)
    # A stop that has not arrived yet would be taken back by what lets it go on.
    wait_for(lambda: silence(place(journal, "m1")) > 2 * USUAL)
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: any(stall.number > 2 * USUAL for stall in read(journal)))
    assert {(stall.step, stall.who) for stall in read(journal)} == {(steps.STALL, "m1")}


def test_it_is_watched_before_its_thread_has_begun(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Thread.start
    monkeypatch.setattr(Thread, "start", lambda it: (time.sleep(3 * USUAL), start(it)))
    pulse = Pulse(place(journal, "m1"), Journal(journal, "m1"))
    wait_for(lambda: any(stall.number > 2 * USUAL for stall in read(journal)))
    pulse.stop()


def test_one_whose_broker_takes_its_time_is_silent(journal: Path) -> None:
    page = place(journal, "m1")
    pulse = Pulse(page, Journal(journal, "m1"))
    with pulse.settling():
        time.sleep(3 * USUAL)
        assert silence(page) > 2 * USUAL
    wait_for(lambda: silence(page) == 0.0)
    pulse.stop()
    assert [stall.text for stall in read(journal) if stall.text] == ["settling"]


def test_whoever_has_not_begun_is_not_silent(tmp_path):
    assert silence(tmp_path / "nobody") == 0.0
