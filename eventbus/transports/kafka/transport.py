"""Publishing, administration and consumers on one cluster."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import monotonic
from typing import Any
from uuid import uuid4

from ...config import KafkaConfig
from ...patterns import is_literal
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
from . import backlog, doctor, names
from .admin import Admin
from .catalogue import Catalogue, places
from .consumer import KafkaConsumer
from .deadletters import KafkaDeadLetters
from .farewell import Farewells
from .options import Options
from .producing import Producing
from .publishing import Publishing
from .registry import Registry
from .settling import Store, parked
from .topics import Topic

CAPABILITIES = Capabilities(
    name="kafka",
    durable=True,
    multi_process=True,
    history=True,
    deduplicates=False,
    transactional_publish=False,
    per_handler_success=False,
    leases=False,
    receipts_survive=False,
    cross_process_order=True,
    bounded=False,
    concurrent_publish=False,
    consumer_per_subscription=True,
    settle_interval=0.2,
    retention="broker",
    notes={
        "durable": "all in-sync copies have it: how many there must be is the topic's "
        "min.insync.replicas, and when they write it to disk is the brokers' affair",
        "leases": "membership of the group stands for the lease: six seconds after a member was "
        "killed its partitions go to a peer",
        "cross_process_order": "outside of rebalances, and as long as a topic's number of "
        "partitions stays the same",
        "retention": "brokers remove what is older than a topic's retention.ms, settled or not; "
        "doctor warns at half of it",
    },
)

#: Clients of a parent process: a child must not touch them.
_inherited: list[object] = []


class KafkaTransport:
    """Events in a topic per type."""

    capabilities = CAPABILITIES

    def __init__(self, config: KafkaConfig, settings: Settings) -> None:
        self._options = Options(config, settings)
        self._owner = uuid4().hex
        self._make()

    def _make(self) -> None:
        options = self._options
        self._admin = Admin(options)
        self._producing = Producing(options)
        self._catalogue = Catalogue(self._admin, options)
        self._registry = Registry(options, self._admin, self._producing, self._catalogue)
        hint = self._registry.hint
        self._publishing = Publishing(self._producing, self._catalogue, hint, options.name)
        self._farewells = Farewells()
        self._store = Store(self._producing, self._catalogue, hint)
        self.dead_letters = KafkaDeadLetters(options, self._admin, self._producing)
        #: Subscriptions this process has seen alive, and the topics there were.
        self._seen: dict[SubscriptionId, dict[str, Topic]] = {}

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        self._publishing.publish(records, timeout)

    def deliver(self, parked_events: Sequence[Parked]) -> None:
        self._registry.sync()
        for item in parked_events:
            if self._registry.find(item.subscription) is None:
                raise no_subscription(item.subscription)
        self._store.put([parked(item) for item in parked_events])

    # -- subscriptions -----------------------------------------------------------------------

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        self._admin.groups.onlooker(names.group_of(subscription))
        self._registry.sync()
        if self._registry.find(subscription) is not None:
            self._seen[subscription] = self._catalogue.topics
            return False
        if is_literal(subscription.pattern):
            self._catalogue.ensure(subscription.pattern, self._registry.hint)
        self._catalogue.look()
        pins = self._pins(subscription) if start_from == "latest" else {}
        born = self._registry.add(subscription, pins)
        self._seen[subscription] = self._catalogue.topics
        return born

    def _pins(self, id: SubscriptionId) -> dict[str, tuple[str, list[int]]]:
        """Where the topics of a subscription end now.

        If it has only vanished, what is in topics that were made since belongs to it.
        """
        topics = self._catalogue.matching(id)
        if id in self._seen:
            before = self._seen[id]
            topics = {n: t for n, t in topics.items() if n in before and before[n].id == t.id}
        ends = self._admin.offsets.ends(places(list(topics.items())))
        return {
            name: (topic.id, [ends.get((name, n), 0) for n in range(topic.partitions)])
            for name, topic in topics.items()
        }

    def drop(self, subscription: SubscriptionId) -> bool:
        self._seen.pop(subscription, None)
        there = self._registry.remove(subscription)
        if there:
            inboxes = [
                name for name in self._catalogue.look() if names.is_inbox_of(name, subscription)
            ]
            self._admin.topics.delete(inboxes)
            if not is_literal(subscription.pattern):
                self._admin.groups.delete(names.group_of(subscription))
        return there

    def list(self) -> Sequence[SubscriptionInfo]:
        found = sorted(self._registry.all().items())
        self._catalogue.look()
        return [
            SubscriptionInfo(
                id.group, id.pattern,
                backlog.of(self._admin, id, birth, self._catalogue.matching(id), None),
                birth.created_at,
            )
            for id, birth in found
        ]

    def topics(self) -> Sequence[str]:
        self._catalogue.look()
        return sorted(self._catalogue.events())

    def mark(self) -> Any:
        topics = self._catalogue.look()
        events = [(name, topic) for name, topic in topics.items() if names.is_event(name)]
        return self._admin.offsets.ends(places(events))

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        if (error := self._registry.error) is not None:
            # Nobody answers, as was seen a moment ago: `health` need not wait for that again.
            raise error
        birth = self._registry.find(subscription)
        if birth is None:
            birth = self._registry.all().get(subscription)
        if birth is None:
            return 0
        if upto is None:
            self._catalogue.look()
        topics = self._catalogue.matching(subscription)
        return backlog.of(self._admin, subscription, birth, topics, upto)

    # -- life --------------------------------------------------------------------------------

    def consumer(self, held: Collection[Delivery]) -> KafkaConsumer:
        return KafkaConsumer(
            self._options, self._admin, self._registry, self._catalogue, self._store, self._owner,
            self._farewells,
        )

    def maintain(self) -> bool:
        """Brokers remove by themselves."""
        return False

    def diagnose(self) -> Sequence[Finding]:
        subscriptions = self._registry.all()
        self._catalogue.look()
        return [*doctor.findings(self._options, self._admin, self._catalogue, subscriptions)]

    def close(self, timeout: float = 0.0) -> None:
        deadline = monotonic() + timeout
        self._admin.give_up()
        self._registry.close()
        self._producing.close()
        self.dead_letters.close()
        self._admin.reset()
        self._farewells.wait(deadline)

    def forget(self) -> None:
        parts = (self._admin, self._producing, self._registry, self.dead_letters)
        _inherited.append((parts, self._admin.client, self._store, self._publishing))
        self._owner = uuid4().hex
        self._make()
