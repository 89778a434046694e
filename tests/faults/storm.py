"""`python -m tests.faults.storm`: many kills, a table for the documentation, exit code 1 if any
invariant broke."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import storm_command, summary
from .brokers import PLACES
from .checker.report import Report
from .pages import broker, page
from .storming import storm


def main() -> int:
    options = _arguments()
    print(f"{options.transport}: {options.runs} runs with {options.kills} kills each")
    rows = storm_command.run_all(options, lambda seed, folder: _run(options, seed, folder))
    if options.write:
        target = summary.PAGES / f"{options.transport}.rst"
        target.write_text(page(options.transport, rows), encoding="utf-8")
        summary.record(
            options.transport, broker(options.transport), "{kills} members killed", rows
        )
        print(f"written to {target.relative_to(Path.cwd())}")
    return storm_command.exit_code(rows)


def _run(options: argparse.Namespace, seed: int, folder: Path) -> Report:
    place = PLACES[options.transport](folder)
    return storm(place, folder, seed=seed, kills=options.kills, events=options.events)


def _arguments() -> argparse.Namespace:
    parser = storm_command.parser(__doc__, runs=10)
    parser.add_argument("--transport", choices=PLACES, default="sqlite")
    parser.add_argument("--kills", type=int, default=20, help="per run")
    parser.add_argument("--events", type=int, default=12_000, help="per run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
