"""`eventbus topics`."""

from __future__ import annotations

import click

from .options import json_option, source_options
from .output import rows
from .source import Source
from .tables import Column


@click.command()
@json_option
@source_options
@click.pass_obj
def topics(source: Source, as_json: bool) -> None:
    """List the event types that were ever published.

    These are the types the broker still knows, within the prefix of the bus.

    \b
    Examples:
      eventbus topics --url sqlite:///events.db
      eventbus topics --app shop:bus | jq -r .type
    """
    with source.shared_bus() as bus:
        found = [{"type": name} for name in bus.topics()]
    rows(
        found, [Column("TYPE", lambda row: row["type"])], as_json=as_json,
        empty="Nothing was ever published here.",
    )
