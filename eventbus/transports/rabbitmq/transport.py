"""Publishing, administration and consumers on one virtual host of a server or cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from ...config import RabbitMQConfig
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
from . import doctor, names
from .consumer import Consumer
from .deadletters import RabbitMQDeadLetters
from .lanes import Asker, Lane, inherit
from .link import Connector
from .pipeline import Pipeline
from .publishing import Publishing
from .registry import Registry
from .returns import Returns
from .sender import Sender
from .settling import park
from .topology import Topology

CAPABILITIES = Capabilities(
    name="rabbitmq",
    durable=True,
    multi_process=True,
    history=False,
    deduplicates=False,
    transactional_publish=False,
    per_handler_success=False,
    leases=False,
    receipts_survive=False,
    cross_process_order=False,
    bounded=False,
    concurrent_publish=True,
    retention="none",
    notes={
        "history": "a queue holds what was published after the subscription's birth",
        "leases": "the connection stands for the lease: when it ends, a peer has the events; the "
        "server also ends one that keeps an event for longer than its consumer_timeout",
        "retention": "an event is removed as soon as it is settled",
        "multi_process": "backlogs count what waits and what this process holds; what peers hold "
        "is not counted",
    },
)

class RabbitMQTransport:
    """Events in one quorum queue per subscription, behind one topic exchange."""

    capabilities = CAPABILITIES

    def __init__(self, config: RabbitMQConfig, settings: Settings) -> None:
        assert config.url is not None
        self._connector = Connector(config.url)
        self._asking: Lane[Asker] = Lane(self._connector, Asker)
        self._sending = Pipeline(self._connector)
        self._reading: Lane[Sender] = Lane(self._connector, Sender)
        self._registry = Registry(self._reading)
        self._topology = Topology(self._asking, self._registry)
        self._publishing = Publishing(self._sending, self._registry, self._topology)
        self.dead_letters = RabbitMQDeadLetters(self._reading, self._registry)
        self._marks: set[str] = set()
        self._returns = Returns()
        self._consumer: Consumer | None = None

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        self._publishing.publish(records, timeout)

    def deliver(self, parked: Sequence[Parked]) -> None:
        ids = dict.fromkeys(item.subscription for item in parked)
        for id in ids:
            if self._topology.ready(id) is None:
                raise no_subscription(id)
        with self._asking() as asker:
            groups = {id.group for id in ids}
            asker.call(*(names.declare_queue(names.parked(g), names.QUORUM) for g in groups))
        self._publishing.send([park(item) for item in parked])

    # -- subscriptions -----------------------------------------------------------------------

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        return self._topology.declare(subscription)

    def drop(self, subscription: SubscriptionId) -> bool:
        return self._topology.drop(subscription)

    def list(self) -> Sequence[SubscriptionInfo]:
        return [
            SubscriptionInfo(
                id.group, id.pattern, self.backlog(id),
                datetime.fromtimestamp(entry.created_at, timezone.utc),
            )
            for id, entry in sorted(self._registry.read().living().items())
        ]

    def topics(self) -> Sequence[str]:
        return sorted(self._registry.read().topics)

    def mark(self) -> Any:
        consumer = self._consumer
        return {} if consumer is None else consumer.mark()

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        ready = self._topology.ready(subscription) or 0
        consumer = self._consumer
        if consumer is None or not consumer.serves(subscription):
            return ready
        number = consumer.count(subscription, (upto or {}).get(subscription))
        # While its connection is being made again, what it held is on its way back.
        return max(ready, 1) if number is None else number

    # -- life --------------------------------------------------------------------------------

    def consumer(self, held: Collection[Delivery]) -> Consumer:
        self._consumer = Consumer(
            self._connector, self._marks, self._returns, self._topology
        )
        return self._consumer

    def diagnose(self) -> Sequence[Finding]:
        return list(doctor.findings(self._asking, self._reading, self._registry))

    def close(self, timeout: float = 0.0) -> None:
        for part in self._parts():
            part.close()

    def maintain(self) -> bool:
        """Nothing is kept that is settled; but what was deleted may have been nobody's to miss."""
        self._topology.look_after()
        return False

    def forget(self) -> None:
        for part in self._parts():
            part.forget()
        inherit(self._consumer)
        self._consumer = None

    def _parts(self) -> Iterable[Lane[Any] | Pipeline]:
        return (self._sending, self._reading, self._asking)
