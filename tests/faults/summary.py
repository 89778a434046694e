"""The latest storm of each transport, in one table of the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import msgspec

import eventbus

from .pages import list_table
from .storm_command import Runs

PAGES = Path(__file__).parents[2] / "docs" / "reliability"
#: What the table is made of, and the table: an inclusion, not a page of its own.
RESULTS, TABLE = PAGES / "storms.json", PAGES / "storms.inc"
ORDER = ("memory", "sqlite", "postgres", "redis", "rabbitmq", "nats", "kafka")
#: Distributions of the clients.
CLIENTS = {
    "postgres": "psycopg", "redis": "redis", "rabbitmq": "pika", "nats": "nats-py",
    "kafka": "confluent-kafka",
}
HEADINGS = (
    "transport", "broker", "client", "faults", "events", "lost", "invented", "handled again",
    "bound", "violations", "seeds",
)


class Storm(msgspec.Struct):
    """What one `make storm TRANSPORT=…` has shown."""

    transport: str
    broker: str
    client: str
    faults: str
    events: int
    lost: int
    invented: int
    duplicates: int
    bound: int
    violations: int
    seeds: list[int]
    seconds: float
    date: str
    eventbus: str
    python: str
    cores: int


def record(transport: str, broker: str, faults: str, runs: Runs) -> None:
    """Put a storm in the place of the last one on the same transport.

    Args:
        transport: its name.
        broker: name and version.
        faults: what happened, in words; `{kills}` stands for the number of killed members.
        runs: seeds and what came of them.
    """
    reports = [report for _, report in runs]
    totals = {
        name: sum(getattr(report, name) for report in reports)
        for name in ("events", "lost", "invented", "duplicates", "bound")
    }
    storm = Storm(
        transport=transport, broker=broker, client=_client(transport),
        faults=faults.format(kills=sum(report.kills for report in reports)),
        violations=sum(len(report.violations) for report in reports),
        seeds=[seed for seed, _ in runs], seconds=round(sum(r.seconds for r in reports)),
        date=date.today().isoformat(), eventbus=eventbus.__version__,
        python=platform.python_version(), cores=os.cpu_count() or 0, **totals,
    )
    storms = {**read(), transport: storm}
    ordered = [storms[name] for name in ORDER if name in storms]
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n")
    TABLE.write_text(table(ordered), "utf-8")


def _client(transport: str) -> str:
    package = CLIENTS.get(transport)
    return f"{package} {version(package)}" if package else "-"


def read() -> dict[str, Storm]:
    """What is on record, by transport."""
    if not RESULTS.exists():
        return {}
    found = msgspec.json.decode(RESULTS.read_bytes(), type=list[Storm])
    return {storm.transport: storm for storm in found}


def table(storms: Sequence[Storm]) -> str:
    """As reStructuredText."""
    lines = list_table(HEADINGS, [*map(_cells, storms)])
    return "\n".join([lines, "", *(f"* {run}" for run in sorted(set(map(_where, storms)))), ""])


def _where(storm: Storm) -> str:
    return (
        f"{storm.date}, eventbus {storm.eventbus}, Python {storm.python}, {storm.cores} cores"
    )


def _cells(storm: Storm) -> list[str]:
    first, last = storm.seeds[0], storm.seeds[-1]
    return [
        f":doc:`{storm.transport}`", storm.broker, storm.client, storm.faults, str(storm.events),
        f"**{storm.lost}**", f"**{storm.invented}**", str(storm.duplicates), str(storm.bound),
        str(storm.violations), str(first) if first == last else f"{first} to {last}",
    ]
