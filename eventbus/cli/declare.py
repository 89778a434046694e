"""`eventbus declare`."""

from __future__ import annotations

import click

from .options import POSITIVE, json_option, source_options
from .output import rows
from .source import Source
from .subscriptions.list import COLUMNS


@click.command()
@click.argument("application", metavar="[MODULE:BUS]", required=False)
@click.option(
    "--timeout", type=POSITIVE, default=30.0, show_default=True, metavar="SECONDS",
    help="How long to wait for the broker.",
)
@json_option
@source_options
@click.pass_obj
def declare(source: Source, application: str | None, timeout: float, as_json: bool) -> None:
    """Create the durable subscriptions of an application.

    Run it like a migration, before anything publishes: from then on no matching event is missed,
    even if no handler runs yet. Those that exist stay as they are; the new ones are printed.

    \b
    Examples:
      eventbus declare shop:bus
      eventbus declare --app shop:bus --timeout 5
    """
    source.name_app(application)
    with source.shared_bus() as bus:
        before = {(one.group, one.pattern) for one in bus.subscriptions.list("*")}
        bus.declare(timeout)
        after = bus.subscriptions.list("*")
    created = [one for one in after if (one.group, one.pattern) not in before]
    rows(created, COLUMNS, as_json=as_json, empty="Nothing to create: all of them exist.")
