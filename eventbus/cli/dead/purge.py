"""`eventbus dead purge`."""

from __future__ import annotations

from typing import Any

import click

from ...bus import EventBus
from ..options import json_option, source_options, yes_option
from ..output import confirm, progress, result
from ..source import Source
from .list import table
from .selection import Selection, filters, summary


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@filters
@click.option("--dry-run", is_flag=True, help="Only list what would be purged.")
@yes_option
@json_option
@source_options
@click.pass_obj
def purge(
    source: Source, /, ids: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool, **filters: Any
) -> int:
    """Remove dead letters for good.

    Exactly those that the question counts are removed, not what fails meanwhile.

    \b
    Examples:
      eventbus dead purge --app shop:bus --older-than 30d --dry-run
      eventbus dead purge --app shop:bus --reason rejected
      eventbus dead purge 019342f0-8d5c-7c3e-a7a2-0f6bb1f0e8a1 --app shop:bus --yes
    """
    with source.shared_bus() as bus:
        selection = Selection(bus, ids, filters)
        found = selection.letters
        if dry_run:
            table(found, as_json)
            return 0
        question = f"Purge {summary(found)}? They cannot be replayed afterwards."
        if found and not confirm(question, yes):
            return 1
        count = _purge(bus, selection) if found else 0
    result("purged", count, f"Purged {count:,} of {summary(found)}.", as_json)
    return 0


def _purge(bus: EventBus, selection: Selection) -> int:
    ids, filters = selection.arguments()
    with progress("Purging", len(selection.letters)) as advance:
        return bus.dead_letters.purge(*ids, **filters, progress=lambda letter: advance(1))
