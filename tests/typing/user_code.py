"""Typical code of a user, checked by ``make types`` and never executed.

What does not type-check here would not type-check for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from eventbus import (
    AuthenticationError,
    BusClosedError,
    ConfigurationError,
    Event,
    EventBus,
    EventBusConfig,
    EventBusError,
    KafkaConfig,
    MemoryConfig,
    NATSConfig,
    PostgresConfig,
    Provider,
    PublishError,
    RabbitMQConfig,
    RedisConfig,
    Reject,
    RetryLater,
    RetryPolicy,
    SerializationError,
    SQLiteConfig,
    Subscription,
    TopologyError,
    TransportError,
    TransportUnavailable,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type

# --- Constructing ---------------------------------------------------------------------------------

bus = EventBus("sqlite:///events.db", group="mailer")
EventBus()
EventBus(environ={})
EventBus("redis://localhost/0", group="billing", max_concurrent_handlers=20, lease=60.0)

config = EventBusConfig(
    provider="sqlite",
    consumer_group="mailer",
    prefix="staging",
    max_concurrent_handlers=8,
    max_in_flight=100,
    max_in_flight_bytes=1 << 20,
    max_event_bytes=100_000,
    lease=30.0,
    handler_timeout=10.0,
    publish_timeout=2.5,
    close_timeout=25.0,
    retry=RetryPolicy(max_attempts=6, initial=0.5, maximum=60.0, give_up_on=(KeyError,)),
    retention=timedelta(days=1),
    sqlite=SQLiteConfig(path="/var/lib/app/events.db"),
)
EventBus(config)
assert_type(config.resolve({}), EventBusConfig)

EventBusConfig(provider=Provider.MEMORY, memory=MemoryConfig(buffer_size=10))
EventBusConfig(provider=Provider.REDIS, redis=RedisConfig(url="redis://localhost"))
EventBusConfig(provider=Provider.KAFKA, kafka=KafkaConfig(brokers="h1:9092,h2:9092"))
EventBusConfig(provider=Provider.RABBITMQ, rabbitmq=RabbitMQConfig(url="amqp://localhost"))
EventBusConfig(provider=Provider.NATS, nats=NATSConfig(url="nats://localhost"))
EventBusConfig(provider=Provider.POSTGRES, postgres=PostgresConfig(url="postgresql://localhost/app"))

# --- Handling -------------------------------------------------------------------------------------


@bus.on("user.created")
def welcome(event: Event) -> None:
    assert_type(event.id, str)
    assert_type(event.type, str)
    assert_type(event.topic, str)
    assert_type(event.timestamp, datetime)
    assert_type(event.metadata, Mapping[str, str])
    assert_type(event.key, str | None)
    assert_type(event.attempt, int)
    address: str = event.payload["email"]
    print(address)


@bus.on(
    "user.*", group="audit", retry=RetryPolicy(max_attempts=1), name="audit", start_from="earliest"
)
def audit(event: Event, verbose: bool = False) -> str:
    if not event.payload:
        raise Reject("empty")
    if event.attempt < 3:
        raise RetryLater(delay=1.5)
    return event.type


class Mailer:
    def send(self, event: Event) -> bool:
        return event.attempt == 1


def declared_functions_stay_what_they_were(event: Event) -> None:
    plain: Callable[[Event], None] = welcome
    plain(event)
    assert_type(audit(event, verbose=True), str)


def subscribing() -> None:
    subscription = bus.subscribe("order.**", Mailer().send, timeout=5.0)
    assert_type(subscription, Subscription)
    subscription.cancel()
    bus.unsubscribe(subscription)
    bus.subscribe("*", print, name="print")
    bus.subscribe("user.deleted", lambda event: audit(event), group="gdpr", name="forget")


def timed(event: Event, call_next: Callable[[Event], object]) -> None:
    call_next(event)


bus.add_middleware(timed)

# --- Publishing -----------------------------------------------------------------------------------


def publishing(connection: sqlite3.Connection) -> None:
    event = bus.publish("user.created", {"id": 7}, key="7", metadata={"trace": "1"})
    assert_type(event, Event)
    assert_type(bus.publish(Event(type="user.created", payload=[1, "two", None])), Event)
    bus.publish("tick")
    bus.publish("user.created", {"id": 7}, connection=connection)

    assert_type(bus.publish_many([Event(type="a"), Event(type="b", key="k")]), list[Event])
    bus.publish_many([("user.created", {"id": 8}), ("user.created", {"id": 9})])
    bus.publish_many((Event(type="a") for _ in range(3)), connection=connection)

    assert_type(bus.publish_soon("user.seen", {"id": 7}), Future[Event])


def publishing_with_care() -> str:
    try:
        bus.publish("user.created", {"id": 7})
    except PublishError as error:
        outcomes: Mapping[str, str] = error.outcomes
        return f"{error.outcome} {outcomes} {error.event}"
    except (SerializationError, BusClosedError):
        return "a mistake of ours"
    except (AuthenticationError, TopologyError, TransportUnavailable) as error:
        transport_error: TransportError = error
        return str(transport_error)
    except EventBusError as error:
        return str(error)
    except ValueError as error:
        return str(error)
    return "stored"


def misconfigured() -> None:
    try:
        EventBus("redis:")
    except ConfigurationError as error:
        value_error: ValueError = error
        bus_error: EventBusError = error
        print(value_error, bus_error)


# --- Life -----------------------------------------------------------------------------------------


def script() -> None:
    with bus.start(timeout=10.0) as started:
        assert_type(started, EventBus)
        assert_type(bus.join(), bool)
        bus.join(timeout=5.0)


def cron_job() -> None:
    with EventBus("sqlite:///events.db") as publisher:
        publisher.publish("report.due")


def service() -> None:
    bus.run()
    assert_type(bus.close(), bool)
    bus.close(timeout=1.0)


def operations() -> None:
    print(bus.health(), bus.stats())
