"""How much of a subscription is not settled yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .frames import mapping
from .link import Link

#: Entries counted at once where the server does not know how many there are.
PAGE = 1_000


def of(link: Link, group: str, streams: Sequence[str], upto: int | None) -> int:
    """Entries that are pending or not delivered; of those up to the server's time `upto`, in
    milliseconds, at least whether there are any."""
    return sum(_of_stream(link, group, stream, upto) for stream in streams)


def _of_stream(link: Link, group: str, stream: str, upto: int | None) -> int:
    (answer,) = link.replies([("XINFO", "GROUPS", stream)])
    if isinstance(answer, Exception):  # There is no such stream yet.
        return 0
    groups = [mapping(row) for row in answer]
    about: dict[bytes, Any] | None = next(
        (one for one in groups if one[b"name"] == group.encode()), None
    )
    if about is None:
        return _count(link, stream, "-", upto)
    if upto is not None:
        pending = link.call("XPENDING", stream, group, "-", f"{upto}", PAGE)
        after = "(" + about[b"last-delivered-id"].decode()
        return len(pending) + len(link.call("XRANGE", stream, after, f"{upto}", "COUNT", 1))
    lag = about.get(b"lag")
    if lag is None:
        lag = _count(link, stream, "(" + about[b"last-delivered-id"].decode(), None)
    return int(about[b"pending"]) + int(lag)


def _count(link: Link, stream: str, after: str, upto: int | None) -> int:
    end = "+" if upto is None else f"{upto}"
    total = 0
    while page := link.call("XRANGE", stream, after, end, "COUNT", PAGE):
        total += len(page)
        after = "(" + page[-1][0].decode()
    return total
