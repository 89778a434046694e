"""`eventbus subscriptions drop`."""

from __future__ import annotations

import click

from ...patterns import canonical
from ..options import GROUP, PATTERN, source_options, yes_option
from ..output import confirm, result
from ..source import Source


@click.command()
@click.argument("group", type=GROUP)
@click.argument("pattern", type=PATTERN)
@yes_option
@source_options
@click.pass_obj
def drop(source: Source, group: str, pattern: str, yes: bool) -> int:
    """End a durable subscription for good.

    Events that wait in it are lost to its group. Stop the members of the group first: a running
    one would create it anew.

    \b
    Examples:
      eventbus subscriptions drop mailer user.created --app shop:bus
      eventbus subscriptions drop mailer 'user.*' --url sqlite:///events.db --yes
    """
    with source.shared_bus() as bus:
        found = [
            one for one in bus.subscriptions.list(group)
            if canonical(one.pattern) == canonical(pattern)
        ]
        if not found:
            raise click.ClickException(f"group {group} has no subscription {pattern}")
        waiting = "All" if found[0].backlog is None else f"{found[0].backlog:,}"
        question = f"Drop {pattern} of group {group}? {waiting} waiting events go with it."
        if not confirm(question, yes):
            return 1
        bus.subscriptions.drop(group, pattern)
    result("dropped", 1, f"Dropped {pattern} of group {group}.", as_json=False)
    return 0
