"""Writing one value over a config, whichever object it belongs to, and saying so if need be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from eventbus._config import urls
from eventbus._config.providers import CONFIGS, Provider, ProviderConfig, SQLiteConfig
from eventbus._config.settings import TEXT, Form, changed, explicit, settable
from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from eventbus.config import EventBusConfig

T = TypeVar("T")


def names(config: EventBusConfig) -> list[str]:
    """The fields of the bus's own config."""
    return [field.name for field in dataclasses.fields(config)]


def forms(config: EventBusConfig) -> dict[str, Form]:
    """What text can set: fields of the bus and of the chosen provider."""
    return settable(CONFIGS[Provider(config.provider)]) | settable(type(config))


def with_value(config: EventBusConfig, field: str, value: Any) -> EventBusConfig:
    """The config with this value for a field of the bus or of the chosen provider."""
    if field not in names(config):
        return with_own(config, changed(config.provider_config, **{field: value}))
    config = changed(config, **{field: value})
    if field == "consumer_group" and config.provider_config.consumer_group is not None:
        # The source above decides for the bus, so the provider's own group below it has to go.
        return with_own(config, changed(config.provider_config, consumer_group=None))
    return config


def with_own(config: EventBusConfig, own: ProviderConfig) -> EventBusConfig:
    """The config with another config for the chosen provider."""
    return changed(config, **{str(config.provider): own})


def with_text(
    config: EventBusConfig, source: str, field: str, text: str, *, warn: bool = False
) -> EventBusConfig:
    """The config with a field read from text."""
    value = sourced(source, lambda: forms(config).get(field, TEXT).read(field, text))
    after = sourced(source, lambda: with_value(config, field, value))
    if warn:
        announce(source, field, config, after)
    return after


def with_parameters(
    config: EventBusConfig, source: str, pairs: list[tuple[str, str]], *, warn: bool = False
) -> EventBusConfig:
    """The config with the parameters of a query."""
    given = [name for name, _ in pairs]
    for name, text in pairs:
        if given.count(name) > 1:
            raise ConfigurationError(f"{source}: the parameter {name!r} is given more than once")
        config = with_text(config, f"{source} parameter", name, text, warn=warn)
    return config


def with_server_url(
    config: EventBusConfig, source: str, url: str, *, warn: bool = False
) -> EventBusConfig:
    """The config with a server's URL for its client, and with our parameters in it."""
    ours = forms(config)
    own = sourced(source, lambda: changed(config.provider_config, url=urls.without(url, ours)))
    after = with_own(config, own)
    if warn:
        announce(source, "url", config, after)
    pairs = [pair for pair in urls.parameters(url.partition("?")[2]) if pair[0] in ours]
    return with_parameters(after, source, pairs, warn=warn)


def announce(source: str, field: str, before: EventBusConfig, after: EventBusConfig) -> None:
    """Warn if the source replaced a value that somebody chose."""
    old, new = _current(before, field), _current(after, field)
    if old != new and _chosen(before, field):
        import logging  # Slow to import, and seldom needed here.

        log = logging.getLogger("eventbus.config")
        log.warning("%s replaces %s=%r with %r", source, field, old, new)


def sourced(source: str, make: Callable[[], T]) -> T:
    """What `make` returns; its error says where the value came from."""
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None


def _current(config: EventBusConfig, field: str) -> Any:
    if field == "consumer_group":
        return config.group
    if field == "provider":
        return str(config.provider)
    holder = config if field in names(config) else config.provider_config
    return holder.absolute if isinstance(holder, SQLiteConfig) else getattr(holder, field)


def _chosen(config: EventBusConfig, field: str) -> bool:
    if field == "consumer_group":
        return not config.group_is_default
    return explicit(config if field in names(config) else config.provider_config, field)
