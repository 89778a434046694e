"""The page of a storm, as reStructuredText."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import eventbus

from .checker.report import Report

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
.. list-table::
   :header-rows: 1

{rows}
{violations}"""

CONFIDENCE = """\
* with no loss in {kills} kills, the chance that a kill loses anything is below {chance:.1%} (95 %
  confidence)
"""


def page(transport: str, runs: Sequence[tuple[int, Report]]) -> str:
    """The page, every run listed, also those that failed."""
    title = f"Storm: {transport}"
    reports = [report for _, report in runs]
    totals = {
        name: sum(getattr(report, name) for report in reports)
        for name in ("kills", "events", "lost", "invented", "duplicates")
    }
    return TEMPLATE.format(
        title=title, line="=" * len(title), transport=transport, date=date.today().isoformat(),
        version=eventbus.__version__, python=platform.python_version(),
        broker=broker(transport), cores=os.cpu_count(),
        share=totals["duplicates"] / max(1, totals["events"]),
        confidence=CONFIDENCE.format(**totals, chance=3 / max(1, totals["kills"]))
        if not totals["lost"] else "",
        rows="\n".join([_row(COLUMNS), *(_row(_cells(*run)) for run in runs)]),
        violations=_violations(runs), **totals,
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

.. list-table::
   :header-rows: 1

{rows}
{violations}"""


def server_page(
    transport: str, broker: str, faults: NamedTuple, runs: Sequence[tuple[int, Report]]
) -> str:
    """The page of a storm in which the server is hurt, too."""
    title = f"Storm: {transport}"
    totals = {
        name: sum(getattr(report, name) for _, report in runs)
        for name in ("kills", "events", "lost", "invented", "duplicates")
    }
    return SERVER_TEMPLATE.format(
        title=title, line="=" * len(title), transport=transport, faults=faults, broker=broker,
        date=date.today().isoformat(), version=eventbus.__version__,
        python=platform.python_version(), cores=os.cpu_count(),
        rows="\n".join([_row(COLUMNS), *(_row(_cells(*run)) for run in runs)]),
        violations=_violations(runs), **totals,
    )


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

.. list-table::
   :header-rows: 1

{rows}
{violations}"""


def alone_page(transport: str, leaves: int, runs: Sequence[tuple[int, Report]]) -> str:
    """The page of a storm in one process."""
    title = f"Storm: {transport}"
    totals = {
        name: sum(getattr(report, name) for _, report in runs)
        for name in ("events", "lost", "invented", "duplicates")
    }
    return ALONE_TEMPLATE.format(
        title=title, line="=" * len(title), transport=transport, leaves=leaves,
        date=date.today().isoformat(), version=eventbus.__version__,
        python=platform.python_version(), cores=os.cpu_count(),
        rows="\n".join([_row(COLUMNS), *(_row(_cells(*run)) for run in runs)]),
        violations=_violations(runs), **totals,
    )


def _violations(runs: Sequence[tuple[int, Report]]) -> str:
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


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    return "\n".join([f"   * - {first}", *(f"     - {cell}" for cell in rest)])


def broker(transport: str) -> str:
    """Name and version of what is in the process itself."""
    if transport == "sqlite":
        return f"SQLite {sqlite3.sqlite_version} (publish: synchronous=FULL)"
    return transport
