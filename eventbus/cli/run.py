"""`eventbus run`."""

from __future__ import annotations

import logging
import signal

import click

from .application import INTERRUPTED
from .interrupts import Received
from .logs import show_logs
from .options import source_options
from .source import Source

logger = logging.getLogger("eventbus.cli")

LEVELS = ("debug", "info", "warning", "error")


@click.command()
@click.argument("application", metavar="[MODULE:BUS]", required=False)
@click.option("--reload", is_flag=True, help="Restart when Python files change; for development.")
@click.option(
    "-l", "--log-level", type=click.Choice(LEVELS), default="info", show_default=True,
    help="What to log on stderr, unless the application sets up logging itself.",
)
@source_options
@click.pass_obj
def run(source: Source, application: str | None, reload: bool, log_level: str) -> int:
    """Handle events with the handlers of an application.

    SIGTERM or Ctrl-C lets running handlers finish first, up to the bus's close_timeout; a second
    one ends the process at once. While the broker is away it keeps trying.

    With --reload the working directory is watched. A change lets the old process finish before the
    new one starts, so no event is handled by both.

    \b
    Examples:
      eventbus run shop:bus
      eventbus run shop.events:bus --reload --log-level debug
    """
    source.name_app(application)
    if reload:
        from .reload import supervise

        return supervise(str(source.app), log_level, debug=source.debug)
    return _run(source, log_level)


def _run(source: Source, log_level: str) -> int:
    from .reload import end_with_supervisor

    end_with_supervisor()
    with source.bus() as bus, Received() as received:
        show_logs(log_level.upper())
        logger.info(
            "handling events as group %s from %s (%s)",
            bus.config.group, bus.config.location, source.app,
        )
        bus.run()
    return INTERRUPTED if signal.SIGINT in received else 0
