"""Removing what is old *and* settled by every group, foreign ones included."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ...patterns import matcher
from ..base import SubscriptionId
from . import keys, scripts
from .frames import mapping
from .link import Link

#: Milliseconds after which an idle consumer of ours without pending entries is forgotten.
FORGOTTEN = 3_600_000


def clean(link: Link, subscriptions: Iterable[SubscriptionId], retention: float) -> None:
    """Trim every topic as far as retention and all groups allow."""
    wanted = [(matcher(id.pattern), keys.group_of(id)) for id in subscriptions]
    oldest = int((time.time() - retention) * 1000)
    for topic in link.call("SMEMBERS", keys.TOPICS):
        name = topic.decode()
        needed = {group for matches, group in wanted if matches(name)}
        floor = _floor(link, name, needed)
        if floor is not None:
            limit = min(floor, (oldest, 0))
            link.call("XTRIM", name, "MINID", "~", f"{max(0, limit[0])}-{limit[1]}")


def _floor(link: Link, stream: str, needed: set[str]) -> tuple[int, int] | None:
    """The first id that some group has not settled; `None` where nothing may be removed."""
    (answer,) = link.replies([("XINFO", "GROUPS", stream)])
    if isinstance(answer, Exception):
        return None
    groups = {one[b"name"].decode(): one for one in map(mapping, answer)}
    # A subscription that has made no group here yet reads from the beginning.
    if needed - groups.keys():
        return None
    floors = [(1 << 63, 0)]
    for name, about in groups.items():
        floors.append(_number(about[b"last-delivered-id"]))
        if about[b"pending"]:
            floors.append(_number(link.call("XPENDING", stream, name)[1]))
        link.call(
            "EVAL", scripts.SWEEP, 1, stream, name, keys.CONSUMER_PREFIX, FORGOTTEN
        )
    return min(floors)


def _number(id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = id.partition(b"-")
    return int(milliseconds), int(sequence)
