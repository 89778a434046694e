"""Writing outcomes: what is kept is stored first, then events are acked or handed back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime, timezone

from ..._ids import new_id
from ...errors import TransportError
from ..base import DeadRecord, Delivery, Parked, Settlement
from . import books, frames, freed, names, streams
from .errors import NO_STREAM, Refused
from .link import Link
from .publishing import Batch, Message

ACK, HAND_BACK, PROGRESS = b"+ACK", b"-NAK", b"+WPI"


async def settle(link: Link, settlement: Settlement) -> None:
    """All of a settlement, in an order in which nothing is lost if the connection is."""
    dead = [bury(record, link.max_payload) for _, record in settlement.dead]
    parked = [park(item) for _, item in settlement.parked]
    await store(link, [*dead, *parked], _needed(settlement))
    if parked:
        link.send(names.BELL)
    if settlement.releases:
        await freed.note(link, settlement.releases)
    for delivery in settlement.acks:
        link.send(delivery.receipt.reply, ACK)
    # The server delivers them again in the order in which they come back.
    for delivery in sorted(settlement.releases, key=lambda d: d.receipt.sequence):
        link.send(delivery.receipt.reply, HAND_BACK)
    await _remove_marks(link, (*settlement.acks, *settlement.releases))
    await link.flush()


def _needed(settlement: Settlement) -> Collection[str]:
    return [
        *([names.DEAD] if settlement.dead else ()), *([names.INBOX] if settlement.parked else ())
    ]


def bury(record: DeadRecord, limit: int) -> Message:
    return Message(
        names.dead(record.subscription.group, record.id), frames.pack_dead(record, limit),
        {frames.MESSAGE_ID: new_id()},
    )


def park(parked: Parked) -> Message:
    packed = frames.pack_parked(parked, datetime.now(timezone.utc))
    subject = names.inbox(parked.subscription, parked.handler)
    return Message(subject, packed, {frames.MESSAGE_ID: new_id()})


async def store(link: Link, messages: Collection[Message], into: Collection[str]) -> None:
    """Store messages of our own, making their streams where they are missing."""
    if not messages:
        return
    batch = Batch(link)
    await batch.send(messages)
    missing = [
        message for message, answer in zip(messages, batch.answers, strict=True)
        if isinstance(answer, Refused) and answer.code == NO_STREAM
    ]
    others = [
        answer for answer in batch.answers
        if isinstance(answer, TransportError)
        and not (isinstance(answer, Refused) and answer.code == NO_STREAM)
    ]
    if others:
        raise others[0]
    if missing:
        for name in into:
            await books.ensure(link, name)
        again = Batch(link)
        await again.send(missing)
        again.raise_errors(None)


async def _remove_marks(link: Link, deliveries: Iterable[Delivery]) -> None:
    marks = [d.receipt.mark for d in deliveries if d.receipt.marked or d.started]
    await streams.gather(
        link, [(f"STREAM.PURGE.{names.STATE}", {"filter": mark}) for mark in marks]
    )


def send_back(link: Link, reply: str, pause: float) -> None:
    """Have an event that is not due delivered again in `pause` seconds."""
    delay = json.dumps({"delay": int(pause * books.SECOND)}).encode()
    link.send(reply, HAND_BACK + b" " + delay)
