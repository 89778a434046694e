"""One consumer of a bus, without the bus's threads."""

from __future__ import annotations

from typing import Any

from eventbus import EventBus
from eventbus.transports.base import Budget, SubscriptionId

LITERAL = SubscriptionId("g", "a.b")
BUDGET = Budget(100, 1_000_000, ("h",))


def consumer(bus: EventBus, id: SubscriptionId = LITERAL) -> Any:
    made = bus._engine.transport.consumer(())
    made.attach(id)
    return made


def fetch(
    consumer: Any, id: SubscriptionId = LITERAL, timeout: float = 3.0, budget: Budget = BUDGET
) -> list[Any]:
    return [d for _, found in consumer.fetch({id: budget}, timeout) for d in found]
