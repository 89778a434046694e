"""How much of a subscription is not settled yet, from what is committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import TopicPartition

from ..base import SubscriptionId
from . import names
from .admin import Admin
from .catalogue import places
from .notes import Skips
from .offsets import Place
from .positions import known
from .registry import Birth
from .topics import Topic


class Waiting(NamedTuple):
    """What is not settled of a partition: how many, the first of them at an offset."""

    number: int
    first: int


def of(
    admin: Admin, id: SubscriptionId, birth: Birth, topics: Mapping[str, Topic],
    upto: Mapping[Place, int] | None,
) -> int:
    """Events that are not settled; with `upto`, of those below these offsets."""
    return sum(waiting.number for waiting in by_place(admin, id, birth, topics, upto).values())


def by_place(
    admin: Admin, id: SubscriptionId, birth: Birth, topics: Mapping[str, Topic],
    upto: Mapping[Place, int] | None = None,
) -> dict[Place, Waiting]:
    """The same for each partition."""
    everywhere = places(list(topics.items()))
    if upto is not None:
        everywhere = [place for place in everywhere if upto.get(place)]
    if not everywhere:
        return {}
    ends = admin.offsets.ends(everywhere) if upto is None else upto
    committed = admin.groups.committed(names.group_of(id), everywhere)
    found = {}
    for place in everywhere:
        position = committed.get(place) or TopicPartition(*place, -1001)
        offset, note = known(position, birth, topics.get(place[0]))
        end = ends.get(place, 0)
        done = Skips(offset, note.done).below(end) if note is not None else 0
        found[place] = Waiting(max(0, end - offset - done), offset)
    return found
