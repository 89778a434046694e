"""Where settings come from, and who wins."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from eventbus import (
    ConfigurationError,
    EventBus,
    EventBusConfig,
    KafkaConfig,
    NATSConfig,
    PostgresConfig,
    Provider,
    RabbitMQConfig,
    RedisConfig,
    SQLiteConfig,
    env,
)
from eventbus.config import effective_config, redact
from eventbus.transports import TRANSPORTS

CANARY = "CANARY-p@ss/%2F"
QUOTED = "CANARY-p%40ss%2F%252F"


def resolve(config=None, environ=None, group=None, **overrides):
    return effective_config(config, group=group, environ=environ or {}, overrides=overrides)


def test_the_default_is_memory_and_the_group_is_known_to_be_a_default():
    config = resolve()
    assert (config.provider, config.group) == (Provider.MEMORY, "eventbus")
    assert config.group_is_default
    assert not resolve(group="mine").group_is_default


def test_each_source_wins_over_the_next():
    base = EventBusConfig(provider="sqlite", consumer_group="object", max_in_flight=1)
    assert resolve(base).group == "object"
    url = "sqlite:///x.db?consumer_group=query&max_in_flight=2"
    assert resolve(url).group == "query"
    assert resolve(url, group="argument").group == "argument"
    environ = {env.EVENT_BUS_CONSUMER_GROUP: "environment"}
    assert resolve(url, environ, group="argument").group == "environment"
    assert resolve(url, environ).max_in_flight == 2
    assert resolve(url, max_in_flight=3).max_in_flight == 3


def test_the_environment_chooses_the_provider_and_its_settings(tmp_path):
    environ = {env.EVENT_BUS_PROVIDER: "sqlite", env.EVENT_BUS_DB_PATH: str(tmp_path / "e.db")}
    config = resolve(None, environ)
    assert config.location == f"sqlite:///{tmp_path}/e.db"
    gochannel = resolve(None, {env.EVENT_BUS_PROVIDER: "gochannel", env.EVENT_BUS_BUFFER_SIZE: "7"})
    assert gochannel.provider_config.buffer_size == 7


def test_empty_variables_count_as_unset():
    environ = {env.EVENT_BUS_PROVIDER: "", env.EVENT_BUS_PREFIX: ""}
    assert resolve(None, environ).provider == "memory"


def test_a_variable_that_replaces_an_explicit_value_warns_once_and_names_both(caplog):
    with caplog.at_level(logging.WARNING, "eventbus"):
        resolve("memory:?consumer_group=mine", {env.EVENT_BUS_CONSUMER_GROUP: "theirs"})
        resolve(None, {env.EVENT_BUS_CONSUMER_GROUP: "theirs"})
    assert len(caplog.records) == 1
    assert "EVENT_BUS_CONSUMER_GROUP" in caplog.text and "consumer_group" in caplog.text


@pytest.mark.parametrize(
    ("provider", "variable"),
    [("redis", "REDIS_URL"), ("kafka", "KAFKA_BROKERS"), ("rabbitmq", "RABBITMQ_URL"),
     ("nats", "NATS_URL"), ("postgres", "POSTGRES_URL")],
)
def test_a_missing_url_names_the_variable_and_the_field(provider, variable):
    with pytest.raises(ConfigurationError, match=variable) as caught:
        EventBus(provider=provider, environ={})
    assert provider in str(caught.value)


def test_an_unknown_provider_lists_those_there_are():
    with pytest.raises(ConfigurationError, match="sqlite"):
        EventBus(provider="sqlight", environ={})


def test_a_transport_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(TRANSPORTS, "kafka")
    with pytest.raises(ConfigurationError, match="no transport for provider 'kafka' yet"):
        EventBus("kafka://localhost", environ={})


@pytest.mark.parametrize(
    "wrong",
    [{"max_concurrent_handlers": 0}, {"lease": -1}, {"lease": float("nan")},
     {"publish_timeout": 0}, {"retention": 7}, {"max_in_flight": True}, {"consumer_group": "a b"},
     {"max_in_flihgt": 3}],
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises((ConfigurationError, TypeError), match="max_in_flight|" + next(iter(wrong))):
        EventBus(environ={}, **wrong)


def test_an_unknown_query_parameter_is_refused():
    with pytest.raises(ConfigurationError, match="max_in_flight"):
        resolve("memory:?max_in_fligth=3")


def test_a_query_sets_typed_fields():
    config = resolve("sqlite:////tmp/x.db?lease=2.5&retention=60&prefix=shop")
    assert (config.lease, config.retention, config.prefix) == (2.5, timedelta(minutes=1), "shop")


def test_names_of_providers_are_their_values():
    assert [str(p) for p in (Provider.REDIS, Provider("gochannel"))] == ["redis", "memory"]


SECRETS = [
    RedisConfig(url=f"redis://user:{QUOTED}@[::1]:6379/0?password={QUOTED}"),
    RabbitMQConfig(url=f"amqps://user:{QUOTED}@h/vhost"),
    NATSConfig(url=f"nats://user:{QUOTED}@h:4222"),
    PostgresConfig(url=f"postgresql://user:{QUOTED}@h/db?password={QUOTED}"),
]


@pytest.mark.parametrize("config", SECRETS, ids=lambda c: type(c).__name__)
def test_passwords_are_never_shown(config, caplog):
    provider = {"RedisConfig": "redis", "RabbitMQConfig": "rabbitmq", "NATSConfig": "nats",
                "PostgresConfig": "postgres"}[type(config).__name__]
    whole = EventBusConfig(**{"provider": provider, provider: config})
    shown = [repr(config), str(config), repr(whole), whole.location, redact(config.url)]
    try:
        with EventBus(whole, environ={}) as bus:
            shown += [repr(bus), str(bus.health())]
    except ConfigurationError as error:
        shown.append(str(error))
    with pytest.raises(ConfigurationError) as wrong:
        EventBus(whole, environ={f"{provider.upper()}_URL": f"ftp://u:{QUOTED}@h"}, lease=0)
    shown += [str(wrong.value), caplog.text]
    for text in shown:
        assert "CANARY" not in text


def test_brokers_and_paths_are_normalised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("kafka://h1:9092,h2:9092").provider_config.brokers == ("h1:9092", "h2:9092")
    relative = EventBusConfig(provider="sqlite", sqlite=SQLiteConfig(path="e.db"))
    assert resolve(relative).location == f"sqlite:///{tmp_path}/e.db"
    assert KafkaConfig(brokers=["h:1"]).brokers == ("h:1",)
