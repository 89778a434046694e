"""`eventbus subscriptions`."""

from __future__ import annotations

import click

from ..options import source_options
from .drop import drop
from .list import list_


@click.group(invoke_without_command=True)
@source_options
@click.pass_context
def subscriptions(ctx: click.Context) -> None:
    """List and drop durable subscriptions.

    A durable subscription is a consumer group and a pattern. From its birth it collects every
    matching event, whether or not anybody handles them; dropping it is the only way it ends.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


subscriptions.add_command(list_)
subscriptions.add_command(drop)
