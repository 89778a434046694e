"""Names on the broker. Topics keep their own; all else begins with `_eventbus.`."""

from __future__ import annotations

from hashlib import sha256

from ...errors import TopologyError
from ...patterns import check_type, is_literal
from ..base import SubscriptionId

#: Births of subscriptions and hints of new topics; one partition, compacted.
REGISTRY = "_eventbus.registry"
#: Dead letters; one partition, compacted.
DEAD = "_eventbus.dead"
INBOX = "_eventbus.inbox."

#: Topics of Kafka itself that could be event types by their names.
_KAFKAS = frozenset(
    ("__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata")
)


def group_of(id: SubscriptionId) -> str:
    """The consumer group of a subscription; one that members in Go can join, if it is literal."""
    return id.group if is_literal(id.pattern) else f"{id.group}|{id.pattern}"


def inbox(id: SubscriptionId, handler: str | None) -> str:
    """The topic of what is parked and replayed for one handler, or for all of them."""
    return f"{_inboxes(id)}.{'all' if handler is None else _hash(handler, 16)}"


def is_inbox_of(topic: str, id: SubscriptionId) -> bool:
    return topic.startswith(_inboxes(id) + ".")


def _inboxes(id: SubscriptionId) -> str:
    return INBOX + _hash(f"{id.group}|{id.pattern}", 24)


def _hash(text: str, length: int) -> str:
    return sha256(text.encode()).hexdigest()[:length]


def is_event(topic: str) -> bool:
    """Whether a topic can hold events of ours: others are skipped."""
    if topic in _KAFKAS:
        return False
    try:
        check_type(topic)
    except ValueError:
        return False
    return True


def check(topic: str) -> None:
    """Refuse a topic that is Kafka's own."""
    if topic in _KAFKAS:
        raise TopologyError(f"{topic!r} is a topic of Kafka's own: choose another event type")


def birth(id: SubscriptionId, unique: str) -> str:
    """Key of a record of the registry; no group or pattern contains a bar."""
    return f"birth|{id.group}|{id.pattern}|{unique}"


def progress(group: str, topic: str, partition: int) -> str:
    return f"done|{group}|{topic}|{partition}"


def hint(topic: str) -> str:
    return f"topic|{topic}"
