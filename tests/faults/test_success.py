"""Where success is recorded per handler, what has succeeded does not run again after a kill."""

from __future__ import annotations

import pytest

from .checker.rules import Rules
from .per_handler import PLACES
from .scenarios import LEASE, killed_in_the_middle
from .supervisor import Supervisor


@pytest.mark.parametrize("open_place", PLACES)
def test_only_the_handler_that_was_running_runs_again(open_place, tmp_path):
    rules = Rules(take_over=LEASE + 6.0)
    with open_place(tmp_path) as place, Supervisor(place, tmp_path, rules) as run:
        killed_in_the_middle(run, "--lease", LEASE)
        report = run.finish()

    assert not report.violations, str(report)
    assert (report.kills, report.duplicates, report.interrupted) == (1, 1, 1)
