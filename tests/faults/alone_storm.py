"""`python -m tests.faults.alone_storm`: the memory transport, whose broker cannot be hurt: handlers
leave and come back under load; writes a page, exit code 1 if any invariant broke."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from . import summary
from .alone import alone
from .checker.report import Report
from .pages import alone_page


def main() -> int:
    options = _arguments()
    master = options.seed if options.seed is not None else random.randrange(1_000_000)
    rows = []
    for seed in range(master, master + options.runs):
        rows.append((seed, _run(options, seed)))
        print(f"seed {seed}: {rows[-1][1]}", flush=True)
    if options.write:
        target = summary.PAGES / "memory.rst"
        target.write_text(alone_page("memory", options.leaves * options.runs, rows), "utf-8")
        faults = f"{options.leaves * options.runs} departures of the handler"
        summary.record("memory", "in the process", faults, rows)
    return int(any(report.violations for _, report in rows))


def _run(options: argparse.Namespace, seed: int) -> Report:
    with tempfile.TemporaryDirectory(prefix=f"storm-{seed}-") as folder:
        return alone(Path(folder), seed=seed, events=options.events, leaves=options.leaves)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count upwards")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--leaves", type=int, default=30, help="per run")
    parser.add_argument("--events", type=int, default=12_000, help="per run")
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the documentation alone"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
