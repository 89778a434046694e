"""`python -m tests.faults.alone_storm`: the memory transport, whose broker cannot be hurt: handlers
leave and come back under load; writes a page, exit code 1 if any invariant broke."""

from __future__ import annotations

import argparse
import sys

from . import storm_command, summary
from .alone import alone
from .pages import alone_page


def main() -> int:
    options = _arguments()
    rows = storm_command.run_all(
        options,
        lambda seed, folder: alone(
            folder, seed=seed, events=options.events, leaves=options.leaves
        ),
    )
    if options.write:
        leaves = options.leaves * options.runs
        target = summary.PAGES / "memory.rst"
        target.write_text(alone_page("memory", leaves, rows), "utf-8")
        summary.record("memory", "in the process", f"{leaves} departures of the handler", rows)
    return storm_command.exit_code(rows)


def _arguments() -> argparse.Namespace:
    parser = storm_command.parser(__doc__, runs=10)
    parser.add_argument("--leaves", type=int, default=30, help="per run")
    parser.add_argument("--events", type=int, default=12_000, help="per run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
