"""Config objects: defaults, validation, precedence without the environment."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from eventbus.config import (
    EventBusConfig,
    KafkaConfig,
    MemoryConfig,
    NATSConfig,
    PostgresConfig,
    Provider,
    RabbitMQConfig,
    RedisConfig,
    SQLiteConfig,
    effective_config,
)
from eventbus.errors import ConfigurationError
from eventbus.retry import RetryPolicy

NAN, INFINITY = float("nan"), float("inf")


def effective(config: EventBusConfig | str | None = None, **arguments: Any) -> EventBusConfig:
    group = arguments.pop("group", None)
    return effective_config(config, group=group, environ={}, overrides=arguments)


def test_the_defaults_are_those_that_are_documented() -> None:
    config = EventBusConfig()

    assert dataclasses.asdict(config) == {
        "provider": Provider.MEMORY,
        "consumer_group": "eventbus",
        "prefix": "",
        "max_concurrent_handlers": 100,
        "max_in_flight": 1000,
        "max_in_flight_bytes": 67_108_864,
        "max_event_bytes": 1_000_000,
        "lease": 30.0,
        "handler_timeout": None,
        "publish_timeout": 5.0,
        "close_timeout": 25.0,
        "retry": dataclasses.asdict(RetryPolicy()),
        "retention": timedelta(days=7),
        **dict.fromkeys(["memory", "redis", "kafka", "rabbitmq", "nats", "postgres", "sqlite"]),
    }
    assert MemoryConfig().buffer_size == 100
    assert SQLiteConfig().path == "events.db"


@pytest.mark.parametrize("provider", Provider)
def test_a_provider_reads_as_its_name(provider: Provider) -> None:
    assert str(provider) == f"{provider}" == provider.value == provider
    assert EventBusConfig(provider=provider.value).provider is provider


@pytest.mark.parametrize("name", ["gochannel", "GoChannel", " memory ", "MEMORY"])
def test_a_provider_name_has_an_alias_and_no_case(name: str) -> None:
    assert Provider(name) is Provider.MEMORY


def test_an_unknown_provider_names_the_closest_and_all() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'kafka'") as caught:
        EventBusConfig(provider="kafak")

    assert all(str(provider) in str(caught.value) for provider in Provider)


@pytest.mark.parametrize("value", [None, 3, "", ["redis"]])
def test_a_provider_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="provider is"):
        EventBusConfig(provider=value)


SIZES = ["max_concurrent_handlers", "max_in_flight", "max_in_flight_bytes", "max_event_bytes"]
TIMES = ["lease", "handler_timeout", "publish_timeout", "close_timeout"]


@pytest.mark.parametrize("field", SIZES)
@pytest.mark.parametrize("value", [0, -1, True, 1.0, "5", None, NAN])
def test_a_size_is_a_whole_number_above_zero(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"EventBusConfig\.{field} is .*whole number"):
        EventBusConfig(**{field: value})


@pytest.mark.parametrize("field", TIMES)
@pytest.mark.parametrize("value", [-1, True, NAN, INFINITY, "5", timedelta(1), 10**400, 1e9])
def test_a_time_is_a_finite_number_of_seconds(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"EventBusConfig\.{field} is .*seconds"):
        EventBusConfig(**{field: value})


def test_only_closing_may_take_no_time_at_all() -> None:
    assert EventBusConfig(close_timeout=0).close_timeout == 0.0
    for field in ("lease", "handler_timeout", "publish_timeout"):
        with pytest.raises(ConfigurationError, match=f"{field} is 0"):
            EventBusConfig(**{field: 0})


def test_whole_seconds_become_floats() -> None:
    assert isinstance(EventBusConfig(lease=5).lease, float)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrent_handlers", 10_001),
        ("consumer_group", "a b"),
        ("consumer_group", ""),
        ("consumer_group", None),
        ("prefix", "a..b"),
        ("prefix", None),
        ("prefix", "_eventbus"),
        ("retention", timedelta(0)),
        ("retention", 7),
        ("retry", None),
        ("retry", 3),
        ("redis", MemoryConfig()),
        ("memory", "memory"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"EventBusConfig\.{field}"):
        EventBusConfig(**{field: value})


@pytest.mark.parametrize("value", [0, -5, True, "100", 1.5])
def test_a_buffer_holds_at_least_one_event(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"MemoryConfig\.buffer_size is"):
        MemoryConfig(buffer_size=value)


@pytest.mark.parametrize("name", ["a:b", "a%2Fb", "a/b", "a@b"])
def test_a_name_that_may_hold_a_password_is_hidden_but_its_wrong_character_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name[1]}' at index 1") as caught:
        EventBusConfig(prefix=name)

    assert name not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    ["", ":memory:", "file:x.db?mode=ro", "dir/", "a\0b", b"x.db", 3, None, "sqlite:///x.db"],
)
def test_a_sqlite_path_names_a_file(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"SQLiteConfig\.path is"):
        SQLiteConfig(path=path)


def test_a_sqlite_path_may_be_a_path_object(tmp_path: Path) -> None:
    config = effective(provider="sqlite", sqlite=SQLiteConfig(path=tmp_path / "x.db"))

    assert config.location == f"sqlite:///{tmp_path}/x.db"


@pytest.mark.parametrize(
    "brokers", ["h1:9092,h2:9092", " h1:9092 , h2:9092,", ["h1:9092", "h2:9092"]]
)
def test_brokers_are_kept_as_a_tuple(brokers: Any) -> None:
    assert KafkaConfig(brokers=brokers).brokers == ("h1:9092", "h2:9092")


def test_a_broker_may_be_an_ipv6_address_or_lack_its_port() -> None:
    assert KafkaConfig(brokers="[::1]:9092,h2").brokers == ("[::1]:9092", "h2")


@pytest.mark.parametrize(
    "brokers",
    ["", ",", "h:x", "h:0", "h:65536", "kafka://h:1", "u:p@h:1", "h 1", "h/1", 3, b"h", [3], []],
)
def test_what_is_no_list_of_brokers_is_refused(brokers: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"KafkaConfig\.brokers is"):
        KafkaConfig(brokers=brokers)


def test_an_unknown_assignor_names_the_closest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'range'"):
        KafkaConfig(assignor="rang")


@pytest.mark.parametrize(
    "config",
    [
        MemoryConfig,
        RedisConfig,
        KafkaConfig,
        RabbitMQConfig,
        NATSConfig,
        PostgresConfig,
        SQLiteConfig,
    ],
)
def test_every_provider_may_have_a_consumer_group_of_its_own(config: Any) -> None:
    assert config().consumer_group is None
    assert config(consumer_group="billing").consumer_group == "billing"
    with pytest.raises(ConfigurationError, match=rf"{config.__name__}\.consumer_group"):
        config(consumer_group="a b")


def test_configs_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EventBusConfig().lease = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        EventBusConfig("memory")  # type: ignore[misc]
    with pytest.raises(TypeError):
        RedisConfig("redis://h")  # type: ignore[misc]


def test_configs_can_be_copied_pickled_compared_and_replaced() -> None:
    config = EventBusConfig(provider="redis", redis=RedisConfig(url="redis://:pw@h"))

    for same in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert same == config
        assert same.redis.url == "redis://:pw@h"
        assert "pw" not in repr(same)
        assert same.group_is_default
    assert dataclasses.replace(config, lease=5.0).lease == 5.0


def test_a_group_is_the_default_one_only_if_nobody_chose_it() -> None:
    assert effective().group_is_default
    assert dataclasses.replace(EventBusConfig(), lease=5.0).group_is_default
    assert effective(EventBusConfig().resolve({})).group_is_default
    assert not effective(EventBusConfig(consumer_group="eventbus")).group_is_default
    assert not effective(group="eventbus").group_is_default
    assert not effective(consumer_group="billing").group_is_default
    assert not effective("memory:?consumer_group=eventbus").group_is_default
    assert not effective(memory=MemoryConfig(consumer_group="eventbus")).group_is_default
    assert not effective(EventBusConfig(consumer_group="a").resolve({})).group_is_default


def test_the_providers_own_group_wins_over_the_buss() -> None:
    own = MemoryConfig(consumer_group="own")

    assert effective(EventBusConfig(memory=own, consumer_group="bus")).group == "own"
    assert effective(EventBusConfig(redis=RedisConfig(consumer_group="x"))).group == "eventbus"


def test_a_constructor_argument_wins_over_the_url() -> None:
    assert effective("memory:?lease=5&prefix=u", lease=6).lease == 6.0
    assert effective("memory:?lease=5&prefix=u", lease=6).prefix == "u"


def test_a_constructor_argument_wins_over_the_config() -> None:
    config = EventBusConfig(lease=5, prefix="c")

    assert effective(config, lease=6).lease == 6.0
    assert effective(config, lease=6).prefix == "c"


def test_the_urls_query_wins_over_the_config() -> None:
    redis = RedisConfig(url="redis://h?lease=5&consumer_group=query", consumer_group="object")
    config = effective(EventBusConfig(provider="redis", redis=redis, lease=9, prefix="c"))

    assert (config.lease, config.group, config.prefix) == (5.0, "query", "c")


def test_the_query_of_a_provider_that_is_not_chosen_says_nothing() -> None:
    assert effective(EventBusConfig(redis=RedisConfig(url="redis://h?lease=5"))).lease == 30.0


def test_the_argument_group_wins_over_every_group_below() -> None:
    config = EventBusConfig(consumer_group="bus", memory=MemoryConfig(consumer_group="own"))

    assert effective(config, group="argument").group == "argument"
    assert effective("memory:?consumer_group=url", group="argument").group == "argument"


def test_group_and_consumer_group_must_not_differ() -> None:
    assert effective(group="a", consumer_group="a").group == "a"
    with pytest.raises(ConfigurationError, match="the same"):
        effective(group="a", consumer_group="b")


def test_a_providers_config_as_argument_keeps_what_it_does_not_mention() -> None:
    config = effective("redis://h:1/2", redis=RedisConfig(consumer_group="mine"))

    assert (config.location, config.group) == ("redis://h:1/2", "mine")
    both = MemoryConfig(buffer_size=100, consumer_group="mine")
    assert effective("memory:?buffer_size=5", memory=both).memory == both


def test_a_provider_as_argument_wins() -> None:
    assert effective(EventBusConfig(provider="redis"), provider="memory").location == "memory:"


def test_an_unknown_argument_names_the_closest_field() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'lease'"):
        effective(leese=5)


@pytest.mark.parametrize("config", [5, {"provider": "memory"}, b"memory:", Provider.MEMORY.name])
def test_what_is_no_config_is_refused(config: Any) -> None:
    with pytest.raises(ConfigurationError):
        effective(config)


@pytest.mark.parametrize(
    ("provider", "variable", "field"),
    [
        ("redis", "REDIS_URL", r"EventBusConfig\(redis=RedisConfig\(url="),
        ("rabbitmq", "RABBITMQ_URL", r"EventBusConfig\(rabbitmq=RabbitMQConfig\(url="),
        ("nats", "NATS_URL", r"EventBusConfig\(nats=NATSConfig\(url="),
        ("postgres", "POSTGRES_URL", r"EventBusConfig\(postgres=PostgresConfig\(url="),
        ("kafka", "KAFKA_BROKERS", r"EventBusConfig\(kafka=KafkaConfig\(brokers="),
    ],
)
def test_a_missing_place_names_the_variable_and_the_field(
    provider: str, variable: str, field: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"set {variable} or pass {field}"):
        effective(provider=provider)


def test_a_relative_file_belongs_to_the_working_directory_at_construction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = effective("sqlite:///sub/x.db")
    monkeypatch.chdir(os.sep)

    assert config.sqlite == SQLiteConfig(path=str(tmp_path / "sub" / "x.db"))


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert effective("sqlite:///~/x.db").location == f"sqlite:///{tmp_path}/x.db"


def test_resolving_builds_the_chosen_providers_config_and_no_other() -> None:
    config = EventBusConfig().resolve({})

    assert config.memory == config.provider_config == MemoryConfig()
    assert config.redis is None


@pytest.mark.parametrize("url", ["memory:", "sqlite:///x.db", "redis://u:p@h?lease=5&x=1"])
def test_resolving_twice_changes_nothing(url: str) -> None:
    once = effective(url)

    assert once.resolve({}) == once


def test_an_error_names_its_source_only_as_far_as_the_constructor() -> None:
    with pytest.raises(ConfigurationError) as caught:
        effective("redis://h?lease=x")

    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "effective_config"
