"""`python -m tests.faults.storm`: many kills, a table for the documentation, exit code 1 if any
invariant broke."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from . import summary
from .brokers import PLACES
from .checker.report import Report
from .pages import broker, page
from .storming import storm


def main() -> int:
    options = _arguments()
    master = options.seed if options.seed is not None else random.randrange(1_000_000)
    seeds = [master + n for n in range(options.runs)]
    print(f"{options.transport}: {options.runs} runs with {options.kills} kills each")
    rows = []
    for seed in seeds:
        rows.append((seed, _run(options, seed)))
        print(f"seed {seed}: {rows[-1][1]}", flush=True)
    if options.write:
        target = summary.PAGES / f"{options.transport}.rst"
        target.write_text(page(options.transport, rows), encoding="utf-8")
        summary.record(
            options.transport, broker(options.transport), "{kills} members killed", rows
        )
        print(f"written to {target.relative_to(Path.cwd())}")
    return int(any(report.violations for _, report in rows))


def _run(options: argparse.Namespace, seed: int) -> Report:
    folder = Path(tempfile.mkdtemp(prefix=f"storm-{seed}-"))
    place = PLACES[options.transport](folder)
    report = storm(place, folder, seed=seed, kills=options.kills, events=options.events)
    if not report.violations:
        # What went wrong is worth looking at; `storm` has said where it is.
        shutil.rmtree(folder)
    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=PLACES, default="sqlite")
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count upwards")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20, help="per run")
    parser.add_argument("--events", type=int, default=12_000, help="per run")
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the documentation alone"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
