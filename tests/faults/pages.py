"""The page of a storm, as reStructuredText."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import eventbus

from .checker.report import Report
from .storm_command import Runs

COLUMNS = (
    "seed", "kills", "events", "lost", "invented", "interrupted", "duplicates", "bound",
    "stalled", "violations", "seconds",
)

TEMPLATE = """\
{title}
{line}

Written by ``make storm TRANSPORT={transport}``. Three members share the events of two publishers
and are killed (SIGKILL) at random points, over and over; :doc:`index` says how it is done and what
the columns mean.

* {date}, eventbus {version}, Python {python}, {broker}, {cores} cores
* {kills} kills, {events} events: **{lost} lost, {invented} invented**, {duplicates} handled again
  ({share:.2%})
{confidence}
{table}
{violations}"""

CONFIDENCE = """\
* with no loss in {kills} kills, the chance that a kill loses anything is below {chance:.1%} (95 %
  confidence)
"""


def page(transport: str, runs: Runs) -> str:
    """The page, every run listed, also those that failed."""
    kills, lost = _total(runs, "kills"), _total(runs, "lost")
    share = _total(runs, "duplicates") / max(1, _total(runs, "events"))
    confidence = CONFIDENCE.format(kills=kills, chance=3 / max(1, kills)) if not lost else ""
    return _filled(
        TEMPLATE, transport, runs, broker=broker(transport), share=share, confidence=confidence
    )


SERVER_TEMPLATE = """\
{title}
{line}

Written by ``make storm TRANSPORT={transport}``. Three members share the events of two publishers
for some minutes. Meanwhile, one at a time and in an order drawn by the seed: {faults.member_kills}
members are killed, the server is killed {faults.server_kills} times and restarted
{faults.restarts} times, stands still for {faults.pause:.0f} seconds once, and is away for
{faults.outage:.0f} seconds once. The columns are those of :doc:`index`; *kills* are those of
members.

* {date}, eventbus {version}, Python {python}, {broker}, {cores} cores
* {kills} member kills, {events} events: **{lost} lost, {invented} invented**, {duplicates} handled
  again

{table}
{violations}"""


def server_page(transport: str, broker: str, faults: NamedTuple, runs: Runs) -> str:
    """The page of a storm in which the server is hurt, too."""
    return _filled(SERVER_TEMPLATE, transport, runs, broker=broker, faults=faults)


ALONE_TEMPLATE = """\
{title}
{line}

Written by ``make storm TRANSPORT={transport}``. The broker is in the process and dies with it: what
is left to promise is what happens while that lives, and at its orderly end. Two threads publish,
and the handler leaves (``cancel``) and comes back {leaves} times under load. The columns are those
of :doc:`index`; nobody is killed.

* {date}, eventbus {version}, Python {python}, {cores} cores
* {leaves} departures, {events} events: **{lost} lost, {invented} invented**, {duplicates} handled
  again

{table}
{violations}"""


def alone_page(transport: str, leaves: int, runs: Runs) -> str:
    """The page of a storm in one process."""
    return _filled(ALONE_TEMPLATE, transport, runs, leaves=leaves)


def _filled(template: str, transport: str, runs: Runs, **more: Any) -> str:
    title = f"Storm: {transport}"
    totals = {
        name: _total(runs, name) for name in ("kills", "events", "lost", "invented", "duplicates")
    }
    return template.format(
        title=title, line="=" * len(title), transport=transport, date=date.today().isoformat(),
        version=eventbus.__version__, python=platform.python_version(), cores=os.cpu_count(),
        table=list_table(COLUMNS, [_cells(*run) for run in runs]), violations=_violations(runs),
        **totals, **more,
    )


def _total(runs: Runs, name: str) -> int:
    return sum(getattr(report, name) for _, report in runs)


def _violations(runs: Runs) -> str:
    """What broke, by seed: a run that failed stays visible."""
    found = [
        f"* {seed}: ``{str(one).splitlines()[0]}``"
        for seed, report in runs for one in report.violations[:5]
    ]
    return "\n".join(["", "Violations:", "", *found, ""]) if found else ""


def _cells(seed: int, report: Report) -> list[str]:
    figures = {
        **report._asdict(), "seed": seed, "violations": len(report.violations),
        "seconds": f"{report.seconds:.0f}",
    }
    return [str(figures[name]) for name in COLUMNS]


def list_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of one line per cell, as reStructuredText."""
    return "\n".join([".. list-table::", "   :header-rows: 1", "", *map(_row, (headings, *rows))])


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    return "\n".join([f"   * - {first}", *(f"     - {cell}" for cell in rest)])


def broker(transport: str) -> str:
    """Name and version of what is in the process itself."""
    if transport == "sqlite":
        return f"SQLite {sqlite3.sqlite_version} (publish: synchronous=FULL)"
    return transport
