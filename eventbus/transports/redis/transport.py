"""Publishing and administration: one connection, one thread at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Any
from uuid import uuid4

from ...config import RedisConfig
from ...errors import TransportUnavailable
from ..base import (
    Capabilities,
    Delivery,
    Finding,
    Parked,
    Record,
    Settings,
    StartFrom,
    SubscriptionId,
    SubscriptionInfo,
    no_subscription,
)
from . import backlog, doctor, frames, keys, retention, settling
from .consumer import RedisConsumer
from .deadletters import RedisDeadLetters
from .link import ANSWER_TIMEOUT, Command, Connector, Link
from .registry import Registry, matching

CAPABILITIES = Capabilities(
    name="redis",
    durable=True,
    multi_process=True,
    history=True,
    deduplicates=False,
    transactional_publish=False,
    per_handler_success=False,
    leases=True,
    receipts_survive=True,
    cross_process_order=False,
    bounded=False,
    concurrent_publish=False,
    notes={
        "durable": "as far as the server's appendonly and appendfsync settings go",
        "multi_process": "one server or a failover pair, not a cluster",
    },
)

#: Connections of a parent process: a child must not close them.
_inherited: list[object] = []


class RedisTransport:
    """Events in streams of one server."""

    capabilities = CAPABILITIES

    def __init__(self, config: RedisConfig, settings: Settings) -> None:
        assert config.url is not None
        self._connector = Connector(config.url)
        self._settings = settings
        self._name = keys.CONSUMER_PREFIX + uuid4().hex
        self._lock = Lock()
        self._link: Link | None = None
        self._known: set[str] = set()
        self._registry = Registry(self._locked)
        self.dead_letters = RedisDeadLetters(self._locked)

    @contextmanager
    def _locked(self, timeout: float = ANSWER_TIMEOUT) -> Iterator[Link]:
        if not self._lock.acquire(timeout=max(0.001, timeout)):
            raise TransportUnavailable("another thread still waits for an answer of the server")
        try:
            if self._link is None:
                self._link = self._connector.link()
            yield self._link
        finally:
            self._lock.release()

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        deadline = monotonic() + timeout
        with self._locked(timeout) as link:
            topics = dict.fromkeys(record.topic for record in records)
            for topic in topics:
                if topic not in self._known:
                    self._registry.register(link, topic, deadline - monotonic())
                    self._known.add(topic)
            self._add(link, records, list(topics), deadline)
    def _add(
        self, link: Link, records: Sequence[Record], topics: list[str], deadline: float
    ) -> None:
        adds: list[Command] = [("XADD", r.topic, "*", *frames.fields(r)) for r in records]
        if len(adds) > 1:
            # All or nothing, so that an error's outcome is one for all.
            adds = [("MULTI",), *adds, ("EXEC",)]
        asked: list[Command] = [("SMISMEMBER", keys.TOPICS, *topics)]
        answers = link.pipeline(asked + adds, deadline - monotonic())
        # Gone since we made them known: the server was wiped.
        for topic, known in zip(topics, answers[0], strict=True):
            if not known:
                self._registry.register(link, topic, max(1.0, deadline - monotonic()))

    def maintain(self) -> bool:
        with self._locked() as link:
            flat = link.call("HGETALL", keys.SUBSCRIPTIONS)
            ids = [keys.subscription(name.decode()) for name in flat[::2]]
            retention.clean(link, ids, self._settings.retention)
        return False

    def deliver(self, parked: Sequence[Parked]) -> None:
        ids = dict.fromkeys(item.subscription for item in parked)
        with self._locked() as link:
            for id in ids:
                if not link.call("HEXISTS", keys.SUBSCRIPTIONS, keys.field(id)):
                    raise no_subscription(id)
            link.pipeline([settling.park(item) for item in parked])

    # -- subscriptions -----------------------------------------------------------------------

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        return self._registry.declare(subscription, start_from)

    def drop(self, subscription: SubscriptionId) -> bool:
        return self._registry.drop(subscription)

    def list(self) -> Sequence[SubscriptionInfo]:
        return [
            SubscriptionInfo(id.group, id.pattern, self.backlog(id), created_at)
            for id, created_at in sorted(self._registry.all().items())
        ]

    def topics(self) -> Sequence[str]:
        return self._registry.topics()

    def mark(self) -> int:
        with self._locked() as link:
            seconds, microseconds = link.call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        with self._locked() as link:
            if not link.call("HEXISTS", keys.SUBSCRIPTIONS, keys.field(subscription)):
                return 0
            streams = matching(subscription, link.call("SMEMBERS", keys.TOPICS))
            return backlog.of(link, keys.group_of(subscription), streams, upto)

    # -- life --------------------------------------------------------------------------------

    def consumer(self, held: Collection[Delivery]) -> RedisConsumer:
        return RedisConsumer(
            self._connector, self._name, self._settings.lease, held
        )

    def diagnose(self) -> Sequence[Finding]:
        ids = sorted(self._registry.all())
        with self._locked() as link:
            return list(doctor.findings(link, ids, self._settings.lease))

    def close(self, timeout: float = 0.0) -> None:
        if not self._lock.acquire(timeout=1.0):
            return
        try:
            if self._link is not None:
                self._link.close()
                self._link = None
        finally:
            self._lock.release()

    def forget(self) -> None:
        _inherited.append(self._link)
        self._link = None
