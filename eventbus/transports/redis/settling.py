"""Writing outcomes: one pipeline of acks, or one transaction where more than acks is to be kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone

import msgspec

from ..._ids import new_id
from ..base import DeadRecord, Delivery, Parked, Settlement
from . import frames, keys, scripts
from .claims import FREED_IDLE
from .link import Command
from .sources import Source

pack_dead = msgspec.msgpack.Encoder().encode


def commands(settlement: Settlement) -> list[Command]:
    """All of a settlement, in an order in which nothing is lost if the connection is."""
    written: list[Command] = []
    for _, record in settlement.dead:
        written += bury(record)
    written += [park(parked) for _, parked in settlement.parked]
    acks = acknowledge(settlement.acks)
    written = [("MULTI",), *written, *acks, ("EXEC",)] if written else acks
    return written + give_back(settlement.releases)


def acknowledge(deliveries: Iterable[Delivery]) -> list[Command]:
    """Acks per stream; what was in an inbox is removed from it, marks are taken away."""
    ids: defaultdict[Source, list[bytes]] = defaultdict(list)
    marks: list[bytes] = []
    for delivery in deliveries:
        ids[delivery.receipt.source].append(delivery.receipt.id)
        if delivery.receipt.marked or delivery.started:
            marks.append(delivery.receipt.mark)
    written: list[Command] = []
    for source, found in ids.items():
        written.append(("XACK", source.stream, source.group, *found))
        if source.handler is not None:
            written.append(("XDEL", source.stream, *found))
    if marks:
        written.append(("HDEL", keys.STARTED, *marks))
    return written


def give_back(deliveries: Iterable[Delivery]) -> list[Command]:
    """Make entries look idle and nobody's, with the count of deaths that they had."""
    ids: defaultdict[tuple[Source, int], list[bytes]] = defaultdict(list)
    marks: list[bytes] = []
    for delivery in deliveries:
        ids[delivery.receipt.source, delivery.deaths].append(delivery.receipt.id)
        if delivery.receipt.marked or delivery.started:
            marks.append(delivery.receipt.mark)
    written: list[Command] = [
        (
            "XCLAIM", source.stream, source.group, keys.FREE, 0, *found, "IDLE",
            int(FREED_IDLE * 1000), "RETRYCOUNT", deaths, "JUSTID",
        )
        for (source, deaths), found in ids.items()
    ]
    if marks:
        written.append(("HDEL", keys.STARTED, *marks))
    return [*written, ring()] if written else []


def ring() -> Command:
    """Make waiting members look for more than new events."""
    return ("XADD", keys.BELL, "MAXLEN", "~", 100, "*", "look", "1")


def bury(record: DeadRecord) -> list[Command]:
    group = record.subscription.group
    return [
        ("HSET", keys.DEAD, record.id, pack_dead(record)),
        ("ZADD", keys.dead_ids(group), record.failed_at.timestamp(), record.id),
        ("SADD", keys.DEAD_GROUPS, group),
    ]


def park(parked: Parked) -> Command:
    """A command that answers 0 if the subscription does not exist any more."""
    id, handler = parked.subscription, parked.handler
    delay = (parked.due - datetime.now(timezone.utc)).total_seconds() * 1000
    return (
        "EVAL", scripts.PARK, 5, keys.SUBSCRIPTIONS, keys.inboxes(id), keys.inbox(id, handler),
        keys.due(id, handler), keys.BELL, keys.field(id), handler or "", max(0.0, delay),
        frames.pack_parked(parked, new_id()),
    )
