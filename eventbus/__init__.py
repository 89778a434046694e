"""A synchronous, thread-based event bus with one API over seven transports."""

from __future__ import annotations

from typing import Any

from .bus import EventBus
from .config import (
    EventBusConfig,
    KafkaConfig,
    MemoryConfig,
    NATSConfig,
    PostgresConfig,
    Provider,
    RabbitMQConfig,
    RedisConfig,
    SQLiteConfig,
)
from .deadletter import DeadLetter
from .errors import (
    AuthenticationError,
    BusClosedError,
    ConfigurationError,
    EventBusError,
    PublishError,
    Reject,
    RetryLater,
    SerializationError,
    TopologyError,
    TransportError,
    TransportUnavailable,
)
from .event import Event
from .retry import RetryPolicy
from .subscription import Subscription

__all__ = [
    "AuthenticationError",
    "BusClosedError",
    "ConfigurationError",
    "DeadLetter",
    "Event",
    "EventBus",
    "EventBusConfig",
    "EventBusError",
    "KafkaConfig",
    "MemoryConfig",
    "NATSConfig",
    "PostgresConfig",
    "Provider",
    "PublishError",
    "RabbitMQConfig",
    "RedisConfig",
    "Reject",
    "RetryLater",
    "RetryPolicy",
    "SQLiteConfig",
    "SerializationError",
    "Subscription",
    "TopologyError",
    "TransportError",
    "TransportUnavailable",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("eventbus")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


