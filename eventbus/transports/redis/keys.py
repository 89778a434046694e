"""Names on the server. Topics are streams of their own name; all else begins with `_eventbus:`."""

from __future__ import annotations

from ...patterns import is_literal
from ..base import SubscriptionId

#: Every topic ever published; every durable subscription, by its field (see `field`).
TOPICS = "_eventbus:topics"
SUBSCRIPTIONS = "_eventbus:subscriptions"
#: A random text that is gone when the server was wiped.
EPOCH = "_eventbus:epoch"
#: A short stream that is written to when there is something to look for besides new events.
BELL = "_eventbus:bell"
#: Events marked as running alone.
STARTED = "_eventbus:started"
#: Dead letters by id; ids by time, for each of the groups.
DEAD = "_eventbus:dead"
DEAD_GROUPS = "_eventbus:dead-groups"

#: Consumer group of all inbox streams.
INBOX_GROUP = "eventbus"
#: Consumers of ours are named so; others belong to foreign members of the group.
CONSUMER_PREFIX = "eventbus-"
#: Consumer in whose name events wait that were given back.
FREE = "eventbus-free"


def field(id: SubscriptionId) -> str:
    """No group contains a bar, so this is as unique as the pair."""
    return f"{id.group}|{id.pattern}"


def subscription(field: str) -> SubscriptionId:
    group, _, pattern = field.partition("|")
    return SubscriptionId(group, pattern)


def group_of(id: SubscriptionId) -> str:
    """The consumer group's name on the streams of a subscription."""
    return id.group if is_literal(id.pattern) else field(id)


def inboxes(id: SubscriptionId) -> str:
    """The set of handlers that have an inbox; the empty text stands for all of them."""
    return f"_eventbus:inboxes:{field(id)}"


def inbox(id: SubscriptionId, handler: str | None) -> str:
    """Parked and replayed events that are due, for one handler."""
    return f"_eventbus:inbox:{field(id)}|{handler or ''}"


def due(id: SubscriptionId, handler: str | None) -> str:
    """Parked events by the server's time at which they are due."""
    return f"_eventbus:due:{field(id)}|{handler or ''}"


def dead_ids(group: str) -> str:
    return f"_eventbus:dead-of:{group}"
