"""Which dead letters a command is about: given ids, or filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar, get_args

import click

from ...bus import EventBus
from ...deadletter import DeadLetter
from ...transports.base import Reason
from ..options import GROUPS, PATTERN, Duration

F = TypeVar("F", bound=Callable[..., Any])


def filters(command: F) -> F:
    """The options that `bus.dead_letters` knows as keyword arguments."""
    for option in (
        click.option(
            "-n", "--max", "maximum", type=click.IntRange(min=1), metavar="N",
            help="At most so many, the oldest.",
        ),
        click.option(
            "--older-than", type=Duration(), metavar="AGE",
            help="Only those that failed longer ago: 90s, 15m, 12h, 7d.",
        ),
        click.option(
            "--reason", type=click.Choice(get_args(Reason)), help="Only those of this reason.",
        ),
        click.option(
            "-t", "--type", "type", type=PATTERN, metavar="PATTERN",
            help="Only events whose type matches.",
        ),
        click.option(
            "-g", "--group", type=GROUPS, metavar="GROUP",
            help="Only those of this group; '*' for all. [default: the group of the bus, or all "
            "where it has none of its own]",
        ),
    ):
        command = option(command)
    return command


class Selection:
    """The dead letters that a command is about, and how to name them to the bus once more.

    Args:
        ids: exactly these, or
        filters: what the options say, by the names that `bus.dead_letters` has for them.

    Raises:
        click.UsageError: there are both.
        click.ClickException: an id is unknown.
    """

    def __init__(self, bus: EventBus, ids: Sequence[str], filters: dict[str, Any]) -> None:
        if ids and any(value is not None for value in filters.values()):
            raise click.UsageError("give ids or filters, not both")
        if filters["group"] is None:
            filters = {**filters, "group": _own_group(bus)}
        self._ids = ids
        self._filters = filters
        self._at = monotonic()
        self.letters = [get(bus, id) for id in ids] or bus.dead_letters.list(**filters)

    def arguments(self) -> tuple[Sequence[str], dict[str, Any]]:
        """What chooses these again, and nothing that has failed since."""
        if self._ids:
            return self._ids, {}
        age = (self._filters["older_than"] or 0.0) + monotonic() - self._at
        return (), {**self._filters, "older_than": age, "maximum": len(self.letters)}


def _own_group(bus: EventBus) -> str:
    """The group that somebody chose for this bus; without one, nobody's are its own."""
    return "*" if bus.config.group_is_default else bus.config.group


def get(bus: EventBus, id: str) -> DeadLetter:
    """One dead letter.

    Raises:
        click.ClickException: there is none of that id.
    """
    letter = bus.dead_letters.get(id)
    if letter is None:
        raise click.ClickException(f"no dead letter has the id {id}")
    return letter


def summary(letters: Sequence[DeadLetter]) -> str:
    """`3 dead letters (group mailer)`, for questions and reports."""
    groups = ", ".join(sorted({letter.group for letter in letters}))
    plural = "" if len(letters) == 1 else "s"
    return f"{len(letters):,} dead letter{plural}" + (f" (group {groups})" if groups else "")
