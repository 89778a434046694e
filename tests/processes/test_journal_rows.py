"""The journal's reading side."""

from __future__ import annotations

from tests.processes.journal import rows


def test_a_line_that_is_being_written_is_left_for_the_next_look(tmp_path):
    journal = tmp_path / "journal"
    assert rows(journal) == []
    journal.write_text("start 1 10 0.5 job.x\nok 1 1")
    assert rows(journal) == [["start", "1", "10", "0.5", "job.x"]]
