"""`python -m benchmarks.postgres_growth`: what the tables take while events come and go for long.

A server with its own settings, autovacuum's among them, in the state in which it is installed; one
process that publishes, handles and cleans up. Writes docs/reliability/postgres-growth.rst.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg

import eventbus
from eventbus import Event, EventBus

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))

PAGE = Path(__file__).parents[1] / "docs" / "reliability" / "postgres-growth.rst"
#: Events of a batch, and seconds between two: a thousand events per second.
BATCH, PAUSE = 200, 0.2
#: Seconds for which settled events are kept, and between two rows of the table.
RETENTION, SAMPLE = 60.0, 30.0
TABLES = ("log", "lease", "subscription")
SIZES = (
    "SELECT relname, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_all_tables"
    " WHERE schemaname = 'eventbus' AND relname = ANY(%s)"
)


class Sample(NamedTuple):
    """One row: seconds since the beginning, events so far, and of each table dead rows and kB."""

    seconds: float
    published: int
    handled: int
    dead: tuple[int, ...]
    size: tuple[int, ...]


def _fail_now_and_then(event: Event) -> None:
    if event.payload["n"] % 100 == 0 and event.attempt == 1:
        raise RuntimeError("once")


def grow(url: str, minutes: float) -> Iterator[Sample]:
    """Publish and handle for so long; a sample now and then."""
    keep = timedelta(seconds=RETENTION)
    with psycopg.connect(url, autocommit=True) as watch, EventBus(
        url, group="growth", environ={}, retention=keep
    ) as bus:
        bus.subscribe("job.done", _fail_now_and_then, name="one")
        bus.subscribe("job.*", _fail_now_and_then, name="all")
        began, number, next_ = time.monotonic(), 0, SAMPLE
        while (passed := time.monotonic() - began) < 60 * minutes:
            bus.publish_many(("job.done", {"n": number + n, "x": "y" * 200}) for n in range(BATCH))
            number += BATCH
            time.sleep(PAUSE)
            if passed >= next_:
                next_ += SAMPLE
                yield _sample(watch, passed, number, bus.stats().handled)


def _sample(
    watch: psycopg.Connection[tuple[str, int, int]], seconds: float, published: int, handled: int
) -> Sample:
    found = {name: (dead, size // 1024) for name, dead, size in watch.execute(SIZES, [[*TABLES]])}
    dead, size = zip(*(found[name] for name in TABLES), strict=True)
    return Sample(seconds, published, handled, dead, size)


def page(samples: list[Sample], version: str) -> str:
    """The page of the documentation."""
    names = [f"{what} {name}" for name in TABLES for what in ("dead", "kB")]
    lines = [
        "Growth: postgres", "================", "",
        "Written by ``python -m benchmarks.postgres_growth``: a thousand events a second for two",
        f"subscriptions, of which one in a hundred fails once; kept for {RETENTION:.0f} seconds.",
        "The server runs with the settings it is installed with. For each table: dead rows, and",
        "what it takes with its indexes.", "",
        f"* {date.today()}, eventbus {eventbus.__version__}, Python {platform.python_version()},"
        f" PostgreSQL {version}", "", ".. list-table::", "   :header-rows: 1", "",
    ]
    header = ["seconds", "published", "handled", *names]
    for row in (header, *map(_cells, samples)):
        lines += [f"   {'*' if not n else ' '} - {cell}" for n, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _cells(sample: Sample) -> list[object]:
    pairs = zip(sample.dead, sample.size, strict=True)
    numbers = [number for pair in pairs for number in pair]
    return [round(sample.seconds), sample.published, sample.handled, *numbers]


def main() -> None:
    from services import Postgres

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=12.0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="eventbus-growth-", dir="/var/tmp") as folder,
        Postgres(Path(folder) / "server") as server,
    ):
        samples = []
        for sample in grow(server.url, options.minutes):
            print(sample, flush=True)
            samples.append(sample)
        PAGE.write_text(page(samples, server.version()), "utf-8")


if __name__ == "__main__":
    main()
