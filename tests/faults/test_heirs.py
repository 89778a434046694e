"""Who takes over what a dead member ran may be killed in its turn, before it has begun it."""

from __future__ import annotations

from collections import defaultdict

import pytest

from eventbus import Event

from . import journal as steps
from .checker.report import check
from .checker.rules import Rules
from .journal import Step, read
from .per_handler import PLACES
from .scenarios import LEASE, WORKERS
from .supervisor import Supervisor


@pytest.mark.parametrize("open_place", PLACES)
def test_what_an_heir_had_not_begun_goes_to_the_next(open_place, tmp_path):
    rules = Rules(take_over=LEASE + 6.0)
    with open_place(tmp_path) as place, Supervisor(place, tmp_path, rules) as run:
        _two_killed(run)
        run.live_member("--lease", LEASE)
        assert run.drain()
        report = run.finish()
        lines = read(run.path)

    assert not report.violations, str(report)
    assert report.kills == 2
    _only_the_heir_explains_it(lines)


def _two_killed(run: Supervisor) -> None:
    """The first runs some events; the second has them in hand, and has begun one of them."""
    held = [[str(run.folder / f"h{n}"), str(run.folder / "heir")] for n in range(WORKERS)]
    first = run.live_member("--lease", LEASE)
    run.publish(*(Event("job.a", {"hold": files}) for files in held))
    begun = [run.folder / f"h{n}" for n in range(WORKERS)]
    run.wait("all are running", lambda: all(file.exists() for file in begun))
    run.kill(first)
    second = run.live_member("--lease", LEASE, "--concurrency", 1)
    run.wait("it has begun one", (run.folder / "heir").exists)
    run.wait("and has all", lambda: run.progress.counts[steps.TAKEN] == WORKERS)
    run.kill(second)


def _only_the_heir_explains_it(lines: list[Step]) -> None:
    killed = next(line for line in lines if line.step == steps.KILL)
    starts: dict[str, list[Step]] = defaultdict(list)
    for line in lines:
        if line.step == steps.START:
            starts[line.id].append(line)
    passed_on = [of_one[1].at for of_one in starts.values() if len(of_one) == 2]
    assert passed_on
    too_short = Rules(take_over=min(passed_on) - killed.at - 0.01)
    without = [line for line in lines if line.step != steps.TAKEN]

    assert check(lines, too_short).broken == set()
    assert check(without, too_short).broken == {"I6"}
