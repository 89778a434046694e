"""Many processes write one journal, and what they wrote outlives them."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from . import journal as steps
from .journal import Journal, Reader, read
from .supervisor import ROOT

WRITER = """
import os, signal, sys
from tests.faults.journal import Journal
journal = Journal(sys.argv[1], sys.argv[2])
for n in range(2000):
    journal.note("end", run=n, text="x" * (n % 300))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_lines_of_several_processes_never_mix_and_survive_their_sigkill(tmp_path):
    path = tmp_path / "journal"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"m{n}"], cwd=ROOT)
        for n in range(3)
    ]
    assert [writer.wait(timeout=30) for writer in writers] == [-9, -9, -9]
    lines = read(path)
    for n in range(3):
        mine = [line for line in lines if line.who == f"m{n}"]
        assert [line.run for line in mine] == list(range(2000))
        assert all(len(line.text) == line.run % 300 for line in mine)


def test_a_reader_goes_on_where_it_was_and_waits_for_whole_lines(tmp_path):
    path = tmp_path / "journal"
    reader = Reader(path)
    assert reader.more() == []
    journal = Journal(path, "m1")
    journal.note(steps.START, id="a", key="k", more={"files": 3})
    (first,) = reader.more()
    assert (first.step, first.id, first.key, first.who, first.more) == (
        "start", "a", "k", "m1", {"files": 3},
    )
    with open(path, "ab") as file:
        file.write(b'{"step":"end","at"')
    assert reader.more() == []
    with open(path, "ab") as file:
        file.write(b":1.0}\n")
    assert [line.step for line in reader.more()] == ["end"]
    journal.close()


def test_a_line_that_a_sigkill_has_torn_takes_no_other_with_it(tmp_path):
    path = tmp_path / "journal"
    whole = Journal(tmp_path / "other", "m1")
    whole.note(steps.END, id="a", text="b")
    data = (tmp_path / "other").read_bytes()
    survivor = Journal(path, "m2")
    for length in range(len(data)):
        with open(path, "ab") as file:
            file.write(data[:length])
        survivor.note(steps.START, run=length)

    lines = read(path)
    assert [line.run for line in lines if line.who == "m2"] == list(range(len(data)))
    # The last one lacked its line end only.
    assert [line.id for line in lines if line.who == "m1"] == ["a"]


def test_a_line_of_anything_else_is_an_error(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b'{"step":7,"at":1.0}\n')
    with pytest.raises(msgspec.ValidationError):
        read(path)
