"""The environment: which variable sets what, and how loudly."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest

from eventbus import env
from eventbus.config import (
    EventBusConfig,
    KafkaConfig,
    MemoryConfig,
    Provider,
    RedisConfig,
    SQLiteConfig,
    effective_config,
)
from eventbus.errors import ConfigurationError


def effective(
    environ: dict[str, str], config: EventBusConfig | str | None = None, **arguments: Any
) -> EventBusConfig:
    return effective_config(config, environ=environ, overrides=arguments)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert {r.name for r in found} <= {"eventbus.config"}
    return [r.getMessage() for r in found]


def test_each_constant_is_the_name_of_its_variable() -> None:
    constants = {name: value for name, value in vars(env).items() if isinstance(value, str)}
    names = {name for name in constants if name.isupper() and not name.startswith("_")}

    assert all(constants[name] == name for name in names)
    assert len(names) == 11
    read = {env.EVENT_BUS_PROVIDER, *env.BUS_FIELDS}
    assert names == read | {variable for variable, _ in env.PROVIDER_FIELDS.values()}
    assert set(env.PROVIDER_FIELDS) == {str(provider) for provider in Provider}


#: Provider, variable, text, and what the text sets: on the bus or on the provider's config.
CASES = [
    ("memory", "EVENT_BUS_CONSUMER_GROUP", "billing", "consumer_group", "billing"),
    ("memory", "EVENT_BUS_PREFIX", "prod.eu", "prefix", "prod.eu"),
    ("memory", "EVENT_BUS_MAX_CONCURRENT_HANDLERS", "7", "max_concurrent_handlers", 7),
    ("memory", "EVENT_BUS_BUFFER_SIZE", "7", "buffer_size", 7),
    ("sqlite", "EVENT_BUS_DB_PATH", "/var/lib/x.db", "path", "/var/lib/x.db"),
    ("redis", "REDIS_URL", "rediss://h:1/2", "url", "rediss://h:1/2"),
    ("kafka", "KAFKA_BROKERS", "a:1,b:2", "brokers", ("a:1", "b:2")),
    ("rabbitmq", "RABBITMQ_URL", "amqps://h/%2F", "url", "amqps://h/%2F"),
    ("nats", "NATS_URL", "tls://h1:4222,h2:4222", "url", "tls://h1:4222,h2:4222"),
    ("postgres", "POSTGRES_URL", "postgres://h/db", "url", "postgres://h/db"),
]


@pytest.mark.parametrize(("provider", "variable", "text", "field", "value"), CASES)
def test_a_variable_sets_its_field(
    provider: str,
    variable: str,
    text: str,
    field: str,
    value: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = effective({"EVENT_BUS_PROVIDER": provider, variable: f" {text}\n"})

    assert config.provider == provider
    holder = config if hasattr(config, field) else config.provider_config
    assert getattr(holder, field) == value
    assert warnings(caplog) == []


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_variable_counts_as_unset(empty: str) -> None:
    variables = {"EVENT_BUS_PROVIDER", *env.BUS_FIELDS, "EVENT_BUS_BUFFER_SIZE", "REDIS_URL"}

    assert effective(dict.fromkeys(variables, empty)) == effective({})


def test_an_empty_environment_ignores_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENT_BUS_PROVIDER", "redis")

    assert effective({}).provider is Provider.MEMORY


def test_gochannel_is_memory_and_replaces_nothing(caplog: pytest.LogCaptureFixture) -> None:
    config = effective({"EVENT_BUS_PROVIDER": "gochannel"}, EventBusConfig(provider="memory"))

    assert config.provider is Provider.MEMORY
    assert warnings(caplog) == []


@pytest.mark.parametrize("variable", ["REDIS_URL", "EVENT_BUS_DB_PATH", "KAFKA_BROKERS"])
def test_a_variable_of_another_provider_has_no_effect(variable: str) -> None:
    assert effective({variable: "http://nonsense"}, "memory:") == effective({}, "memory:")


SERVERS = {
    "redis": ("redis", "REDIS_URL"),
    "rabbitmq": ("amqp", "RABBITMQ_URL"),
    "nats": ("nats", "NATS_URL"),
    "postgres": ("postgresql", "POSTGRES_URL"),
}
#: Every source of a setting, the lowest first.
SOURCES = ["default", "object", "query", "argument", "environment"]


@pytest.mark.parametrize("provider", SERVERS)
@pytest.mark.parametrize(("lower", "higher"), list(itertools.combinations(SOURCES, 2)))
def test_of_two_sources_the_higher_wins(provider: str, lower: str, higher: str) -> None:
    scheme, variable = SERVERS[provider]
    query = "?consumer_group=query" if "query" in (lower, higher) else ""
    settings: dict[str, Any] = {"provider": provider}
    own: dict[str, Any] = {"url": f"{scheme}://h/0{query}"}
    if "object" in (lower, higher):
        own["consumer_group"] = "object"
    settings[provider] = type(EventBusConfig(provider=provider).provider_config)(**own)
    arguments = {"consumer_group": "argument"} if "argument" in (lower, higher) else {}
    environ = {"EVENT_BUS_CONSUMER_GROUP": "environment"} if higher == "environment" else {}

    assert effective(environ, EventBusConfig(**settings), **arguments).group == higher
    moved = {**environ, variable: f"{scheme}://elsewhere"}
    config = effective(moved, EventBusConfig(**settings), **arguments)
    assert (config.group, config.location) == (higher, f"{scheme}://elsewhere")


REDIS = EventBusConfig(provider="redis", redis=RedisConfig(url="redis://old"))


@pytest.mark.parametrize(
    ("variable", "text", "config", "arguments", "message"),
    [
        ("EVENT_BUS_PREFIX", "new", EventBusConfig(prefix="old"), {}, "prefix='old' with 'new'"),
        ("EVENT_BUS_PREFIX", "new", EventBusConfig(prefix=""), {}, "prefix='' with 'new'"),
        ("EVENT_BUS_PREFIX", "new", "memory:?prefix=old", {}, "prefix='old' with 'new'"),
        ("EVENT_BUS_PREFIX", "new", None, {"prefix": "old"}, "prefix='old' with 'new'"),
        ("EVENT_BUS_PROVIDER", "memory", REDIS, {}, "provider='redis' with 'memory'"),
        ("EVENT_BUS_PROVIDER", "memory", "redis://h", {}, "provider='redis' with 'memory'"),
        ("EVENT_BUS_PROVIDER", "sqlite", EventBusConfig(provider="memory"), {}, "with 'sqlite'"),
        ("EVENT_BUS_PROVIDER", "sqlite", "memory:", {}, "provider='memory' with 'sqlite'"),
        ("EVENT_BUS_PROVIDER", "sqlite", None, {"provider": "memory"}, "with 'sqlite'"),
        ("EVENT_BUS_CONSUMER_GROUP", "new", EventBusConfig(consumer_group="eventbus"), {}, "new"),
        ("EVENT_BUS_CONSUMER_GROUP", "new", "memory:?consumer_group=old", {}, "'old' with 'new'"),
        ("EVENT_BUS_CONSUMER_GROUP", "new", None, {"consumer_group": "old"}, "'old' with 'new'"),
        (
            "EVENT_BUS_CONSUMER_GROUP",
            "new",
            EventBusConfig(memory=MemoryConfig(consumer_group="old")),
            {},
            "consumer_group='old' with 'new'",
        ),
        (
            "EVENT_BUS_MAX_CONCURRENT_HANDLERS",
            "5",
            EventBusConfig(max_concurrent_handlers=100),
            {},
            "max_concurrent_handlers=100 with 5",
        ),
        ("EVENT_BUS_BUFFER_SIZE", "5", "memory:?buffer_size=6", {}, "buffer_size=6 with 5"),
        ("EVENT_BUS_DB_PATH", "/new.db", "sqlite:////old.db", {}, "path='/old.db' with '/new.db'"),
        ("EVENT_BUS_DB_PATH", "/new.db", None, {"sqlite": SQLiteConfig(path="/o")}, "path='/o'"),
        ("REDIS_URL", "redis://new", REDIS, {}, "url='redis://old' with 'redis://new'"),
        ("REDIS_URL", "redis://new", "redis://old", {}, "url='redis://old' with 'redis://new'"),
        ("KAFKA_BROKERS", "new:1", "kafka://old:1", {}, "brokers=('old:1',) with ('new:1',)"),
    ],
)
def test_a_variable_wins_and_warns_once_where_it_replaces_a_choice(
    variable: str,
    text: str,
    config: Any,
    arguments: dict[str, Any],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    arguments = {"provider": "sqlite", **arguments} if "sqlite" in arguments else arguments
    effective({variable: text}, config, **arguments)

    (warning,) = warnings(caplog)
    assert warning.startswith(f"{variable} replaces ")
    assert message in warning


@pytest.mark.parametrize(
    ("variable", "text", "config"),
    [
        ("EVENT_BUS_PREFIX", "same", EventBusConfig(prefix="same")),
        ("EVENT_BUS_PREFIX", "new", EventBusConfig(lease=5)),
        ("EVENT_BUS_PROVIDER", "sqlite", EventBusConfig(lease=5)),
        ("EVENT_BUS_PROVIDER", "redis", "redis://h"),
        ("EVENT_BUS_CONSUMER_GROUP", "new", EventBusConfig()),
        ("EVENT_BUS_DB_PATH", "same.db", "sqlite:///same.db"),
        ("EVENT_BUS_DB_PATH", "new.db", "sqlite:"),
        ("REDIS_URL", "redis://h", "redis://h?lease=5"),
        ("KAFKA_BROKERS", "a:1, b:2", EventBusConfig(kafka=KafkaConfig(brokers="a:1,b:2"))),
    ],
)
def test_a_variable_that_replaces_no_choice_is_silent(
    variable: str, text: str, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    effective({variable: text}, config)

    assert warnings(caplog) == []


def test_a_resolved_config_does_not_warn_again(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"EVENT_BUS_PREFIX": "new", "EVENT_BUS_PROVIDER": "sqlite"}
    config = EventBusConfig(prefix="old").resolve(environ)
    caplog.clear()

    assert config.resolve(environ) == config
    assert warnings(caplog) == []


def test_a_group_from_the_environment_was_chosen() -> None:
    config = effective({"EVENT_BUS_CONSUMER_GROUP": "eventbus"})

    assert not config.group_is_default


def test_a_group_from_the_environment_wins_over_the_providers_own() -> None:
    redis = RedisConfig(url="redis://h", consumer_group="own")
    config = EventBusConfig(provider="redis", redis=redis, consumer_group="bus")

    assert effective({"EVENT_BUS_CONSUMER_GROUP": "env"}, config).group == "env"
    assert effective({}, config).group == "own"


def test_the_query_of_a_urls_variable_wins_over_arguments_but_not_over_its_variable() -> None:
    environ = {"REDIS_URL": "redis://h?lease=5&consumer_group=query"}
    config = effective(environ, "redis://old?lease=7", lease=6, consumer_group="argument")

    assert (config.lease, config.group, config.location) == (5.0, "query", "redis://h")
    assert effective({**environ, "EVENT_BUS_CONSUMER_GROUP": "env"}, "redis://old").group == "env"


def test_the_urls_query_survives_when_a_variable_replaces_its_place() -> None:
    config = effective({"REDIS_URL": "redis://new"}, "redis://old?consumer_group=billing&x=1")

    assert (config.group, config.location) == ("billing", "redis://new")
    assert config.redis == RedisConfig(url="redis://new")


def test_the_urls_query_survives_when_a_variable_replaces_the_provider() -> None:
    config = effective({"EVENT_BUS_PROVIDER": "memory"}, "redis://old?consumer_group=billing")

    assert (config.group, config.location) == ("billing", "memory:")


def test_a_provider_from_the_environment_needs_its_own_settings() -> None:
    with pytest.raises(ConfigurationError, match="set REDIS_URL or pass"):
        effective({"EVENT_BUS_PROVIDER": "redis"}, "memory:")

    config = EventBusConfig(redis=RedisConfig(url="redis://h"))
    assert effective({"EVENT_BUS_PROVIDER": "redis"}, config).location == "redis://h"


@pytest.mark.parametrize(
    ("provider", "variable", "text"),
    [
        ("memory", "EVENT_BUS_PROVIDER", "kafak"),
        ("memory", "EVENT_BUS_CONSUMER_GROUP", "a b"),
        ("memory", "EVENT_BUS_PREFIX", "a/b"),
        ("memory", "EVENT_BUS_MAX_CONCURRENT_HANDLERS", "many"),
        ("memory", "EVENT_BUS_MAX_CONCURRENT_HANDLERS", "0"),
        ("memory", "EVENT_BUS_MAX_CONCURRENT_HANDLERS", "1e3"),
        ("memory", "EVENT_BUS_PREFIX", "_eventbus"),
        ("memory", "EVENT_BUS_BUFFER_SIZE", "-1"),
        ("sqlite", "EVENT_BUS_DB_PATH", ":memory:"),
        ("redis", "REDIS_URL", "http://h"),
        ("redis", "REDIS_URL", "h:6379"),
        ("redis", "REDIS_URL", "redis://h?lease=x"),
        ("kafka", "KAFKA_BROKERS", "kafka://h:9092"),
        ("rabbitmq", "RABBITMQ_URL", "redis://h"),
        ("nats", "NATS_URL", "amqp://h"),
        ("postgres", "POSTGRES_URL", "host=h dbname=x"),
    ],
)
def test_a_wrong_value_names_its_variable(provider: str, variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}"):
        effective({"EVENT_BUS_PROVIDER": provider, variable: text})
