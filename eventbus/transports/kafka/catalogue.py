"""Which topics there are now, as far as this process has looked."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Lock
from time import monotonic

from ...errors import TransportUnavailable
from ...patterns import is_literal, matcher
from ..base import SubscriptionId
from . import names
from .admin import Admin
from .offsets import Place
from .options import ANSWER_TIMEOUT, Options
from .topics import Topic

#: Seconds to wait for another thread's look, which takes milliseconds if brokers answer.
BUSY = 1.0


class Catalogue:
    """The topics of events, inboxes and births; `version` changes with every change of theirs."""

    def __init__(self, admin: Admin, options: Options) -> None:
        self._admin = admin
        self._options = options
        self._lock = Lock()
        self.topics: dict[str, Topic] = {}
        self.version = 0
        self._missing: dict[str, Topic] = {}
        #: When brokers have answered last.
        self.looked_at = 0.0

    def look(self) -> dict[str, Topic]:
        """Ask the cluster."""
        if not self._lock.acquire(timeout=BUSY):
            raise TransportUnavailable(f"{self._options.name}: another thread waits for an answer")
        try:
            return self._ask()
        finally:
            self._lock.release()

    def _ask(self) -> dict[str, Topic]:
        wanted = [
            name for name in self._admin.topics.names()
            if names.is_event(name) or name.startswith(names.INBOX) or name == names.REGISTRY
        ]
        found = self._admin.topics.find(wanted)
        self.looked_at = monotonic()
        # A broker that has just started does not know all of them yet: look twice.
        doubtful = {n: t for n, t in self.topics.items() if n not in found | self._missing}
        self._missing = doubtful
        if (believed := found | doubtful) != self.topics:
            self.topics = believed
            self.version += 1
        return found

    def events(self) -> list[str]:
        """Names of the topics of events."""
        return [name for name in self.topics if names.is_event(name)]

    def matching(self, id: SubscriptionId) -> dict[str, Topic]:
        """The topics of events that a subscription is for."""
        if is_literal(id.pattern):
            return {n: t for n, t in self.topics.items() if n == id.pattern}
        matches = matcher(id.pattern)
        found = self.topics.items()
        return {name: topic for name, topic in found if names.is_event(name) and matches(name)}

    def ensure(
        self, topic: str, hint: Callable[[str], object], timeout: float = ANSWER_TIMEOUT
    ) -> None:
        """Make a topic for events if there is none, and let all know of it."""
        names.check(topic)
        config = {"retention.ms": str(int(self._options.settings.retention * 1000))}
        if self._create(topic, self._options.config.partitions, config, timeout):
            hint(topic)

    def ensure_inbox(self, topic: str, hint: Callable[[str], object]) -> None:
        """Make a topic for what is parked; what it holds is removed when it is settled."""
        if self._create(topic, 1, {"retention.ms": "-1"}):
            hint(topic)

    def ensure_table(self, topic: str) -> None:
        """Make an internal topic that keeps the last record of each key."""
        config = {"cleanup.policy": "compact"}
        if not self._create(topic, 1, config):
            self._admin.topics.set_config(topic, config)

    def _create(
        self, topic: str, partitions: int, config: dict[str, str], timeout: float = ANSWER_TIMEOUT
    ) -> bool:
        copies = self._options.config.min_insync_replicas
        if copies:
            config["min.insync.replicas"] = str(copies)
        return self._admin.topics.create(topic, partitions, config, timeout)


def places(topics: Collection[tuple[str, Topic]]) -> list[Place]:
    """All partitions of topics."""
    return [(name, number) for name, topic in topics for number in range(topic.partitions)]
