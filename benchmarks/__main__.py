"""`python -m benchmarks`: a table, and the same as JSON.

Figures never fail the build: machines are noisy, and a figure that falls short is worth reading.
"""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
from importlib import import_module
from pathlib import Path

from .measure import Figure

MODULES = ("memory", "sqlite", "latency", "pool", "resources")
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=MODULES)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    figures: list[Figure] = []
    print(f"{'what':<62} {'ours':>11} {'floor':>11} {'value':>7} {'target':>8}")
    for module in [options.only] if options.only else MODULES:
        for figure in import_module(f"benchmarks.{module}").measure():
            figures.append(figure)
            print(_line(figure), flush=True)
    options.json.write_text(json.dumps(_report(figures), indent=1) + "\n")
    print(f"written to {options.json.name}")


def _line(figure: Figure) -> str:
    verdict = "" if figure.ok else "  short"
    return (
        f"{figure.name:<62} {figure.ours:>11} {figure.floor:>11} {figure.value:>7.2f}"
        f" {figure.target:>8}{verdict}"
    )


def _report(figures: list[Figure]) -> dict[str, object]:
    return {
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version,
        "figures": [{**figure._asdict(), "ok": figure.ok} for figure in figures],
    }


if __name__ == "__main__":
    main()
