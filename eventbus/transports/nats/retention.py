"""Removing what is old *and* settled by every consumer, foreign ones included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ..base import SubscriptionId
from . import consumers, names, streams
from .link import Link
from .streams import Stream, concerns

#: Nanoseconds after which the server forgets the consumer that looked for a time.
FORGOTTEN = 10_000_000_000


async def clean(link: Link, subscriptions: Sequence[SubscriptionId], retention: float) -> None:
    """Purge the beginning of our streams as far as retention and all consumers allow."""
    for stream in await streams.event_streams(link):
        if stream.name != names.EVENTS and not stream.name.startswith(f"{names.EVENTS}-"):
            continue
        needed = {names.durable(id) for id in subscriptions if concerns(stream, id.pattern)}
        floor = await _floor(link, stream, needed)
        if floor:
            end = min(floor, await _last_before(link, stream, retention))
            if end >= stream.first:
                await link.api(f"STREAM.PURGE.{stream.name}", {"seq": end + 1})


async def _floor(link: Link, stream: Stream, needed: set[str]) -> int:
    """The last message up to which all have settled everything; 0 if nothing may go."""
    found = await consumers.all_of(link, stream.name)
    # A subscription that has no consumer here yet reads from the beginning.
    if needed - {one["name"] for one in found}:
        return 0
    return min((_settled(one, stream.last) for one in found), default=stream.last)


def _settled(about: dict[str, Any], last: int) -> int:
    if about["num_ack_pending"]:
        return int(about["ack_floor"]["stream_seq"])
    delivered = int(about["delivered"]["stream_seq"])
    # `last` was read before, so whatever it has not heard of yet lies beyond.
    return max(delivered, 0 if about["num_pending"] else last)


async def _last_before(link: Link, stream: Stream, retention: float) -> int:
    """The last message that is older than `retention` seconds."""
    until = datetime.now(timezone.utc) - timedelta(seconds=retention)
    config = {
        "deliver_policy": "by_start_time", "opt_start_time": f"{until:%Y-%m-%dT%H:%M:%S.%fZ}",
        "ack_policy": "none", "mem_storage": True, "inactive_threshold": FORGOTTEN,
        "max_deliver": -1, "num_replicas": 1,
    }
    made = await link.api(
        f"CONSUMER.CREATE.{stream.name}", {"stream_name": stream.name, "config": config}
    )
    link.api_later(f"CONSUMER.DELETE.{stream.name}.{made['name']}")
    return int(made["delivered"]["stream_seq"])
