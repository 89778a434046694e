"""`python -m benchmarks`: a table, and the same as JSON.

Figures never fail the build: machines are noisy, and a figure that falls short is worth reading.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .measure import Figure

MODULES = (
    "memory", "sqlite", "latency", "pool", "resources", "redis", "postgres", "nats", "rabbitmq",
    "kafka",
)
RESULTS = Path(__file__).with_name("results.json")
ROW = "{:<62} {:>11} {:>11} {:>7} {:>8}  {}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=MODULES, help="measure this; writes no JSON by itself")
    parser.add_argument("--json", type=Path, help=f"default: {RESULTS.name}, if all is measured")
    options = parser.parse_args(arguments)
    figures = _measure([options.only] if options.only else MODULES)
    # Figures of one report belong to one run: a part of them must not replace the whole.
    path = options.json or (None if options.only else RESULTS)
    if path is not None:
        path.write_text(json.dumps(_report(figures), indent=1) + "\n")
        print(f"written to {path}")


def _measure(modules: Sequence[str]) -> list[Figure]:
    figures: list[Figure] = []
    print(ROW.format("what", "ours", "floor", "value", "target", ""))
    for module in modules:
        for figure in import_module(f"benchmarks.{module}").measure():
            figures.append(figure)
            print(_line(figure), flush=True)
    return figures


def _line(figure: Figure) -> str:
    verdict = "met" if figure.ok else "MISSED"
    value = f"{figure.value:.3f}"
    return ROW.format(figure.name, figure.ours, figure.floor, value, figure.target, verdict)


def _report(figures: Sequence[Figure]) -> dict[str, object]:
    return {
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "figures": [{**figure._asdict(), "ok": figure.ok} for figure in figures],
    }


if __name__ == "__main__":
    main()
