"""`eventbus publish`."""

from __future__ import annotations

import click

from ..errors import SerializationError
from .drafts import Draft, publish_lines
from .options import TYPE, json_option, source_options
from .output import is_terminal, write, write_json
from .source import Source


@click.command()
@click.argument("type", type=TYPE)
@click.argument("payload", metavar="JSON|-")
@click.option("-k", "--key", help="Events of one key are handled one at a time, in order.")
@click.option(
    "-m", "--metadata", metavar="NAME=VALUE", multiple=True,
    help="Text beside the payload; may be given several times.",
)
@json_option
@source_options
@click.pass_obj
def publish(
    source: Source, type: str, payload: str, key: str | None, metadata: tuple[str, ...],
    as_json: bool,
) -> None:
    """Publish an event, or one per line of stdin.

    Success means that the broker has durably confirmed it. With '-' each line of stdin is the JSON
    of one payload; lines are published in order, many at a time, as soon as they come.

    \b
    Examples:
      eventbus publish user.created '{"id": 7}' --key 7 --app shop:bus
      eventbus publish cache.flushed null --url sqlite:///events.db
      jq -c '.users[]' dump.json | eventbus publish user.imported - --app shop:bus
    """
    draft = Draft(type, key, _pairs(metadata))
    if payload == "-":
        publish_lines(source, draft, as_json)
    else:
        _publish_one(source, draft, payload, as_json)


def _pairs(metadata: tuple[str, ...]) -> dict[str, str]:
    for pair in metadata:
        if "=" not in pair:
            raise click.BadParameter(f"{pair!r}: write NAME=VALUE", param_hint="'--metadata'")
    return {name: value for name, _, value in (pair.partition("=") for pair in metadata)}


def _publish_one(source: Source, draft: Draft, payload: str, as_json: bool) -> None:
    with source.shared_bus() as bus:
        try:
            event = bus.publish(draft.event(payload.encode("utf-8", "surrogateescape")))
        except (ValueError, SerializationError) as error:
            raise click.UsageError(str(error)) from error
    if as_json or not is_terminal():
        write_json(event)
    else:
        write(f"Published {event.type} {event.id}")
