"""Durable consumers: the server's side of a subscription on one stream."""

from __future__ import annotations

from typing import Any

from ..base import SubscriptionId
from . import filters, names
from .books import SECOND
from .errors import BAD_FILTER, NO_CONSUMER, NO_STREAM, Refused
from .link import Link
from .streams import Stream

#: Where a consumer begins.
LATEST: dict[str, Any] = {"deliver_policy": "new"}
EVERYTHING: dict[str, Any] = {"deliver_policy": "all"}
#: From this version on a consumer can have several filters; older ones ignore them silently.
SEVERAL_FILTERS = (2, 10)
#: Seconds after which an inbox's consumer goes that nobody has asked; what is in it stays.
INBOX_IDLE = 3_600
#: The server's codes for a consumer that somebody else has created just now.
_EXISTS = (10013, 10105, 10148)


def after(sequence: int) -> dict[str, Any]:
    """Begin with what follows a message."""
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence + 1}


async def info(link: Link, stream: str, durable: str) -> dict[str, Any] | None:
    """What the server knows of a consumer; `None` if there is none."""
    try:
        return await link.api(f"CONSUMER.INFO.{stream}.{durable}")
    except Refused as error:
        if error.code in (NO_CONSUMER, NO_STREAM):
            return None
        raise


async def ensure(
    link: Link, stream: Stream, id: SubscriptionId, lease: float, policy: dict[str, Any]
) -> bool:
    """Make a subscription's consumer if it does not exist, and tell whether it was made."""
    durable = names.durable(id)
    found = await info(link, stream.name, durable)
    if found is not None:
        await _lengthen(link, stream.name, found["config"], lease)
        return False
    wanted, _ = filters.subject_filters(id.pattern)
    if len(wanted) > 1 and link.version < SEVERAL_FILTERS:
        wanted = [filters.broadest(wanted)]
    try:
        await _create(link, stream.name, durable, lease, {**policy, **_filter(wanted)})
    except Refused as error:
        if error.code == BAD_FILTER:
            # Older servers refuse what does not lie within, or around, one of the subjects.
            await _create(link, stream.name, durable, lease, policy)
        elif error.code not in _EXISTS:
            raise
    return True


def _filter(wanted: list[str]) -> dict[str, Any]:
    if len(wanted) > 1:
        return {"filter_subjects": wanted}
    return {} if wanted == [filters.ALL] else {"filter_subject": wanted[0]}


async def _create(
    link: Link, stream: str, durable: str, lease: float, more: dict[str, Any]
) -> dict[str, Any]:
    config = {
        "durable_name": durable, "ack_policy": "explicit", "ack_wait": int(lease * SECOND),
        # Never given up, and never held back because some member is stuck with its share.
        "max_deliver": -1, "max_ack_pending": -1, "replay_policy": "instant", **more,
    }
    return await link.api(
        f"CONSUMER.DURABLE.CREATE.{stream}.{durable}", {"stream_name": stream, "config": config}
    )


async def _lengthen(link: Link, stream: str, config: dict[str, Any], lease: float) -> None:
    """Members with a longer lease renew less often; one with a shorter lease loses nothing."""
    wait = int(lease * SECOND)
    if config.get("ack_wait", 0) < wait:
        changed = {"stream_name": stream, "config": {**config, "ack_wait": wait}}
        await link.api(f"CONSUMER.DURABLE.CREATE.{stream}.{config['durable_name']}", changed)


async def ensure_inbox(
    link: Link, id: SubscriptionId, token: str, lease: float
) -> dict[str, Any] | None:
    """Make the consumer of an inbox; what the server knows of it."""
    durable = f"{names.durable(id)},{token}"
    found = await info(link, names.INBOX, durable)
    if found is not None:
        await _lengthen(link, names.INBOX, found["config"], lease)
        return found
    more = {
        "deliver_policy": "all", "filter_subject": f"_eventbus.inbox.{names.durable(id)}.{token}",
        "inactive_threshold": INBOX_IDLE * SECOND,
    }
    try:
        return await _create(link, names.INBOX, durable, lease, more)
    except Refused:
        # Made by a peer meanwhile.
        return await info(link, names.INBOX, durable)


async def inbox_tokens(link: Link) -> dict[str, set[str]]:
    """Inboxes that are not empty: by their subscription's durable name, their handlers."""
    found: dict[str, set[str]] = {}
    try:
        about = await link.api(f"STREAM.INFO.{names.INBOX}", {"subjects_filter": names.INBOXES})
    except Refused as error:
        if error.code == NO_STREAM:
            return found
        raise
    for subject in about["state"].get("subjects") or ():
        _, _, durable, token = subject.split(".")
        found.setdefault(durable, set()).add(token)
    return found


async def inbox_names(link: Link, id: SubscriptionId) -> list[str]:
    """The consumers of all inboxes of a subscription."""
    start = f"{names.durable(id)},"
    found = (one["name"] for one in await all_of(link, names.INBOX))
    return [name for name in found if name.startswith(start)]


async def all_of(link: Link, stream: str) -> list[dict[str, Any]]:
    """What the server knows of each consumer of a stream."""
    found: list[dict[str, Any]] = []
    total = 1
    offset = 0
    while offset < total:
        try:
            page = await link.api(f"CONSUMER.LIST.{stream}", {"offset": offset})
        except Refused as error:
            if error.code == NO_STREAM:
                return []
            raise
        total, offset = page["total"], offset + page["limit"]
        found += page.get("consumers") or ()
    return found
