"""The root command and the table of what is below it."""

from __future__ import annotations

import click

from .application import Application
from .dead import dead
from .declare import declare
from .doctor import doctor
from .options import source_options
from .publish import publish
from .run import run
from .stats import stats
from .subscriptions import subscriptions
from .tail import tail
from .topics import topics


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        import eventbus

        click.echo(f"eventbus {eventbus.__version__}")
        ctx.exit()


@click.group(
    cls=Application,
    invoke_without_command=True,
    context_settings={"max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version and exit.",
)
@source_options
@click.pass_context
def root(ctx: click.Context) -> None:
    """Publish, watch and look after events.

    The bus is that of an application (--app shop:bus), that of a URL, or the one the environment
    describes (EVENT_BUS_PROVIDER and its relatives). These options may stand before or after the
    command.

    On a terminal commands print tables, into a pipe JSON lines. The exit code is 0 for success, 1
    for failure, 2 for wrong usage or configuration, 130 after Ctrl-C.

    \b
    Examples:
      eventbus run shop:bus --reload
      eventbus publish order.paid '{"id": 7}' --url sqlite:///events.db
      eventbus tail 'order.*' --app shop:bus
      eventbus dead list --app shop:bus
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (run, declare, publish, tail, dead, subscriptions, topics, stats, doctor):
    root.add_command(command)
