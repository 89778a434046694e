"""`eventbus dead replay`."""

from __future__ import annotations

from typing import Any

import click

from ...bus import EventBus
from ..options import POSITIVE, json_option, source_options
from ..output import progress, result
from ..source import Source
from .list import table
from .selection import Selection, filters, summary


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@filters
@click.option("--rate", type=POSITIVE, metavar="N", help="At most so many events per second.")
@click.option("--dry-run", is_flag=True, help="Only list what would be replayed.")
@json_option
@source_options
@click.pass_obj
def replay(
    source: Source, /, ids: tuple[str, ...], rate: float | None, dry_run: bool, as_json: bool,
    **filters: Any,
) -> None:
    """Give events back to the handler that failed them.

    Each goes only to the handler and group in which it failed, under its old id. Whatever fails
    again becomes a dead letter again. Interrupted, it can be run again: nothing is lost.

    \b
    Examples:
      eventbus dead replay --app shop:bus --dry-run
      eventbus dead replay --app shop:bus --type 'order.*' --max 100 --rate 10
      eventbus dead replay 019342f0-8d5c-7c3e-a7a2-0f6bb1f0e8a1 --app shop:bus
    """
    with source.shared_bus() as bus:
        selection = Selection(bus, ids, filters)
        found = selection.letters
        if dry_run:
            return table(found, as_json)
        count = _replay(bus, selection, rate) if found else 0
    result("replayed", count, f"Replayed {count:,} of {summary(found)}.", as_json)


def _replay(bus: EventBus, selection: Selection, rate: float | None) -> int:
    ids, filters = selection.arguments()
    with progress("Replaying", len(selection.letters)) as advance:
        return bus.dead_letters.replay(
            *ids, **filters, rate=rate, progress=lambda letter: advance(1)
        )
