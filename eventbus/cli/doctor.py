"""`eventbus doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

import click

from ..bus import EventBus
from ..errors import EventBusError
from ..transports import capabilities
from ..transports.base import Finding, SubscriptionInfo
from .dead.selection import summary
from .options import json_option, source_options
from .output import rows
from .source import Source
from .tables import Column
from .tail import GROUP_PREFIX

#: A tail that runs longer has probably been killed, and its group collects events for nobody.
FORGOTTEN = timedelta(hours=1)

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
COLUMNS = [
    Column("LEVEL", lambda finding: finding.level, style=STYLES.__getitem__),
    Column("SUBJECT", lambda finding: finding.subject),
    Column("FINDING", lambda finding: finding.message, room="fold"),
]


@click.command()
@json_option
@source_options
@click.pass_obj
def doctor(source: Source, as_json: bool) -> int:
    """Check the broker and the bus, and say what is wrong.

    Exits with 1 if anything is an error; warnings alone are no reason.

    \b
    Examples:
      eventbus doctor --app shop:bus
      eventbus doctor --url sqlite:///events.db | jq 'select(.level != "ok")'
    """
    with source.bus() as bus:
        findings = [*_configuration(bus, source), *_broker(bus)]
    rows(findings, COLUMNS, as_json=as_json, empty="")
    return int(any(finding.level == "error" for finding in findings))


def _configuration(bus: EventBus, source: Source) -> Iterator[Finding]:
    able = capabilities(str(bus.config.provider))
    yield Finding("ok", "provider", str(bus.config.provider))
    yield Finding("ok", "location", bus.config.location)
    if not able.durable:
        yield Finding("warning", "durability", "events are lost when the process ends")
    if not source.app:
        return
    if bus.config.group_is_default and able.multi_process:
        yield Finding(
            "warning", "group", f"the default {bus.config.group!r}: two services that share it "
            "take each other's events, set EventBus(..., group='your-service')",
        )
    else:
        yield Finding("ok", "group", bus.config.group)


def _broker(bus: EventBus) -> Iterator[Finding]:
    """What the broker says; one that is away is a finding, too."""
    try:
        yield from bus.diagnose()
        yield from _subscriptions(bus.subscriptions.list("*"))
        yield _dead_letters(bus)
    except EventBusError as error:
        yield Finding("error", "broker", str(error))


def _subscriptions(found: Sequence[SubscriptionInfo]) -> Iterator[Finding]:
    if not found:
        yield Finding(
            "warning", "subscriptions", "none: what is published now is handled by nobody"
        )
    for one in found:
        backlog = "backlog unknown" if one.backlog is None else f"{one.backlog:,} waiting"
        subject = f"{one.group} {one.pattern}"
        if _is_forgotten(one):
            drop = f"eventbus subscriptions drop {one.group} '{one.pattern}'"
            yield Finding("warning", subject, f"left by a killed `tail`? {drop} ({backlog})")
        else:
            yield Finding("ok", subject, backlog)


def _is_forgotten(one: SubscriptionInfo) -> bool:
    born = one.created_at
    old = born is not None and datetime.now(timezone.utc) - born > FORGOTTEN
    return old and one.group.startswith(GROUP_PREFIX)


def _dead_letters(bus: EventBus) -> Finding:
    found = bus.dead_letters.list("*")
    if not found:
        return Finding("ok", "dead letters", "none")
    return Finding(
        "warning", "dead letters", f"{summary(found)}: eventbus dead list --group '*'"
    )
