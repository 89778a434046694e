"""`eventbus subscriptions list`."""

from __future__ import annotations

import click

from .. import text
from ..options import GROUPS, json_option, source_options
from ..output import rows
from ..source import Source
from ..tables import Column

COLUMNS = [
    Column("GROUP", lambda row: row.group, style="cyan"),
    Column("PATTERN", lambda row: row.pattern),
    Column("BACKLOG", lambda row: "-" if row.backlog is None else row.backlog, justify="right"),
    Column("CREATED", lambda row: text.moment(row.created_at), style="dim"),
]


@click.command("list")
@click.option("-g", "--group", type=GROUPS, default="*", help="Only those of this group.")
@json_option
@source_options
@click.pass_obj
def list_(source: Source, group: str, as_json: bool) -> None:
    """List durable subscriptions and what waits in them.

    The backlog counts the events that are not settled yet.

    \b
    Examples:
      eventbus subscriptions list --app shop:bus
      eventbus subscriptions list --group mailer --url sqlite:///events.db
    """
    with source.shared_bus() as bus:
        found = bus.subscriptions.list(group)
    rows(found, COLUMNS, as_json=as_json, empty="No subscriptions.")
