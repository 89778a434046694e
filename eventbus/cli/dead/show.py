"""`eventbus dead show`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ...deadletter import DeadLetter
from .. import text
from ..options import json_option, source_options
from ..output import is_terminal, write, write_json
from ..source import Source
from .list import type_of
from .selection import get

#: Bytes shown of what is no event; `--json` has them all.
SHOWN_BYTES = 2000


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
@source_options
@click.pass_obj
def show(source: Source, ids: tuple[str, ...], as_json: bool) -> None:
    """Show dead letters in full: error, traceback and event.

    \b
    Examples:
      eventbus dead show 019342f0-8d5c-7c3e-a7a2-0f6bb1f0e8a1 --app shop:bus
    """
    with source.shared_bus() as bus:
        found = [get(bus, id) for id in ids]
    for number, letter in enumerate(found):
        if as_json or not is_terminal():
            write_json(letter)
        else:
            _write(letter, first=number == 0)


def _write(letter: DeadLetter, first: bool) -> None:
    from rich.text import Text

    if not first:
        write()
    for name, value in _fields(letter):
        write(Text.assemble((f"{name + ':':<15}", "bold"), text.line(value)))
    _section("Payload" if letter.event else "Data", _content(letter))
    if letter.traceback:
        _section("Traceback", text.lines(letter.traceback.rstrip()))


def _fields(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    event = letter.event
    yield "Dead letter", letter.id
    yield "Event", f"{type_of(letter)} {letter.event_id or ''}".rstrip()
    if event is not None:
        yield "Published", text.moment(event.timestamp)
        yield "Key", event.key or "-"
        if event.metadata:
            yield "Metadata", text.json(event.metadata)
    yield "Group", letter.group
    yield "Pattern", letter.pattern
    yield "Handler", letter.handler or "-"
    yield "Reason", letter.reason
    yield "Attempts", str(letter.attempts)
    yield "First failed", text.moment(letter.first_failed_at)
    yield "Failed", text.moment(letter.failed_at)
    yield "Error", letter.error


def _content(letter: DeadLetter) -> str:
    if letter.event is not None:
        return text.pretty(letter.event.payload)
    more = "" if len(letter.data) <= SHOWN_BYTES else f"\n… {len(letter.data):,} bytes in all"
    return text.lines(letter.data[:SHOWN_BYTES].decode("utf-8", "backslashreplace")) + more


def _section(title: str, content: str) -> None:
    from rich.text import Text

    write(Text(f"\n{title}:", "bold"))
    write(Text("\n".join(f"  {one}" for one in content.split("\n"))))
