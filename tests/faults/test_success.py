"""Where success is recorded per handler, what has succeeded does not run again after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.servers import provide

from .brokers import Place, sqlite
from .checker.rules import Rules
from .scenarios import LEASE, killed_in_the_middle
from .supervisor import Supervisor


@contextmanager
def _postgres(folder: Path) -> Iterator[Place]:
    """Others may use the same server."""
    url, schema = provide("postgres"), f"success_{os.getpid()}"
    try:
        yield Place(f"{url}?schema={schema}")
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@contextmanager
def _sqlite(folder: Path) -> Iterator[Place]:
    yield sqlite(folder)


PLACES = [
    pytest.param(_sqlite, id="sqlite"),
    pytest.param(_postgres, id="postgres", marks=pytest.mark.postgres),
]


@pytest.mark.parametrize("open_place", PLACES)
def test_only_the_handler_that_was_running_runs_again(open_place, tmp_path):
    rules = Rules(take_over=LEASE + 6.0)
    with open_place(tmp_path) as place, Supervisor(place, tmp_path, rules) as run:
        killed_in_the_middle(run, "--lease", LEASE)
        report = run.finish()

    assert not report.violations, str(report)
    assert (report.kills, report.duplicates, report.interrupted) == (1, 1, 1)
