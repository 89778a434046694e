"""What the commands that run storms have in common: seeds, folders, what is written at the end."""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from .checker.report import Report

Runs = list[tuple[int, Report]]


def parser(about: str | None, runs: int) -> argparse.ArgumentParser:
    """With the options of all of them; `runs` is how many there are by default."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--seed", type=int, help="of the first run; the next ones count upwards")
    made.add_argument("--runs", type=int, default=runs)
    made.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the documentation alone"
    )
    return made


def run_all(
    options: argparse.Namespace, run: Callable[[int, Path], Report], where: str | None = None
) -> Runs:
    """One run for each seed, in a folder of its own, which stays if something broke there."""
    first = options.seed if options.seed is not None else random.randrange(1_000_000)
    found = []
    for seed in range(first, first + options.runs):
        folder = Path(tempfile.mkdtemp(prefix=f"storm-{seed}-", dir=where))
        report = run(seed, folder)
        print(f"seed {seed}: {report}", flush=True)
        if report.violations:
            print(f"kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder)
        found.append((seed, report))
    return found


def exit_code(runs: Runs) -> int:
    """1 if any invariant broke."""
    return int(any(report.violations for _, report in runs))
