"""What the benchmarks report, and when they replace the committed report."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import memory
from benchmarks.measure import Figure


@pytest.fixture(autouse=True)
def results(monkeypatch, tmp_path):
    """The committed report; measuring takes no time, and only `memory` reaches its target."""
    for module in (import_module(f"benchmarks.{name}") for name in benchmarks.MODULES):
        value = 0.5 if module is memory else 0.25
        figure = Figure(f"{module.__name__} / raw", "1/s", "2/s", value, ">= 0.45")
        monkeypatch.setattr(module, "measure", lambda figure=figure: [figure])
    path = tmp_path / "results.json"
    path.write_text("as committed")
    monkeypatch.setattr(benchmarks, "RESULTS", path)
    return path


def test_a_whole_run_replaces_the_report(results):
    benchmarks.main([])
    rows = json.loads(results.read_text())["figures"]
    assert [row["name"].split()[0] for row in rows] == [
        f"benchmarks.{name}" for name in benchmarks.MODULES
    ]
    assert (rows[0]["value"], rows[0]["target"], rows[0]["ok"]) == (0.5, ">= 0.45", True)
    assert not rows[1]["ok"]


def test_a_part_leaves_the_report_alone(results, tmp_path):
    benchmarks.main(["--only", "memory"])
    assert results.read_text() == "as committed"
    benchmarks.main(["--only", "memory", "--json", str(tmp_path / "part.json")])
    assert results.read_text() == "as committed"
    assert len(json.loads((tmp_path / "part.json").read_text())["figures"]) == 1


def test_each_line_shows_value_target_and_verdict(capsys):
    benchmarks.main(["--only", "memory"])
    benchmarks.main(["--only", "sqlite"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "/ raw" in line]
    assert [line[-4:] for line in lines] == [
        ["0.500", ">=", "0.45", "met"], ["0.250", ">=", "0.45", "MISSED"],
    ]
