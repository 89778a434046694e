"""`eventbus stats`."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import click
import msgspec

from ..bus import EventBus
from ..transports.base import SubscriptionInfo
from . import text
from .options import json_option, source_options
from .output import rows
from .source import Source
from .tables import Column


class Row(msgspec.Struct):
    """What is known about one durable subscription, or of one that left only dead letters."""

    group: str
    pattern: str
    backlog: int | None
    dead_letters: int
    created_at: datetime | None


COLUMNS = [
    Column("GROUP", lambda row: row.group, style="cyan"),
    Column("PATTERN", lambda row: row.pattern),
    Column("BACKLOG", lambda row: "-" if row.backlog is None else row.backlog, justify="right"),
    Column(
        "DEAD", lambda row: row.dead_letters, justify="right",
        style=lambda shown: "dim" if shown == "0" else "red",
    ),
    Column("CREATED", lambda row: text.moment(row.created_at), style="dim"),
]


def collect(bus: EventBus) -> list[Row]:
    """One row per subscription on the broker."""
    dead = Counter((one.group, one.pattern) for one in bus.dead_letters.list("*"))
    found = [_row(one, dead) for one in bus.subscriptions.list("*")]
    dropped = [Row(group, pattern, None, count, None) for (group, pattern), count in dead.items()]
    return found + sorted(dropped, key=lambda row: (row.group, row.pattern))


def _row(one: SubscriptionInfo, dead: Counter[tuple[str, str]]) -> Row:
    count = dead.pop((one.group, one.pattern), 0)
    return Row(one.group, one.pattern, one.backlog, count, one.created_at)


@click.command()
@json_option
@source_options
@click.pass_obj
def stats(source: Source, as_json: bool) -> None:
    """Show what waits and what has failed, per subscription.

    A '-' stands for a backlog that the broker cannot tell, or for a subscription that was dropped
    and left dead letters.

    \b
    Examples:
      eventbus stats --app shop:bus
      eventbus stats --url sqlite:///events.db | jq 'select(.backlog > 1000)'
    """
    with source.shared_bus() as bus:
        found = collect(bus)
    rows(found, COLUMNS, as_json=as_json, empty="No subscriptions and no dead letters.")
