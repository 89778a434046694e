"""What the benchmarks compare with is as safe as the bus: a SIGKILL loses nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from benchmarks import postgres_floor as floor
from tests.conformance.target import wait_for
from tests.servers import Postgres

ROOT = Path(__file__).parents[2]
EVENTS, KILLS = 6_000, 3


@pytest.mark.postgres
def test_a_killed_floor_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "handled"
    path.touch()
    with Postgres(tmp_path / "server") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(floor.TABLES)
            floor.fill(connection, EVENTS)
        for kill in range(KILLS):
            _consume_until(server.url, path, (kill + 1) * EVENTS // (KILLS + 2))
        subprocess.run(_command(server.url, path), cwd=ROOT, check=True, timeout=60)

    handled = Counter(path.read_text().split())
    assert set(handled) == {str(number) for number in range(EVENTS)}
    assert 0 < handled.total() - EVENTS <= KILLS * floor.CLAIM


def _consume_until(url: str, path: Path, number: int) -> None:
    """Kill a consumer in the middle of its work."""
    with subprocess.Popen(_command(url, path), cwd=ROOT) as process:
        wait_for(lambda: path.read_text().count("\n") >= number, what=f"{number} to be handled")
        process.kill()


def _command(url: str, path: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.postgres_floor", url, str(path)]
