"""From what was passed and what the environment says to the effective config.

Each source is written over the one below it, one field at a time, so that an error can name the
source at fault and a variable that replaces a chosen value can say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eventbus import env
from eventbus._config.checks import suggest
from eventbus._config.fields import (
    announce,
    names,
    sourced,
    with_own,
    with_server_url,
    with_text,
    with_value,
)
from eventbus._config.providers import KafkaConfig, Provider, ServerConfig, SQLiteConfig
from eventbus._config.settings import Settings, changed, merged
from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from eventbus.config import EventBusConfig

#: Fields that hold a whole object or choose one; they come before a URL's parameters are read.
_OBJECTS = {"provider", *(provider.value for provider in Provider)}


def resolve(
    config: EventBusConfig, arguments: Mapping[str, Any], environ: Mapping[str, str]
) -> EventBusConfig:
    """The effective config: constructor arguments over a config, the environment over both."""
    config = _with_objects(config, arguments)
    config = _with_provider(config, environ)
    config = _with_query(config)
    for name, value in arguments.items():
        if name not in _OBJECTS:
            config = with_value(config, name, value)
    return _completed(_with_variables(config, environ))


def _with_objects(config: EventBusConfig, arguments: Mapping[str, Any]) -> EventBusConfig:
    known = names(config)
    for name, above in arguments.items():
        if name not in known:
            raise ConfigurationError(f"unknown argument {name!r}: {suggest(name, known)}")
        if name in _OBJECTS:
            below = getattr(config, name)
            if isinstance(above, Settings) and type(above) is type(below):
                above = merged(below, above)
            config = changed(config, **{name: above})
    return config


def _with_provider(config: EventBusConfig, environ: Mapping[str, str]) -> EventBusConfig:
    variable = env.EVENT_BUS_PROVIDER
    text = env.read(environ, variable)
    if text is None:
        return config
    after = sourced(variable, lambda: changed(config, provider=text))
    announce(variable, "provider", config, after)
    return after


def _with_query(config: EventBusConfig) -> EventBusConfig:
    own = config.provider_config
    if isinstance(own, ServerConfig) and own.url is not None:
        return with_server_url(config, f"{type(own).__name__}.url", own.url)
    return config


def _with_variables(config: EventBusConfig, environ: Mapping[str, str]) -> EventBusConfig:
    variable, field = env.PROVIDER_FIELDS[str(config.provider)]
    if text := env.read(environ, variable):
        if field == "url":
            config = with_server_url(config, variable, text, warn=True)
        else:
            config = with_text(config, variable, field, text, warn=True)
    for variable, field in env.BUS_FIELDS.items():
        if text := env.read(environ, variable):
            config = with_text(config, variable, field, text, warn=True)
    return config


def _completed(config: EventBusConfig) -> EventBusConfig:
    own = config.provider_config
    if isinstance(own, SQLiteConfig):
        own = changed(own, path=own.absolute)
    _require_place(config)
    return with_own(config, own)


def _require_place(config: EventBusConfig) -> None:
    own, provider = config.provider_config, str(config.provider)
    field = "brokers" if isinstance(own, KafkaConfig) else "url"
    if getattr(own, field, "") is None:
        variable, _ = env.PROVIDER_FIELDS[provider]
        place = f"EventBusConfig({provider}={type(own).__name__}({field}=...))"
        raise ConfigurationError(f"{provider} needs its {field}: set {variable} or pass {place}")
