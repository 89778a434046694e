"""Members die and restart under load: nothing is lost, and little is repeated."""

from __future__ import annotations

import random

import pytest

from .alone import alone
from .brokers import PLACES, Place
from .storming import restart, storm


@pytest.fixture(params=PLACES)
def place(request, tmp_path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def seed() -> int:
    """Printed when a test fails; `python -m tests.faults.storm --seed` runs it again."""
    seed = random.randrange(1_000_000)
    print("seed", seed)
    return seed


@pytest.mark.slow
def test_thirty_kills_at_random_points_lose_nothing(place, tmp_path, seed):
    report = storm(place, tmp_path, seed=seed, kills=30, events=20_000)
    assert not report.violations, str(report)
    assert (report.kills, report.events) == (30, 20_000)
    assert (report.lost, report.invented) == (0, 0)
    assert report.interrupted > 0, "no kill met a running handler: nothing was shown"


@pytest.mark.slow
def test_graceful_restarts_repeat_nothing(place, tmp_path, seed):
    report = storm(place, tmp_path, seed=seed, kills=10, events=3_000, hurt=restart)
    assert not report.violations, str(report)
    assert (report.lost, report.duplicates) == (0, 0)


@pytest.mark.slow
def test_one_member_after_another_keeps_the_order_of_each_key(place, tmp_path, seed):
    """With a single member nobody else explains an event that comes too early."""
    report = storm(place, tmp_path, seed=seed, kills=5, events=2_000, members=1)
    assert not report.violations, str(report)


@pytest.mark.slow
def test_in_one_process_a_handler_that_leaves_and_comes_back_loses_repeats_and_swaps_nothing(
    tmp_path, seed
):
    report = alone(tmp_path, seed=seed, events=6_000, leaves=30)
    assert not report.violations, str(report)
    assert (report.events, report.lost, report.duplicates) == (6_000, 0, 0)
