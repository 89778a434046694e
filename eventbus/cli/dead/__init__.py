"""`eventbus dead`."""

from __future__ import annotations

import click

from ..options import source_options
from .list import list_
from .purge import purge
from .replay import replay
from .show import show


@click.group(invoke_without_command=True)
@source_options
@click.pass_context
def dead(ctx: click.Context) -> None:
    """List, explain, replay and purge dead letters.

    A dead letter is an event that one handler has finally failed. It keeps the error, the
    traceback and the event itself until it is replayed or purged.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (list_, show, replay, purge):
    dead.add_command(command)
