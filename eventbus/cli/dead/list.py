"""`eventbus dead list`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ...deadletter import DeadLetter
from .. import text
from ..options import json_option, source_options
from ..output import rows
from ..source import Source
from ..tables import Column
from .selection import Selection, filters


def type_of(letter: DeadLetter) -> str:
    return "-" if letter.event is None else letter.event.type


COLUMNS = [
    Column("ID", lambda letter: letter.id),
    Column("TYPE", type_of, style="cyan"),
    Column("GROUP", lambda letter: letter.group, drop=1),
    Column("HANDLER", lambda letter: letter.handler or "-", drop=3),
    Column("REASON", lambda letter: letter.reason, drop=2),
    Column("AGE", lambda letter: text.age(letter.failed_at), justify="right", style="dim"),
    Column("ERROR", lambda letter: letter.error, style="red", room="cut"),
]


def table(letters: Sequence[DeadLetter], as_json: bool) -> None:
    rows(
        letters, COLUMNS, as_json=as_json,
        empty="No dead letters. (Those of all groups: --group '*')",
    )


@click.command("list")
@filters
@json_option
@source_options
@click.pass_obj
def list_(source: Source, /, as_json: bool, **filters: Any) -> None:
    """List dead letters, oldest first.

    Listing changes nothing. JSON lines hold everything, tracebacks included.

    \b
    Examples:
      eventbus dead list --app shop:bus
      eventbus dead list --app shop:bus --type 'order.*' --older-than 1h
      eventbus dead list --url sqlite:///events.db --group '*' | jq .error
    """
    with source.shared_bus() as bus:
        found = Selection(bus, (), filters).letters
    table(found, as_json)
