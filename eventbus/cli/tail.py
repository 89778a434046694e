"""`eventbus tail`."""

from __future__ import annotations

import os
import secrets
from threading import Event as Flag
from typing import TYPE_CHECKING

import click

from ..bus import EventBus
from ..errors import EventBusError
from ..event import Event
from . import text
from .interrupts import ended_by_signals
from .logs import show_logs
from .options import PATTERN, json_option, source_options
from .output import is_terminal, note, write, write_json
from .source import Source

if TYPE_CHECKING:
    from rich.text import Text

#: First part of the group that a tail makes for itself; `doctor` knows it again.
GROUP_PREFIX = "eventbus-tail-"
#: Seconds between two looks at whether to end; signals interrupt the wait by themselves.
POLL = 0.2
#: Seconds that ending may wait for a reader that has stopped reading.
PATIENCE = 2.0


@click.command()
@click.argument("pattern", type=PATTERN)
@click.option(
    "--from-start", is_flag=True, help="Begin with the oldest event there is, not with the next.",
)
@click.option(
    "-n", "--max", "maximum", type=click.IntRange(min=1), metavar="N", help="End after N events.",
)
@json_option
@source_options
@click.pass_obj
def tail(
    source: Source, pattern: str, from_start: bool, maximum: int | None, as_json: bool
) -> None:
    """Print events as they are published, until Ctrl-C.

    In a pattern '*' stands for one segment, '**' for any number, and '*' alone for every event.
    Nobody else misses an event for it: a tail is a consumer group of its own, which is removed when
    it ends.

    \b
    Examples:
      eventbus tail '*' --app shop:bus
      eventbus tail 'order.*' --from-start --url sqlite:///events.db
      eventbus tail user.created --app shop:bus --json | jq .payload
    """
    printer = Printer(as_json or not is_terminal(), maximum)
    with source.shared_bus() as bus:
        show_logs("WARNING")
        with ended_by_signals():
            _tail(bus, pattern, printer, from_start)


class Printer:
    """Prints events one at a time; `done` is set when nobody wants more."""

    def __init__(self, as_json: bool, maximum: int | None) -> None:
        self.done = Flag()
        self.__name__ = "tail"
        self._as_json = as_json
        self._left = maximum

    def __call__(self, event: Event) -> None:
        if not self.done.is_set():
            self._print(event)

    def _print(self, event: Event) -> None:
        try:
            write_json(event) if self._as_json else write(readable(event))
        except (OSError, ValueError, SystemExit):  # The reader is gone, or stdout is closed.
            self.done.set()
            return
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.done.set()


def readable(event: Event) -> Text:
    """One event on one line."""
    from rich.text import Text

    shown = Text(f"{event.timestamp:%Y-%m-%d %H:%M:%S}.{event.timestamp.microsecond // 1000:03}Z")
    shown.stylize("dim")
    shown.append(f"  {text.line(event.type)}", "bold cyan")
    if event.key is not None:
        shown.append(f"  key={text.line(event.key)}", "yellow")
    if event.metadata:
        shown.append(f"  {text.json(event.metadata)}", "dim")
    return shown.append(f"  {text.json(event.payload)}", "default")


def _tail(bus: EventBus, pattern: str, printer: Printer, from_start: bool) -> None:
    group = f"{GROUP_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    # A bus of its own, because a group can only be dropped once nobody consumes it any more. With
    # one handler at a time events are printed in the order they come.
    reader = EventBus(
        bus.config, environ={}, max_concurrent_handlers=1, close_timeout=PATIENCE
    )
    live = False
    try:
        reader.subscribe(
            pattern, printer, group=group, name="tail",
            start_from="earliest" if from_start else "latest",
        )
        live = True
        while not printer.done.wait(POLL):
            pass
    finally:
        try:
            reader.close()
        finally:
            _remove(bus, group, pattern, live)


def _remove(bus: EventBus, group: str, pattern: str, live: bool) -> None:
    try:
        bus.subscriptions.drop(group, pattern)
        # Foreign bytes become dead letters, even of a group that only looks.
        bus.dead_letters.purge(group=group)
    except (EventBusError, KeyboardInterrupt):
        if live:
            note(f"eventbus: left behind: eventbus subscriptions drop {group} '{pattern}'")
            raise
