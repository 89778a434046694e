"""The transports by the name of their provider; each is imported when it is first used."""

from __future__ import annotations

from importlib import import_module

from ..config import EventBusConfig
from ..errors import ConfigurationError
from .base import Capabilities, Settings, Transport

#: provider -> (module, class, client package, extra)
TRANSPORTS: dict[str, tuple[str, str]] = {
    "memory": ("memory", "MemoryTransport"),
    "sqlite": ("sqlite", "SQLiteTransport"),
    "redis": ("redis", "RedisTransport"),
    "postgres": ("postgres", "PostgresTransport"),
    "rabbitmq": ("rabbitmq", "RabbitMQTransport"),
    "nats": ("nats", "NATSTransport"),
    "kafka": ("kafka", "KafkaTransport"),
}


def transport_class(provider: str) -> type[Transport]:
    """The transport of a provider.

    Raises:
        ConfigurationError: this version has none, or its client package is missing.
    """
    try:
        module, name = TRANSPORTS[provider]
    except KeyError:
        raise ConfigurationError(
            f"this version has no transport for provider {provider!r} yet; "
            f"it has {', '.join(sorted(TRANSPORTS))}"
        ) from None
    try:
        loaded: type[Transport] = getattr(import_module(f".{module}", __name__), name)
    except ImportError as error:
        raise ConfigurationError(
            f"provider {provider!r} needs the package {error.name!r}: "
            f"pip install 'eventbus[{provider}]'"
        ) from error
    return loaded


def capabilities(provider: str) -> Capabilities:
    """What a provider's transport can do."""
    return transport_class(provider).capabilities


def make_transport(config: EventBusConfig) -> Transport:
    """The transport of an effective config; does no I/O."""
    settings = Settings(
        prefix=config.prefix, lease=config.lease, retention=config.retention.total_seconds(),
        publish_timeout=config.publish_timeout,
    )
    make = transport_class(str(config.provider))
    return make(config.provider_config, settings)  # type: ignore[call-arg]
