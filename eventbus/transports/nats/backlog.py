"""How much of a subscription is not settled yet."""

from __future__ import annotations

from collections.abc import Mapping

from ...patterns import is_literal
from ..base import SubscriptionId
from . import consumers, filters, names
from .errors import Refused
from .link import Link
from .streams import Stream, concerns


async def of(
    link: Link, id: SubscriptionId, found: list[Stream], upto: Mapping[str, int] | None
) -> int:
    """Events that are pending or not delivered; of those up to a mark (the last sequence of each
    stream) at least whether there are any."""
    total = 0
    for stream in found:
        if concerns(stream, id.pattern):
            end = stream.last if upto is None else upto.get(stream.name, 0)
            if end:
                total += await _of_stream(link, id, stream, end, counted=upto is None)
    return total


async def _of_stream(
    link: Link, id: SubscriptionId, stream: Stream, end: int, *, counted: bool
) -> int:
    about = await consumers.info(link, stream.name, names.durable(id))
    if about is None:
        if is_literal(id.pattern) and not stream.covers(id.pattern):
            return 0
        return await _following(link, id, stream, 0, end)
    waiting, pending = int(about["num_pending"]), int(about["num_ack_pending"])
    if counted and waiting:
        return waiting + pending
    floor = int(about["ack_floor"]["stream_seq"])
    if floor >= end:
        return 0
    if pending and counted:
        return pending
    if pending:
        # They may all lie beyond the mark. What follows the floor is not settled.
        return await _following(link, id, stream, floor, end)
    # The server may not have told the consumer yet of what it has just stored.
    return await _following(link, id, stream, int(about["delivered"]["stream_seq"]), end)


async def _following(
    link: Link, id: SubscriptionId, stream: Stream, after: int, end: int
) -> int:
    """Whether anything of the subscription lies beyond `after` and not beyond `end`."""
    if after >= end:
        return 0
    wanted, _ = filters.subject_filters(id.pattern)
    for subject in wanted:
        try:
            answer = await link.api(
                f"STREAM.MSG.GET.{stream.name}", {"next_by_subj": subject, "seq": after + 1}
            )
        except Refused:
            continue
        if answer["message"]["seq"] <= end:
            return 1
    return 0
