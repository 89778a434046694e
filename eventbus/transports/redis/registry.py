"""Durable subscriptions and topics: what the server knows of them, changed in single steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from uuid import uuid4

import msgspec

from ...errors import TopologyError, TransportUnavailable
from ...patterns import is_literal, matcher
from ..base import StartFrom, SubscriptionId
from . import keys, scripts
from .link import Link

#: Tries to see a registry that nobody changes meanwhile.
TRIES = 50


class Registry:
    """Births and ends of subscriptions.

    Args:
        lock: gives the connection to use.
    """

    def __init__(self, lock: Callable[[], AbstractContextManager[Link]]) -> None:
        self._lock = lock
        #: Under which epoch each subscription was last seen: another one means a wiped server.
        self._epochs: dict[SubscriptionId, bytes] = {}

    def register(self, link: Link, topic: str, timeout: float) -> None:
        """Make a topic known before its first event."""
        kind = link.call(
            "EVAL", scripts.REGISTER, 2, keys.TOPICS, keys.BELL, topic, timeout=timeout
        )
        if kind != b"stream":
            raise TopologyError(
                f"the key {topic!r} is a {kind.decode()}, not a stream: rename it, choose another "
                "event type, or set a prefix"
            )

    def declare(self, id: SubscriptionId, start_from: StartFrom) -> bool:
        """See `Transport.declare`; a group that has vanished alone is made again, too."""
        with self._lock() as link:
            for _ in range(TRIES):
                epoch, born, made = self._try(link, id, start_from)
                if epoch != b"again":
                    self._epochs[id] = epoch
                    return bool(born or (made and is_literal(id.pattern)))
        raise TransportUnavailable("the registry of topics is being changed all the time")

    def _try(
        self, link: Link, id: SubscriptionId, start_from: StartFrom
    ) -> tuple[bytes, int, int]:
        topics = link.call("SMEMBERS", keys.TOPICS)
        record = msgspec.json.encode({"created_at": time.time()})
        answer: tuple[bytes, int, int] = link.call(
            "EVAL", scripts.DECLARE, 3, keys.SUBSCRIPTIONS, keys.TOPICS, keys.EPOCH,
            keys.field(id), record, keys.group_of(id), "$" if start_from == "latest" else "0",
            uuid4().hex, self._epochs.get(id, b""), len(topics), *matching(id, topics),
        )
        return answer

    def drop(self, id: SubscriptionId) -> bool:
        with self._lock() as link:
            topics = matching(id, link.call("SMEMBERS", keys.TOPICS))
            return bool(
                link.call(
                    "EVAL", scripts.DROP, 1, keys.SUBSCRIPTIONS, keys.field(id),
                    keys.group_of(id), keys.inboxes(id), keys.inbox(id, None),
                    keys.due(id, None), *topics,
                )
            )

    def all(self) -> dict[SubscriptionId, datetime]:
        """Subscriptions and when they were born."""
        with self._lock() as link:
            flat = link.call("HGETALL", keys.SUBSCRIPTIONS)
        return {
            keys.subscription(name.decode()): datetime.fromtimestamp(
                msgspec.json.decode(record)["created_at"], timezone.utc
            )
            for name, record in zip(flat[::2], flat[1::2], strict=True)
        }

    def topics(self) -> list[str]:
        with self._lock() as link:
            return sorted(topic.decode() for topic in link.call("SMEMBERS", keys.TOPICS))


def matching(id: SubscriptionId, topics: Sequence[bytes]) -> list[str]:
    """The streams of a subscription; a literal pattern's own need not be known."""
    if is_literal(id.pattern):
        return [id.pattern]
    matches = matcher(id.pattern)
    return sorted(topic.decode() for topic in topics if matches(topic.decode()))
