"""Events made of JSON: of one argument, or of the lines of stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import click
import msgspec

from ..bus import EventBus
from ..errors import EventBusError, PublishError
from ..event import Event
from .output import note, progress, result
from .source import Source

#: Events per `publish_many`: one confirmation of the broker each.
CHUNK = 1_000
#: Bytes asked of stdin at a time; what is there already is published without waiting for more.
READ = 1024 * 1024


class Draft(NamedTuple):
    """What all events of one command share."""

    type: str
    key: str | None
    metadata: dict[str, str]

    def event(self, json: bytes) -> Event:
        """An event with this payload; `ValueError` says what is wrong with it."""
        try:
            payload = msgspec.json.decode(json)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(
                f"the payload must be JSON, with text in double quotes: {error}"
            ) from None
        return Event(self.type, payload, key=self.key, metadata=self.metadata)


def publish_lines(source: Source, draft: Draft, as_json: bool) -> None:
    """Publish one event per line of stdin.

    Raises:
        click.ClickException: a line is wrong, or the broker fails; it tells what was published.
    """
    count = 0
    with source.shared_bus() as bus, progress("Publishing", None) as advance:
        try:
            for events in _chunks(draft, sys.stdin.buffer):
                _publish(bus, events)
                count += len(events)
                advance(len(events))
        except PublishError as error:
            count += list(error.outcomes.values()).count("ok")
            raise click.ClickException(f"{error} (published: {count:,})") from error
        except (ValueError, EventBusError) as error:
            raise click.ClickException(f"{error} (published: {count:,})") from error
        except KeyboardInterrupt:
            note(f"\npublished: {count:,}")
            raise
    result("published", count, f"Published {count:,} events.", as_json)


def _publish(bus: EventBus, events: list[Event]) -> None:
    if events:
        bus.publish_many(events)


def _chunks(draft: Draft, stream: BinaryIO) -> Iterator[list[Event]]:
    """Events, as many at a time as are there; those before a wrong line come before its error."""
    number = 0
    for lines in _reads(stream):
        events: list[Event] = []
        for line in lines:
            number += 1
            if not line.strip():
                continue
            if len(events) == CHUNK:
                yield events
                events = []
            try:
                events.append(draft.event(line))
            except ValueError as error:
                yield events
                raise ValueError(f"line {number}: {error}") from error
        yield events


def _reads(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Complete lines, as many as each read of the stream has completed."""
    rest = b""
    while data := stream.read1(READ):  # type: ignore[attr-defined]
        *lines, rest = (rest + data).split(b"\n")
        yield lines
    if rest:
        yield [rest]
