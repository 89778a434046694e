"""What the tests of the PostgreSQL transport share: a server of their own, buses, raw consumers."""

from __future__ import annotations

from typing import Any

import psycopg

from eventbus import EventBus
from eventbus.transports.base import Budget, Delivery, SubscriptionId
from tests.conformance.target import QUICK
from tests.servers import Postgres

LITERAL = SubscriptionId("g", "a.b")
BUDGET = Budget(100, 1_000_000, ("h",))


class Kit:
    """A server, and what a test makes on it."""

    def __init__(self, server: Postgres, *, fresh: bool = True) -> None:
        server.start()
        self.server = server
        self._made: list[EventBus] = []
        self._consumers: list[Any] = []
        self.sql = psycopg.connect(server.url, autocommit=True)
        if fresh:
            self.sql.execute("DROP SCHEMA IF EXISTS eventbus CASCADE")

    def bus(self, url: str | None = None, **settings: Any) -> EventBus:
        options = {"group": "g", "retry": QUICK, "close_timeout": 5.0, **settings}
        self._made.append(EventBus(url or self.server.url, environ={}, **options))
        return self._made[-1]

    def connect(self, **settings: Any) -> psycopg.Connection[Any]:
        """A connection of a caller's own."""
        return psycopg.connect(self.server.url, **settings)

    def count(self, table: str) -> int:
        ((number,),) = self.sql.execute(f"SELECT count(*) FROM eventbus.{table}").fetchall()
        return int(number)

    def consumer(self, bus: EventBus, id: SubscriptionId = LITERAL, held: Any = ()) -> Any:
        """The consuming side of a bus, without its engine."""
        transport = bus._engine.transport
        transport.declare(id, "latest")
        made = transport.consumer(held)
        made.attach(id)
        self._consumers.append(made)
        return made

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()
        for bus in self._made:
            bus.close()
        self.sql.close()


def fetch(
    consumer: Any, id: SubscriptionId = LITERAL, timeout: float = 3.0, budget: Budget = BUDGET
) -> list[Delivery]:
    return [d for _, found in consumer.fetch({id: budget}, timeout) for d in found]
