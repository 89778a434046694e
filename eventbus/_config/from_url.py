"""From the URL of a bus to its config."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventbus._config import urls
from eventbus._config.checks import shown, suggest
from eventbus._config.fields import forms, with_own, with_parameters, with_server_url
from eventbus._config.providers import (
    KafkaConfig,
    MemoryConfig,
    Provider,
    ProviderConfig,
    ServerConfig,
    SQLiteConfig,
)
from eventbus._config.settings import changed
from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from eventbus.config import EventBusConfig

#: Each scheme of a bus's URL, and whose it is.
SCHEMES = {
    "memory": Provider.MEMORY,
    "sqlite": Provider.SQLITE,
    "kafka": Provider.KAFKA,
    "redis": Provider.REDIS,
    "rediss": Provider.REDIS,
    "amqp": Provider.RABBITMQ,
    "amqps": Provider.RABBITMQ,
    "nats": Provider.NATS,
    "tls": Provider.NATS,
    "postgresql": Provider.POSTGRES,
    "postgres": Provider.POSTGRES,
}


def with_url(config: EventBusConfig, url: str) -> EventBusConfig:
    """The config with what a URL says: provider, place, and parameters."""
    scheme, colon, _ = url.strip().partition(":")
    provider = SCHEMES.get(scheme.lower())
    if provider is None or not colon:
        place = urls.redact(url)
        hint = suggest(place.partition(":")[0], SCHEMES)
        raise ConfigurationError(f"{place!r} is no URL of an event bus: unknown scheme, {hint}")
    config = changed(config, provider=provider)
    if isinstance(config.provider_config, ServerConfig):
        return with_server_url(config, "URL", url.strip())
    return _with_local(config, provider, url.strip())


def _with_local(config: EventBusConfig, provider: Provider, url: str) -> EventBusConfig:
    # There is no client to take a parameter we do not know.
    parts = urls.parse_local(url)
    config = with_own(config, _LOCAL[provider](parts))
    known = forms(config)
    pairs = urls.parameters(parts.query)
    for name, _ in pairs:
        if name not in known:
            hint = suggest(name, known)
            raise ConfigurationError(f"URL parameter {shown(name)} is unknown: {hint}")
    return with_parameters(config, "URL", pairs)


def _memory(parts: urls.Parts) -> MemoryConfig:
    if parts.hosts or parts.path:
        raise ConfigurationError("a memory URL names no place: write 'memory:'")
    return MemoryConfig()


def _sqlite(parts: urls.Parts) -> SQLiteConfig:
    if parts.hosts or (parts.path and not parts.path.startswith("/")):
        raise ConfigurationError(
            "an SQLite URL names a file after three slashes: write 'sqlite:///relative.db' or "
            "'sqlite:////absolute.db'"
        )
    path = urls.unquote(parts.path[1:])
    return SQLiteConfig(path=path) if path else SQLiteConfig()


def _kafka(parts: urls.Parts) -> KafkaConfig:
    if parts.path not in ("", "/"):
        raise ConfigurationError("a Kafka URL names brokers alone: write 'kafka://h1:9092,h2:9092'")
    login, at, hosts = parts.hosts.rpartition("@")
    if not at or "@" in login:
        return KafkaConfig(brokers=parts.hosts)
    user, colon, password = login.partition(":")
    return KafkaConfig(
        brokers=hosts, username=urls.unquote(user),
        password=urls.unquote(password) if colon else None,
    )


_LOCAL: dict[Provider, Callable[[urls.Parts], ProviderConfig]] = {
    Provider.MEMORY: _memory,
    Provider.SQLITE: _sqlite,
    Provider.KAFKA: _kafka,
}
