"""A harness that has never failed proves nothing: every sabotaged build must be caught."""

from __future__ import annotations

import pytest

from .controls import CONTROLS, Control, Scenario, outcome
from .sabotage import SABOTAGES

SCENARIOS = tuple(dict.fromkeys(control.scenario for control in CONTROLS))


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.sabotage)
def test_a_sabotaged_build_is_caught(control: Control, tmp_path):
    report = outcome(control.scenario, tmp_path, control.sabotage)
    assert control.breaks in report.broken, str(report)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_honest_build_is_not(scenario: Scenario, tmp_path):
    report = outcome(scenario, tmp_path)
    assert not report.violations, str(report)


def test_every_sabotage_has_its_control():
    assert {control.sabotage for control in CONTROLS} == set(SABOTAGES)
